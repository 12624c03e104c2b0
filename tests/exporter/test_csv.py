"""CSV text and archives, read with other tools: Python's csv and tarfile, gzip, tar."""

from __future__ import annotations

import csv as python_csv
import gzip
import hashlib
import io
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from exporter import csv

if TYPE_CHECKING:
    from pathlib import Path

CELLS = ["plain", None, 'a "b"', "a,b", "a\nb", "a\r\nb", "a\rb", " s ", "\0", "é", "=1+1", "007", "😀"]


def test_cells_are_read_as_they_were() -> None:
    """Values are left as published, formulas too; only what needs quotes has them."""
    column, numbers = pa.array(CELLS), pa.array([None, *map(str, range(len(CELLS) - 1))])
    data = bytes(memoryview(csv.text([column, numbers], [pa.string(), pa.int64()])))
    rows = list(python_csv.reader(io.StringIO(data.decode(), newline="")))
    assert rows == [[cell or "", number or ""] for cell, number in zip(CELLS, numbers.to_pylist(), strict=True)]
    assert data.startswith(b'plain,\n,0\n"a ""b""",1\n')


def test_a_slice_gives_its_own_rows_only() -> None:
    """Arrow shares the bytes of slices."""
    column = pa.array(["a", "b", "c", "d"])[1:3]
    assert bytes(memoryview(csv.text([column], [pa.string()]))) == b"b\nc\n"


def test_a_row_whose_only_cell_is_empty_stays_a_row() -> None:
    """An empty line would be none."""
    assert bytes(memoryview(csv.text([pa.array(["a", None], pa.string())], [pa.string()]))) == b'a\n""\n'


def test_headers_are_quoted_where_they_must_be() -> None:
    """Keys may hold anything."""
    assert csv.header(["a", 'b"c', "d\re"]) == b'a,"b""c","d\re"\n'


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive of two tables, of three pieces."""
    pieces = []
    for number, cells in enumerate((["1", "2"], ["3"], ["x" * 2000])):
        rows = csv.Rows(tmp_path / f"{number}.gz", [pa.string()])
        rows.write([pa.array(cells)])
        rows.close()
        pieces.append([str(tmp_path / f"{number}.gz"), rows.size])
    path = tmp_path / "full.csv.tar.gz"
    tables = [
        {"name": "main", "columns": ["a"], "pieces": pieces[:2]},
        {"name": "long" * 40, "columns": ["b"], "pieces": pieces[2:]},
    ]
    result = csv.archive(str(path), "full", tables)
    assert result == {
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    return path


def test_an_archive_holds_one_folder_named_as_the_stem(archive: Path) -> None:
    """FLA-04."""
    with tarfile.open(archive) as tar:
        assert tar.getnames() == ["full", "full/main.csv", f"full/{'long' * 40}.csv"]
        main = tar.extractfile("full/main.csv")
        assert main is not None
        assert main.read() == b"a\n1\n2\n3\n"
        member = tar.getmember("full/main.csv")
        assert (member.mtime, member.uid, member.uname, member.mode) == (0, 0, "", 0o644)


def test_other_tools_read_an_archive_of_many_gzip_members(archive: Path, tmp_path: Path) -> None:
    """GNU tar and Python's gzip."""
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xzf", str(archive), "-C", str(tmp_path / "out")], check=True, capture_output=True)
    assert (tmp_path / "out/full/main.csv").read_bytes() == b"a\n1\n2\n3\n"
    assert len(gzip.decompress(archive.read_bytes())) % 512 == 0
