"""Parquet: the rows of a table and year as one typed file.

Belongs here: types of values, row groups, compression, statistics. Does not belong here: which type a column has.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import parquet

from exporter import types

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_GROUP_BYTES = 24 << 20  # of Arrow data in a row group: what a writer holds in memory
_GROUP_ROWS = 1 << 18


class _Hashing:
    """A file that is hashed while it is written."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.size += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())  # here, in a worker, it holds nobody up
            self._file.close()

    @property
    def closed(self) -> bool:
        return self._file.closed


class Rows:
    """The rows of one table and year, in a Parquet file.

    Args:
        path: the file.
        schema: the table's, the same in every year.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._file = _Hashing(path)
        self._writer = parquet.ParquetWriter(
            self._file, schema, compression="zstd", compression_level=1, write_statistics=True, write_page_index=True
        )
        self._held: list[pa.RecordBatch] = []
        self._bytes = self._rows = 0

    def write(self, columns: Sequence[pa.StringArray]) -> None:
        """Add rows."""
        typed = [types.cast(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        batch = pa.RecordBatch.from_arrays(typed, schema=self._schema)
        self._held.append(batch)
        self._bytes += batch.nbytes
        self._rows += batch.num_rows
        if self._bytes >= _GROUP_BYTES or self._rows >= _GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            self._writer.write_table(pa.Table.from_batches(self._held, self._schema), row_group_size=self._rows)
        self._held, self._bytes, self._rows = [], 0, 0

    def close(self) -> dict[str, int | str]:
        """Finish the file. Returns its `bytes` and `sha256`."""
        self._flush()
        self._writer.close()
        self._file.close()
        return {"bytes": self._file.size, "sha256": self._file.digest.hexdigest()}
