"""Merges buckets into parts: the second half of processing, done by several processes side by side.

Belongs here: one bucket at a time, sorted by ocid, and what the compiled releases tell of themselves (PRO-04).
Does not belong here: how one ocid is compiled.
"""

from __future__ import annotations

import datetime
import gc
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

from registry_resources.process.blocks import blocks, pack
from registry_resources.process.compiling import Compiled, Compiler
from registry_resources.process.entries import BucketWriter, Entry, Kind, encode, read_entries
from registry_resources.process.tally import Tally

MAX_BUCKET = 64 << 20
"""Bytes of a bucket, uncompressed, above which it is split before it is merged."""

MAX_OCID = 20 << 20
"""Bytes of all releases of one ocid, if there are several: merging takes up to 22 times as much memory."""

PARTS = 16
"""Into how many a bucket is split."""

_HEADER = struct.Struct("<III")
_NO_DATE = 0xFFFFFFFF
_BLOCK = 1 << 17
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?!\d)", re.ASCII)
_EPOCH = datetime.date(1970, 1, 1)
_order = attrgetter("file", "position")


@dataclass
class PartResult:
    """What one process merged.

    Attributes:
        tally: counts and notes.
        date_from: earliest release date after 1970-01-01.
        date_to: latest release date up to today.
        greatest: the greatest ocid, or "".
        bytes: of the part file.
    """

    tally: Tally = field(default_factory=Tally)
    date_from: datetime.date | None = None
    date_to: datetime.date | None = None
    greatest: str = ""
    bytes: int = 0

    def see(self, compiled: Compiled, today: datetime.date) -> None:
        """Take a compiled release into account: its date, if it is after 1970-01-01 and not after today (PRO-04)."""
        self.greatest = max(self.greatest, compiled.ocid)
        date = _parsed(compiled.date or "")
        if date and _EPOCH < date <= today:
            self.date_from = min(self.date_from or date, date)
            self.date_to = max(self.date_to or date, date)


def merge_bucket(
    sources: list[Path], spoiled: set[tuple[int, int]], target: Path, today: datetime.date, order: int
) -> PartResult:
    """Merge the files of one bucket into a part, and delete them.

    Args:
        sources: the bucket's files.
        spoiled: (file, document) whose entries are left out.
        target: the part's file, sorted by ocid. Not made if there would be nothing in it.
        today: dates after it aren't dates of releases.
        order: where the part's notes stand among those of others.

    Raises:
        OSError: if a file can't be read or written.
    """
    result = PartResult(Tally(order=order))
    compiler = Compiler(result.tally)
    bucket = _Bucket()
    for path in sources:
        for entry in read_entries(path):
            if (entry.file, entry.document) not in spoiled:
                bucket.add(entry)
    gc.disable()  # JSON has no cycles: looking for them takes a fifth of the time
    try:
        part = _PartWriter(target)
        for ocid in sorted(bucket.sizes):
            if ocid in bucket.too_large:
                compiler.too_large(ocid, bucket.too_large[ocid], bucket.sizes[ocid])
            elif compiled := compiler.compile(ocid, sorted(bucket.entries.pop(ocid), key=_order)):
                part.write(compiled)
                result.see(compiled, today)
        result.tally.counts["compiled_releases"] += part.number
        result.bytes = part.close()
    finally:
        gc.enable()
    for path in sources:
        path.unlink()
    result.tally.bound()
    return result


def split_bucket(sources: list[Path], folder: Path, name: str, salt: int) -> list[int]:
    """Split the files of a bucket over `PARTS` smaller ones, and delete them. Returns the bytes of each."""
    writer = BucketWriter(folder, name, PARTS, salt)
    for path in sources:
        for entry in read_entries(path):
            writer.write(entry)
        writer.flush()
        path.unlink()
    return writer.sizes


def read_part(path: Path) -> Iterator[tuple[bytes, str | None, bytes]]:
    """The compiled releases of a part: ocid (bytes that sort as the text), date if it is text, JSON.

    Raises:
        BrokenBlockError: if it isn't whole.
        OSError: if it can't be read.
    """
    for block in blocks(path):
        at = 0
        while at < len(block):
            ocid_size, date_size, size = _HEADER.unpack_from(block, at)
            start = at + _HEADER.size + ocid_size
            date = None if date_size == _NO_DATE else block[start : start + date_size].decode("utf-8", "surrogatepass")
            body = start + (0 if date_size == _NO_DATE else date_size)
            ocid = block[start - ocid_size : start]
            at = body + size
            yield ocid, date, block[body:at]


class _Bucket:
    """The entries of one bucket by ocid. Of an ocid that is too large they are only counted.

    Attributes:
        entries: by ocid, in any order.
        sizes: bytes of each ocid.
        too_large: how many releases each ocid has that is too large.
    """

    def __init__(self) -> None:
        self.entries: dict[str, list[Entry]] = {}
        self.sizes: dict[str, int] = {}
        self.too_large: dict[str, int] = {}

    def add(self, entry: Entry) -> None:
        ocid = entry.ocid
        size = self.sizes[ocid] = self.sizes.get(ocid, 0) + len(entry.data)
        if ocid in self.too_large:
            self.too_large[ocid] += entry.kind != Kind.RECORD
            return
        entries = self.entries.setdefault(ocid, [])
        entries.append(entry)
        if size > MAX_OCID and len(entries) > 1:
            self.too_large[ocid] = sum(held.kind != Kind.RECORD for held in self.entries.pop(ocid))


class _PartWriter:
    def __init__(self, path: Path) -> None:
        self.number = 0
        self._path = path
        self._buffer = bytearray()
        self._bytes = 0

    def write(self, compiled: Compiled) -> None:
        ocid = encode(compiled.ocid)
        date = b"" if compiled.date is None else encode(compiled.date)
        size = _NO_DATE if compiled.date is None else len(date)
        self._buffer += _HEADER.pack(len(ocid), size, len(compiled.data)) + ocid + date + compiled.data
        self.number += 1
        if len(self._buffer) > _BLOCK:
            self._flush()

    def close(self) -> int:
        if self._buffer:
            self._flush()
        return self._bytes

    def _flush(self) -> None:
        block = pack(self._buffer)
        with self._path.open("ab") as file:
            file.write(block)
        self._bytes += len(block)
        self._buffer = bytearray()


def _parsed(text: str) -> datetime.date | None:
    match = _DATE.match(text)
    try:
        return datetime.date.fromisoformat(match[0]) if match else None
    except ValueError:
        return None
