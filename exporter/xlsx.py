"""Excel: a workbook for each year and for `full`, where they fit. What does not fit is named with its reason (ASK-08).

Belongs here: limits, and what is made in which process. Does not belong here: cells (`sheets`), files (`workbook`).

Rows of a year are made and compressed once, in a worker process that has limits of time and memory; `full` is joined
from them. Whatever goes wrong here becomes a reason in the manifest, and no other file waits for it (FLA-01, FLA-05).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporter import files, manifest, project, sheets, workbook
from exporter.parts import FULL, UNDATED
from exporter.workbook import Piece, PieceWriter
from exporter.workers import Outcome, Pool, Task

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from exporter.tables import Table

ROWS, COLUMNS = 1_048_576, 16_384  # of a sheet, the header among the rows


@dataclass(frozen=True)
class Limits:
    """What a workbook may cost.

    Attributes:
        max_bytes: bytes of JSON Lines of its releases (FLA-02).
        seconds: time.
        memory: resident bytes of its process.
        workers: processes at once.
    """

    max_bytes: int = 1 << 30
    seconds: float = 1800.0
    memory: int = 400 << 20
    workers: int = 2


@dataclass(frozen=True)
class Content:
    """The rows of a table in a year: see `project.rows` for `inputs`."""

    table: Table
    year: str
    inputs: list[dict[str, Any]]
    rows: int


@dataclass
class Made:
    """What came of it."""

    entries: list[manifest.FileEntry] = field(default_factory=list)
    missing: list[manifest.Missing] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def too_large(stem: str, size: int, tables: Mapping[str, tuple[int, int]], limits: Limits) -> tuple[str, str] | None:
    """Return why a workbook cannot be, as a code and a sentence; None if it can.

    Args:
        stem: `full`, `undated` or the year.
        size: bytes of JSON Lines.
        tables: rows and columns of each table.
        limits: what it may cost.
    """
    for name, (rows, columns) in tables.items():
        if rows + 1 > ROWS:
            return "too_many_rows", f"xlsx: {name} has {rows:,} rows, Excel holds {ROWS:,} with the header"
        if columns > COLUMNS:
            return "too_many_columns", f"xlsx: {name} has {columns:,} columns, Excel holds {COLUMNS:,}"
    if size > limits.max_bytes:
        return "too_many_bytes", f"xlsx: {stem} has {size:,} bytes of JSON Lines, the limit is {limits.max_bytes:,}"
    return None


def make(
    folder: Path,
    tables: Sequence[Table],
    contents: Sequence[Content],
    sizes: Mapping[str, int],
    limits: Limits,
    *,
    stop: threading.Event | None = None,
) -> Made:
    """Make the workbooks that fit.

    Args:
        folder: where to write them.
        tables: all of the export, in the order of sheets.
        contents: the rows.
        sizes: bytes of JSON Lines of each year.
        limits: what each may cost.
        stop: see `workers.Pool`.
    """
    made = Made()
    names = dict(zip((table.name for table in tables), workbook.sheet_names(t.name for t in tables), strict=True))
    years = sorted({content.year for content in contents}, key=lambda year: (year == UNDATED, year))
    by_year = {year: [content for content in contents if content.year == year] for year in years}
    pieces: dict[tuple[str, str], dict[str, Any]] = {}

    def fits(stem: str) -> bool:
        there = [content for content in contents if stem in {FULL, content.year}]
        rows: Counter[str] = Counter()
        for content in there:
            rows[content.table.name] += content.rows
        shape = {content.table.name: (rows[content.table.name], len(content.table.columns)) for content in there}
        size = sum(sizes.values()) if stem == FULL else sizes[stem]
        reason = too_large(stem, size, shape, limits)
        if reason is not None:
            _miss(made, stem, *reason)
        return reason is None

    def task(stem: str, there: Sequence[Content]) -> Task:
        rows: Counter[str] = Counter()
        inside: dict[str, dict[str, Any]] = {}
        for table in tables:
            for content in (content for content in there if content.table is table):
                rows[table.name] += content.rows
                one = inside.setdefault(
                    table.name,
                    {
                        "name": names[table.name],
                        "columns": [column.name for column in table.columns],
                        "sources": [list(column.sources) for column in table.columns],
                        "schema": project.schema_to_text(table.schema),
                        "pieces": [],
                    },
                )
                ready = pieces.get((table.name, content.year))
                one["pieces"].append(ready or {"inputs": content.inputs, "path": _piece_path(folder, names, content)})
        arguments = {"path": str(folder / f"{stem}.xlsx"), "tables": list(inside.values())}
        return Task("make_workbook", arguments, (stem, there, rows), limits.seconds, limits.memory)

    def tasks() -> Iterator[Task]:
        for year in sorted(years, key=lambda year: -sizes[year]):
            if fits(year):
                yield task(year, by_year[year])

    with Pool(limits.workers, stop=stop) as pool:
        for outcome in pool.run(tasks(), _give_up):
            _take(made, outcome, limits)
            if outcome.code is None:
                of = iter(outcome.value["pieces"])
                for table in tables:
                    for content in (content for content in outcome.task.label[1] if content.table is table):
                        pieces[table.name, content.year] = next(of)
                        for each in content.inputs:
                            files.delete(Path(each["file"]))
        lacking = [content.year for content in contents if (content.table.name, content.year) not in pieces]
        if not fits(FULL):
            return made
        if lacking:
            _miss(
                made, FULL, "lacks_year", f"xlsx: {FULL} is joined from the years, and {lacking[0]} could not be made"
            )
            return made
        for outcome in pool.run([task(FULL, contents)], _give_up):
            _take(made, outcome, limits)
    return made


def _piece_path(folder: Path, names: Mapping[str, str], content: Content) -> str:
    return str(folder / f"{list(names).index(content.table.name)}-{content.year}.sheet")


def _give_up(_: Outcome) -> Iterable[Task]:
    return ()


def _miss(made: Made, stem: str, code: str, reason: str) -> None:
    made.missing.append(manifest.Missing(format="xlsx", name=f"{stem}.xlsx", reason_code=code, reason=reason))


def _take(made: Made, outcome: Outcome, limits: Limits) -> None:
    stem, _, rows = outcome.task.label
    if outcome.code is None:
        if stem != FULL:  # the same cells again
            made.counts.update(outcome.value["counts"])
        made.entries.append(
            manifest.FileEntry(
                name=f"{stem}.xlsx",
                format="xlsx",
                year=int(stem) if stem.isdigit() else stem,
                tables=dict(rows),
                rows=rows.total(),
                **outcome.value["file"],
            )
        )
        return
    reason = {
        "time": f"xlsx: {stem} was not done after {limits.seconds:,.0f} seconds",
        "memory": f"xlsx: {stem} needs more than {limits.memory:,} bytes of memory",
    }.get(outcome.code, f"xlsx: {stem} failed: {outcome.error}")
    _miss(made, stem, outcome.code, reason)


def make_workbook(path: str, tables: list[dict[str, Any]]) -> dict[str, Any]:
    """Make one workbook, in a worker process.

    Args:
        path: the file.
        tables: of each sheet `{name, columns, sources, schema, pieces}`; a piece is ready, as returned, or is to be
            made: `{inputs, path}`.

    Returns:
        `file`: its `bytes` and `sha256`; `pieces`, in order; `counts`.
    """
    counts: Counter[str] = Counter()
    content = []
    for table in tables:
        first = Piece.of(sheets.header(table["columns"], Counter()))
        types = project.text_to_schema(table["schema"]).types
        pieces = []
        for piece in table["pieces"]:
            if "inputs" in piece:
                pieces.append(_piece(piece, table["sources"], types, counts))
            else:
                pieces.append(Piece(**piece))
        content.append((table["name"], first, pieces))
    written, rows = workbook.write(Path(path), content)
    for table in tables:
        for piece in table["pieces"]:
            if "inputs" in piece:  # they are in the workbook now
                files.delete(Path(piece["path"]))
    return {"file": written, "pieces": [asdict(piece) for piece in rows], "counts": counts}


def _piece(piece: dict[str, Any], sources: list[list[str]], types: Sequence[Any], counts: Counter[str]) -> Piece:
    writer = PieceWriter(Path(piece["path"]))
    for columns in project.rows(piece["inputs"], sources):
        writer.write(memoryview(sheets.rows(columns, types, counts)))
    return writer.close()
