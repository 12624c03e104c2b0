"""How what was done looks in Dagit: tables, sizes and dates as people read them, numbers that plot over time.

Belongs here: making metadata values, the same way for every asset. Does not belong here: what an asset shows.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

MAX_ROWS = 30
"""A longer table pushes everything after it off the page."""

Cell = str | int | float | bool | None
Row = Mapping[str, Cell]


def size(count: int) -> str:
    """A number of bytes for people, in powers of 1000: `12.3 MB`."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def table(
    rows: Sequence[Row], columns: Mapping[str, str], *, limit: int = MAX_ROWS
) -> dg.TableMetadataValue | dg.TextMetadataValue:
    """A table, cut to `limit` rows with a last row that says how many are left out.

    Args:
        rows: maps of column to value.
        columns: the columns' names and types (`string`, `int`, `float`), in order.
        limit: the rows to show.
    """
    if not rows:
        return dg.MetadataValue.text("none")
    shown = [{name: _cell(row.get(name), kind) for name, kind in columns.items()} for row in rows[:limit]]
    if len(rows) > limit:
        # Numbers would sort and align as text with a text among them, so only text columns say it.
        note = f"… and {len(rows) - limit:,} more"
        shown.append({name: (note if i == 0 else "") for i, name in enumerate(columns)})
    return dg.MetadataValue.table(
        records=[dg.TableRecord(row) for row in shown],
        schema=dg.TableSchema([dg.TableColumn(name, kind) for name, kind in columns.items()]),
    )


def _cell(value: Cell, kind: str) -> str | int | float | bool:
    if value is None:
        return ""
    return round(value, 4) if kind == "float" and isinstance(value, float) else value


def counts(values: Mapping[str, int], *, label: str) -> dg.TableMetadataValue | dg.TextMetadataValue:
    """Counts by name as a table, with names for people."""
    rows: list[Row] = [{label: name.replace("_", " "), "count": n} for name, n in values.items()]
    return table(rows, {label: "string", "count": "int"})


def date_range(first: datetime.date | None, last: datetime.date | None) -> str:
    """Two dates for people."""
    if first is None and last is None:
        return "no release has a date"
    return f"{first or '…'} to {last or '…'}"


def columns(fields: Iterable[tuple[str, str, str]]) -> dg.TableSchemaMetadataValue:
    """A table's columns, given as (name, type, description)."""
    return dg.MetadataValue.table_schema(
        dg.TableSchema([dg.TableColumn(name, kind, description=text or None) for name, kind, text in fields])
    )


def preview(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dg.MarkdownMetadataValue:
    """The first rows of a table, as Markdown: wide tables scroll there, and long values are cut."""
    head = f"| {' | '.join(_markdown(name) for name in names)} |\n|{' --- |' * len(names)}"
    body = "\n".join(f"| {' | '.join(_markdown(row.get(name)) for name in names)} |" for row in rows)
    return dg.MetadataValue.md(f"{head}\n{body}")


def _markdown(value: Any, longest: int = 60) -> str:
    text = "" if value is None else str(value)
    text = " ".join(text.split())
    text = text if len(text) <= longest else text[: longest - 1] + "…"
    for character in "\\`*_{}[]<>#|":  # published text must not become markup
        text = text.replace(character, "\\" + character)
    return text
