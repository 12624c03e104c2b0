"""Flattening real publishers' data: the same rows and cells as flatterer's own, in CSV and in Parquet."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter import jsonl
from exporter.flatten import flatten
from exporter.util import Export
from tests.support.publishers import PUBLISHERS
from tests.support.tables import compare_tables


@pytest.mark.parametrize("publisher", PUBLISHERS)
def test_tables_of_a_publisher_are_flatterers_own(publisher: str, shared: Path, tmp_path: Path) -> None:
    """FLA-03, FLA-04: names, rows and cells as flatterer gives them for all years at once."""
    source = shared / "data" / publisher / "compiled.jsonl.gz"
    target = Export("exports", publisher, root=tmp_path)
    jsonl.export(target, jsonl.read_source(source))
    summary = flatten(target, formats=("csv", "parquet"))
    assert not summary.skipped
    compare_tables(target.directory, source, tmp_path)
