"""Whether a line is a JSON object, and its top-level `date`, without trusting it or needing memory for what it holds.

Belongs here: the check of one line. Does not belong here: where lines come from or go.

A line is first given to orjson, which is fast. orjson refuses some lines that are JSON by the standard (RFC 8259):
numbers beyond 64-bit floats such as 1e400, escaped lone surrogates, nesting deeper than 1,024; and it builds objects,
which takes many times a line's size. So what it refuses, and very long lines, are read by a scanner that follows the
grammar, keeps only the stack of open brackets, and has no limit of depth.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from exporter.patterns import compile_possessive

LONG_LINE = 8 << 20  # bytes beyond which a line is scanned and not parsed: 8 MiB of `[[],[],…` parse to 170 MB

_PLAIN = rb'[^"\\\x00-\x1f]*+'
_STRING = rb'"' + _PLAIN + rb'(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})' + _PLAIN + rb')*+"'
_NUMBER = rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+"
_SPACE = rb"[ \t\r\n]*+"
_SCALAR = rb"(?:" + _STRING + rb"|" + _NUMBER + rb"|true|false|null)"
_WHITE = re.compile(_SPACE)
_VALUE = compile_possessive(_SCALAR)
_KEY = compile_possessive(rb"(" + _STRING + rb")" + _SPACE + rb":" + _SPACE)
# Runs of scalars, and of objects and arrays of nothing but these, are taken in one step, for speed. Each ends with a
# comma, so that something must follow. Of a long run so many at once: see `patterns` for what it would need elsewhere.
_RUN = rb"{0,1000}+"
_MEMBER = _STRING + _SPACE + rb":" + _SPACE + _SCALAR + _SPACE
_OBJECT = rb"\{" + _SPACE + rb"(?:" + _MEMBER + rb"(?:," + _SPACE + _MEMBER + rb")" + _RUN + rb")?+\}"
_ARRAY = rb"\[" + _SPACE + rb"(?:" + _SCALAR + _SPACE + rb"(?:," + _SPACE + _SCALAR + _SPACE + rb")" + _RUN + rb")?+\]"
_FLAT = rb"(?:" + _SCALAR + rb"|" + _OBJECT + rb"|" + _ARRAY + rb")" + _SPACE + rb"," + _SPACE
_ELEMENTS = compile_possessive(rb"(?:" + _FLAT + rb")" + _RUN)
_MEMBERS = compile_possessive(rb"(?:" + _STRING + _SPACE + rb":" + _SPACE + _FLAT + rb")" + _RUN)
_OPEN = {ord("{"): ord("}"), ord("["): ord("]")}


class NotJSONError(ValueError):
    """The line is no JSON text."""


class NotObjectError(ValueError):
    """The line is JSON, but no object."""


class NotUTF8Error(ValueError):
    """The line is no UTF-8 text."""


def read(line: bytes) -> tuple[str | None, Any]:
    """Return a JSON object's top-level `date` if that is a string, else None. Of repeated keys the last one counts.

    Returns:
        The date; and the object as orjson read it, or None if the line had to be scanned.

    Raises:
        NotJSONError, NotObjectError, NotUTF8Error: if the line is no JSON object.
    """
    if len(line) <= LONG_LINE:
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            pass
        else:
            if not isinstance(value, dict):
                raise NotObjectError
            date = value.get("date")
            return (date if isinstance(date, str) else None), value
    _require_utf8(line)
    return _scan(line), None


def date_of(line: bytes) -> str | None:
    """Return what `read` says of the date, and raise what it raises."""
    return read(line)[0]


def _require_utf8(line: bytes) -> None:
    """Check in pieces, since the decoded text may be four times as large."""
    at, size, step = 0, len(line), 1 << 20
    while at < size:
        end = min(at + step, size)
        while end < size and line[end] & 0xC0 == 0x80 and end > at + step - 4:  # not inside a character
            end -= 1
        try:
            line[at:end].decode("utf-8")
        except UnicodeDecodeError:
            raise NotUTF8Error from None
        at = end


def _scan(line: bytes) -> str | None:
    closers = bytearray()  # the bracket that ends each open object or array
    at = _end(_WHITE.match(line))
    date, key, is_object = None, b"", line[at : at + 1] == b"{"
    state = "value"
    while True:
        if state == "value":
            if (match := _VALUE.match(line, at)) is not None:
                if key == b"date":
                    text = match[0]
                    date = json.loads(text) if text.startswith(b'"') else None
                at, state = match.end(), "after"
            elif at < len(line) and (closer := _OPEN.get(line[at])):
                if key == b"date":
                    date = None
                at = _end(_WHITE.match(line, at + 1))
                if at < len(line) and line[at] == closer:
                    at, state = at + 1, "after"
                else:
                    closers.append(closer)
                    state = "key" if closer == _OPEN[ord("{")] else "value"
            else:
                raise NotJSONError
            key = b""
            if state == "value":
                at = _end(_ELEMENTS.match(line, at))
        elif state == "key":
            if len(closers) > 1:
                at = _end(_MEMBERS.match(line, at))
            match = _KEY.match(line, at)
            if match is None:
                raise NotJSONError
            if len(closers) == 1:
                key = match[1][1:-1]
                if b"\\" in key:
                    key = json.loads(match[1]).encode("utf-8", "surrogatepass")
            at, state = match.end(), "value"
        else:  # after a value
            at = _end(_WHITE.match(line, at))
            if not closers:
                if at < len(line):
                    raise NotJSONError
                if not is_object:
                    raise NotObjectError
                return date
            if line[at : at + 1] == b",":
                at = _end(_WHITE.match(line, at + 1))
                state = "key" if closers[-1] == _OPEN[ord("{")] else "value"
                if state == "value":
                    at = _end(_ELEMENTS.match(line, at))
            elif at < len(line) and line[at] == closers[-1]:
                closers.pop()
                at += 1
            else:
                raise NotJSONError


def _end(match: re.Match[bytes] | None) -> int:
    """Return where a match that may be empty, and so never fails, ends."""
    return match.end() if match else 0
