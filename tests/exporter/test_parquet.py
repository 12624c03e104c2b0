"""Parquet files, read with pyarrow, DuckDB, polars and pandas."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import dataset
from pyarrow import parquet as pq

from exporter import parquet

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = pa.schema(
    [
        pa.field("ocid", pa.string(), metadata={"description": "Names the process."}),
        pa.field("n", pa.int64()),
        pa.field("x", pa.float64()),
        pa.field("b", pa.bool_()),
        pa.field("t", pa.timestamp("us", "UTC")),
    ]
)
COLUMNS = [
    pa.array(["a", "b", None]),
    pa.array(["1", None, "-3"]),
    pa.array(["0.5", "2", None]),
    pa.array(["true", None, "false"]),
    pa.array(["2020-01-01T00:00:00+01:00", None, "0207-05-15T00:00:00Z"]),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset of a year and of undated rows."""
    for partition in ("year=2020", "year=__HIVE_DEFAULT_PARTITION__"):
        path = tmp_path / "t" / partition / "part-0.parquet"
        path.parent.mkdir(parents=True)
        rows = parquet.Rows(path, SCHEMA)
        rows.write(COLUMNS)
        rows.write(COLUMNS)
        result = rows.close()
        assert result == {
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
    return tmp_path / "t"


def test_a_file_is_typed_compressed_described_and_has_statistics(folder: Path) -> None:
    """ASK-09."""
    file = pq.ParquetFile(folder / "year=2020" / "part-0.parquet")
    assert file.schema_arrow.equals(SCHEMA)
    assert file.schema_arrow.field("ocid").metadata[b"description"] == b"Names the process."
    group = file.metadata.row_group(0)
    assert (file.metadata.num_rows, file.metadata.num_row_groups) == (6, 1)
    assert group.column(0).compression == "ZSTD"
    assert (group.column(1).statistics.min, group.column(1).statistics.max) == (-3, 1)


def test_duckdb_reads_a_dataset_with_its_years(folder: Path) -> None:
    """Undated rows are in the null partition."""
    found = duckdb.sql(
        f"SELECT year, count(*), sum(n) FROM read_parquet('{folder}/*/*.parquet', hive_partitioning=true)"  # noqa: S608
        " GROUP BY year ORDER BY year NULLS LAST"
    ).fetchall()
    assert [(str(year) if year is not None else None, count, total) for year, count, total in found] == [
        ("2020", 6, -4),
        (None, 6, -4),
    ]


def test_polars_and_pandas_read_a_dataset(folder: Path) -> None:
    """The same values as everywhere."""
    table = pl.read_parquet(folder / "**/*.parquet", hive_partitioning=True)
    assert table["x"].sum() == 10.0
    assert table["year"].null_count() == 6
    hive = dataset.partitioning(pa.schema([("year", pa.int32())]), flavor="hive")
    frame = pd.read_parquet(folder, partitioning=hive)
    assert (frame["year"].isna().sum(), frame["year"].max()) == (6, 2020)
    assert frame["ocid"].tolist()[:2] == ["a", "b"]
    assert str(frame["t"][0]) == "2019-12-31 23:00:00+00:00"


def test_large_tables_have_several_row_groups(tmp_path: Path) -> None:
    """So that memory stays bounded and readers can skip."""
    rows = parquet.Rows(tmp_path / "x.parquet", pa.schema([("a", pa.string())]))
    for _ in range(4):
        rows.write([pa.array(["x"] * 100_000)])
    rows.close()
    file = pq.ParquetFile(tmp_path / "x.parquet").metadata
    assert [file.row_group(number).num_rows for number in range(file.num_row_groups)] == [300_000, 100_000]
