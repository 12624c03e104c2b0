"""Compiling regular expressions that have possessive groups, so that they match the same in every Python.

Belongs here: what differs between versions. Does not belong here: any expression.
"""

from __future__ import annotations

import re
import sys

_POSSESSIVE_GROUP = re.compile(rb"\)([*?]|\{[0-9,]+\})\+")


def compile_possessive(expression: bytes) -> re.Pattern[bytes]:
    """Compile an expression whose possessive groups, such as `(?:…)*+`, are there for memory's sake only.

    Before Python 3.11.5 such a group misses matches if there are alternatives in it. There it is made greedy: what is
    found is the same, but a line with millions of matches in a row takes more memory.
    """
    if sys.version_info < (3, 11, 5):
        expression = _POSSESSIVE_GROUP.sub(rb")\1", expression)
    return re.compile(expression)
