"""One pass over the rows of a table and year: to the table's schema, and on to every format at once.

Belongs here: reading the tables of text made by `tabulate` and bringing them into the final columns. Does not belong
here: how a format writes them.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from exporter import csv, parquet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def rows(inputs: Sequence[dict[str, Any]], sources: Sequence[Sequence[str]]) -> Iterator[list[pa.StringArray]]:
    """Read rows in their final columns.

    Args:
        inputs: of each file `{file, columns}`, the columns being their raw names, in the order of the rows.
        sources: of each final column its raw names.

    Yields:
        Batches, as a list of columns of text.
    """
    for each in inputs:
        places = {name: number for number, name in enumerate(each["columns"])}
        chosen = [[places[raw] for raw in raws if raw in places] for raws in sources]
        with pa.OSFile(each["file"]) as file, pa.ipc.open_stream(file) as reader:
            for batch in reader:
                if batch.num_rows:
                    yield [_column(batch, numbers) for numbers in chosen]


def _column(batch: pa.RecordBatch, numbers: list[int]) -> pa.StringArray:
    if not numbers:
        return pa.nulls(batch.num_rows, pa.string())
    if len(numbers) == 1:
        return batch.column(numbers[0])
    return pc.coalesce(*(batch.column(number) for number in numbers))


def schema_to_text(schema: pa.Schema) -> str:
    """Return an Arrow schema as text, for `text_to_schema`."""
    return base64.b64encode(schema.serialize()).decode()


def text_to_schema(text: str) -> pa.Schema:
    """Return what `schema_to_text` was given."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


def project(
    inputs: list[dict[str, Any]], sources: list[list[str]], schema: str, csv_path: str | None, parquet_path: str | None
) -> dict[str, Any]:
    """Write the rows of a table and year in several formats.

    Args:
        inputs: see `rows`.
        sources: see `rows`.
        schema: the table's, as text.
        csv_path: where to write compressed CSV rows; None for none.
        parquet_path: where to write Parquet; None for none.

    Returns:
        `rows`; `csv`, the bytes of CSV text; `parquet`, that file's `bytes` and `sha256`.
    """
    typed = text_to_schema(schema)
    csv_rows = csv.Rows(Path(csv_path), typed.types) if csv_path else None
    parquet_rows = parquet.Rows(Path(parquet_path), typed) if parquet_path else None
    count = 0
    for columns in rows(inputs, sources):
        count += len(columns[0])
        if csv_rows is not None:
            csv_rows.write(columns)
        if parquet_rows is not None:
            parquet_rows.write(columns)
    result: dict[str, Any] = {"rows": count}
    if csv_rows is not None:
        csv_rows.close()
        result["csv"] = csv_rows.size
    if parquet_rows is not None:
        result["parquet"] = parquet_rows.close()
    return result
