"""What reading hands to merging: releases as published, spread over bucket files by ocid.

Belongs here: the form of an entry, and writing and reading bucket files. All entries of an ocid are in one bucket, so
buckets can be merged one by one, each in memory. Does not belong here: finding entries, or merging them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from registry_resources.process.blocks import blocks, pack

_HEADER = struct.Struct("<IIIIIIB")
_HELD = 12 << 20  # bytes that wait to be written, over all buckets


class Kind(IntEnum):
    """What an entry holds."""

    RELEASE = 0  # to be merged
    COMPILED = 1  # compiled by the publisher: taken as it is if there is nothing to merge
    RECORD = 2  # no release: says how many linked releases the record of this group has


class Entry(NamedTuple):
    """One release, or what is known of one record.

    Attributes:
        ocid: by which it is grouped.
        file: the number of its file; files are numbered in the order in which they are merged.
        document: the number of its document within the file.
        position: its own number within the file.
        group: the number of the record it is of, within the file, or 0.
        kind: what it is.
        data: its JSON as published (of a RECORD: the number of linked releases).
    """

    ocid: str
    file: int
    document: int
    position: int
    group: int
    kind: Kind
    data: bytes


def encode(ocid: str) -> bytes:
    """The bytes of an ocid, also of one with a lone surrogate. They sort as the text does."""
    return ocid.encode("utf-8", "surrogatepass")


class BucketWriter:
    """Writes entries into the bucket files of one process.

    Args:
        folder: where.
        name: of this process, unique in the folder.
        number: how many buckets.
        salt: makes other buckets of the same ocids, to split a bucket that is too large.

    Attributes:
        sizes: bytes of each bucket, uncompressed.
    """

    def __init__(self, folder: Path, name: str, number: int, salt: int = 0) -> None:
        self.sizes = [0] * number
        self._paths = [folder / f"{bucket:04}.{name}" for bucket in range(number)]
        self._buffers = [bytearray() for _ in range(number)]
        self._held = 0
        self._salt = salt

    def write(self, entry: Entry) -> None:
        """Add an entry to its bucket."""
        ocid = encode(entry.ocid)
        buffer = self._buffers[zlib.crc32(ocid, self._salt) % len(self._buffers)]
        buffer += _HEADER.pack(
            len(ocid), len(entry.data), entry.file, entry.document, entry.position, entry.group, entry.kind
        )
        buffer += ocid
        buffer += entry.data
        self._held += _HEADER.size + len(ocid) + len(entry.data)
        if self._held > _HELD:
            self.flush()

    def flush(self) -> None:
        """Write what is held. Files are open only meanwhile, so there may be many buckets."""
        for bucket, buffer in enumerate(self._buffers):
            if buffer:
                self.sizes[bucket] += len(buffer)
                with self._paths[bucket].open("ab") as file:
                    file.write(pack(buffer))
                self._buffers[bucket] = bytearray()
        self._held = 0


def read_entries(path: Path) -> Iterator[Entry]:
    """The entries of one bucket file.

    Raises:
        BrokenBlockError: if it isn't whole.
    """
    for block in blocks(path):
        at = 0
        while at < len(block):
            ocid_size, data_size, file, document, position, group, kind = _HEADER.unpack_from(block, at)
            start = at + _HEADER.size
            at = start + ocid_size + data_size
            ocid = block[start : start + ocid_size].decode("utf-8", "surrogatepass")
            yield Entry(ocid, file, document, position, group, Kind(kind), block[start + ocid_size : at])
