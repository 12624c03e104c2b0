"""CSV: the rows of a table and year as compressed text, and archives of them.

Belongs here: the text of cells, compressing it once, and putting it into tar.gz archives. Does not belong here:
Parquet or Excel, or which rows there are.

A gzip file may be of many members, and a tar archive does not care where they end. So the rows of a table and year are
compressed once, and copied into the archive of the year and into `full`. Values are left exactly as published, those
too that a spreadsheet would run as formulas.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from zlib_ng import zlib_ng

from exporter import files

if TYPE_CHECKING:
    from collections.abc import Sequence

_LEVEL = 5  # 3% larger than gzip -9 and six times as fast
_GZIP = 31  # the window size that asks zlib for a gzip member
_SPECIAL = '[",\r\n]'
_SPECIAL_BYTES = (b'"', b",", b"\r", b"\n")
_PADDING = 512  # a tar archive is of blocks of that size


def _may_have(column: pa.StringArray, characters: tuple[bytes, ...]) -> bool:
    """Whether any of these is in the column's bytes: searching those is much faster than matching each text."""
    data = bytes(column.buffers()[2] or b"")
    return any(character in data for character in characters)


def _quoted(column: pa.StringArray) -> pa.StringArray:
    """Put quotes where a cell needs them, as flatterer does."""
    if column.null_count == len(column):
        return column
    if not _may_have(column, _SPECIAL_BYTES):
        return column
    special = pc.match_substring_regex(column, _SPECIAL)
    if pc.any(special).as_py():
        doubled = pc.replace_substring(column, '"', '""')
        column = pc.if_else(special, pc.binary_join_element_wise('"', doubled, '"', ""), column)
    return column


def _joined(*columns: pa.StringArray | str, separator: str) -> pa.StringArray:
    """Join cells; null is an empty one."""
    return pc.binary_join_element_wise(*columns, separator, null_handling="replace", null_replacement="")


def text(columns: Sequence[pa.StringArray], types: Sequence[pa.DataType]) -> pa.Buffer:
    """Return the CSV text of rows, each with its line feed.

    Args:
        columns: of text; null is an empty cell.
        types: of the columns in the table. Only text can need quotes.
    """
    cells = [
        _quoted(column) if pa.types.is_string(kind) else column for column, kind in zip(columns, types, strict=True)
    ]
    if len(cells) == 1:  # an empty line would be no row
        cells = [pc.fill_null(cells[0], '""')]
    last = _joined(cells[-1], "", separator="\n")
    lines = _joined(*cells[:-1], last, separator=",") if len(cells) > 1 else last
    offsets = memoryview(lines.buffers()[1]).cast("i")  # the texts of an array lie one after another: cut nothing
    return lines.buffers()[2].slice(offsets[0], offsets[len(lines)] - offsets[0])


def header(names: Sequence[str]) -> bytes:
    """Return the first line of a table's CSV file."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(names)  # quotes names that have either character
    return line.getvalue().removesuffix("\r\n").encode() + b"\n"


class Rows:
    """The rows of one table and year, compressed into a file.

    Args:
        path: the file.
        types: of the columns in the table.

    Attributes:
        size: bytes of text written.
    """

    def __init__(self, path: Path, types: Sequence[pa.DataType]) -> None:
        self._file = path.open("wb")
        self._types = types
        self._compressor = zlib_ng.compressobj(_LEVEL, zlib_ng.DEFLATED, _GZIP)
        self.size = 0

    def write(self, columns: Sequence[pa.StringArray]) -> None:
        """Add rows."""
        data = memoryview(text(columns, self._types))
        self.size += len(data)
        for at in range(0, len(data), files.CHUNK):
            self._file.write(self._compressor.compress(data[at : at + files.CHUNK]))

    def close(self) -> None:
        """Finish the file."""
        self._file.write(self._compressor.flush())
        self._file.close()


def _member(data: bytes) -> bytes:
    compressor = zlib_ng.compressobj(_LEVEL, zlib_ng.DEFLATED, _GZIP)
    return compressor.compress(data) + compressor.flush()


def _entry(name: str, size: int | None) -> bytes:
    """Return the header of a file in an archive (`size` None: of a folder), the same at each run (I7)."""
    info = tarfile.TarInfo(name)
    info.mode, info.mtime = 0o644, 0
    if size is None:
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    else:
        info.size = size
    return info.tobuf(tarfile.PAX_FORMAT)


def archive(path: str, stem: str, tables: list[dict[str, Any]]) -> dict[str, Any]:
    """Write an archive: one folder named as the file's stem, in it one CSV file a table.

    Args:
        path: the archive.
        stem: the folder's name.
        tables: of each `{name, columns, pieces}`, the pieces being `[file made by Rows, bytes of its text]` in order.

    Returns:
        `bytes` and `sha256` of the archive.
    """
    digest, total = hashlib.sha256(), 0
    descriptor = files.open_new(Path(path))

    def put(data: bytes) -> None:
        nonlocal total
        files.write_all(descriptor, data)
        digest.update(data)
        total += len(data)

    try:
        pending = _entry(stem, None)
        for table in tables:
            first = header(table["columns"])
            size = len(first) + sum(length for _, length in table["pieces"])
            put(_member(pending + _entry(f"{stem}/{table['name']}.csv", size) + first))
            for piece, _ in table["pieces"]:
                for data in files.blocks(Path(piece)):
                    put(data)
            pending = b"\0" * (-size % _PADDING)
        put(_member(pending + b"\0" * (2 * _PADDING)))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return {"bytes": total, "sha256": digest.hexdigest()}
