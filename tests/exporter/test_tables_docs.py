"""The examples of docs/tables.md run on an export, and give what is in it."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path

import pytest

from exporter import jsonl
from exporter.flatten import flatten
from exporter.util import Export

DOCUMENT = Path(__file__).parents[2] / "docs" / "tables.md"
# By hand, of the releases below: two processes in 2021 with awards of 10.5 and 4, one in 2020 with one of 1.
EXPECTED = [
    "[(2020, 1, 1.0), (2021, 2, 14.5)]",
    "[('o-1', 10.5), ('o-2', 4.0)]",
    "{2020: 1.0, 2021: 14.5}",
    "double Value awarded. Amount, in the currency beside it.",
]


def test_examples_run_and_print_what_is_in_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB, polars, pandas and pyarrow."""
    target = Export("bridges", "1", root=tmp_path / "exports")
    releases = [("o-1", "2021", 10.5), ("o-2", "2021", 4), ("o-3", "2020", 1)]
    lines = [
        (f"{year}-05-01", json.dumps({"ocid": ocid, "id": ocid, "awards": [{"id": "a", "value": {"amount": amount}}]}))
        for ocid, year, amount in releases
    ]
    jsonl.export(target, [[(date, line.encode()) for date, line in lines]])
    flatten(target, formats=("parquet",))
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    printed = []
    for example in examples:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(example, str(DOCUMENT), "exec"), {})  # noqa: S102 - our own text
        printed.append(out.getvalue().strip())
    assert printed == EXPECTED
