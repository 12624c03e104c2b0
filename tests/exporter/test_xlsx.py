"""Workbooks, read with openpyxl and as XML; what does not fit is named (ASK-08)."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import zipfile
from collections import Counter
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import openpyxl
import pyarrow as pa
import pytest

from exporter import jsonl, manifest, sheets, workbook, xlsx
from exporter.errors import StageError, StoppedError
from exporter.flatten import flatten
from exporter.util import Export
from exporter.workbook import Piece
from exporter.workers import Outcome, Pool, Task

if TYPE_CHECKING:
    from pathlib import Path


def made(path: Path, columns: dict[str, tuple[list[Any], pa.DataType]]) -> Counter[str]:
    """Write a workbook of one sheet, its rows in two pieces."""
    counts: Counter[str] = Counter()
    arrays = [pa.array(values, pa.string()) for values, _ in columns.values()]
    types = [kind for _, kind in columns.values()]
    half = len(arrays[0]) // 2
    pieces = [
        Piece.of(bytes(memoryview(sheets.rows([array[cut] for array in arrays], types, counts))))
        for cut in (slice(0, half), slice(half, None))
    ]
    file, _ = workbook.write(path, [("one", Piece.of(sheets.header(list(columns), counts)), pieces)])
    assert file == {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    return counts


def test_cells_are_texts_and_numbers_and_never_formulas(tmp_path: Path) -> None:
    """Numbers only in columns of numbers, and only as long as Excel keeps them."""
    texts = ["=1+1", "007", " padded ", "a\r\nb\tc", "<&>\"'", None, "", "+1", "é😀", "true"]
    numbers = ["1", "-2.5", "123456789012345", "1234567890123456", None, "0.00001", "7", "8", "9", "10"]
    path = tmp_path / "x.xlsx"
    counts = made(path, {"t": (texts, pa.string()), "n": (numbers, pa.float64()), "=h": ([None] * 10, pa.string())})
    assert not counts
    header, *rows = openpyxl.load_workbook(path)["one"].iter_rows(values_only=True)
    assert header == ("t", "n", "=h")
    assert [row[0] or None for row in rows] == [text or None for text in texts]
    assert [row[1] for row in rows] == [1, -2.5, 123456789012345, "1234567890123456", None, 0.00001, 7, 8, 9, 10]
    with zipfile.ZipFile(path) as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml").decode()
    assert "<f" not in sheet
    assert 'xml:space="preserve"' in sheet


def test_what_a_cell_cannot_hold_is_cut_or_replaced_and_counted(tmp_path: Path) -> None:
    """32,767 UTF-16 units; characters that XML forbids; what Excel reads as an escape."""
    texts = ["x" * 32_767, "y" * 32_768, "😀" * 16_384, "a\0b\x1f\ufffe", "_x000D_"]
    counts = made(tmp_path / "x.xlsx", {"t": (texts, pa.string())})
    assert counts == {"xlsx_cells_cut": 2, "xlsx_cells_with_replaced_characters": 1}
    cells = [
        row[0] for row in openpyxl.load_workbook(tmp_path / "x.xlsx")["one"].iter_rows(min_row=2, values_only=True)
    ]
    assert cells == ["x" * 32_767, "y" * 32_767, "😀" * 16_383, "a\ufffdb\ufffd\ufffd", "_x005F_x000D_"]


def test_a_workbook_is_well_formed_and_the_same_at_each_run(tmp_path: Path) -> None:
    """I7; checksums of joined pieces are right."""
    for name in ("a.xlsx", "b.xlsx"):
        made(tmp_path / name, {"t": (["1", "2", "3"], pa.int64())})
    assert (tmp_path / "a.xlsx").read_bytes() == (tmp_path / "b.xlsx").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.xlsx") as archive:
        assert archive.testzip() is None
        for name in archive.namelist():
            ET.fromstring(archive.read(name))  # noqa: S314 - our own


def test_names_of_sheets_are_short_allowed_and_unique() -> None:
    """31 characters; alike in no case; nothing that Excel forbids."""
    names = workbook.sheet_names(
        [
            "main",
            "contracts_implementation_milestones",
            "planning_budget_budgetBreakdown_budgetLines_components",
            "planning_budget_budgetBreakdown_budgetLines_component_s",
            "Main",
            "History",
            "'a[b]:*?/c'",
            "😀" * 20,
            "x" * 40,
            "x" * 41,
        ]
    )
    assert names[:3] == ["main", "contracts_implement_milestones", "plan_budg_budg_budg_components"]
    assert names[4:7] == ["Main_2", "History_2", "_a_b_____c_"]
    assert names[7] == "😀" * 15
    assert names[8:] == ["x" * 31, "x" * 29 + "_2"]
    assert all(len(name.encode("utf-16-le")) <= 62 for name in names)
    assert len({name.lower() for name in names}) == len(names)


@pytest.mark.parametrize(
    ("size", "rows", "columns", "expected"),
    [
        (10, 1_048_575, 16_384, None),
        (
            10,
            1_312_000,
            5,
            ("too_many_rows", "xlsx: parties has 1,312,000 rows, Excel holds 1,048,576 with the header"),
        ),
        (
            10,
            1_048_576,
            5,
            ("too_many_rows", "xlsx: parties has 1,048,576 rows, Excel holds 1,048,576 with the header"),
        ),
        (10, 5, 16_385, ("too_many_columns", "xlsx: parties has 16,385 columns, Excel holds 16,384")),
        (1001, 5, 5, ("too_many_bytes", "xlsx: full has 1,001 bytes of JSON Lines, the limit is 1,000")),
    ],
)
def test_what_excel_does_not_hold_is_named(
    size: int, rows: int, columns: int, expected: tuple[str, str] | None
) -> None:
    """FLA-05: a reason for programs and one for people."""
    limits = xlsx.Limits(max_bytes=1000)
    assert xlsx.too_large("full", size, {"parties": (rows, columns)}, limits) == expected


def export(root: Path) -> Export:
    target = Export("k", "1", root=root)
    lines = [
        (f"{year}-01-01", f'{{"ocid":"{number}","id":"{number}","date":"{year}-01-01"}}'.encode())
        for year in (2020, 2021)
        for number in range(200 if year == 2021 else 10)
    ]
    jsonl.export(target, [lines])
    return target


def missing(target: Export) -> dict[str, tuple[str, str]]:
    found = manifest.read(target.directory)
    assert found is not None
    return {entry.name: (entry.reason_code, entry.reason) for entry in found.missing}


def test_a_year_over_the_cap_has_no_workbook_and_everything_else(tmp_path: Path) -> None:
    """FLA-02: only the files that are too large lack theirs."""
    target = export(tmp_path)
    flatten(target, xlsx_max_bytes=5000)
    assert {path.name for path in target.directory.glob("*.xlsx")} == {"2020.xlsx"}
    assert (target.directory / "2021.csv.tar.gz").exists()
    assert {name: code for name, (code, _) in missing(target).items()} == {
        "2021.xlsx": "too_many_bytes",
        "full.xlsx": "too_many_bytes",
    }


def test_a_workbook_that_takes_too_long_harms_no_other_file(tmp_path: Path) -> None:
    """FLA-01: Excel never blocks."""
    target = export(tmp_path)
    flatten(target, xlsx_seconds=0.0)
    assert not list(target.directory.glob("*.xlsx"))
    assert (target.directory / "full.csv.tar.gz").exists()
    assert (target.directory / "parquet" / "main" / "year=2021" / "part-0.parquet").exists()
    reasons = missing(target)
    assert reasons["2021.xlsx"] == ("time", "xlsx: 2021 was not done after 0 seconds")
    assert reasons["full.xlsx"][0] == "lacks_year"


def waiting(path: Path, **limits: Any) -> Task:
    """A task that waits for ever, at a pipe to which nobody writes."""
    os.mkfifo(path)
    return Task("tabulate", {"source": str(path), "lines": 1, "folder": str(path.with_suffix(".out"))}, **limits)


def test_a_worker_is_killed_at_its_limits(tmp_path: Path) -> None:
    """Of time and of memory; the next task gets another worker."""
    tasks = [
        waiting(tmp_path / "a", seconds=0.5),
        waiting(tmp_path / "b", memory=1),
        Task("archive", {"path": str(tmp_path / "x.tar.gz"), "stem": "x", "tables": []}),
        Task("archive", {"path": str(tmp_path / "no" / "x.tar.gz"), "stem": "x", "tables": []}),
    ]
    with Pool(1) as pool:
        outcomes = list(pool.run(tasks, lambda _: ()))
    assert [outcome.code for outcome in outcomes] == ["time", "memory", None, "error"]
    assert outcomes[3].error.startswith("FileNotFoundError")


def test_a_crash_is_named_and_may_be_tried_again(tmp_path: Path) -> None:
    """Native code may stop its process."""
    seen: list[Outcome] = []

    def retry(outcome: Outcome) -> list[Task]:
        seen.append(outcome)
        return [Task("archive", {"path": str(tmp_path / "x.tar.gz"), "stem": "x", "tables": []})]

    with Pool(1) as pool:

        def kill() -> None:
            while not pool._busy:
                time.sleep(0.01)
            time.sleep(0.3)
            next(iter(pool._busy.values())).process.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        outcomes = list(pool.run([waiting(tmp_path / "a")], retry))
        killer.join()
    assert [outcome.code for outcome in seen] == ["crash"]
    assert [outcome.code for outcome in outcomes] == [None]


def test_a_failure_without_a_second_try_is_raised(tmp_path: Path) -> None:
    """With the worker's own words."""
    with Pool(1) as pool, pytest.raises(StageError, match="archive: FileNotFoundError"):
        list(pool.run([Task("archive", {"path": str(tmp_path / "no" / "x"), "stem": "x", "tables": []})]))


def test_stopping_kills_the_workers_and_leaves_nothing(tmp_path: Path) -> None:
    """A run that is terminated ends at once."""
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    with Pool(1, stop=stop) as pool:
        with pytest.raises(StoppedError):
            list(pool.run([waiting(tmp_path / "a")]))
        process = next(iter(pool._busy.values())).process
    assert process.poll() is not None
    target = export(tmp_path)
    with pytest.raises(StoppedError):
        flatten(target, stop=stop)
    assert not [path for path in target.directory.iterdir() if not path.name.endswith((".jsonl.gz", "manifest.json"))]
