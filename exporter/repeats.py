"""Whether an object of a line of JSON has a key twice: of its values, readers of JSON take the last.

Belongs here: finding such keys. Does not belong here: whether the line is JSON (see `jsontext`).

Nothing that reads JSON fast tells. But what was read, written again, has fewer colons than the line if a value was
lost on the way, for no other colon comes or goes, unless one is escaped. Only lines that may have lost one are gone
through. That is a seventh of an export's processor time, of lines as wide as those of benchmarks.
(Looking at many lines at once saves nothing: Python's garbage collector goes through the values that wait.)
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import orjson

from exporter.patterns import compile_possessive

_COLON = ord(":")
_ESCAPED = re.compile(rb"\\u003[aA]")
_TOKEN = compile_possessive(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}]')
_AFTER = re.compile(rb"[ \t\r\n]*:")


def _colons(text: bytes) -> int:
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == _COLON))


def may_repeat(line: bytes, value: Any) -> bool:
    """Whether a line may have a key twice in an object: False is certain.

    Args:
        line: one JSON text.
        value: what orjson made of it.
    """
    try:
        again = orjson.dumps(value)
    except orjson.JSONEncodeError:  # it reads deeper than it writes
        return True
    if again == line:
        return False
    return _colons(again) != _colons(line) or (b"\\" in line and _ESCAPED.search(line) is not None)


def repeated(line: bytes) -> str | None:
    """Return a key that an object of the line has twice, the first one found; None if there is none.

    Args:
        line: one JSON text.
    """
    keys: list[set[bytes]] = []
    for match in _TOKEN.finditer(line):
        token = match[0]
        if token == b"{":
            keys.append(set())
        elif token == b"}":
            keys.pop()
        elif _AFTER.match(line, match.end()):
            key = token[1:-1]
            if b"\\" in key:
                key = json.loads(token).encode("utf-8", "surrogatepass")
            if key in keys[-1]:
                return key.decode("utf-8", "replace")
            keys[-1].add(key)
    return None
