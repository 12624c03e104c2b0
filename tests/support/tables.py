"""Comparing an export's tables with flatterer's own of the same lines, and its Parquet with its CSV."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import sys
import tarfile
from collections import Counter
from decimal import Decimal
from pathlib import Path

import flatterer
import pyarrow as pa
from pyarrow import dataset

from exporter import manifest

Row = frozenset[tuple[str, str]]


def parsed(text: io.TextIOBase | io.TextIOWrapper) -> tuple[set[str], Counter[Row]]:
    """Return the columns of a CSV file, and its rows as sets of (column, text) without empty cells."""
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(text)
    header = next(reader)
    rows = Counter(
        frozenset((name, cell) for name, cell in zip(header, row, strict=True) if cell != "") for row in reader
    )
    return set(header), rows


def own_tables(lines: list[bytes], folder: Path) -> dict[str, tuple[set[str], Counter[Row]]]:
    """Return flatterer's own tables of these lines, as the system before used it (FLA-03)."""
    source = folder / "lines.jsonl"
    source.write_bytes(b"\n".join(lines) + b"\n")
    flatterer.flatten(
        str(source), str(folder / "own"), ndjson=True, force=True, threads=1, pushdown=["ocid", "id"], no_link=True
    )
    result = {}
    for path in (folder / "own" / "csv").glob("*.csv"):
        with path.open(encoding="utf-8", newline="") as text:
            result[path.stem] = parsed(text)
    return result


def archived(path: Path) -> dict[str, tuple[set[str], Counter[Row]]]:
    """Return the tables of an archive, checking its folder's name."""
    result = {}
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile():
                folder, _, name = member.name.partition("/")
                assert folder == path.name.removesuffix(".csv.tar.gz")
                file = archive.extractfile(member)
                assert file is not None
                result[name.removesuffix(".csv")] = parsed(io.TextIOWrapper(file, encoding="utf-8", newline=""))
    return result


def text_of(value: object) -> str:
    """Write a value of Parquet as the JSON text it came from."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f").removesuffix(".0")
    return str(value)


def moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def compare_tables(directory: Path, source: Path, scratch: Path) -> None:
    """Check an export's CSV and Parquet.

    Args:
        directory: the export directory.
        source: the same releases as gzipped JSON Lines.
        scratch: a folder to work in.
    """
    expected = own_tables(gzip.decompress(source.read_bytes()).split(b"\n"), scratch)
    full = archived(directory / "full.csv.tar.gz")
    assert full == expected

    years: dict[str, Counter[Row]] = {}
    for path in directory.glob("*.csv.tar.gz"):
        if not path.name.startswith("full"):
            for table, (columns, rows) in archived(path).items():
                assert columns == expected[table][0], "a year file has other columns than full"
                years[table] = years.get(table, Counter()) + rows
    assert years == {table: rows for table, (_, rows) in expected.items()}

    found = manifest.read(directory)
    assert found is not None
    for table, (_, rows) in expected.items():
        compare_parquet(directory / "parquet" / table, found.tables[table], rows)


def compare_parquet(folder: Path, columns: list[manifest.Column], expected: Counter[Row]) -> None:
    """Check that a dataset has the manifest's types, and the rows of CSV."""
    read = dataset.dataset(folder, partitioning=None).to_table()
    assert {field.name: str(field.type) for field in read.schema} == {column.name: column.type for column in columns}
    moments = {column.name for column in columns if column.type.startswith("timestamp")}

    def cell(name: str, value: object) -> str:
        return text_of(value) if name not in moments else value.isoformat()  # type: ignore[attr-defined]

    got: Counter[Row] = Counter()
    for row in read.to_pylist():
        got[frozenset((name, cell(name, value)) for name, value in row.items() if value is not None)] += 1
    wanted: Counter[Row] = Counter()
    for row, count in expected.items():
        at = {name: moment(text).astimezone(dt.UTC) for name, text in row if name in moments}
        wanted[frozenset((name, at[name].isoformat() if name in at else text) for name, text in row)] += count
    assert got == wanted
    assert pa.types.is_string(read.schema.field("main_ocid" if "main_ocid" in read.column_names else "ocid").type)
