r"""Rewriting of lines that flatterer would refuse or change, so that it passes on every value as published.

Belongs here: what to do with one line. Does not belong here: running flatterer (see `tabulate`).

Observed of flatterer 0.25: it rounds numbers that a 64-bit float or integer does not hold, stops at 1e400, at lone
surrogates and below 127 levels, makes files named after keys (so `/` in a key leaves its folder), and trims lists of
texts. Only lines that may hold such a thing are rewritten, found by one regular expression over all lines at once:

- numbers that would change become texts with the published digits; lists of them become the text of their JSON;
- a lone surrogate, which no UTF-8 text can hold, becomes U+FFFD, and is counted;
- what lies too deep, or under names too long for a file, becomes one text: its JSON;
- characters of keys that no file name may hold are replaced by stand-ins, which `tables` replaces back.
"""

from __future__ import annotations

import csv
import io
import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from exporter.patterns import compile_possessive

if TYPE_CHECKING:
    from collections import Counter

SEPARATOR = "\x1f"  # between the names of a path, so that `a_b` and `a` > `b` stay apart until they are joined
STAND_INS = {"/": "\x1d", "\0": "\x1c", SEPARATOR: "\x1e"}  # for characters in keys; the values are never in text
DEEPEST = 127  # open brackets that flatterer reads
LONGEST = 251  # bytes of a table's name, which with `.csv` becomes a file's

_OTHERS = (
    r'"[^"]*/[^"]*"\s*:'  # a slash in a key
    r"|\\u00(?:1[c-fC-F]|2[fF]|00)"  # the same, and the stand-ins, escaped
    r"|\\u[dD][89a-fA-F]"  # surrogates
    r'|\[\s*"(?:\s|\\[ntrf]|\xc2\xa0|\xe3\x80\x80)|(?:\s|\\[ntrf]|\xc2\xa0|\xe3\x80\x80)"\s*\]'  # ends of lists
)
_SUSPICIOUS = (
    r"[:\[,]\s*-?(?:[0-9.]{16}|[0-9][0-9.]*[eE])|" + _OTHERS
)  # first, numbers with many digits or an exponent
_NOT_NUMBERS = compile_possessive(_OTHERS.encode())
_NUMBERS = compile_possessive(rb"[:\[,]\s*+(-?[0-9][0-9.]*+(?:[eE][0-9+-]*+)?+)")
_TOKEN = compile_possessive(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|-?[0-9][0-9.eE+-]*+|[{}\[\],]')
_COLON = re.compile(rb"\s*:")
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TEXTS = compile_possessive(rb"\[\s*+" + _STRING + rb"(?:\s*+,\s*+" + _STRING + rb")*+\s*+\]")
_SURROGATES = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)


def suspicious(lines: pa.LargeBinaryArray) -> pa.BooleanArray:
    """Tell for each line whether it must go through `mend`."""
    return pc.match_substring_regex(lines, _SUSPICIOUS)


def needs_mending(line: bytes) -> bool:
    """Whether a suspicious line has something to mend, as far as can be seen without reading it token by token."""
    if _NOT_NUMBERS.search(line):
        return True
    return any(changes(token) for token in _NUMBERS.findall(line) if len(token) > 15 or b"e" in token.lower())


def mend(line: bytes, counts: Counter[str]) -> bytes:
    """Rewrite a line of JSON for flatterer.

    Args:
        line: a JSON object.
        counts: is added to: `numbers_kept_as_text`, `surrogates_replaced`, `values_kept_as_json`, `keys_with_slash`.

    Returns:
        The line to give to flatterer. It is the same where there was nothing to do.
    """
    return _Line(line, counts).mended()


class _Open(NamedTuple):
    """An open bracket."""

    start: int
    is_array: bool
    name: int  # bytes of the table's name
    out: int  # how much was written before, to go back to
    at: int


class _Line:
    def __init__(self, line: bytes, counts: Counter[str]) -> None:
        self.line, self.counts = line, counts
        self.out: list[bytes] = []
        self.at = 0  # everything before is in `out`
        self.open: list[_Open] = []
        self.key: int | None = None  # bytes of the key whose value comes next
        self.whole: tuple[int, int] | None = None  # where a value to keep as JSON began, and at which depth

    def put(self, start: int, end: int, text: bytes) -> None:
        self.out += (self.line[self.at : start], text)
        self.at = end

    def mended(self) -> bytes:
        skip_to = 0
        for match in _TOKEN.finditer(self.line):
            start, end = match.span()
            if start < skip_to:
                continue
            first = self.line[start]
            if first in b"{[":
                skip_to = self.opened(start)
            elif first in b"}]":
                self.closed(end)
            elif first == 0x22:
                self.string(start, end, match[0])
            elif first == 0x2C:
                self.key = None
            elif self.whole is None:
                self.number(start, end, match[0])
        return b"".join(self.out) + self.line[self.at :] if self.out else self.line

    def opened(self, start: int) -> int:
        """Enter an object or array. Returns where to go on: behind it, if it was dealt with."""
        key, self.key = self.key, None
        if self.whole is None:
            if key is not None and self.line[start] == 0x5B and (match := _TEXTS.match(self.line, start)):
                self.texts(start, match.end(), match[0])
                return match.end()
            is_array = self.line[start] == 0x5B
            name = (self.open[-1].name if self.open else -1) + (key + 1 if key is not None else 0)
            if len(self.open) >= DEEPEST or (is_array and name > LONGEST):
                self.whole = (start, len(self.open))
            self.open.append(_Open(start, is_array, name, len(self.out), self.at))
        else:
            self.open.append(_Open(start, is_array=False, name=0, out=0, at=0))
        return start

    def closed(self, end: int) -> None:
        self.key = None
        if self.open:
            self.open.pop()
        if self.whole is not None and len(self.open) == self.whole[1]:
            start, self.whole = self.whole[0], None
            text = self.line[start:end].decode("utf-8", "replace")
            self.put(start, end, json.dumps(text, ensure_ascii=False).encode())
            self.counts["values_kept_as_json"] += 1

    def string(self, start: int, end: int, token: bytes) -> None:
        is_key = _COLON.match(self.line, end) is not None
        if self.whole is None:
            text = self.surrogates(token) if b"\\u" in token else token
            if is_key:
                text = self.safe_key(text)
            if text != token:
                self.put(start, end, text)
        if is_key:
            self.key = len(_plain(token)) if b"\\" in token else end - start - 2

    def surrogates(self, token: bytes) -> bytes:
        def replaced(match: re.Match[bytes]) -> bytes:
            if match[1] is None:
                return match[0]
            self.counts["surrogates_replaced"] += 1
            return rb"\ufffd"

        return _SURROGATES.sub(replaced, token)

    def safe_key(self, token: bytes) -> bytes:
        if b"/" not in token and b"\\u00" not in token:
            return token
        try:
            key = json.loads(token)
        except ValueError:
            return token
        for unsafe, stand_in in STAND_INS.items():
            if unsafe in key:
                self.counts["keys_with_slash" if unsafe == "/" else "keys_with_control_characters"] += 1
                key = key.replace(unsafe, stand_in)
        return json.dumps(key, ensure_ascii=False).encode()

    def number(self, start: int, end: int, token: bytes) -> None:
        self.key = None
        if not changes(token):
            return
        if not self.open or not self.open[-1].is_array:
            self.put(start, end, b'"' + token + b'"')
            self.counts["numbers_kept_as_text"] += 1
            return
        depth = len(self.open) - 1  # a list of numbers becomes the text of its JSON in any case: it is kept whole
        while depth and self.open[depth - 1].is_array:
            depth -= 1
        first = self.open[depth]
        del self.out[first.out :]
        self.at, self.whole = first.at, (first.start, depth)

    def texts(self, start: int, end: int, token: bytes) -> None:
        """Keep the space at the ends of a list of texts, by joining it here as flatterer would."""
        whole = self.surrogates(token) if b"\\u" in token else token
        joined = io.StringIO()
        try:
            csv.writer(joined, lineterminator="\r\n").writerow(json.loads(whole))  # quotes what has either
        except ValueError:
            return
        text = joined.getvalue().removesuffix("\r\n")
        if text != text.strip():
            whole = json.dumps(text, ensure_ascii=False).encode()
        if whole != token:
            self.put(start, end, whole)


def _plain(token: bytes) -> bytes:
    try:
        return str(json.loads(token)).encode("utf-8", "replace")
    except ValueError:
        return token


def changes(token: bytes) -> bool:
    """Whether flatterer would give another number than this one.

    It reads integers of 64 bits, with or without a sign, exactly, everything else as a 64-bit float, and writes the
    shortest text of that.
    """
    if not any(letter in token for letter in b".eE"):
        return len(token) > 18 and (len(token) > 20 or not -(2**63) <= int(token) < 2**64)
    try:
        return Decimal(repr(float(token))) != Decimal(token.decode())
    except ArithmeticError:  # an exponent beyond even Decimal's
        return True
    except ValueError:  # no number at all: the line is no JSON, which is not decided here
        return False
