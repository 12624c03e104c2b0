"""Reads JSON text piece by piece from a stream of bytes of any length, in constant memory, knowing where it is.

Belongs here: decoding (UTF-8 with or without byte order mark, UTF-16 with one), finding where a value begins and ends,
and lines for messages. Does not belong here: what the values mean.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from typing import Any

CHUNK = 1 << 20
MAX_VALUE = 48 << 20
"""Characters a single value (a release) may have: what is larger can't be merged in the memory that is allowed."""

_SPACE = re.compile(r"[ \t\n\r]*")
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|["{}\[\]]', re.DOTALL)
_NEAR = 16  # characters: an error so near the end of what is read may be nothing but the end
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


class BadJsonError(ValueError):
    """The text isn't JSON from here on. The message says why and in which line."""


class TooDeep:
    """Stands for a value that is nested too deeply to be parsed, but whose end was found."""


class JsonText:
    """The text of one file.

    Args:
        read: gives at most so many bytes, none at the end.

    Attributes:
        buffer: what is at hand of the text.
        position: where in it we are.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self.buffer = ""
        self.position = 0
        self._read = read
        self._mark = -1
        self._lines = 1  # of the position where lines were last counted
        self._counted = 0
        self._end = False
        self._failure = ""
        # Numbers aren't needed here, so none is made (an integer of a million digits takes seconds).
        decoder = json.JSONDecoder(parse_float=len, parse_int=len, parse_constant=len)
        self._scan: Callable[[str, int], tuple[Any, int]] = decoder.scan_once  # type: ignore[attr-defined]
        first = read(4)
        encoding, skipped = next(((name, len(bom)) for bom, name in _BOMS if first.startswith(bom)), ("utf-8", 0))
        # Bytes that aren't UTF-8 are found when a value's text is taken: only its document is lost.
        errors = "surrogateescape" if encoding == "utf-8" else "strict"
        self._decoder = codecs.getincrementaldecoder(encoding)(errors)
        self.buffer = self._decoder.decode(first[skipped:])

    @property
    def line(self) -> int:
        """The line of the position, from 1."""
        if self.position >= self._counted:
            self._lines += self.buffer.count("\n", self._counted, self.position)
        else:
            self._lines -= self.buffer.count("\n", self.position, self._counted)
        self._counted = self.position
        return self._lines

    def mark(self) -> None:
        """Keep the text from here on, until `unmark`."""
        self._mark = self.position

    def unmark(self) -> None:
        """Let go of what is behind the position."""
        self._mark = -1

    def marked(self) -> str:
        """The text from the mark to the position."""
        return self.buffer[self._mark : self.position]

    def back(self) -> None:
        """Return to the mark."""
        self.position = self._mark

    def peek(self) -> str:
        """Pass over white space, and tell the character that follows: "" at the end."""
        while True:
            match = _SPACE.match(self.buffer, self.position)
            self.position = match.end() if match else self.position
            if self.position < len(self.buffer):
                return self.buffer[self.position]
            if not self._fill():
                return ""

    def begins_line(self) -> bool:
        """Whether the position is the beginning of a line."""
        return self.position > 0 and self.buffer[self.position - 1] == "\n"

    def next_line(self) -> bool:
        """Go to the beginning of the next line. False if there is none."""
        while (found := self.buffer.find("\n", self.position)) < 0:
            self.position = len(self.buffer)
            if not self._fill():
                return False
        self.position = found + 1
        return self.position < len(self.buffer) or self._fill()

    def value(self) -> tuple[Any, str]:
        """Read the value that begins here, and go behind it.

        Returns:
            The value, its numbers replaced by anything (a `TooDeep` if it is too deep), and its text.

        Raises:
            BadJsonError: if it isn't JSON. The position is then where that was found.
        """
        while True:
            at, unterminated, reason = self.position, False, "Expecting value"
            try:
                value, end = self._scan(self.buffer, self.position)
            except StopIteration as stop:
                at = int(stop.value)
            except json.JSONDecodeError as error:
                at, reason = error.pos, error.msg
                unterminated = reason.startswith("Unterminated string")
            except RecursionError:
                value, end = TooDeep(), self._find_end()
                return value, self._take(end)
            else:
                if end < len(self.buffer) or self.buffer[end - 1] in '"}]' or not self._fill():
                    return value, self._take(end)
                continue  # a number may go on
            if (unterminated or at >= len(self.buffer) - _NEAR) and self._fill():
                continue
            self.position = min(at, len(self.buffer))
            raise BadJsonError(f"{reason} (line {self.line})")

    def _take(self, end: int) -> str:
        text = self.buffer[self.position : end]
        self.position = end
        return text

    def _find_end(self) -> int:
        """The end of the object or list that begins here, without parsing it."""
        depth, offset = 0, 0
        while True:
            for match in _TOKEN.finditer(self.buffer, self.position + offset):
                found = match[0]
                if found in "{[":
                    depth += 1
                elif found in "}]":
                    depth -= 1
                    if not depth:
                        return match.end()
                elif found == '"':
                    break  # a string that goes on
                offset = match.end() - self.position
            if not self._fill():
                raise BadJsonError(f"Unterminated value (line {self.line})")

    def _fill(self) -> bool:
        """Read on, letting go of what is behind the position and the mark. False at the end."""
        if self._end:
            return False
        keep = self.position if self._mark < 0 else min(self._mark, self.position)
        kept = len(self.buffer) - keep
        if kept > MAX_VALUE:
            raise BadJsonError(
                f"a value is larger than {MAX_VALUE >> 20} million characters, or never ends (line {self.line})"
            )
        if self._failure:
            raise BadJsonError(self._failure)
        try:
            data = self._read(max(CHUNK, kept))
            more = self._decoder.decode(data, final=not data)
        except (BadJsonError, UnicodeDecodeError) as error:  # nothing can be read after it
            self._failure = f"{error} (after line {self.line})"
            raise BadJsonError(self._failure) from error
        self._end = not data
        if self._end and not more:
            return False
        _ = self.line  # counts up to the position, which isn't let go of
        self._counted -= keep
        self.buffer = self.buffer[keep:] + more
        self.position -= keep
        self._mark -= keep if self._mark >= 0 else 0
        return bool(more) or self._fill()
