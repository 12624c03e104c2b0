"""Keys that an object has twice are found in whatever line, and no others."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from exporter import jsonl, jsontext, manifest, repeats
from exporter.util import Export

REPEATING = {
    "twice": (b'{"a":1,"a":2}', "a"),
    "thrice": (b'{"a": 1, "a": 2, "a": 3}', "a"),
    "deep": (b'{"x":[[{"b":{"a":[],"c":1,"a":{}}}]]}', "a"),
    "the same value": (b'{"a":1,"a":1}', "a"),
    "with space before the colon": (b'{"a" :1,"a":2}', "a"),
    "with tabs before the colon": (b'{"a":1,"a"\t\t:2}', "a"),
    "escaped otherwise": (b'{"\\u0061":1,"a":2}', "a"),
    "an escaped colon makes up for it": (b'{"a":1,"a":2,"b":"\\u003a"}', "a"),
    "an escaped colon in capitals does": (b'{"a":1,"a":2,"b":"\\u003A"}', "a"),
    "an escaped quote": (b'{"a\\"":1,"b":"{","a\\"":2}', 'a"'),
    "beside a number that orjson refuses": (b'{"a":1e400,"a":2}', "a"),
    "beside half a surrogate pair": (b'{"a":"\\ud800","a":2}', "a"),
    "a key that is half a surrogate pair": (b'{"\\ud800":1,"\\ud800":2}', "\ufffd\ufffd\ufffd"),
    "deeper than orjson writes": (b'{"a":1,"a":' + b"[" * 300 + b"]" * 300 + b"}", "a"),
    "deeper than orjson reads": (b'{"a":1,"a":' + b"[" * 3000 + b"]" * 3000 + b"}", "a"),
    "empty": (b'{"":1,"":2}', ""),
}
OTHERS = {
    "in several objects": b'{"a":{"a":[{"a":1},{"a":2}]}}',
    "by case": b'{"a":1,"A":2}',
    "as values": b'{"a":"b","c":"a","d":["a","a"]}',
    "colons in texts": b'{"a":":::","b":"\\u003a:","c":"\\":\\" : {"}',
    "escaped": b'{"\\u00e9":1,"e\\u0301":2}',
    "numbers written otherwise": b'{"a":1.50,"b":1e5,"c":12345678901234567890123}',
}


def found(line: bytes) -> str | None:
    """Return what is found as `source` does."""
    _, value = jsontext.read(line)
    return repeats.repeated(line) if value is None or repeats.may_repeat(line, value) else None


@pytest.mark.parametrize("name", REPEATING)
def test_a_repeated_key_is_found(name: str) -> None:
    """I8: wherever it is and however it is written."""
    line, key = REPEATING[name]
    assert found(line) == key


@pytest.mark.parametrize("name", OTHERS)
def test_other_lines_have_none(name: str) -> None:
    """Keys are repeated only within one object."""
    assert found(OTHERS[name]) is None


def test_it_agrees_with_the_standard_library_on_random_objects() -> None:
    """Its reader gives the pairs of each object as they are in the text."""
    rng = random.Random(8259)

    def value(depth: int) -> str:
        if depth == 0 or rng.random() < 0.2:
            return rng.choice(["1", '":"', '"a"', '"{\\""', "null", r'"\u003a"', "1.0"])
        if rng.random() < 0.3:
            return "[" + ",".join(value(depth - 1) for _ in range(rng.randrange(3))) + "]"
        keys = [rng.choice(['"a"', '"b" ', r'"\u0061"', '"c"', '"d"', '"e"', '":"']) for _ in range(rng.randrange(4))]
        return "{" + ", ".join(f"{key}:{value(depth - 1)}" for key in keys) + "}"

    kinds = set()
    for _ in range(3000):
        line = f'{{"x":{value(4)}}}'
        repeating = []

        def pairs(members: list[tuple[str, object]], repeating: list[str] = repeating) -> None:
            names = [name for name, _ in members]
            repeating += [name for name in names if names.count(name) > 1]

        json.loads(line, object_pairs_hook=pairs)
        key = found(line.encode())
        assert (key is None) == (not repeating), line
        assert key is None or key in repeating
        kinds.add(key is None)
    assert kinds == {True, False}


def test_ordinary_lines_are_not_gone_through() -> None:
    """It is slow: whatever spaces and forms of numbers a line has, it is seen at once that no value was lost."""
    for line in (b'{"a":1,"b":[{"c":"d"}]}', b'{"a": 1.50, "b" : [ {"c": "\\u00e9:"} ]}'):
        assert not repeats.may_repeat(line, orjson.loads(line))


def test_such_releases_are_counted_and_named(tmp_path: Path) -> None:
    """I8: in the manifest, in the summary and on standard error; the line passes as it is."""
    source = tmp_path / "source.jsonl"
    source.write_bytes(b'{"ocid":"1"}\n{"ocid":"2","ocid":"3"}\n')
    command = [sys.executable, "-m", "exporter", "export", source, tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    assert json.loads(done.stdout)["details"]["noticed"] == {"repeated_keys": 1}
    assert "line 2: the key 'ocid' is repeated in an object: its last value counts\n" in done.stderr
    recorded = manifest.read(tmp_path / "out")
    assert recorded is not None
    assert recorded.counts["releases_with_repeated_keys"] == 1


def test_among_many_lines_the_right_ones_are_named(tmp_path: Path) -> None:
    """The first five, by their numbers."""
    lines = [b'{"n":%d,"t":"%s"}' % (number, b"x" * 3000) for number in range(1000)]
    for number in (0, 499, 500, 999):
        lines[number] = b'{"n":1,' + lines[number][1:]
    lines[700] = b'{"n":1e400}'
    path = tmp_path / "source.jsonl"
    path.write_bytes(b"\n".join(lines))
    source = jsonl.read_source(path)
    assert [line for batch in source for _, line in batch] == lines
    assert source.noticed == {"repeated_keys": 4}
    assert [remark.partition(":")[0] for remark in source.remarks] == ["line 1", "line 500", "line 501", "line 1000"]


def test_what_is_too_long_to_look_through_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """I8: not to know is told too."""
    monkeypatch.setattr(jsontext, "LONG_LINE", 20)
    path = tmp_path / "source.jsonl"
    path.write_bytes(b'{"a":1,"a":2}\n{"a":1,"a":2,"b":"long"}\n')
    source = jsonl.read_source(path)
    jsonl.export(Export("k", 1, root=tmp_path), source, noticed=source.noticed)
    assert source.noticed == {"repeated_keys": 1, "keys_not_looked_at": 1}
    assert source.remarks[1] == "line 2: too long to look for repeated keys"
