"""Types of columns: a value is never changed by the type it is given (ASK-09)."""

from __future__ import annotations

import pyarrow as pa
import pytest

from exporter import types
from exporter.types import Evidence

INT, FLOAT, BOOL, TIME, TEXT = pa.int64(), pa.float64(), pa.bool_(), pa.timestamp("us", "UTC"), pa.string()


def inferred(*pieces: list[str | None]) -> pa.DataType:
    total = Evidence()
    for piece in pieces:
        part = Evidence()
        part.add(pa.array(piece, pa.string()))
        total.merge(part)
    return total.arrow_type()


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1", "-20", "0", None], INT),
        (["9223372036854775807", "-9223372036854775808"], INT),
        (["9223372036854775808", "1"], TEXT),  # beyond 64 bits, and no float has this text
        (["007"], TEXT),
        (["+5"], TEXT),
        (["-0", "1"], FLOAT),  # an integer has no negative zero
        (["1", "2.5"], FLOAT),
        (["0.1", "-1234567.89", "0.00001"], FLOAT),
        (["1.50"], TEXT),
        (["1e5"], TEXT),
        (["0.30000000000000004"], FLOAT),  # 17 digits that are a float's own
        (["0.3000000000000000444"], TEXT),
        (["9007199254740993", "0.5"], TEXT),  # 2**53 + 1: whole it is an integer, beside fractions it would be rounded
        (["9007199254740992", "0.5"], FLOAT),
        (["123456789012345678901234567890.5"], TEXT),
        (["true", "false", None], BOOL),
        (["True"], TEXT),
        (["true", "1"], TEXT),
        (["2020-02-29T23:59:59Z", "2020-01-01T00:00:00.123456+05:30"], TIME),
        (["0207-05-15T00:00:00Z", "9999-12-31T23:59:59.999999Z"], TIME),
        (["9999-12-31T23:59:59-01:00"], TEXT),  # in UTC it is in the year 10000
        (["0000-01-01T00:00:00Z"], TEXT),
        (["2021-02-29T00:00:00Z"], TEXT),
        (["2020-01-01T24:00:00Z"], TEXT),
        (["2020-01-01T00:00:00.1234567Z"], TEXT),
        (["2020-01-01T00:00:00"], TEXT),  # no offset
        (["2020-01-01"], TEXT),
        ([" 1"], TEXT),
        (["1\n"], TEXT),
        ([None, None], TEXT),
        ([], TEXT),
    ],
)
def test_a_type_is_given_only_where_every_text_bears_it(texts: list[str | None], expected: pa.DataType) -> None:
    """Numbers round-trip, dates are valid and in range; else text."""
    assert inferred(texts) == expected


def test_the_type_is_the_same_whatever_the_pieces() -> None:
    """One text in one year decides for all years, and a piece without values for none."""
    assert inferred(["1", "2"], [None], ["3"]) == INT
    assert inferred(["1", "2"], ["3.5"]) == FLOAT
    assert inferred(["1"], ["x"], ["2"]) == TEXT
    assert inferred(["true"], ["1"]) == TEXT


def test_values_are_cast_as_written() -> None:
    """What was inferred can be cast."""
    moments = types.cast(pa.array(["2020-01-01T00:00:00.5+05:30", None]), TIME)
    assert moments.cast(pa.int64()).to_pylist() == [1577817000500000, None]
    assert types.cast(pa.array(["true", None, "false"]), BOOL).to_pylist() == [True, None, False]
    assert types.cast(pa.array(["0.1", "-3"]), FLOAT).to_pylist() == [0.1, -3.0]


@pytest.mark.parametrize(
    "path", [("id",), ("unit", "id"), ("main_ocid",), ("ocid",), ("address", "postalCode"), ("telephone",), ("taxId",)]
)
def test_identifiers_codes_and_telephones_are_text_by_name(path: tuple[str, ...]) -> None:
    """`0301` and `301` are two postal codes."""
    assert types.is_text_by_name(path)


@pytest.mark.parametrize(
    "path", [("amount",), ("quantity",), ("amountPaid",), ("valid",), ("bid",), ("numberOfBids",)]
)
def test_other_names_say_nothing(path: tuple[str, ...]) -> None:
    """`amountPaid` ends with `id` and is none."""
    assert not types.is_text_by_name(path)
