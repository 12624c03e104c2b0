"""Compiled releases from a file or from standard input: JSON Lines, plain or gzip.

Belongs here: reading, checking and counting lines. Does not belong here: writing.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporter import gunzip, jsontext, repeats
from exporter.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BATCH = 1 << 20  # bytes of lines given at once
LINE_LIMIT = 128 << 20  # bytes of one line that memory allows for
EXAMPLES = 5  # of each reason that are kept to show
_BOM = b"\xef\xbb\xbf"


class Source:
    """Compiled releases as batches of (`date` or None, JSON in one line), to be gone through once.

    Lines keep their bytes; only a carriage return before the line feed, and a byte order mark at the start of the
    file, are no part of a line. What is no JSON object is left out, counted and named (I8).

    Args:
        path: a file, compressed or not (its first bytes tell); `-` is standard input.

    Attributes:
        skipped: how many lines were left out, by reason: `blank_lines`, `invalid_json`, `invalid_utf8`, `not_object`,
            `line_too_long`; and `truncated_source`, 1 if a gzip source breaks off, after which no lines follow.
        bytes: of the lines given so far.
        examples: the first few of each, for people: `line 12: invalid_json`.
        noticed: releases that were given and have something unusual: `repeated_keys`, a key twice in an object, of
            which tables and coverage take the last value; `keys_not_looked_at`, too long to look for such keys.
        remarks: the first few of each, for people.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self.skipped: Counter[str] = Counter()
        self.examples: list[str] = []
        self.noticed: Counter[str] = Counter()
        self.remarks: list[str] = []
        self.bytes = 0

    def _pieces(self) -> Iterator[bytes]:
        standard = self._path == "-"
        try:
            descriptor = sys.stdin.fileno() if standard else os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise _unreadable(self._path, error.strerror) from None
        try:
            while piece := os.read(descriptor, 1 << 20):
                yield piece
        except OSError as error:
            raise _unreadable(self._path, error.strerror) from None
        finally:
            if not standard:
                os.close(descriptor)

    def _text(self) -> Iterator[bytes]:
        pieces = self._pieces()
        first = b""
        for piece in pieces:  # a pipe may give a byte at a time
            first += piece
            if len(first) >= len(_BOM):
                break

        def all_pieces() -> Iterator[bytes]:
            yield first
            yield from pieces

        name = "standard input" if self._path == "-" else Path(self._path).name
        text = gunzip.decompress(all_pieces(), name) if first.startswith(gunzip.MAGIC) else all_pieces()
        try:
            yield from text
        except gunzip.TruncatedError as error:
            self._skip("truncated_source", str(error))

    def _skip(self, reason: str, text: str) -> None:
        self.skipped[reason] += 1
        if self.skipped[reason] <= EXAMPLES:
            self.examples.append(text)

    def _notice(self, number: int, line: bytes, value: Any) -> None:
        """Look for repeated keys, if the line may have any."""
        if value is not None and not repeats.may_repeat(line, value):
            return
        if len(line) > jsontext.LONG_LINE:
            what, text = "keys_not_looked_at", "too long to look for repeated keys"
        elif (key := repeats.repeated(line)) is not None:
            what, text = "repeated_keys", f"the key {key[:100]!r} is repeated in an object: its last value counts"
        else:
            return
        self.noticed[what] += 1
        if self.noticed[what] <= EXAMPLES:
            self.remarks.append(f"line {number}: {text}")

    def __iter__(self) -> Iterator[Sequence[tuple[str | None, bytes]]]:
        """Yield batches.

        Raises:
            SourceError: if the file cannot be read.
        """
        batch: list[tuple[str | None, bytes]] = []
        size = 0
        for number, raw in enumerate(gunzip.lines(self._text(), LINE_LIMIT), start=1):
            line = raw
            if line is None:
                self._skip("line_too_long", f"line {number}: over {LINE_LIMIT >> 20} MiB")
                continue
            if number == 1 and line.startswith(_BOM):
                line = line[len(_BOM) :]
            if line.endswith(b"\r"):
                line = line[:-1]
            try:
                date, value = jsontext.read(line)
            except ValueError as error:
                reason = "blank_lines" if not line.strip() else _REASONS[type(error)]
                self._skip(reason, f"line {number}: {reason}")
                continue
            self._notice(number, line, value)
            batch.append((date, line))
            size += len(line)
            if size >= BATCH:
                self.bytes += size
                yield batch
                batch, size = [], 0
        self.bytes += size
        if batch:
            yield batch


_REASONS: dict[type[ValueError], str] = {
    jsontext.NotJSONError: "invalid_json",
    jsontext.NotUTF8Error: "invalid_utf8",
    jsontext.NotObjectError: "not_object",
}


def read_source(path: str | os.PathLike[str]) -> Source:
    """Return the compiled releases of a file, or of standard input for `-`.

    Raises:
        SourceError: if there is no such file, which is told here since exporting begins with deleting. (It is not
            opened yet: a pipe can be opened once.)
    """
    if path != "-":
        try:
            mode = Path(path).stat().st_mode
        except OSError as error:
            raise _unreadable(path, error.strerror) from None
        if stat.S_ISDIR(mode):
            raise _unreadable(path, os.strerror(errno.EISDIR))
        if not os.access(path, os.R_OK):
            raise _unreadable(path, os.strerror(errno.EACCES))
    return Source(path)


def _unreadable(path: str | os.PathLike[str], cause: str | None) -> SourceError:
    return SourceError(f"{path}: {cause}: give a readable file, or - for standard input")
