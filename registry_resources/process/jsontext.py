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
MAX_VALUE = 32 << 20
"""Characters a single value (a release) may have: what is larger can't be merged in the memory that is allowed."""

_SPACE = re.compile(r"[ \t\n\r]*")
_BLANK = re.compile(r"[ \t\r]*")
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|["{}\[\]]', re.DOTALL)
_NEAR = 16  # characters: an error so near the end of what is read may be nothing but the end
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


class BadJsonError(ValueError):
    """The text isn't JSON from here on. The message says why and in which line."""


class TooDeep:
    """Stands for a value that is nested too deeply to be parsed, but whose end was found."""


class Place:
    """A place in a text, from which on the text is kept.

    Attributes:
        at: where in the buffer.
        most: how many characters are kept at most: if it is further away, it is let go of.
    """

    __slots__ = ("at", "most")

    def __init__(self, at: int, most: int) -> None:
        self.at = at
        self.most = most


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
        self._places: list[Place] = []
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

    def hold(self, most: int | None = None) -> Place:
        """Keep the text from here on, until it is let go of, or further away than so many characters."""
        place = Place(self.position, MAX_VALUE if most is None else most)
        self._places.append(place)
        return place

    def let_go(self, place: Place) -> None:
        """Let go of a place. Again is no error."""
        if place in self._places:
            self._places.remove(place)

    def let_go_of_others(self, place: Place) -> None:
        """Let go of all places but this one."""
        self._places = [held for held in self._places if held is place]

    def since(self, place: Place) -> str:
        """The text from a place to the position.

        Raises:
            BadJsonError: if it is larger than a value may be.
        """
        if place not in self._places:
            raise self._too_large()
        return self.buffer[place.at : self.position]

    def go_back(self, place: Place) -> bool:
        """Return to a place. False if it is no longer held."""
        if place not in self._places:
            return False
        self.position = place.at
        return True

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
        return not self.position or self.buffer[self.position - 1] == "\n"

    def ends_line(self) -> bool:
        """Whether only white space follows in this line."""
        while True:
            match = _BLANK.match(self.buffer, self.position)
            self.position = match.end() if match else self.position
            if self.position < len(self.buffer):
                return self.buffer[self.position] == "\n"
            if not self._fill():
                return True

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
        """Read on, letting go of what is behind the places and the character before. False at the end."""
        if self._end:
            return False
        self._places = [place for place in self._places if self.position - place.at <= place.most]
        keep = max(0, min([self.position, *(place.at for place in self._places)]) - 1)
        held = len(self.buffer) - self.position
        if held > MAX_VALUE:
            raise self._too_large()
        if self._failure:
            raise BadJsonError(self._failure)
        try:
            data = self._read(max(CHUNK, held))
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
        for place in self._places:
            place.at -= keep
        return bool(more) or self._fill()

    def _too_large(self) -> BadJsonError:
        millions = MAX_VALUE >> 20
        return BadJsonError(f"a value is larger than {millions} million characters, or never ends (line {self.line})")
