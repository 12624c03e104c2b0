"""JSON in and out without changing a value: numbers keep the digits they were published with.

Belongs here: parsing to Python objects that ocdsmerge can merge, and writing them in one line. A number with a
fraction or an exponent, and an integer of over 1,000 digits, becomes a `Verbatim` that remembers its text (0.10 stays
0.10, 1e400 stays 1e400). Does not belong here: finding releases in files.
"""

from __future__ import annotations

import decimal
import json
from typing import Any

import orjson

_LONG = 1000  # digits of an integer that Python converts quickly
_EXACT = decimal.Context(prec=decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[])


class Verbatim:
    """A JSON value to be written as it was read, that compares by value, so that it can be an object's `id`.

    Attributes:
        text: its JSON.
    """

    __slots__ = ("_key", "text")

    def __init__(self, text: str, key: object = None) -> None:
        self.text = text
        self._key = key

    @property
    def key(self) -> object:
        """What it is compared by: a number's exact value."""
        if self._key is None:
            try:
                self._key = decimal.Decimal(self.text)
            except decimal.InvalidOperation:  # an exponent of 18 digits and more
                self._key = self.text
        return self._key

    @property
    def plain(self) -> int | Verbatim:
        """A number in the one form that all of the same value have."""
        if not isinstance(self.key, decimal.Decimal):
            return self
        sign, digits, exponent = self.key.normalize(_EXACT).as_tuple()
        if isinstance(exponent, int) and 0 <= exponent < _LONG and len(digits) + exponent <= _LONG:
            return int(self.key)
        return Verbatim(f"{'-' if sign else ''}{''.join(map(str, digits))}e{exponent}")

    def __eq__(self, other: object) -> bool:
        return self.key == (other.key if isinstance(other, Verbatim) else other)

    def __hash__(self) -> int:
        return hash(self.key)

    def __str__(self) -> str:
        """The number as Python writes it, where that loses nothing: `1.50` and `1.5` are one `id`."""
        if isinstance(self.key, decimal.Decimal) and not self.text.lstrip("-").isdigit():
            short = repr(float(self.text))
            if short[-1].isdigit() and decimal.Decimal(short) == self.key:
                return short
        return self.text


def opaque(value: Any) -> Verbatim:
    """An object or a list that is to be taken as one value, such as an `id` that is an object."""
    return Verbatim(dumps(value).decode(), key=canonical(value))


class Loader:
    """Parses JSON. Counts what JSON doesn't have: NaN, Infinity and -Infinity, which become null.

    Attributes:
        nonfinite: how many there were.
    """

    def __init__(self) -> None:
        self.nonfinite = 0
        self._short = json.JSONDecoder(parse_float=Verbatim, parse_constant=self._constant)
        self._long = json.JSONDecoder(parse_float=Verbatim, parse_int=_integer, parse_constant=self._constant)

    def __call__(self, data: bytes) -> Any:
        """Parse one value.

        Raises:
            ValueError: if it isn't JSON.
            RecursionError: if it is nested too deeply.
        """
        text = data.decode()
        try:
            return self._short.decode(text)
        except json.JSONDecodeError:
            raise
        except ValueError:  # an integer of more digits than Python converts
            return self._long.decode(text)

    def _constant(self, _name: str) -> None:
        self.nonfinite += 1


def dumps(value: Any) -> bytes:
    """Write a value in one line of UTF-8, without spaces, keys in their order.

    Raises:
        RecursionError: if it is nested too deeply.
    """
    try:
        return orjson.dumps(value, default=_fragment)
    except orjson.JSONEncodeError:  # a lone surrogate, an integer over 64 bits, or more than 254 levels
        return "".join(_pieces(value)).encode()


def canonical(value: Any) -> bytes:
    """The same bytes for the same value, whatever the order of keys and the digits of numbers (1.50 is 1.5)."""
    return dumps(_sorted(value))


def _integer(text: str) -> int | Verbatim:
    return int(text) if len(text) <= _LONG else Verbatim(text)


def _fragment(value: object) -> orjson.Fragment:
    if isinstance(value, Verbatim):
        return orjson.Fragment(value.text.encode())
    raise TypeError(type(value).__name__)


def _sorted(value: Any) -> Any:
    """The value with the keys of its objects sorted and its numbers in one form."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value.plain if isinstance(value, Verbatim) else value


def _pieces(value: Any) -> list[str]:
    """What orjson refuses, slowly: lone surrogates stay escaped, as they were."""
    pieces: list[str] = []

    def add(part: Any) -> None:
        if isinstance(part, dict):
            for index, (key, item) in enumerate(part.items()):
                pieces.append(("," if index else "{") + _string(key) + ":")
                add(item)
            pieces.append("}" if part else "{}")
        elif isinstance(part, list):
            for index, item in enumerate(part):
                pieces.append("," if index else "[")
                add(item)
            pieces.append("]" if part else "[]")
        elif isinstance(part, str):
            pieces.append(_string(part))
        elif isinstance(part, Verbatim):
            pieces.append(part.text)
        else:
            pieces.append(json.dumps(part))

    add(value)
    return pieces


def _string(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(text)
    return json.dumps(text, ensure_ascii=False)
