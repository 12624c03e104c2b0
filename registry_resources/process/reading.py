"""Reads collected files into buckets: the first half of processing, done by several processes side by side.

Belongs here: which files there are, in which order they count, who reads which, and opening them. Does not belong
here: what is in them.
"""

from __future__ import annotations

import gzip
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

from isal import igzip, isal_zlib

from registry_resources.process.documents import DocumentReader
from registry_resources.process.entries import BucketWriter
from registry_resources.process.jsontext import BadJsonError, JsonText
from registry_resources.process.tally import Tally

_GZIP = b"\x1f\x8b"
_BROKEN = (EOFError, gzip.BadGzipFile, isal_zlib.error)


@dataclass(frozen=True)
class CollectedFile:
    """A collected file: its number in the order of merging, its path within the folder, and its size in bytes."""

    number: int
    path: str
    size: int


@dataclass
class ReadResult:
    """What one process read.

    Attributes:
        tally: counts and notes.
        spoiled: (file, document) whose entries are to be left out.
        licenses: how many packages state each licence.
        policies: how many packages state each publication policy.
        sizes: bytes in each bucket.
    """

    tally: Tally = field(default_factory=Tally)
    spoiled: set[tuple[int, int]] = field(default_factory=set)
    licenses: Counter[str] = field(default_factory=Counter)
    policies: Counter[str] = field(default_factory=Counter)
    sizes: list[int] = field(default_factory=list)


def collected_files(folder: Path) -> list[CollectedFile]:
    """The files of a crawl, ordered by name, then folder. Hidden ones and links aren't collected files.

    Raises:
        OSError: if a folder can't be read.
    """
    found: list[tuple[str, str, int]] = []
    folders = [""]
    while folders:
        relative = folders.pop()
        with os.scandir(folder / relative) as children:
            for child in children:
                if child.name.startswith("."):
                    continue
                if child.is_dir(follow_symlinks=False):
                    folders.append(f"{relative}{child.name}/")
                elif child.is_file(follow_symlinks=False):
                    found.append((child.name, relative, child.stat(follow_symlinks=False).st_size))
    found.sort()
    return [CollectedFile(number, f"{within}{name}", size) for number, (name, within, size) in enumerate(found)]


def shares(files: Sequence[CollectedFile], number: int) -> list[list[CollectedFile]]:
    """The files dealt out to at most so many processes, about the same bytes to each."""
    loads = [0] * number
    dealt: list[list[CollectedFile]] = [[] for _ in range(number)]
    for file in sorted(files, key=lambda file: -file.size):
        least = loads.index(min(loads))
        dealt[least].append(file)
        loads[least] += file.size + 20_000  # opening a file costs as much as reading so many bytes
    return [sorted(share, key=lambda file: file.number) for share in dealt if share]


def read_files(
    folder: Path, files: Sequence[CollectedFile], writer: BucketWriter, progress: Callable[[int, int], None]
) -> ReadResult:
    """Read files into buckets.

    Args:
        folder: the crawl's folder.
        files: which.
        writer: of the buckets.
        progress: told how many files and bytes were read.

    Raises:
        OSError: if a file can't be read or a bucket can't be written.
    """
    result = ReadResult(sizes=writer.sizes)
    done = 0
    for index, file in enumerate(files):
        with (folder / file.path).open("rb") as raw:
            read = _telling(_opened(raw), partial(_tell, progress, index, done, raw))
            result.tally.add(_read_file(read, file, writer, result))
        done += file.size
        progress(index + 1, done)
    writer.flush()
    return result


def _read_file(read: Callable[[int], bytes], file: CollectedFile, writer: BucketWriter, result: ReadResult) -> Tally:
    tally = Tally(order=file.number)
    tally.counts.update(files=1, bytes=file.size)
    try:
        reader = DocumentReader(JsonText(read), file.number, file.path, writer.write, tally)
    except BadJsonError as error:
        tally.counts.update(documents=1, skipped_invalid_json=1)
        tally.note("ERROR", "InvalidJSON", f"{file.path}: {error}")
        return tally
    reader.read()
    result.spoiled.update((file.number, document) for document in reader.spoiled)
    result.licenses.update(reader.licenses)
    result.policies.update(reader.policies)
    return tally


def _telling(read: Callable[[int], bytes], tell: Callable[[], None]) -> Callable[[int], bytes]:
    def reading(size: int) -> bytes:
        data = read(size)
        tell()
        return data

    return reading


def _tell(progress: Callable[[int, int], None], files: int, before: int, raw: BinaryIO) -> None:
    progress(files, before + raw.tell())


def _opened(raw: BinaryIO) -> Callable[[int], bytes]:
    """Reads a file, decompressed if it is gzip."""
    compressed = raw.read(2) == _GZIP
    raw.seek(0)
    if not compressed:
        return raw.read
    stream = igzip.IGzipFile(fileobj=raw)  # type: ignore[no-untyped-call]

    def read(size: int) -> bytes:
        try:
            data: bytes = stream.read(size)
        except _BROKEN as error:  # type: ignore[misc] # the last is declared as an instance, which it isn't
            raise BadJsonError(f"gzip is cut off or broken: {error}") from error
        return data

    return read
