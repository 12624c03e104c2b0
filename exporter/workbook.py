"""Excel workbooks as files: a zip archive whose sheets are joined from pieces that were compressed before.

Belongs here: names of sheets, fixed parts of a workbook, the zip format. Does not belong here: rows (see `sheets`).

A stream of deflate blocks that was flushed ends at a byte, so pieces can follow one another; their checksums can be
combined. So the rows of a year are compressed once, for its own workbook and for `full`. There are no times in it, so
that the same rows give the same bytes (I7).
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self
from xml.sax.saxutils import quoteattr

from zlib_ng import zlib_ng

from exporter import files, sheets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

SHEET_NAME = 31  # UTF-16 units
LARGEST = (1 << 32) - 2  # bytes of a file, or in it: beyond that zip needs an extension that not all readers have
_LEVEL = 3  # XML of rows is so regular that a higher level gains little
_FORBIDDEN = re.compile(r"[\[\]:*?/\\\x00-\x1f]|^'|'$")
_EPOCH = 0x21  # 1 January 1980, the first day that zip knows
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_STYLES = (
    f'{_XML}<styleSheet xmlns="{_MAIN}"><fonts count="1"><font><sz val="11"/><name val="Calibri"/></font></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill>'
    '</fills><borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
    '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
    '<cellXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/></cellXfs>'
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
)


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _short(name: str, limit: int = SHEET_NAME) -> str:
    """Shorten a table's name, keeping its last word: its beginning is told from the other words' beginnings."""
    if _units(name) <= limit:
        return name
    *words, last = name.split("_")
    each = (limit - _units(last)) // len(words) - 1 if words else 0
    short = "_".join([word[:each] for word in words] + [last]) if each > 0 else last
    return short.encode("utf-16-le")[: 2 * limit].decode("utf-16-le", "ignore")


def sheet_names(tables: Iterable[str]) -> list[str]:
    """Return a name for each table's sheet: at most 31 long, no two alike in any case, nothing that Excel forbids."""
    taken: set[str] = {"history"}  # Excel keeps that name for itself
    result = []
    for table in tables:
        base = _FORBIDDEN.sub("_", table) or "_"
        name, number = _short(base), 1
        while name.lower() in taken:
            number += 1
            ending = f"_{number}"
            name = _short(base, SHEET_NAME - len(ending)) + ending
        taken.add(name.lower())
        result.append(name)
    return result


@dataclass(frozen=True)
class Piece:
    """Compressed bytes of a sheet: where they are, and of the bytes they stand for the number and CRC-32.

    Attributes:
        content: a file, or the bytes themselves.
        offset: where they begin in the file.
        compressed: how many bytes.
        size: how many bytes they decompress to.
        crc: the checksum of those.
    """

    content: str | bytes
    compressed: int
    size: int
    crc: int
    offset: int = 0

    def blocks(self) -> Iterator[bytes]:
        """Read it."""
        if isinstance(self.content, bytes):
            yield self.content
            return
        with open(self.content, "rb") as file:  # noqa: PTH123
            file.seek(self.offset)
            left = self.compressed
            while left and (data := file.read(min(left, files.CHUNK))):
                left -= len(data)
                yield data

    @classmethod
    def of(cls, data: bytes, *, last: bool = False) -> Self:
        """Compress some bytes; the last piece ends the stream."""
        compressor = zlib_ng.compressobj(_LEVEL, zlib_ng.DEFLATED, -15)
        out = compressor.compress(data) + compressor.flush(zlib_ng.Z_FINISH if last else zlib_ng.Z_SYNC_FLUSH)
        return cls(out, len(out), len(data), zlib_ng.crc32(data))


class PieceWriter:
    """Writes a piece to a file."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, path.open("wb")
        self._compressor = zlib_ng.compressobj(_LEVEL, zlib_ng.DEFLATED, -15)
        self._compressed = self._size = self._crc = 0

    def write(self, data: memoryview) -> None:
        """Add bytes."""
        for at in range(0, len(data), files.CHUNK):
            part = data[at : at + files.CHUNK]
            self._crc = zlib_ng.crc32(part, self._crc)
            self._compressed += self._file.write(self._compressor.compress(part))
        self._size += len(data)

    def close(self) -> Piece:
        """Finish the piece."""
        self._compressed += self._file.write(self._compressor.flush(zlib_ng.Z_SYNC_FLUSH))
        self._file.close()
        return Piece(str(self._path), self._compressed, self._size, self._crc)


def _fixed_parts(names: Sequence[str]) -> list[tuple[str, str]]:
    numbers = range(1, len(names) + 1)
    overrides = "".join(
        f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="{_TYPES}.worksheet+xml"/>' for n in numbers
    )
    listed = "".join(
        f'<sheet name={quoteattr(name)} sheetId="{n}" r:id="rId{n}"/>' for n, name in zip(numbers, names, strict=True)
    )
    related = "".join(
        f'<Relationship Id="rId{n}" Type="{_OFFICE}/worksheet" Target="worksheets/sheet{n}.xml"/>' for n in numbers
    )
    types = (
        f'{_XML}<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPES}.sheet.main+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{_TYPES}.styles+xml"/>{overrides}</Types>'
    )
    root = (
        f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">'
        f'<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
    )
    book = f'{_XML}<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>{listed}</sheets></workbook>'
    links = (
        f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">{related}'
        f'<Relationship Id="rId{len(names) + 1}" Type="{_OFFICE}/styles" Target="styles.xml"/></Relationships>'
    )
    return [
        ("[Content_Types].xml", types),
        ("_rels/.rels", root),
        ("xl/workbook.xml", book),
        ("xl/_rels/workbook.xml.rels", links),
        ("xl/styles.xml", _STYLES),
    ]


def write(
    path: Path, tables: Sequence[tuple[str, Piece, Sequence[Piece]]]
) -> tuple[dict[str, int | str], list[Piece]]:
    """Write a workbook.

    Args:
        path: the file.
        tables: of each sheet its name, the piece of its header, and the pieces of its rows.

    Returns:
        `bytes` and `sha256`; and the pieces of rows, as they are in this file now.

    Raises:
        OverflowError: if a sheet or the file is larger than a zip archive holds.
    """
    parts = [
        (name, [Piece.of(text.encode(), last=True)]) for name, text in _fixed_parts([name for name, _, _ in tables])
    ]
    head, tail = Piece.of(sheets.HEAD), Piece.of(sheets.TAIL, last=True)
    parts += [
        (f"xl/worksheets/sheet{number}.xml", [head, first, *pieces, tail])
        for number, (_, first, pieces) in enumerate(tables, start=1)
    ]
    digest, total = hashlib.sha256(), 0
    descriptor = files.open_new(path)

    def put(data: bytes) -> None:
        nonlocal total
        files.write_all(descriptor, data)
        digest.update(data)
        total += len(data)

    try:
        directory = b""
        rows: list[Piece] = []
        for name, pieces in parts:
            compressed, size = sum(piece.compressed for piece in pieces), sum(piece.size for piece in pieces)
            if max(size, total + compressed + len(directory) + (1 << 20)) > LARGEST:
                raise OverflowError(f"{name} has {size:,} bytes of XML")
            crc = 0
            for piece in pieces:
                crc = zlib_ng.crc32_combine(crc, piece.crc, piece.size)
            # version 2.0, names in UTF-8, deflate, no time
            common = struct.pack("<HHHHHIIIHH", 20, 0x800, 8, 0, _EPOCH, crc, compressed, size, len(name), 0)
            directory += b"PK\1\2" + struct.pack("<H", 20) + common
            directory += struct.pack("<HHHII", 0, 0, 0, 0, total) + name.encode()
            put(b"PK\3\4" + common + name.encode())
            moved: list[Piece] = []
            for piece in pieces:
                moved.append(replace(piece, content=str(path), offset=total))
                for data in piece.blocks():
                    put(data)
            rows += moved[2:-1]  # of sheets, whose first two pieces are the beginning and the header
        start = total
        put(directory)
        put(b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, len(parts), len(parts), len(directory), start, 0))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return {"bytes": total, "sha256": digest.hexdigest()}, rows
