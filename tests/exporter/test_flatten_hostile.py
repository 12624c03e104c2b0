"""Invented hostile lines pass through flattening right, or are counted; none stops the others (I8)."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import tarfile
from functools import partial
from typing import TYPE_CHECKING, Any

import openpyxl
import pytest
from pyarrow import dataset

from exporter import files, jsonl, manifest, parts
from exporter.errors import BrokenExportError, EmptyExportError, LockFileError, PublishedExportError
from exporter.flatten import flatten
from exporter.util import PUBLISHED, Export
from tests.support.tables import compare_tables

if TYPE_CHECKING:
    from pathlib import Path

DEEP = '{"k":' * 10_000 + "1" + "}" * 10_000
LINES = {
    "integers": '"x":9007199254740993,"y":18446744073709551617,"z":-1e400',
    "floats": '"x":1.10,"y":0.1000000000000000055,"z":[1,1e400]',
    "surrogates": r'"x":"a\ud800b","y":"\ud83d\ude00","z":"\\ud800"',
    "nul": r'"x":"a\u0000b","y":"\u0001\u0008"',
    "emoji": '"x":"😀 \U00010348"',
    "arrays": '"x":[[1,[2]],{"a":1}],"y":["a","b,c"],"z":[" p "]',
    "empty-key": '"":"e","x":{"":"f"}',
    "dots": '"x.a":"1","x":{"a":"2"}',
    "collide": '"c_d":"1","c":{"d":"2"}',
    "merge": '"c":{"e":"2"}',
    "case": '"x":"1","X":"2"',
    "slash": '"s/t":[{"v":"1"}],"u/v":"2"',
    "escaping": '"../../../escaped":[{"v":"1"}]',
    "deep": f'"x":{DEEP}',
    "duplicate": '"x":"first","x":"second"',
    "formula": '"x":"=1+1","y":"007","z":"@SUM(1)"',
    "breaks": r'"x":"a\r\nb\rc","y":"  padded  "',
}


def line(name: str, members: str, year: int = 2021) -> bytes:
    return f'{{"ocid":"o-{name}","id":"{name}","date":"{year}-01-01T00:00:00Z",{members}}}'.encode()


def export(root: Path, lines: list[bytes], *, name: str = "1") -> Export:
    target = Export("hostile", name, root=root)
    source = root / f"{name}.jsonl"
    source.write_bytes(b"\n".join(lines) + b"\n")
    jsonl.export(target, jsonl.read_source(source))
    return target


def table(target: Export, stem: str, name: str) -> list[dict[str, str]]:
    """Return the rows of a table in an archive, without empty cells."""
    csv.field_size_limit(sys.maxsize)
    with tarfile.open(target.directory / f"{stem}.csv.tar.gz") as archive:
        file = archive.extractfile(f"{stem}/{name}.csv")
        assert file is not None
        rows = csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline=""))
        return [{key: value for key, value in row.items() if value} for row in rows]


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> tuple[Export, dict[str, Any]]:
    """All hostile lines, flattened."""
    root = tmp_path_factory.mktemp("hostile")
    target = export(root, [line(name, members) for name, members in LINES.items()])
    summary = flatten(target).to_dict()
    assert not (root / "escaped.csv").exists()
    return target, summary


def cells(flat: tuple[Export, dict[str, Any]]) -> dict[str, dict[str, str]]:
    common = {"ocid", "id", "date"}
    return {
        row["id"]: {key: value for key, value in row.items() if key not in common}
        for row in table(flat[0], "2021", "main")
    }


def test_every_hostile_line_has_its_row_and_cells(flat: tuple[Export, dict[str, Any]]) -> None:
    """Written by hand: what each line's values are as text."""
    found = cells(flat)
    assert found.keys() == LINES.keys()
    deep = found.pop("deep")
    assert found == {
        "integers": {"x": "9007199254740993", "y": "18446744073709551617", "z": "-1e400"},
        "floats": {"x": "1.1", "y": "0.1000000000000000055", "z": "[1,1e400]"},
        "surrogates": {"x": "a\ufffdb", "y": "😀", "z": "\\ud800"},
        "nul": {"x": "a\0b", "y": "\1\b"},
        "emoji": {"x": "😀 \U00010348"},
        "arrays": {"x": '[[1,[2]],{"a":1}]', "y": 'a,"b,c"', "z": " p "},
        "empty-key": {"": "e", "x_": "f"},
        "dots": {"x.a": "1", "x_a": "2"},
        "collide": {"c_d": "1", "c_d_2": "2"},
        "merge": {"c_e": "2"},
        "case": {"x": "1", "X": "2"},
        "slash": {"u/v": "2"},
        "escaping": {},
        "duplicate": {"x": "second"},
        "formula": {"x": "=1+1", "y": "007", "z": "@SUM(1)"},
        "breaks": {"x": "a\r\nb\rc", "y": "  padded  "},
    }
    ((column, text),) = deep.items()
    levels = column.count("_k")
    assert column == "x" + "_k" * levels
    assert text == DEEP[5 * levels : len(DEEP) - levels]


def test_keys_never_name_files_outside(flat: tuple[Export, dict[str, Any]]) -> None:
    """A key with slashes is a table whose file has none (I5)."""
    assert table(flat[0], "2021", "s_t") == [{"v": "1", "main_ocid": "o-slash", "main_id": "slash"}]
    assert table(flat[0], "full", ".._.._.._escaped")[0]["v"] == "1"


def test_what_was_changed_is_counted(flat: tuple[Export, dict[str, Any]]) -> None:
    """In the summary and in the manifest (I8)."""
    counts = flat[1]["details"]["counts"]
    assert counts == {
        "columns_renamed": 1,
        "keys_with_slash": 3,
        "numbers_kept_as_text": 3,
        "surrogates_replaced": 1,
        "values_kept_as_json": 2,
        "xlsx_cells_cut": 1,
        "xlsx_cells_with_replaced_characters": 2,
    }
    recorded = manifest.read(flat[0].directory)
    assert recorded is not None
    assert recorded.stages["flatten"].counts == counts
    assert flat[1]["skipped"] == {}


def test_parquet_and_excel_hold_the_same(flat: tuple[Export, dict[str, Any]]) -> None:
    """Excel but for what XML cannot write and its longest cell."""
    expected = cells(flat)
    read = dataset.dataset(flat[0].directory / "parquet" / "main", partitioning=None).to_table().to_pylist()
    for row in read:
        got = {
            key: str(value) for key, value in row.items() if value is not None and key not in {"ocid", "id", "date"}
        }
        assert got == expected[row["id"]]
    sheet = openpyxl.load_workbook(flat[0].directory / "2021.xlsx")["main"]
    header, *rows = sheet.iter_rows(values_only=True)
    for row in rows:
        values = {key or "": str(value) for key, value in zip(header, row, strict=True) if value is not None}
        want = dict(expected[values["id"]])
        if values["id"] == "nul":
            want = {"x": "a\ufffdb", "y": "\ufffd\ufffd"}
        elif values["id"] == "deep":
            want = {key: value[:32_767] for key, value in want.items()}
        assert {key: value for key, value in values.items() if key not in {"ocid", "id", "date"}} == want


OWN = {
    **{
        name: LINES[name] for name in ("emoji", "empty-key", "dots", "merge", "case", "duplicate", "formula", "breaks")
    },
    "arrays": '"x":[[1,[2]],{"a":1}],"y":["a","b,c"],"z":[[],[null]],"w":[[{"a":1}]]',
    "integers": '"x":9007199254740993,"y":18446744073709551615,"z":-9223372036854775808,"w":0.1',
    "lists": '"l":[{"id":"1","m":[{"id":2,"n":[{"v":"=1"}]},{}]},{"id":null}],"L":[{"id":"1"}],"e":[],"o":{}',
    "types": '"l":{"id":"1"},"L":["1","2"],"x":{"y":[{"v":1}]}',
    "again": '"l":[],"l":[{"id":"7"}],"x":[{"y":1}],"x":{"y":[{"v":2}]}',
    "quotes": r'"a\"b":"c\"d","e\nf":"g,h","é\u0301":"\u00e9"',
}


def test_the_tables_of_odd_lines_are_flatterers_own(tmp_path: Path) -> None:
    """FLA-03: where it reads a line and keeps its values, so in all but the cases of which the documents tell."""
    lines = [line(name, members, 2020 + len(name) % 3) for name, members in OWN.items()]
    target = export(tmp_path, lines)
    summary = flatten(target, formats=("csv", "parquet"))
    source = tmp_path / "source.jsonl.gz"
    source.write_bytes(gzip.compress(b"\n".join(lines)))
    compare_tables(target.directory, source, tmp_path)
    assert summary.details["counts"] == {}


def test_a_list_called_main_adds_no_rows_to_the_releases(tmp_path: Path) -> None:
    """It is a table of its own, counted; what is below it keeps the release's `main_id` and gets its own beside it."""
    target = export(tmp_path, [line("a", '"main":[{"id":"m","list":[{"v":"1"}]}],"b":{"main":[{"v":"2"}]}')])
    summary = flatten(target, formats=("csv", "parquet"))
    assert [row["id"] for row in table(target, "full", "main")] == ["a"]
    release = {"main_ocid": "o-a", "main_id": "a"}
    assert table(target, "full", "main_2") == [{"id": "m", **release}]
    assert table(target, "full", "main_list") == [{"v": "1", **release, "main_id_2": "m"}]
    assert table(target, "full", "b_main") == [{"v": "2", **release}]
    assert summary.details["counts"] == {"tables_renamed": 1, "columns_renamed": 1}


def test_a_line_of_100_mb_passes(tmp_path: Path) -> None:
    """It is a part of its own."""
    text = "é" * 50_000_000
    target = export(tmp_path, [line("a", '"x":1'), line("b", f'"x":"{text}"'), line("c", '"x":2')])
    summary = flatten(target, formats=("csv",))
    assert summary.rows == 3
    assert [row["x"] for row in table(target, "full", "main")] == ["1", text, "2"]


def test_lines_that_are_no_json_objects_are_counted_and_lose_no_year(tmp_path: Path) -> None:
    """A year file that something else wrote: bad lines, a byte order mark, blank lines, CR LF."""
    target = export(tmp_path, [line("a", '"x":1')])
    lines = [
        b"\xef\xbb\xbf" + line("a", '"x":1') + b"\r", b"", b"   ", b"{bad", b"[1]", b"7", b'{"ocid":"\xff"}',
        b'{"ocid":NaN}', line("b", '"x":2') + b" " + line("c", '"x":3'), line("d", '"x":4'),
    ]  # fmt: skip
    (target.directory / "2021.jsonl.gz").write_bytes(gzip.compress(b"\n".join(lines)))
    summary = flatten(target, formats=("csv", "parquet"))
    assert [row["id"] for row in table(target, "2021", "main")] == ["a", "d"]
    assert summary.skipped == {
        "skipped_blank_lines": 2,
        "skipped_invalid_json": 3,
        "skipped_invalid_utf8": 1,
        "skipped_not_object": 2,
    }


def test_releases_without_a_row_are_counted(tmp_path: Path) -> None:
    """I8: flatterer has none for those that have no value for `main`, until the first that has one."""
    lines = [b'{"awards":[{"id":"1"}]}', b"{}", b'{"awards":[]}', b'{"tender":{}}', b'{"ocid":"x"}', b"{}"]
    target = export(tmp_path, lines)
    summary = flatten(target, formats=("csv",))
    assert table(target, "full", "main") == [{"ocid": "x"}, {}]
    assert table(target, "full", "awards") == [{"id": "1"}]
    assert summary.skipped == {"skipped_empty_releases": 4}


def test_a_truncated_file_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    """The export is broken: it is never flattened in part."""
    target = export(tmp_path, [line(str(number), f'"x":"{number}"') for number in range(1000)])
    path = target.directory / "2021.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BrokenExportError, match=r"2021\.jsonl\.gz.*export again"):
        flatten(target)
    assert sorted(each.name for each in target.directory.iterdir()) == [
        "2021.jsonl.gz",
        "full.jsonl.gz",
        "manifest.json",
    ]


def test_nothing_to_flatten_is_a_named_failure(tmp_path: Path) -> None:
    """DEF-04."""
    target = Export("hostile", "1", root=tmp_path)
    files.make_directory(target.directory)
    with pytest.raises(EmptyExportError, match="export first"):
        flatten(target)


def test_published_and_locked_exports_are_left_alone(tmp_path: Path) -> None:
    """I2, and the same work asked for twice."""
    target = export(tmp_path, [line("a", '"x":1')])
    with target.lock("flatten"), pytest.raises(LockFileError):
        flatten(target)
    (target.directory / PUBLISHED).touch()
    with pytest.raises(PublishedExportError):
        flatten(target)


def digests(target: Export) -> dict[str, str]:
    return {
        str(path.relative_to(target.directory)): files.sha256_file(path)
        for path in sorted(target.directory.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }


def test_bytes_are_the_same_for_any_number_of_workers_and_at_every_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I7, with several parts a year."""
    monkeypatch.setattr(parts, "cut", partial(parts.cut, size=20_000))
    lines = [
        line(
            f"{number}",
            json.dumps({"n": number / 4, "items": [{"id": str(item)} for item in range(number % 5)]})[1:-1],
            year,
        )
        for year in (2019, 2021)
        for number in range(800)
    ]
    one = export(tmp_path, lines, name="1")
    two = export(tmp_path, lines, name="2")
    flatten(one, workers=1)
    flatten(two, workers=2)
    first = digests(one)
    assert first == digests(two)
    flatten(two, workers=3)
    assert first == digests(two)
    rows = [row["id"] for row in table(one, "full", "main")]
    assert rows == [*map(str, range(800))] * 2


def test_formats_can_be_chosen(tmp_path: Path) -> None:
    """And those not chosen are gone, not stale (DEF-05)."""
    target = export(tmp_path, [line("a", '"x":1')])
    flatten(target)
    flatten(target, formats=("parquet",))
    names = {path.name for path in target.directory.iterdir()}
    assert names == {"2021.jsonl.gz", "full.jsonl.gz", "manifest.json", "parquet"}
    found = manifest.read(target.directory)
    assert [(entry.name, entry.reason) for entry in found.missing] == [
        ("full.csv.tar.gz", "csv: only parquet was asked for"),
        ("full.xlsx", "xlsx: only parquet was asked for"),
    ]
