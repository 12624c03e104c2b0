"""Finds the JSON documents in a file, whatever it is wrapped in: gzip, zip, tar, and those within each other.

Belongs here: opening wrappers in constant memory, with caps against decompression bombs. Names of members are only
ever labels: where a document is written is the file store's business. Does not belong here: writing anything but the
temporary copy that a zip within another wrapper needs.
"""

from __future__ import annotations

import io
import os
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from isal import isal_zlib

from registry_resources.collect.problems import BadContentError, StoreError
from registry_resources.collect.sniff import Kind, Peeked, Readable, sniff

MAX_DEPTH = 4  # wrappers within each other, such as a .json.gz in a .tar.gz: 3
MAX_ZIP_INDEX = 64 << 20  # bytes of a zip's index, which is held in memory: about 500,000 members
MAX_TAR_HEADER = 1 << 20  # bytes of a member's name and the like
_BROKEN: tuple[type[Exception], ...] = (
    zlib.error,
    cast("type[Exception]", isal_zlib.error),
    EOFError,
    tarfile.TarError,
    zipfile.BadZipFile,
    struct.error,
    UnicodeDecodeError,
)
_BROKEN_TAR: tuple[type[Exception], ...] = (*_BROKEN, ValueError)
_UNREADABLE: tuple[type[Exception], ...] = (*_BROKEN, NotImplementedError, RuntimeError, OSError, ValueError)


@dataclass(frozen=True)
class Limits:
    """Caps against decompression bombs.

    Attributes:
        ratio: how many times its size a file may expand to …
        ratio_from: … once it has expanded to this many bytes.
    """

    ratio: float = 200.0
    ratio_from: int = 100_000_000


@dataclass(frozen=True)
class Document:
    """One thing found: a JSON document, or why there is none.

    Attributes:
        member: its name within the file, or "" if it is the file itself.
        stream: reads it, once, before the next one is asked for; raises BadContentError. None if there is a problem.
        problem: what is wrong with it, or "".
        whole: whether it is the file just as it is, in no wrapper.
        counts: whether the problem is an error, rather than something beside the data (a read-me file, a link).
    """

    member: str
    stream: Readable | None = None
    problem: str = ""
    counts: bool = True
    whole: bool = False


class _Budget:
    """Watches how much a file expands to, all its members together."""

    def __init__(self, limits: Limits, size: Callable[[], int]) -> None:
        self._limits, self._size, self._expanded = limits, size, 0

    def spend(self, count: int) -> None:
        self._expanded += count
        limits = self._limits
        if self._expanded > limits.ratio_from and self._expanded > limits.ratio * max(self._size(), 1):
            raise BadContentError(
                f"it expands to more than {limits.ratio:g} times its size, as decompression bombs do "
                "(if it is good, raise COLLECT_MAX_RATIO in the publication's settings bundle)"
            )


class _Expanding:
    """A stream of expanded bytes, whose faults are told as bad content and whose size is watched."""

    def __init__(self, stream: Readable, budget: _Budget, what: str) -> None:
        self._stream, self._budget, self._what = stream, budget, what

    def read(self, size: int = 1 << 20, /) -> bytes:
        try:
            data = self._stream.read(size)
        except _BROKEN as error:
            raise BadContentError(f"a {self._what} file that is cut off or broken ({_plain(error)})") from error
        except (OSError, NotImplementedError, RuntimeError) as error:
            raise BadContentError(f"a {self._what} file that can't be read ({_plain(error)})") from error
        self._budget.spend(len(data))
        return data


class _Gunzip:
    """Expands gzip, of one member or many, in a stream that can only be read on."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._member: Any = isal_zlib.decompressobj(31)
        self._input = b""
        self._begun = False

    def read(self, size: int = 1 << 20, /) -> bytes:
        while True:
            if not self._input:
                self._input = self._stream.read(1 << 17)
                if not self._input:
                    if self._begun:
                        raise EOFError("it ends too early")
                    return b""
            if not self._begun:
                self._input = self._input.lstrip(b"\0")  # padding between members
                if not self._input:
                    continue
                self._member, self._begun = isal_zlib.decompressobj(31), True
            data: bytes = self._member.decompress(self._input, size)
            if self._member.eof:
                self._input, self._begun = self._member.unused_data, False
            else:
                self._input = self._member.unconsumed_tail
            if data:
                return data


class _Forward(io.RawIOBase):
    """A file that goes forward only, for tar: it knows where it is, and reads no header that fills the memory."""

    def __init__(self, stream: Readable) -> None:
        self._stream, self._position, self.in_member = stream, 0, False

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0, /) -> int:
        if whence or offset < self._position:
            raise tarfile.ReadError("a member before the one just read")
        while self._position < offset and self.read(min(1 << 20, offset - self._position)):
            pass
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= MAX_TAR_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        data = b""
        while len(data) < size and (more := self._stream.read(size - len(data))):
            data += more
        self._position += len(data)
        return data


def documents(
    stream: Readable, name: str, limits: Limits, partial: Path, *, size: int = 0, seekable: BinaryIO | None = None
) -> Iterator[Document]:
    """Find the JSON documents in a file, in its order.

    Args:
        stream: the file's bytes.
        name: the file's name, for messages.
        limits: caps against decompression bombs.
        partial: a folder for temporary files.
        size: the file's size in bytes.
        seekable: the same file, if it can be read anywhere, at its start.

    Yields:
        Each document, whose stream must be read before the next one is asked for, and each problem.

    Raises:
        StoreError: if a temporary file can't be written.
    """
    yield from _unwrap(Peeked(stream), _Place("", name, size, 1, seekable), limits, partial)


@dataclass(frozen=True)
class _Place:
    """Where in the wrappers something is: its label and name, its size or 0, its depth, and the file to seek in."""

    member: str
    name: str
    size: int
    depth: int
    seekable: BinaryIO | None = None

    def inside(self, member: str, size: int) -> _Place:
        """The place of a member of the archive that is here."""
        label = f"{self.member}/{member}" if self.member else member
        return _Place(label, label.rsplit("/", 1)[-1], size, self.depth + 1)


def _unwrap(stream: Peeked, place: _Place, limits: Limits, partial: Path) -> Iterator[Document]:
    try:
        kind = sniff(stream.peek(), place.name)
        if kind is Kind.JSON:
            yield Document(place.member, stream, whole=place.depth == 1)
        elif place.depth > MAX_DEPTH:
            yield Document(place.member, problem=f"more than {MAX_DEPTH} archives within each other")
        elif kind is Kind.GZIP:
            start = stream.position
            budget = _Budget(limits, lambda: place.size or stream.position - start)
            inner = Peeked(_Expanding(_Gunzip(stream), budget, "gzip"))
            yield from _unwrap(
                inner, _Place(place.member, _without_gz(place.name), 0, place.depth + 1), limits, partial
            )
        elif kind is Kind.TAR:
            yield from _tar(stream, place, limits, partial)
        elif place.seekable:
            yield from _zip(place.seekable, place, limits, partial)
        else:
            with _spooled(stream, partial) as file:
                yield from _zip(file, place, limits, partial)
    except BadContentError as error:
        yield Document(place.member, problem=str(error))


def _tar(stream: Peeked, place: _Place, limits: Limits, partial: Path) -> Iterator[Document]:
    found = 0
    try:
        with tarfile.open(fileobj=_Forward(stream), mode="r:", errorlevel=0, encoding="utf-8") as archive:
            while info := archive.next():
                archive.members.clear()  # type: ignore[attr-defined]  # it would keep them all
                inside = place.inside(info.name, info.size)
                if info.isdir():
                    continue
                if not info.isreg() or info.issparse():
                    yield Document(inside.member, problem="a link or a special file in an archive", counts=False)
                    continue
                found += 1
                if content := archive.extractfile(info):
                    unlimited = _Budget(Limits(float("inf")), lambda: 1)  # what wraps the tar file has its own
                    yield from _member(_Expanding(content, unlimited, "tar"), inside, limits, partial)
    except _BROKEN_TAR as error:
        raise BadContentError(f"a tar file that is cut off or broken ({_plain(error)})") from error
    while stream.read():  # to the end, where the checksum of what wraps it is
        pass
    if not found:
        raise BadContentError("an archive without any file")


def _zip(file: BinaryIO, place: _Place, limits: Limits, partial: Path) -> Iterator[Document]:
    try:
        size = _check_zip_index(file)
        archive = zipfile.ZipFile(file)
    except _UNREADABLE as error:
        raise BadContentError(f"a zip file that is cut off or broken ({_plain(error)})") from error
    found = 0
    budget = _Budget(limits, lambda: size)
    with archive:
        for info in archive.infolist():
            inside = place.inside(info.filename, info.compress_size)
            if info.is_dir():
                continue
            if (info.external_attr >> 16) & 0o170000 == 0o120000:
                yield Document(inside.member, problem="a link or a special file in an archive", counts=False)
                continue
            found += 1
            try:
                content = archive.open(info)
            except _UNREADABLE as error:
                problem = f"a member of a zip file that can't be read ({_plain(error)})"
                yield Document(inside.member, problem=problem)
                continue
            with closing(content):
                yield from _member(_Expanding(content, budget, "zip"), inside, limits, partial)
    if not found:
        raise BadContentError("an archive without any file")


def _member(stream: Readable, place: _Place, limits: Limits, partial: Path) -> Iterator[Document]:
    """One member: what isn't JSON, and doesn't claim to be, stands beside the data and is no error."""
    name = place.name.lower()
    if "__MACOSX" in place.member.split("/") or name == ".ds_store":
        yield Document(place.member, problem="a file of macOS beside the data", counts=False)
        return
    claims = "." not in name or name.endswith((".json", ".jsonl", ".ndjson", ".gz", ".zip", ".tar", ".tgz"))
    try:
        peeked = Peeked(stream)
        sniff(peeked.peek(), place.name)
    except BadContentError as error:
        yield Document(place.member, problem=str(error), counts=claims)
        return
    yield from _unwrap(peeked, place, limits, partial)


def _check_zip_index(file: BinaryIO) -> int:
    """Refuse an index that would fill the memory, before it is read. Returns the file's size."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 65_557))
    tail = file.read()
    if (at := tail.rfind(b"PK\x05\x06")) < 0 or len(tail) - at < 22:
        raise zipfile.BadZipFile("its index at the end is missing")
    index_size = struct.unpack_from("<L", tail, at + 12)[0]
    if index_size == 0xFFFFFFFF and (wide := tail.rfind(b"PK\x06\x06")) >= 0 and len(tail) - wide >= 48:
        index_size = struct.unpack_from("<Q", tail, wide + 40)[0]
    if index_size > MAX_ZIP_INDEX:
        raise BadContentError(f"a zip file whose index has {index_size:,} bytes: too many members. Offer it as tar.gz")
    file.seek(0)
    return size


def _spooled(stream: Readable, partial: Path) -> Any:
    """A temporary copy of a zip that came in a stream: its index is at its end."""
    try:
        file = tempfile.TemporaryFile(dir=partial)  # noqa: SIM115 - the caller closes it
    except OSError as error:
        raise StoreError(f"{partial}: {error.strerror}") from error
    try:
        while data := stream.read(1 << 20):
            try:
                file.write(data)
            except OSError as error:
                raise StoreError(f"{partial}: {error.strerror}") from error
    except BaseException:
        file.close()
        raise
    return file


def _without_gz(name: str) -> str:
    lower = name.lower()
    return f"{name[:-4]}.tar" if lower.endswith(".tgz") else name[:-3] if lower.endswith(".gz") else name


def _plain(error: BaseException) -> str:
    return str(error)[:200] or type(error).__name__
