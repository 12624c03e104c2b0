"""Writing fails inside flatterer and Arrow too: no part of a table is lost in silence, and nothing is left.

A limit of the size of files (RLIMIT_FSIZE) makes every write beyond it fail, whoever makes it, as a full disk does.
"""

from __future__ import annotations

import contextlib
import json
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter import coverage, flatten, jsonl, publish, verify
from exporter.errors import StageError
from exporter.util import Export

LONG = "ocds-213czf-" + "x" * 150
INPUTS = {
    # 20 kB of lines are 500 kB of rows, each with the long ocid: flatterer's files are the largest. Year and undated.
    "rows": [
        json.dumps({"ocid": f"{LONG}{n}", "id": str(n), "date": date, "items": [{"id": str(i)} for i in range(60)]})
        for n in range(25)
        for date in ("2020-01-01", None)
    ],
    # A few kB of lines have so many columns that Arrow's and Parquet's files are the largest.
    "columns": [json.dumps({"ocid": "o", "id": "1", **{f"c{n}": n for n in range(400)}})],
}
LIMITS = {"rows": (24, 60, 100, 150, 200), "columns": (6, 9, 12, 18, 26, 40, 60)}  # kB: all too little


@contextlib.contextmanager
def limited(size: int) -> Iterator[None]:
    """Let no file of this process, or of one it starts, grow beyond so many bytes. Python ignores the signal."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def export(root: Path, job: int, lines: list[str]) -> Export:
    """Return an export of these lines."""
    target = Export("k", job, root=root)
    jsonl.export(target, [[(json.loads(line).get("date"), line.encode()) for line in lines]])
    return target


@pytest.mark.parametrize("name", INPUTS)
def test_a_write_that_fails_in_a_library_ends_the_stage_and_leaves_nothing(
    tmp_path: Path, contents: Callable[[Path], dict[str, bytes]], name: str
) -> None:
    """I1, I8: at any size; then the disk has space again, and the tables are those that were to be."""
    published = export(tmp_path, 1, INPUTS[name])
    flatten.flatten(published, formats=("csv", "parquet"))
    expected = {key: data for key, data in contents(published.directory).items() if key != "manifest.json"}
    coverage.measure(published)
    publish.publish(published, job=1)
    target = export(tmp_path, 2, INPUTS[name])
    before = contents(tmp_path)
    for size in LIMITS[name]:
        with limited(size * 1000), pytest.raises(StageError, match=r"flattening failed: .*: look at disk space"):
            flatten.flatten(target, formats=("csv", "parquet"))
        assert contents(tmp_path) == before, size
    assert verify.verify(published)[1] == []
    flatten.flatten(target, formats=("csv", "parquet"))
    found = {key: data for key, data in contents(target.directory).items() if key != "manifest.json"}
    assert found == expected
