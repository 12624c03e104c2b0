"""Descriptions of columns, compared with the standard's own schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exporter.descriptions import describe

DEEPEST = 8  # objects below each other: the schema has parts that hold themselves
Names = tuple[str, ...]


def columns(schema: dict[str, Any], node: dict[str, Any], table: Names, column: Names, depth: int) -> Iterator[Any]:
    """Give the table and the column of every value that a release may have by the schema."""

    def found(part: dict[str, Any]) -> dict[str, Any]:
        return schema["definitions"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part

    for name, part in node.get("properties", {}).items() if depth < DEEPEST else ():
        value = found(part)
        if "properties" in value:
            yield from columns(schema, value, table, (*column, name), depth + 1)
        elif "properties" in (item := found(value.get("items", {}))):
            yield from columns(schema, item, (*table, *column, name), (), depth + 1)
        else:
            yield table, (*column, name)


def test_every_path_of_the_standard_has_a_description(shared: Path) -> None:
    """ASK-09: those of the release schema of OCDS 1.1.5, whatever they are nested in."""
    schema = json.loads((shared / "ocds" / "release-schema.json").read_bytes())
    paths = list(columns(schema, schema, (), (), 0))
    assert len(paths) > 500
    assert [path for path in paths if not describe(*path)] == []
