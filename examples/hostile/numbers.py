"""Numbers beyond what floats, 64-bit integers or JSON itself can hold."""

from __future__ import annotations

from examples.hostile.case import Case, raw_line, simple

EXACT = "The number's text is unchanged, or at least its exact value."
EITHER = "Passes unchanged, or the line is skipped, counted and named: strict JSON has no such number."

_NUMBERS: tuple[tuple[str, str], ...] = (
    ("number-over-2-53", "9007199254740993"),
    ("number-under-minus-2-53", "-9007199254740993"),
    ("number-max-int64", "9223372036854775807"),
    ("number-over-int64", "9223372036854775808"),
    ("number-over-2-64", "18446744073709551617"),
    ("number-30-digits", "123456789012345678901234567890"),
    ("number-400-digits", "7" * 400),
    ("number-1e400", "1e400"),
    ("number-minus-1e400", "-1e400"),
    ("number-1e-400", "1e-400"),
    ("number-minus-zero", "-0"),
    ("number-minus-zero-float", "-0.0"),
    ("number-trailing-zero", "1.10"),
    ("number-whole-float", "15890000000.00"),
    ("number-exponent", "1E5"),
    ("number-exponent-plus", "1.5e+3"),
    ("number-17-digits", "0.1000000000000000055"),
    ("number-long-decimal", "12345678901234567890.123456789"),
)

# A float's text is not JSON's: 1.10 must not become 1.1 in an amount, and 1e400 must not become Infinity or null.
_CASES = tuple(Case(name, (raw_line(name, written),), EXACT) for name, written in _NUMBERS)


def _either(name: str, written: str) -> Case:
    return Case(name, (raw_line(name, written),), EITHER, compiled=None)


def _amount(name: str, written: str) -> Case:
    """The same, where analysts look first: in an amount."""
    line = raw_line(name, f'{{"id":"{name}-t","value":{{"amount":{written},"currency":"XTS"}}}}', member="tender")
    return Case(name, (line,), EXACT)


CASES: tuple[Case, ...] = (
    *_CASES,
    _either("number-nan", "NaN"),
    _either("number-infinity", "Infinity"),
    _either("number-minus-infinity", "-Infinity"),
    _amount("amount-huge", "11904475200000123456789"),
    _amount("amount-cents", "1234567.10"),
    _amount("amount-negative", "-245.5"),
    simple(
        "amount-kinds",
        "One path is a number, text and an object in turn: the tables hold each as text.",
        awards=[
            {"id": "a1", "value": {"amount": 1200, "currency": "XTS"}},
            {"id": "a2", "value": {"amount": "2176", "currency": "XTS"}},
            {"id": "a3", "value": {"amount": {"$numberLong": "15890000000"}, "currency": "XTS"}},
            {"id": "a4", "value": {"amount": "NO APLICA"}},
            {"id": "a5", "value": {"amount": "-"}},
            {"id": "a6", "value": {"amount": ""}},
            {"id": "a7", "value": {"amount": None}},
            {"id": "a8", "value": {"amount": 0.1}},
            {"id": "a9", "value": {"amount": True}},
        ],
    ),
)
