"""Values pass unchanged: numbers keep their digits, text its characters."""

from __future__ import annotations

import decimal
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_resources.process.exact import Loader, Verbatim, canonical, dumps, opaque

NUMBERS = [
    "0.10",
    "1.0",
    "15890000000.00",
    "1e400",
    "-1E-400",
    "1.10e2",
    "0.1000000000000000055511151231257827",
    "-0.0",
]
INTEGERS = ["0", "-1", "9007199254740993", "18446744073709551616", "-123456789012345678901234567890", "1" * 6000]


@pytest.mark.parametrize("text", NUMBERS + INTEGERS)
def test_a_number_is_written_as_it_was_published(text):
    """Not even digits that change nothing are changed."""
    assert dumps(Loader()(f'{{"a":[{text}]}}'.encode())) == f'{{"a":[{text}]}}'.encode()


def test_what_json_does_not_have_becomes_null_and_is_counted():
    """Files that Python wrote may hold NaN and Infinity, which no other tool reads."""
    load = Loader()
    assert load(b'[NaN, Infinity, -Infinity, "NaN"]') == [None, None, None, "NaN"]
    assert load.nonfinite == 3


def test_of_a_key_that_occurs_twice_the_last_value_wins():
    """As in Python and in most tools."""
    assert dumps(Loader()(b'{"a": 1, "b": 2, "a": 3}')) == b'{"a":3,"b":2}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r'"\ud800"', r'"\ud800"'),
        (
            r'{"\udfff": [1.50, true, false, null, {}, [], {"a": [1, "é"]}]}',
            r'{"\udfff":[1.50,true,false,null,{},[],{"a":[1,"é"]}]}',
        ),
        (r'"\u0000\u001f\u007f"', '"\\u0000\\u001f\x7f"'),
        (r'"\ud83d\ude00"', '"\U0001f600"'),
    ],
)
def test_text_is_kept_also_where_it_is_no_character(text, expected):
    """Lone surrogates stay escaped, NUL stays NUL, pairs become their character."""
    assert dumps(Loader()(text.encode())).decode() == expected


def test_deep_values_are_written_or_refused():
    """Never a crash."""
    deep = b"[" * 400 + b"1.0" + b"]" * 400
    assert dumps(Loader()(deep)) == deep
    with pytest.raises(RecursionError):
        Loader()(b"[" * 100_000 + b"]" * 100_000)


def test_numbers_compare_by_value():
    """An `id` of 1.50 is the `id` 1.5, and differs from all others, however close."""
    assert Verbatim("1.50") == Verbatim("1.5") == Verbatim("15e-1")
    assert hash(Verbatim("1.50")) == hash(Verbatim("15e-1"))
    assert str(Verbatim("1.50")) == "1.5"
    assert Verbatim("1.0") == 1
    assert Verbatim("0.1") != Verbatim("0.1000000000000000055511151231257827")
    assert str(Verbatim("0.1000000000000000055511151231257827")) == "0.1000000000000000055511151231257827"
    assert str(Verbatim("1e400")) == "1e400"
    assert Verbatim("1e" + "9" * 30) == Verbatim("1e" + "9" * 30) != Verbatim("2e" + "9" * 30)
    assert Verbatim("1.5") != "1.5"


def test_the_same_value_has_the_same_canonical_bytes():
    """Duplicates are recognised whatever the order of keys and the digits of numbers."""
    load = Loader()
    same = [b'{"a": 1.50, "b": [10.0, 20]}', b'{"b":[10,20.00],"a":15e-1}', b'{"b": [1e1, 2E1], "a": 1.5}']
    assert len({canonical(load(text)) for text in same}) == 1
    different = [
        b"[1.5]",
        b"[15]",
        b'["1.5"]',
        b"[-1.5]",
        b"[1.5e0, 1]",
        b"[1e400]",
        b"[1e401]",
        b"[true]",
        b"[1]",
        b"[0.0]",
    ]
    assert len({canonical(load(text)) for text in different}) == len(different)


def test_an_object_as_one_value_is_written_as_it_is():
    """An `id` may be an object."""
    value = Loader()(b'{"b": 1.10, "a": null}')
    assert dumps([opaque(value)]) == b'[{"b":1.10,"a":null}]'
    assert opaque(value) == opaque(Loader()(b'{"a":null,"b":1.1}'))
    assert len({opaque(value), opaque({"a": 1})}) == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=20,
)


def _plain(value):
    """JSON text by the standard library, with decimals as they print."""
    if isinstance(value, decimal.Decimal):
        text = str(value)
        return text if any(c in text for c in ".E") else f"{text}.0"
    if isinstance(value, list):
        return f"[{','.join(map(_plain, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{json.dumps(k)}:{_plain(v)}' for k, v in value.items())}}}"
    return json.dumps(value)


@given(JSON)
def test_any_value_survives(value):
    """Read back with decimals, what is written equals what was read."""
    text = _plain(value)
    written = dumps(Loader()(text.encode())).decode()
    assert json.loads(written, parse_float=decimal.Decimal) == json.loads(text, parse_float=decimal.Decimal)
    assert canonical(Loader()(written.encode())) == canonical(Loader()(text.encode()))
