"""Lines that flatterer would refuse or change are rewritten, and no others; expected lines are written by hand."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from exporter import mend

CHANGED = [
    # numbers that 64 bits do not hold (issue of values never changed)
    ('{"a":18446744073709551616}', '{"a":"18446744073709551616"}'),
    ('{"a":-9223372036854775809}', '{"a":"-9223372036854775809"}'),
    ('{"a":1e400,"b":[{"c":-1E+999}]}', '{"a":"1e400","b":[{"c":"-1E+999"}]}'),
    ('{"a":0.1000000000000000055}', '{"a":"0.1000000000000000055"}'),
    # a list of numbers is the text of its JSON in flatterer too: it stays one, as published
    ('{"a":[1, [2, 1e400]],"b":1}', '{"a":"[1, [2, 1e400]]","b":1}'),
    (r'{"a":["\ud800", 1e400]}', r'{"a":"[\"\\ud800\", 1e400]"}'),
    # lone surrogates; pairs and escaped backslashes are none
    (r'{"a":"\ud83d\ude00 \ud83d \\ud800"}', r'{"a":"\ud83d\ude00 \ufffd \\ud800"}'),
    (r'{"\udc00":1}', r'{"\ufffd":1}'),
    # keys that become names of files
    ('{"a/b":[{"c":1}]}', '{"a\x1db":[{"c":1}]}'),
    (r'{"a/\u0062":"x/y"}', '{"a\x1db":"x/y"}'),
    # flatterer trims lists of texts
    ('{"a":[" x "]}', '{"a":" x "}'),
    ('{"a":["x","y "]}', '{"a":"x,y "}'),
]
KEPT = [
    '{"a":18446744073709551615,"b":-9223372036854775808}',
    '{"a":0.1,"b":1.50,"c":1e5,"d":-0,"e":5e-324,"f":1.7976931348623157e308}',
    '{"a":"1e400","b":"x, 18446744073709551616"}',
    r'{"a":"\\ud800","b":"\ud83d\ude00"}',
    '{"a":"x/y","b":["x","y"],"c":[],"d":[1,2],"e":[""]}',
    r'{"a\"b":1,"":2}',
    r'{"a":["x","\n"]}',  # in quotes, which are at the end, so nothing is trimmed
]


def written(text: str) -> str:
    """Give JSON one form, since escapes of control characters in it may differ."""
    return json.dumps(json.loads(text, strict=False, parse_float=str, parse_int=str))


@pytest.mark.parametrize(("line", "expected"), CHANGED)
def test_what_flatterer_would_change_or_refuse_is_rewritten(line: str, expected: str) -> None:
    """A value is never changed, but what UTF-8 cannot hold."""
    counts: Counter[str] = Counter()
    assert mend.needs_mending(line.encode())
    assert written(mend.mend(line.encode(), counts).decode()) == written(expected)


@pytest.mark.parametrize("line", KEPT)
def test_what_flatterer_keeps_is_left_alone(line: str) -> None:
    """Nothing else is touched, and nothing counted."""
    counts: Counter[str] = Counter()
    assert mend.mend(line.encode(), counts) == line.encode()
    assert not counts


def test_what_lies_too_deep_becomes_the_text_of_its_json() -> None:
    """Ten thousand levels: flatterer reads 127 open brackets."""
    line = b'{"a":' + b'{"b":' * 10_000 + b"1" + b"}" * 10_000 + b',"c":2}'
    counts: Counter[str] = Counter()
    value = json.loads(mend.mend(line, counts))
    assert value["c"] == 2
    depth, inner = 0, value["a"]
    while isinstance(inner, dict):
        depth, inner = depth + 1, inner["b"]
    assert depth == 126  # with the line's own bracket, 127
    assert inner == '{"b":' * (10_000 - 126) + "1" + "}" * (10_000 - 126)
    assert counts == {"values_kept_as_json": 1}


def test_a_list_under_a_name_too_long_for_a_file_becomes_the_text_of_its_json() -> None:
    """A table is a file: its name, with `.csv`, has at most 255 bytes."""
    fits, too_long = "k" * 251, "k" * 252
    line = json.dumps({fits: [{"a": 1}], too_long: [{"a": 1}]}).encode()
    assert json.loads(mend.mend(line, Counter())) == {fits: [{"a": 1}], too_long: '[{"a": 1}]'}
