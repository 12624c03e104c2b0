"""All stages on hostile and on real releases: nothing stops the others, and every count adds up (I7, I8)."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from examples.hostile import CASES
from exporter import coverage, flatten, jsonl, manifest, publish, verify
from exporter.util import Export
from tests.support.publishers import PUBLISHERS

# What CASES does not have: lines that are no release, and lines that some of the tools refuse.
MORE = (
    b'{"ocid": "deep", "date": "2021-01-01", "x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    b'{"ocid": "surrogate", "x": "\\ud800"}',
    b'{"ocid": "huge", "x": 1e400, "date": "2021-01-01"}',
    b'{"ocid": "nan", "x": NaN}',
    b'{"ocid": "cut", "x": ',
    b'["no", "release"]',
    b'{"ocid": "latin", "x": "\xe9"}',
    b"",
    b"{}",
    b'{"ocid": "twice", "ocid": "thrice", "date": "2021-01-01"}',
    b'{"ocid": "case", "Ocid": 1, "OCID": {"a": 2}, "tender": [[{"a": 1}], [2]], "": "", "a.b": 1, "a": {"b": 2}}',
)


def run_all(source: Path, target: Export, workers: int = 2) -> None:
    """Run every stage, and publish."""
    lines = jsonl.read_source(source)
    jsonl.export(target, lines, workers=workers, skipped=lines.skipped)
    coverage.measure(target, workers=workers)
    flatten.flatten(target, workers=workers)
    publish.publish(target, job=1)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of every hostile line there is, with a byte order mark and CR LF."""
    lines = [line for case in CASES for line in case.lines if b"\n" not in line]
    path = tmp_path_factory.mktemp("hostile") / "hostile.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join([*lines, *MORE]))
    return path


@pytest.fixture(scope="module")
def hostile_export(hostile: Path, tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Everything made of the hostile lines, by two workers."""
    target = Export("k", 1, root=tmp_path_factory.mktemp("made"))
    run_all(hostile, target)
    return target


def test_hostile_lines_pass_or_are_counted(hostile: Path, hostile_export: Export) -> None:
    """I8: lines read are lines exported and lines left out; the same for what each stage makes of those exported."""
    target = hostile_export
    found = manifest.read(target.directory)
    total = hostile.read_bytes().count(b"\n") + 1
    left_out = {name: count for name, count in found.counts.items() if name.startswith("skipped_export_")}
    assert found.counts["releases"] + sum(left_out.values()) == total
    assert {"skipped_export_invalid_json", "skipped_export_not_object", "skipped_export_invalid_utf8"} <= set(left_out)

    measured = json.loads((target.directory / "coverage.json").read_bytes())
    unreadable = found.counts["skipped_coverage_unreadable"]
    assert unreadable >= 2
    assert measured[""] + unreadable + found.counts["coverage_empty_releases"] == found.counts["releases"]

    (archive,) = [entry for entry in found.files if entry.name == "full.csv.tar.gz"]
    without_row = [n for name, n in found.stages["flatten"].counts.items() if name.startswith("skipped_")]
    assert archive.tables["main"] + sum(without_row) == found.counts["releases"]

    assert verify.verify(target)[1] == []
    for stage in ("export", "coverage", "flatten"):
        assert stage in found.stages


def test_hostile_lines_give_the_same_bytes_again(
    hostile: Path, hostile_export: Export, tmp_path: Path, contents: Callable[[Path], dict[str, bytes]]
) -> None:
    """I7, also with one worker in place of two."""
    again = Export("k", 1, root=tmp_path)
    run_all(hostile, again, workers=1)
    assert contents(again.directory) == contents(hostile_export.directory)


@pytest.mark.parametrize("publisher", PUBLISHERS)
def test_real_lines_are_exported_byte_for_byte(tmp_path: Path, shared: Path, publisher: str) -> None:
    """Every line of every publisher is in the full file once and in the right year once."""
    path = shared / "data" / publisher / "compiled.jsonl.gz"
    source, target = jsonl.read_source(path), Export("k", 1, root=tmp_path)
    jsonl.export(target, source, skipped=source.skipped)
    with gzip.open(path) as file:
        lines = file.read().splitlines()
    by_year: dict[str, Counter[bytes]] = {}
    for line in lines:
        date = json.loads(line).get("date") or ""
        year = date[:4] if date[:4].isdigit() and date[4:5] == "-" and date[:1] != "0" else "undated"
        by_year.setdefault(year, Counter())[line] += 1
    assert not source.skipped
    files = {file.name.removesuffix(".jsonl.gz"): file for file in target.directory.glob("*.jsonl.gz")}
    found = {name: Counter(gzip.decompress(file.read_bytes()).splitlines()) for name, file in files.items()}
    assert found.pop("full") == Counter(lines)
    assert found == by_year


def test_all_stages_fit_a_process_with_256_files(tmp_path: Path) -> None:
    """DEF-08, ASK-07: three hundred years of garbage under `ulimit -n 256`."""
    source, directory = tmp_path / "garbage.jsonl", tmp_path / "out"
    source.write_bytes(b"".join(b'{"ocid": "o%d", "date": "%d-01-01"}\n' % (year, year) for year in range(1000, 1300)))
    script = (
        'ulimit -n 256 && "$0" -m exporter export "$1" "$2" && "$0" -m exporter coverage "$2" &&'
        ' "$0" -m exporter flatten "$2" --formats csv,parquet && "$0" -m exporter verify "$2"'
    )
    done = subprocess.run(
        ["sh", "-c", script, sys.executable, source, directory], capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stderr
    assert len(list(directory.glob("*.csv.tar.gz"))) == 301
