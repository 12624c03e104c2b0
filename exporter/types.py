"""Which Arrow type a column of text may have, so that no value is changed by it.

Belongs here: evidence gathered from a column's texts, its union over parts of the data, and the cast. Does not belong
here: columns and tables (see `tables`), or files.

A column is a number only where every text is the shortest way to write that number (`7`, `1.5`; not `007`, `1.50` or
`1e3`), a boolean only where every text is `true` or `false`, a timestamp only where every text is a date-time with
seconds and an offset that Arrow's microseconds hold. Identifiers, codes, postal codes and telephone numbers are text
also where they look like numbers (ASK-09).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

BOOLEAN, INTEGER, FLOAT, TIMESTAMP = 1, 2, 4, 8
ANY = BOOLEAN | INTEGER | FLOAT | TIMESTAMP

_ARROW = {
    BOOLEAN: pa.bool_(),
    INTEGER: pa.int64(),
    FLOAT: pa.float64(),
    TIMESTAMP: pa.timestamp("us", "UTC"),
}
_PATTERNS = {
    BOOLEAN: "^(?:true|false)$",
    INTEGER: "^(?:0|-?[1-9][0-9]{0,18})$",
    FLOAT: r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]*[1-9])?$",
    TIMESTAMP: r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})$",
}
_EXACT = 15  # significant digits that a float holds whatever they are
# 0001-01-01T00:00:00Z and the last microsecond of 9999, in microseconds since 1970: what Python and databases hold.
_EARLIEST, _LATEST = -62_135_596_800_000_000, 253_402_300_799_999_999
_TEXT_NAMES = {"id", "ocid", "code", "codes", "scheme", "identifier", "version"}
_TEXT_NAMES |= {"postalcode", "zipcode", "zip", "telephone", "phone", "phonenumber", "mobile", "fax", "faxnumber"}
_TEXT_ENDINGS = ("Id", "ID", "Ids", "IDs", "Code", "Number", "Phone", "Identifier")


def is_text_by_name(path: tuple[str, ...]) -> bool:
    """Whether a column's last name says that it holds identifiers, codes or the like, whatever its values look like.

    Args:
        path: the names from the table's object to the value, such as `("unit", "id")`.
    """
    last = path[-1] if path else ""
    words = re.split(r"[_\W]+", last)
    return any(word.lower() in _TEXT_NAMES or word.endswith(_TEXT_ENDINGS) for word in words)


@dataclass
class Evidence:
    """What is known of a column: how many values it has, and which types all of them would bear."""

    values: int = 0
    possible: int = ANY

    def add(self, column: pa.StringArray) -> None:
        """Take in a piece of the column. Null means no value."""
        count = len(column) - column.null_count
        self.values += count
        if not self.possible or not count:
            return
        values = column.drop_null() if column.null_count else column
        first = values[0].as_py()  # prose is told from numbers by one of its texts
        for kind, pattern in _PATTERNS.items():
            if self.possible & kind and not re.search(pattern, first):
                self.possible &= ~kind
        if self.possible:
            self.possible = _bearing(values, self.possible)

    def merge(self, other: Evidence) -> None:
        """Take in what is known of the same column elsewhere."""
        self.values += other.values
        self.possible &= other.possible

    def arrow_type(self) -> pa.DataType:
        """Return the narrowest type that all values bear; text if there is none or no value."""
        if self.values:
            for kind, arrow in _ARROW.items():
                if self.possible & kind:
                    return arrow
        return pa.string()


def _bearing(values: pa.StringArray, possible: int) -> int:
    """Return those of the possible types that each of the values bears."""
    for kind, pattern in _PATTERNS.items():
        if possible & kind and not (
            pc.all(pc.match_substring_regex(values, pattern)).as_py() and _CHECKS[kind](values)
        ):
            possible &= ~kind
    return possible


def _cast(values: pa.StringArray, kind: int) -> pa.Array | None:
    try:
        return pc.cast(values, _ARROW[kind])
    except pa.ArrowInvalid:
        return None


def _floats_keep(values: pa.StringArray) -> bool:
    """Whether a 64-bit float has each of these canonical texts as its own shortest text."""
    long = values.filter(pc.greater(pc.binary_length(values), _EXACT))
    return all(_shortest(text) == text for text in long.unique().to_pylist())


def _shortest(text: str) -> str:
    number = float(text)
    if number in {float("inf"), float("-inf")}:
        return ""
    shortest = format(Decimal(repr(number)), "f")
    return shortest.removesuffix(".0")


def _in_range(values: pa.StringArray) -> bool:
    cast = _cast(values, TIMESTAMP)
    if cast is None:
        return False
    ends = pc.min_max(cast.cast(pa.int64())).as_py()
    return bool(ends["min"] >= _EARLIEST and ends["max"] <= _LATEST)


_CHECKS = {
    BOOLEAN: lambda _: True,
    INTEGER: lambda values: _cast(values, INTEGER) is not None,
    FLOAT: _floats_keep,
    TIMESTAMP: _in_range,
}


def cast(column: pa.StringArray, arrow_type: pa.DataType) -> pa.Array:
    """Give a column of text the type that its evidence allows."""
    return column if arrow_type == pa.string() else pc.cast(column, arrow_type)
