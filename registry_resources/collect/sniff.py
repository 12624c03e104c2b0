"""Tells what a file is by its first bytes. Belongs here: forms and their marks. Claims are ignored."""

from __future__ import annotations

from enum import StrEnum
from typing import BinaryIO, Protocol

from registry_resources.collect.problems import BadContentError

HEAD = 4096  # bytes looked at

_FOREIGN = (
    (b"BZh", "bzip2, which isn't read: offer it as gzip or zip"),
    (b"\xfd7zXZ\0", "xz, which isn't read: offer it as gzip or zip"),
    (b"\x28\xb5\x2f\xfd", "Zstandard, which isn't read: offer it as gzip or zip"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip, which isn't read: offer it as gzip or zip"),
    (b"Rar!", "RAR, which isn't read: offer it as gzip or zip"),
    (b"%PDF", "a PDF file instead of JSON"),
    (b"\xff\xfe", "UTF-16 text, where JSON is UTF-8"),
    (b"\xfe\xff", "UTF-16 text, where JSON is UTF-8"),
)


class Kind(StrEnum):
    """The forms that are read."""

    JSON = "json"
    GZIP = "gzip"
    ZIP = "zip"
    TAR = "tar"


class Readable(Protocol):
    """All that is asked of a stream."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; none at the end."""


class Peeked:
    """A stream whose first bytes can be looked at before it is read."""

    def __init__(self, stream: Readable | BinaryIO) -> None:
        self._stream = stream
        self._buffer = b""
        self.position = 0

    def peek(self, size: int = HEAD) -> bytes:
        """The first bytes, as many as there are, without using them up."""
        while len(self._buffer) < size and (data := self._stream.read(size - len(self._buffer))):
            self._buffer += data
        return self._buffer[:size]

    def read(self, size: int = 1 << 20, /) -> bytes:
        """At most `size` bytes; none at the end."""
        if self._buffer:
            data, self._buffer = self._buffer[:size], self._buffer[size:]
        else:
            data = self._stream.read(size)
        self.position += len(data)
        return data


def sniff(head: bytes, name: str = "") -> Kind:
    """The form of a file.

    Args:
        head: its first `HEAD` bytes, fewer only if it is shorter.
        name: its name, only looked at for tar files so old that they bear no mark.

    Raises:
        BadContentError: if it is none that is read. The message says what it is instead.
    """
    if head.startswith(b"\x1f\x8b"):
        return Kind.GZIP
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return Kind.ZIP
    if head[257:262] == b"ustar":
        return Kind.TAR
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    if text.startswith((b"{", b"[")):
        return Kind.JSON
    if not text:
        raise BadContentError("an empty file" if len(head) < HEAD else "a file that begins with blanks alone")
    if name.lower().endswith(".tar"):
        return Kind.TAR
    for mark, meaning in _FOREIGN:
        if head.startswith(mark):
            raise BadContentError(meaning)
    if text.startswith(b"<"):
        html = b"<html" in text.lower() or b"<!doctype html" in text.lower()
        raise BadContentError("an HTML page instead of JSON" if html else "XML instead of JSON")
    raise BadContentError(f"not JSON: it begins with {text[:40]!r}")
