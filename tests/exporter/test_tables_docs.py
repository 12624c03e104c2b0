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
# By hand, of the releases below: two processes in 2021 with awards of 10.5 and 4, one in 2020 with one of 1, and one
# without a date with one of 8, which is in the null partition. `year` is also what each says of itself, wrongly.
EXPECTED = [
    "[(2020, 1, 1.0), (2021, 2, 14.5), (None, 1, 8.0)]",
    "[('o-1', 10.5), ('o-2', 4.0)]",
    "{2020.0: 1.0, 2021.0: 14.5, nan: 8.0}",
    "double Value awarded. Amount, in the currency beside it.",
]


def test_examples_run_and_print_what_is_in_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB, polars, pandas and pyarrow."""
    target = Export("bridges", "1", root=tmp_path / "exports")
    releases = [("o-1", "2021-05-01", 10.5), ("o-2", "2021-05-01", 4), ("o-3", "2020-05-01", 1), ("o-4", None, 8)]
    lines = []
    for ocid, date, amount in releases:
        award = {"id": "a", "value": {"amount": amount}, "year": 1999}
        lines.append((date, json.dumps({"ocid": ocid, "id": ocid, "year": 1999, "awards": [award]}).encode()))
    jsonl.export(target, [lines])
    assert flatten(target, formats=("parquet",)).details["counts"] == {"columns_renamed_in_parquet": 2}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("_RJEM_MALLOC_CONF", "")  # polars sets it when it is imported: it goes again after the test
    examples = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    printed = []
    for example in examples:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(example, str(DOCUMENT), "exec"), {})  # noqa: S102 - our own text
        printed.append(out.getvalue().strip())
    assert printed == EXPECTED
