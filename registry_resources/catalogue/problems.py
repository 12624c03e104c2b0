"""What can be wrong with a catalogue file, said so that it can be mended.

Belongs here: how errors are gathered and told. Does not belong here: what is an error.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from registry_resources.exceptions import ConfigurationError


@dataclass(frozen=True, order=True)
class Problem:
    """One error.

    Attributes:
        line: where, from 1.
        message: what is wrong, and what to do.
    """

    line: int
    message: str


class CatalogueError(ConfigurationError):
    """A catalogue file has errors. The text has a line for each, as `file:line: message`, and a last one.

    Attributes:
        path: the file, as it was named.
        problems: in order of their lines.
    """

    def __init__(self, path: str, problems: Iterable[Problem]) -> None:
        self.path = path
        self.problems = tuple(sorted(set(problems)))
        lines = [f"{path}:{problem.line}: {problem.message}" for problem in self.problems]
        count = f"{len(lines)} errors" if len(lines) > 1 else "an error"
        super().__init__("\n".join([*lines, f"{path} has {count}, so nothing was read from it."]))


def suggest(name: str, known: Iterable[str]) -> str:
    """Give ` Did you mean …?` if a name is like a known one, else the known ones."""
    names = list(known)
    if close := difflib.get_close_matches(name, names, 1, 0.6):
        return f"Did you mean {close[0]}?"
    if containing := [candidate for candidate in names if name and (name in candidate or candidate in name)]:
        return f"Did you mean {containing[0]}?"
    return f"There is: {', '.join(names)}." if names else "There is none."
