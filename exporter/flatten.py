"""Flattening: from the year files of an export to tables, as CSV archives, Parquet datasets and Excel workbooks.

Belongs here: the order of the work, and what is recorded. Does not belong here: any step of it:

1. `parts` cuts the years' files into parts; `tabulate` makes tables of text of each, in worker processes;
2. `tables` makes one schema per table of what was found in all parts;
3. `project` goes once over the rows of each table and year and writes CSV and Parquet, in worker processes;
4. `csv.archive` puts the compressed CSV rows into archives, for each year and for `full`;
5. `xlsx` makes workbooks, where they fit, in worker processes with limits. They never hold up the others.

Everything is made in a temporary folder, synced, and renamed at the end; the manifest is changed last.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporter import files, manifest, parts, project, tables, xlsx
from exporter.errors import EmptyExportError, ExporterError, StageError
from exporter.parts import FULL, UNDATED, Part
from exporter.summary import Summary
from exporter.util import PARQUET
from exporter.workers import Outcome, Pool, Task

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from exporter.tables import RawTable, Table
    from exporter.util import Export

FORMATS = ("csv", "parquet", "xlsx")
_WHOLE = {"csv": f"{FULL}.csv.tar.gz", "parquet": PARQUET, "xlsx": f"{FULL}.xlsx"}
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
_WORK = "flatten-work"


@dataclass
class _Piece:
    """A part after `tabulate`: its raw tables, and where their rows are."""

    part: Part
    tables: dict[str, RawTable]
    paths: dict[str, str]


@dataclass
class _Cell:
    """The rows of a table in a year."""

    table: Table
    year: str
    inputs: list[dict[str, Any]]
    rows: int
    csv: Path
    csv_size: int = 0


@dataclass
class _Work:
    """What is known while flattening."""

    target: Export
    folder: Path
    formats: Sequence[str]
    pool: Pool
    counts: Counter[str] = field(default_factory=Counter)
    entries: list[manifest.FileEntry] = field(default_factory=list)
    missing: list[manifest.Missing] = field(default_factory=list)


def flatten(
    target: Export,
    *,
    formats: Sequence[str] = FORMATS,
    workers: int = 2,
    xlsx_max_bytes: int = 1 << 30,
    xlsx_seconds: float = 1800.0,
    progress: Callable[[int, int], None] | None = None,
    stop: threading.Event | None = None,
) -> Summary:
    """Flatten the compiled releases of an export directory, replacing earlier tables (FLA-01..FLA-04).

    Args:
        target: the export; its JSON Lines files are there.
        formats: of `csv`, `parquet` and `xlsx`.
        workers: processes.
        xlsx_max_bytes: bytes of JSON Lines of a file beyond which no workbook is made of it (FLA-02).
        xlsx_seconds: time for each workbook.
        progress: is given the releases and bytes of JSON Lines made into tables so far.
        stop: once it is set, the work ends with StoppedError and leaves no file.

    Returns:
        The summary; `details` has `tables` (rows by table), `years` (rows by year) and `missing` (reasons).

    Raises:
        EmptyExportError: if no release was flattened.
        BrokenExportError: if a JSON Lines file is damaged.
        LockFileError: if somebody flattens or exports the directory.
        PublishedExportError: if it is published.
        StageError: if the machine failed, such as a full disk. Nothing of it remains.
        StoppedError: if it was stopped.
    """
    start = time.monotonic()
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown:
        raise ExporterError(f"{', '.join(unknown)}: no such format: choose of {', '.join(FORMATS)}")
    with target.lock("flatten") as locks:
        manifest.begin_stage(target, "flatten")
        folder = files.temporary_name(target.directory / _WORK)
        files.make_directory(folder)
        try:
            with Pool(workers, stop=stop) as pool:
                work = _Work(target, folder, formats, pool)
                pieces = _tabulate(work, progress)
                found, cells = _make_tables(work, pieces)
                _project(work, cells)
                if "csv" in formats:
                    _archive(work, found, cells)
            if "xlsx" in formats:
                contents = [xlsx.Content(cell.table, cell.year, cell.inputs, cell.rows) for cell in cells]
                limits = xlsx.Limits(max_bytes=xlsx_max_bytes, seconds=xlsx_seconds, workers=workers)
                made = xlsx.make(folder, found, contents, _sizes(pieces), limits, stop=stop)
                work.entries += made.entries
                work.missing += made.missing
                work.counts.update(made.counts)
            work.missing += _not_asked_for(formats)
            locks.check()
            _put_in_place(work)
            _record(work, found)
        except (OSError, StageError) as error:
            cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise StageError(
                f"{target.directory}: flattening failed: {cause}: look at disk space and permissions, then repeat"
            ) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    rows: Counter[str] = Counter()
    by_year: Counter[str] = Counter()
    for cell in cells:
        rows[cell.table.name] += cell.rows
        by_year[cell.year] += cell.rows
    return Summary(
        files=len(work.entries),
        rows=rows.total(),
        bytes=sum(entry.bytes for entry in work.entries),
        seconds=time.monotonic() - start,
        skipped={name: count for name, count in sorted(work.counts.items()) if name.startswith("skipped_") and count},
        details={
            "tables": dict(rows),
            "years": dict(by_year),
            "missing": [entry.reason for entry in work.missing],
            "counts": dict(sorted(work.counts.items())),
        },
    )


def _not_asked_for(formats: Sequence[str]) -> list[manifest.Missing]:
    """Say why files of other formats are missing."""
    return [
        manifest.Missing(
            format=name,
            name=_WHOLE[name],
            reason_code="not_asked_for",
            reason=f"{name}: only {', '.join(formats)} was asked for",
        )
        for name in FORMATS
        if name not in formats
    ]


def _tabulate(work: _Work, progress: Callable[[int, int], None] | None) -> list[_Piece]:
    """Make tables of text of all parts. A line that flatterer cannot take is left out, counted."""

    def task(part: Part) -> Task:
        folder = part.path.with_suffix("")
        return Task("tabulate", {"source": str(part.path), "lines": part.lines, "folder": str(folder)}, label=part)

    def tasks() -> Iterator[Task]:
        for year in parts.years(work.target.directory):
            for part in parts.cut(work.target.directory, year, work.folder):
                yield task(part)

    def retry(outcome: Outcome) -> Iterable[Task]:
        part: Part = outcome.task.label
        folder = Path(outcome.task.arguments["folder"])
        for path in (folder, folder.with_name(f"{folder.name}-flatterer"), part.path.with_suffix(".mended")):
            files.delete(path)
        refused = outcome.code in {"crash", "memory"} or outcome.error.startswith(StageError.__name__)
        if not refused:  # a full disk, for one: the lines are not at fault
            raise StageError(outcome.error)
        return [task(half) for half in parts.halve(part)]

    result, releases, size = [], 0, 0
    known: dict[tuple[str, ...], tuple[str, ...]] = {}
    for outcome in work.pool.run(tasks(), retry):
        part: Part = outcome.task.label
        releases, size = releases + part.lines, size + part.size
        if outcome.code is not None:
            work.counts["skipped_not_flattened"] += 1
        else:
            work.counts.update(outcome.value["counts"])
            found = outcome.value["tables"]
            raw = {name: tables.RawTable.from_dict(data, known) for name, data in found.items()}
            result.append(_Piece(part, raw, {name: data["file"] for name, data in found.items()}))
        if progress is not None:
            progress(releases, size)
    if not any(piece.tables for piece in result):
        raise EmptyExportError(f"{work.target.directory}: there are no compiled releases to flatten: export first")
    return sorted(result, key=lambda piece: (piece.part.year == UNDATED, piece.part.year, piece.part.order))


def _sizes(pieces: Sequence[_Piece]) -> dict[str, int]:
    """Return the bytes of JSON Lines of each year."""
    sizes: Counter[str] = Counter()
    for piece in pieces:
        sizes[piece.part.year] += piece.part.size
    return dict(sizes)


def _make_tables(work: _Work, pieces: Sequence[_Piece]) -> tuple[list[Table], list[_Cell]]:
    found, renamed = tables.union([piece.tables for piece in pieces])
    work.counts.update(renamed)
    if "parquet" in work.formats and (in_parquet := sum(table.renamed_in_parquet for table in found)):
        work.counts["columns_renamed_in_parquet"] = in_parquet
    cells: list[_Cell] = []
    for number, table in enumerate(found):
        by_year: dict[str, _Cell] = {}
        for piece in pieces:
            for raw in (raw for raw in piece.tables if raw in table.sources):
                year = piece.part.year
                if year not in by_year:
                    by_year[year] = _Cell(table, year, [], 0, work.folder / f"{number}-{year}.csv.gz")
                raw_table = piece.tables[raw]
                by_year[year].inputs.append({"file": piece.paths[raw], "columns": raw_table.columns})
                by_year[year].rows += raw_table.rows
        cells += by_year.values()
    return found, cells


def _project(work: _Work, cells: Sequence[_Cell]) -> None:
    """Write CSV rows and Parquet of each table and year, the largest first so that workers end together."""
    schemas = {cell.table.name: project.schema_to_text(cell.table.schema) for cell in cells}

    def tasks() -> Iterator[Task]:
        for cell in sorted(cells, key=lambda cell: -cell.rows * len(cell.table.columns)):
            partition = NULL_PARTITION if cell.year == UNDATED else cell.year
            final = Path(PARQUET, cell.table.name, f"year={partition}", "part-0.parquet")
            if "parquet" in work.formats:
                (work.folder / final).parent.mkdir(parents=True)
            yield Task(
                "project",
                {
                    "inputs": cell.inputs,
                    "sources": [list(column.sources) for column in cell.table.columns],
                    "schema": schemas[cell.table.name],
                    "csv_path": str(cell.csv) if "csv" in work.formats else None,
                    "parquet_path": str(work.folder / final) if "parquet" in work.formats else None,
                },
                label=(cell, final),
            )

    for outcome in work.pool.run(tasks()):
        cell, final = outcome.task.label
        cell.csv_size = outcome.value.get("csv", 0)
        if "xlsx" not in work.formats:
            for each in cell.inputs:
                files.delete(Path(each["file"]))
        if "parquet" in outcome.value:
            work.entries.append(
                manifest.FileEntry(
                    name=final.as_posix(),
                    format="parquet",
                    year=year_value(cell.year),
                    table=cell.table.name,
                    rows=cell.rows,
                    **outcome.value["parquet"],
                )
            )


def year_value(stem: str) -> Any:
    """Return a file's stem as the manifest has it: years are numbers."""
    return int(stem) if stem.isdigit() else stem


def _archive(work: _Work, found: Sequence[Table], cells: Sequence[_Cell]) -> None:
    """Put the compressed CSV rows into an archive for each year, and into `full`."""
    years = list(dict.fromkeys(cell.year for cell in sorted(cells, key=lambda c: (c.year == UNDATED, c.year))))
    by_place = {(cell.table.name, cell.year): cell for cell in cells}

    def content(stems: list[str]) -> Iterator[tuple[Table, list[_Cell]]]:
        for table in found:
            there = [by_place[table.name, stem] for stem in stems if (table.name, stem) in by_place]
            if there:
                yield table, there

    def tasks() -> Iterator[Task]:
        for stem, stems in [(FULL, years), *((year, [year]) for year in years)]:
            inside = list(content(stems))
            yield Task(
                "archive",
                {
                    "path": str(work.folder / f"{stem}.csv.tar.gz"),
                    "stem": stem,
                    "tables": [
                        {
                            "name": table.name,
                            "columns": [column.name for column in table.columns],
                            "pieces": [[str(cell.csv), cell.csv_size] for cell in there],
                        }
                        for table, there in inside
                    ],
                },
                label=(stem, {table.name: sum(cell.rows for cell in there) for table, there in inside}),
            )

    for outcome in work.pool.run(tasks()):
        stem, rows = outcome.task.label
        work.entries.append(
            manifest.FileEntry(
                name=f"{stem}.csv.tar.gz",
                format="csv",
                year=year_value(stem),
                tables=rows,
                rows=sum(rows.values()),
                **outcome.value,
            )
        )
    for cell in cells:
        files.delete(cell.csv)


def _put_in_place(work: _Work) -> None:
    """Give every file its final name, synced."""
    directory = work.target.directory
    if "parquet" in work.formats:
        files.replace_tree(work.folder / PARQUET, directory / PARQUET)
    for entry in work.entries:
        if entry.format != "parquet":
            files.sync_file(work.folder / entry.name)
            files.replace(work.folder / entry.name, directory / entry.name)
    files.sync_directory(directory)


def _record(work: _Work, found: Sequence[Table]) -> None:
    manifest.record_stage(
        work.target,
        "flatten",
        files=work.entries,
        counts=work.counts,
        missing=work.missing,
        tables={
            table.name: [
                manifest.Column(name=column.name, type=str(column.arrow_type), description=column.description)
                for column in table.columns
            ]
            for table in found
        },
        versions=manifest.library_versions("flatterer", "pyarrow", "zlib-ng"),
    )
