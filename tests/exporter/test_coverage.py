"""Coverage: the same numbers as one run of ocdscardinal, the 14 counts, and what it cannot read."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable
from pathlib import Path

import ocdscardinal
import pytest

from exporter import cardinal, coverage, jsonl, manifest, parts, workers
from exporter.errors import BrokenExportError, LockFileError, PublishedExportError, StageError, StoppedError
from exporter.util import PUBLISHED, Export
from tests.support.publishers import PUBLISHERS

Releases = list[tuple[str | None, bytes]]


def exported_lines(root: Path, *lines: bytes) -> Export:
    """Return an export of these lines, in one undated file."""
    target = Export("k", 1, root=root)
    jsonl.export(target, [[(None, line) for line in lines]])
    return target


def result(target: Export) -> dict[str, int]:
    """Return what is in coverage.json."""
    return json.loads((target.directory / "coverage.json").read_bytes())


@pytest.mark.parametrize("publisher", PUBLISHERS)
def test_the_sum_over_parts_is_one_run_over_the_full_file(
    tmp_path: Path, shared: Path, publisher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """COV-01, on real releases: in many small parts, the numbers are ocdscardinal's own on all lines."""
    monkeypatch.setattr(parts.cut, "__kwdefaults__", {"size": 300_000})
    plain = tmp_path / "plain.jsonl"
    with gzip.open(shared / "data" / publisher / "compiled.jsonl.gz") as file:
        lines = [line.rstrip(b"\n") for line, _ in zip(file, range(5000), strict=False)]
    plain.write_bytes(b"\n".join(lines) + b"\n")
    target = Export("k", 1, root=tmp_path)
    jsonl.export(target, [[(json.loads(line).get("date"), line) for line in lines]])
    summary = coverage.measure(target)
    assert result(target) == ocdscardinal.coverage(str(plain))
    assert summary.rows == len(lines)
    assert not summary.skipped


def test_the_14_counts_are_of_objects_at_their_paths() -> None:
    """COV-02: three of them are sums over every path that ends so."""
    paths = {
        "/tender/": 1,
        "/tender": 900,
        "/tender/tenderers[]/": 2,
        "/tender/items[]/": 3,
        "/parties[]/": 4,
        "/parties[]": 900,
        "/awards[]/": 5,
        "/awards[]/items[]/": 6,
        "/awards[]/suppliers[]/": 7,
        "/contracts[]/": 8,
        "/contracts[]/items[]/": 9,
        "/contracts[]/implementation/transactions[]/": 10,
        "/planning/": 11,
        "/tender/documents[]/": 20,
        "/contracts[]/implementation/documents[]/": 1,
        "/tender/documents[]": 900,
        "/x_documents[]/": 900,
        "/planning/milestones[]/": 30,
        "/tender/milestones[]/": 2,
        "/tender/amendments[]/": 40,
        "/awards[]/amendments[]/": 3,
    }
    assert coverage.counts(paths) == {
        "tenders_count": 1,
        "tenderers_count": 2,
        "tenders_items_count": 3,
        "parties_count": 4,
        "awards_count": 5,
        "awards_items_count": 6,
        "awards_suppliers_count": 7,
        "contracts_count": 8,
        "contracts_items_count": 9,
        "contracts_transactions_count": 10,
        "plannings_count": 11,
        "documents_count": 21,
        "milestones_count": 32,
        "amendments_count": 43,
    }
    assert set(coverage.counts({}).values()) == {0}
    assert len(coverage.counts({})) == 14


def test_what_ocdscardinal_cannot_read_is_counted_and_named(tmp_path: Path) -> None:
    """I8: nesting over 127 deep and lone surrogates are JSON, but not for it; empty releases count nowhere."""
    target = exported_lines(
        tmp_path,
        b'{"ocid": "a"}',
        b'{"ocid": "b", "x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"ocid": "c", "x": "\\ud800"}',
        b"{}",
        b'{"x": [{}, "", null]}',
        b'{"ocid": "d", "x": 1e400}',
    )
    summary = coverage.measure(target)
    assert result(target) == {"": 2, "/": 2, "/ocid": 2, "/x": 1}
    assert dict(summary.skipped) == {"unreadable": 2}
    assert summary.details["empty"] == 2
    assert summary.details["skipped_by_file"] == {"undated.jsonl.gz": 2}
    counts = manifest.read(target.directory).counts
    assert (counts["skipped_coverage_unreadable"], counts["coverage_empty_releases"]) == (2, 2)


def test_of_odd_lines_the_numbers_are_those_of_one_run(tmp_path: Path) -> None:
    """COV-01: ocdscardinal's own on the full file, whatever is odd about a line that it reads."""
    lines = [
        b'{"a": 1, "a": {"b": []}, "a": {"b": [0]}}',
        b'{"x": 9007199254740993, "y": 18446744073709551617, "z": -1e400, "w": 0.1000000000000000055}',
        b'{"x": "a\\u0000b", "y": "\\u0001", "z": "\\ud83d\\ude00", "w": "\xf0\x9f\x98\x80"}',
        b'{"x": [[1, [2]], [[]], {"a": [{"b": null}, {"b": 0}]}], "y": [[{"a": ""}]]}',
        b'{"": "e", "x": {"": "f", " ": [" "]}}',
        b'{"x.a": 1, "x": {"a": 2}, "x_a": 3, "x/a": 4, "x[]": [5], "X": {"A": 6}}',
        b'{"x": ' + b"[" * 100 + b"1" + b"]" * 100 + b', "tender": [{"items": {"id": 1}}, "text"]}',
        b' { "a" : false , "b" : [ null , { } ] } ',
    ]
    plain = tmp_path / "plain.jsonl"
    plain.write_bytes(b"\n".join(lines) + b"\n")
    target = exported_lines(tmp_path, *lines)
    summary = coverage.measure(target)
    assert result(target) == ocdscardinal.coverage(str(plain))
    assert not summary.skipped


def test_duplicate_keys_count_as_the_last_of_them(tmp_path: Path) -> None:
    """As ocdscardinal has it; an emptied value is no coverage and no unreadable line."""
    target = exported_lines(tmp_path, b'{"a": [1], "a": []}', b'{"a": 1, "a": {"b": 2}}')
    summary = coverage.measure(target)
    assert result(target) == {"": 1, "/": 1, "/a": 1, "/a/": 1, "/a/b": 1}
    assert (dict(summary.skipped), summary.details["empty"]) == ({}, 1)


def test_only_empty_releases_are_a_definite_end(tmp_path: Path) -> None:
    """DEF-04: empty coverage is a result, not something to wait for."""
    target = exported_lines(tmp_path, b"{}")
    coverage.measure(target)
    assert result(target) == {}
    assert Export("k", 1, root=tmp_path, basename="coverage.json").status == "COMPLETED"


def test_very_long_lines_are_counted_like_others(tmp_path: Path) -> None:
    """Longer than a part, among short ones."""
    long, longest = (b'{"ocid": "long", "x": "' + b"y" * size + b'"}' for size in (20_000_000, 100_000_000))
    target = exported_lines(tmp_path, b'{"ocid": "a"}', long, b'{"ocid": "b"}', b'{"ocid": "c"}', longest)
    summary = coverage.measure(target)
    assert result(target) == {"": 5, "/": 5, "/ocid": 5, "/x": 2}
    assert (summary.rows, dict(summary.skipped)) == (5, {})


def test_a_line_that_needs_too_much_memory_ends_no_machine(tmp_path: Path) -> None:
    """10 MB of small objects parse to some 700 MB: it is counted, and the rest is right."""
    heavy = b'{"ocid": "heavy", "x": [' + b'{"a":1},' * 1_250_000 + b"1]}"
    target = exported_lines(tmp_path, b'{"ocid": "a"}', heavy, b'{"ocid": "b"}')
    summary = coverage.measure(target)
    assert result(target) == {"": 2, "/": 2, "/ocid": 2}
    assert dict(summary.skipped) == {"too_large": 1}
    assert summary.rows == 3


def test_a_damaged_file_is_named(exported: Export) -> None:
    """A truncated year file does not become a smaller coverage."""
    path = exported.directory / "2020.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BrokenExportError, match=r"2020\.jsonl\.gz: its gzip data is cut off"):
        coverage.measure(exported)
    assert not list(exported.directory.glob(".tmp-*"))


def test_a_file_without_its_last_members_is_named(exported: Export) -> None:
    """Whole gzip members may be missing, which gzip itself cannot see: the manifest's rows tell."""
    path = exported.directory / "2020.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n'))
    with pytest.raises(BrokenExportError, match=r"2020\.jsonl\.gz: 1 lines, not 50: export again"):
        coverage.measure(exported)


def test_a_missing_file_is_named(exported: Export) -> None:
    """The manifest says that it should be there."""
    (exported.directory / "2021.jsonl.gz").unlink()
    with pytest.raises(BrokenExportError, match=r"2021\.jsonl\.gz"):
        coverage.measure(exported)


def test_without_an_export_there_is_nothing_to_measure(target: Export) -> None:
    """The order of stages."""
    with pytest.raises(BrokenExportError, match="nothing of the stage export: do it first"):
        coverage.measure(target)


def test_it_is_refused_while_it_runs_or_while_the_lines_are_written(exported: Export) -> None:
    """DEF-01, DEF-05."""
    for stage in ("coverage", "export"):
        with exported.lock(stage), pytest.raises(LockFileError):
            coverage.measure(exported)
    with exported.lock("flatten"):
        coverage.measure(exported)


def test_a_published_directory_is_refused(exported: Export) -> None:
    """I2."""
    (exported.directory / PUBLISHED).touch()
    with pytest.raises(PublishedExportError):
        coverage.measure(exported)


def test_it_can_be_stopped(exported: Export) -> None:
    """It leaves no file and no worker."""
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        coverage.measure(exported, stop=stop)
    assert not [path for path in exported.directory.iterdir() if not path.name.endswith((".gz", "manifest.json"))]


def test_a_worker_that_fails_is_a_named_failure(exported: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that is gone, for one: that is no fault of a line."""
    start = workers.Pool._start

    def losing(self: workers.Pool, task: workers.Task) -> None:
        Path(task.arguments["path"]).unlink()
        start(self, task)

    monkeypatch.setattr(workers.Pool, "_start", losing)
    with pytest.raises(StageError, match=r"coverage failed: .*: try again"):
        coverage.measure(exported)
    assert not list(exported.directory.glob(".tmp-*"))


def test_it_is_the_same_bytes_for_any_number_of_workers(
    exported: Export, contents: Callable[[Path], dict[str, bytes]]
) -> None:
    """I7."""
    coverage.measure(exported, workers=1)
    one = contents(exported.directory)
    coverage.measure(exported, workers=3)
    assert contents(exported.directory) == one


@pytest.mark.parametrize(
    ("value", "empty"),
    [
        ({}, True),
        ([], True),
        ("", True),
        (None, True),
        ({"a": [{}, {"b": ""}]}, True),
        (0, False),
        (False, False),
        ([" "], False),
    ],
)
def test_empty_is_nothing_but_nothing(value: object, *, empty: bool) -> None:
    """COV-01: zero, false and a space are something."""
    assert cardinal.is_empty(value) is empty
