"""Short descriptions of columns, for the paths that the OCDS standard and its common extensions have.

Belongs here: finding the description of a path. Does not belong here: the texts, which are in `descriptions.json`, by
type of object as in the standard: `{type: {name: {text, type of what is in it}}}`. They are our own words.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

_ROOT = "Release"
_PUSHED = ("ocid", "id")  # what each table repeats of its parents (FLA-03)


class _Field(NamedTuple):
    text: str
    type: str | None


@cache
def _types() -> dict[str, dict[str, _Field]]:
    data = json.loads(resources.files("exporter").joinpath("descriptions.json").read_text(encoding="utf-8"))
    return {
        name: {key: _Field(found["text"], found.get("type")) for key, found in fields.items()}
        for name, fields in data.items()
    }


def _follow(path: tuple[str, ...], start: str | None) -> tuple[list[str], str | None] | None:
    """Go down a path from a type. Returns the texts on the way and the last type, or None where the standard ends."""
    texts, current = [], start
    for name in path:
        found = _types().get(current or "", {}).get(name)
        if found is None:
            return None
        texts.append(found.text)
        current = found.type
    return texts, current


def describe(table: tuple[str, ...], column: tuple[str, ...], tables: Collection[tuple[str, ...]] = ()) -> str:
    """Return the description of a column, or "" if its path is not in the standard.

    Args:
        table: the path of the table's objects from the release; empty for `main`.
        column: the path of the value within the object, or a column that joins to a parent: (`main`, `ocid`).
        tables: the paths of all tables, to say which one such a column joins to.
    """
    if table and len(column) >= 2 and column[-1] in _PUSHED:
        parent, name = column[:-1], column[-1]
        if parent == ("main",):
            what = "Open contracting ID of the process" if name == "ocid" else "ID of the release"
            return f"{what} that the row belongs to; joins to {name} in the table main."
        if len(parent) < len(table) and table[: len(parent)] == parent:
            depth = next((size for size in range(len(parent), 0, -1) if parent[:size] in tables), 0)
            to, there = "_".join(parent[:depth]) or "main", "_".join((*parent[depth:], name))
            return f"The {name} of the object that the row is part of; joins to {there} in the table {to}."
    base = _follow(table, _ROOT)
    if base is None:
        return ""
    found = _follow(column, base[1])
    return " ".join(found[0]) if found is not None else ""
