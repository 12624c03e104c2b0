"""The benchmark runs, and its input is the same each time."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*arguments: object) -> str:
    """Run a script of the benchmarks and return what it printed."""
    command = [sys.executable, ROOT / "benchmarks" / arguments[0], *map(str, arguments[1:])]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def test_both_ways_are_compared_on_invented_releases(tmp_path: Path) -> None:
    """`make bench`, on one megabyte: a row for each way and step, a ratio for each step, and no trace."""
    report = run("bench_exporter.py", "--mb", 1, "--excel", "--folder", tmp_path)
    for step in ("export", "coverage", "flatten", "excel"):
        assert re.search(rf"\| {step}, plain \|( [\d.]+ \|){{5}}", report)
        assert re.search(rf"\| {step}, ours \|( [\d.]+ \|){{5}}", report)
    for step in ("export", "coverage", "flatten", "excel", "total"):
        assert re.search(rf"\| {step} \| [\d.]+ \| [\d.]+ \|", report)
    assert "of the size by gzip -9" in report
    assert list(tmp_path.iterdir()) == []


def test_invented_releases_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    """And of the size asked for, give or take a release; of several years, some undated."""
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run("generate.py", tmp_path / name, "--mb", 2, "--seed", seed)
    data = (tmp_path / "a").read_bytes()
    assert data == (tmp_path / "b").read_bytes()
    assert data != (tmp_path / "c").read_bytes()
    assert 2_000_000 <= len(data) < 2_400_000
    releases = [json.loads(line) for line in data.splitlines()]
    assert len({release["ocid"] for release in releases}) == len(releases)
    assert len({release.get("date", "")[:4] for release in releases}) == 11
