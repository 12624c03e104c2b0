"""Reading JSON Lines: every odd line passes through right, or is counted and named (I8)."""

from __future__ import annotations

import gzip
import io
import json
import random
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from exporter import gunzip, jsontext, source
from exporter.errors import SourceError


def read(path: Path) -> tuple[list[tuple[str | None, bytes]], source.Source]:
    """Return all lines, and the source for its counts."""
    found = source.read_source(path)
    return [item for batch in found for item in batch], found


def written(folder: Path, data: bytes, name: str = "source.jsonl") -> Path:
    """Return a file of these bytes."""
    path = folder / name
    path.write_bytes(data)
    return path


PASSING = {
    "duplicate keys, the last counts": (b'{"date": "2019-01", "date": "2020-01"}', "2020-01"),
    "duplicate keys, the last is no text": (b'{"date": "2019-01", "date": 7}', None),
    "an integer over 2^53": (b'{"a": 9007199254740993}', None),
    "an integer over 2^64": (b'{"a": 184467440737095516170}', None),
    "a number over 64-bit floats": (b'{"a": 1e400, "date": "2020-01"}', "2020-01"),
    "a lone surrogate": (b'{"a": "\\ud800", "date": "2020-01"}', "2020-01"),
    "a lone surrogate in a key": (b'{"\\udfff": 1, "date": "2020-01"}', "2020-01"),
    "an escaped key": (b'{"d\\u0061te": "2020-01", "a": 1e999}', "2020-01"),
    "an escaped NUL": (b'{"a": "\\u0000"}', None),
    "a character that XML forbids": (b'{"a": "\\u0001\\ufffe"}', None),
    "emoji": ('{"a": "🏗️", "date": "2020-01"}'.encode(), "2020-01"),
    "arrays of arrays": (b'{"a": [[1, [2]], [[]]]}', None),
    "an empty key": (b'{"": 1}', None),
    "keys with dots, and colliding when joined": (b'{"a.b": 1, "a": {"b_c": 2}, "a_b": {"c": 3}}', None),
    "keys that differ by case": (b'{"Date": "2019-01", "date": "2020-01", "DATE": "2021-01"}', "2020-01"),
    "10,000 arrays deep": (b'{"date": "2020-01", "a": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "2020-01"),
    "10,000 objects deep": (b'{"a": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b', "date": "2020-01"}', "2020-01"),
    "a date inside": (b'{"a": {"date": "2020-01"}}', None),
    "a date inside, read by the scanner": (b'{"a": {"date": "2020-01", "b": [{"date": "x"}]}, "c": 1e999}', None),
    "a date that is an array": (b'{"date": ["2020-01"], "c": 1e999}', None),
    "an empty object": (b"{}", None),
    "white space": (b' \t{ "date" : "2020-01" } ', "2020-01"),
}


@pytest.mark.parametrize("name", PASSING)
def test_odd_releases_pass_through_as_they_came(tmp_path: Path, name: str) -> None:
    """Whatever is a JSON object by the standard (RFC 8259) is exported, byte for byte."""
    line, date = PASSING[name]
    lines, found = read(written(tmp_path, b'{"first": 1}\n' + line + b'\n{"last": 1}\n'))
    assert lines == [(None, b'{"first": 1}'), (date, line), (None, b'{"last": 1}')]
    assert not found.skipped


REFUSED = {
    "NaN": (b'{"a": NaN}', "invalid_json"),
    "Infinity": (b'{"a": -Infinity}', "invalid_json"),
    "a bare control character": (b'{"a": "\x00"}', "invalid_json"),
    "cut off": (b'{"a": [1, {"b": ', "invalid_json"),
    "two values": (b'{"a": 1} {"b": 2}', "invalid_json"),
    "a comma too many": (b'{"a": 1,}', "invalid_json"),
    "a leading zero": (b'{"a": 01}', "invalid_json"),
    "single quotes": (b"{'a': 1}", "invalid_json"),
    "HTML": (b"<html></html>", "invalid_json"),
    "no UTF-8": (b'{"a": "\xe9"}', "invalid_utf8"),
    "an encoded surrogate": (b'{"a": "\xed\xa0\x80"}', "invalid_utf8"),
    "an array": (b'[{"a": 1}]', "not_object"),
    "text": (b'"a"', "not_object"),
    "null": (b"null", "not_object"),
    "an array 2,000 deep": (b"[" * 2000 + b"]" * 2000, "not_object"),
    "brackets that do not match": (b'{"a": ' + b"[" * 2000 + b"}" * 2001, "invalid_json"),
    "an empty line": (b"", "blank_lines"),
    "white space": (b" \t ", "blank_lines"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_release_is_left_out_counted_and_named(tmp_path: Path, name: str) -> None:
    """I8: it stops nothing, and it is never silent."""
    line, reason = REFUSED[name]
    lines, found = read(written(tmp_path, b'{"first": 1}\n' + line + b'\n{"last": 1}\n'))
    assert [text for _, text in lines] == [b'{"first": 1}', b'{"last": 1}']
    assert dict(found.skipped) == {reason: 1}
    assert found.examples == [f"line 2: {reason}"]


def test_examples_are_few_and_counts_are_whole(tmp_path: Path) -> None:
    """ASK-11: capped per reason, the total always counted."""
    _, found = read(written(tmp_path, b"x\n" * 100 + b"[]\n" * 3))
    assert dict(found.skipped) == {"invalid_json": 100, "not_object": 3}
    assert found.examples == [
        *(f"line {number}: invalid_json" for number in range(1, 6)),
        *(f"line {number}: not_object" for number in range(101, 104)),
    ]


def test_line_ends_and_byte_order_marks_are_no_part_of_a_release(tmp_path: Path) -> None:
    """BOM only at the start of the file; CR LF; no line feed at the end."""
    lines, found = read(written(tmp_path, b'\xef\xbb\xbf{"a": 1}\r\n{"b": 2}\r\n\r\n{"c": 3}'))
    assert [text for _, text in lines] == [b'{"a": 1}', b'{"b": 2}', b'{"c": 3}']
    assert dict(found.skipped) == {"blank_lines": 1}


def test_gzip_is_known_by_its_first_bytes_and_may_have_members_and_padding(tmp_path: Path) -> None:
    """Names do not matter; zeros after the last member are allowed."""
    data = gzip.compress(b'{"a": 1}\n{"b"') + gzip.compress(b": 2}\n") + b"\0" * 700
    lines, found = read(written(tmp_path, data, "no-suffix"))
    assert [text for _, text in lines] == [b'{"a": 1}', b'{"b": 2}']
    assert not found.skipped


def test_of_a_truncated_gzip_the_whole_lines_pass_and_the_break_is_counted(tmp_path: Path) -> None:
    """It neither stops the lines before it nor is silent."""
    text = b"".join(
        b'{"n": %d, "r": "%d"}\n' % (number, random.Random(number).getrandbits(99)) for number in range(3000)
    )
    lines, found = read(written(tmp_path, gzip.compress(text)[:-5000]))
    assert 0 < len(lines) < 3000
    assert [text for _, text in lines] == text.splitlines()[: len(lines)]
    assert found.skipped["truncated_source"] == 1
    assert "cut off" in " ".join(found.examples)


@pytest.mark.parametrize("damage", [b"garbage after it", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + b"\xff" * 50])
def test_garbage_after_a_gzip_member_is_counted(tmp_path: Path, damage: bytes) -> None:
    """The lines before it are whole."""
    lines, found = read(written(tmp_path, gzip.compress(b'{"a": 1}\n') + damage))
    assert lines == [(None, b'{"a": 1}')]
    assert found.skipped["truncated_source"] == 1


def test_a_wrong_checksum_is_counted(tmp_path: Path) -> None:
    """A flipped bit in the data that still decompresses."""
    data = bytearray(gzip.compress(b'{"a": 1}\n'))
    data[-8] ^= 1
    _, found = read(written(tmp_path, bytes(data)))
    assert found.skipped["truncated_source"] == 1


def test_a_line_over_the_limit_is_counted_and_its_neighbours_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded, so some length must be too much."""
    monkeypatch.setattr(source, "LINE_LIMIT", 3 << 20)
    long = b'{"a": "' + b"x" * (3 << 20) + b'"}'
    lines, found = read(written(tmp_path, b'{"a": 1}\n' + long + b'\n{"b": 2}\n' + long))
    assert [text for _, text in lines] == [b'{"a": 1}', b'{"b": 2}']
    assert dict(found.skipped) == {"line_too_long": 2}


def test_a_line_of_100_mb_passes_within_512_mib(tmp_path: Path) -> None:
    """Read, checked and compressed without a parsed copy."""
    path = tmp_path / "long.jsonl"
    with path.open("wb") as file:
        file.write(b'{"date": "2020-01-01", "x": [')
        for _ in range(100):
            file.write(b'{"a": "0123456789abcdef"},' * 40_000)
        file.write(b"1]}\n")
    # Not ru_maxrss: that begins with the size of the process that started this one.
    program = (
        "import sys; from exporter.cli import main; code = main(sys.argv[1:]);"
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'));"
        "print(int(status['VmHWM'].split()[0]) // 1024); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "export", path, tmp_path / "out"], capture_output=True, check=True, text=True
    )
    summary, peak = done.stdout.splitlines()
    assert json.loads(summary)["details"]["years"] == {"2020": 1}
    assert int(peak) <= 512


def test_a_missing_source_is_one_clear_message(tmp_path: Path) -> None:
    """File, cause, remedy."""
    with pytest.raises(SourceError, match=r"none\.jsonl: No such file or directory: give a readable file"):
        read(tmp_path / "none.jsonl")


def test_a_folder_as_source_is_one_clear_message(tmp_path: Path) -> None:
    """It opens, but cannot be read."""
    with pytest.raises(SourceError, match="Is a directory: give a readable file"):
        read(tmp_path)


def test_lines_are_cut_the_same_wherever_the_pieces_end() -> None:
    """The bytes of a file come in pieces that know nothing of lines."""
    data = b"one\n\ntwo\nthree\n" + b"x" * 50 + b"\nlast"
    expected = [b"one", b"", b"two", b"three", None, b"last"]
    for size in range(1, 21):
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        assert list(gunzip.lines(pieces, 20)) == expected, size  # no piece is longer than the limit


def test_decompressing_gives_bounded_pieces_whatever_the_ratio() -> None:
    """50 MB of one letter are 50 kB of gzip."""
    sizes = [len(piece) for piece in gunzip.decompress([gzip.compress(b"a" * 50_000_000)], "x")]
    assert max(sizes) <= 1 << 20
    assert sum(sizes) == 50_000_000


def test_decompressing_a_byte_at_a_time_gives_the_same() -> None:
    """A pipe may give few bytes."""
    data = gzip.compress(b"one") + b"\0\0" + gzip.compress(b"two" * 1000) + b"\0"
    pieces = [data[at : at + 1] for at in range(len(data))]
    assert b"".join(gunzip.decompress(pieces, "x")) == gzip.GzipFile(fileobj=io.BytesIO(data)).read()


def test_the_scanner_agrees_with_orjson_on_random_texts() -> None:
    """Texts made by a grammar, most of them then broken; where orjson has no limits of its own, both say the same."""
    rng = random.Random(20240515)
    tokens = [
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b'"a"',
        b'"date"',
        b"1",
        b"-0.5e3",
        b"true",
        b" ",
        b"01",
        b'"',
        b"{}",
        b"[]",
    ]

    def value(depth: int) -> bytes:
        kind, space = rng.random(), rng.choice([b"", b" ", b"\t"])
        if depth == 0 or kind < 0.4:
            return rng.choice([b"1", b'"s"', b"true", b"null", b"-1.5", b'"d\\"q"'])
        if kind < 0.7:
            return b"[" + space + b",".join(space + value(depth - 1) for _ in range(rng.randrange(4))) + b"]"
        keys = [rng.choice([b'"a"', b'"date"', b'"b"']) for _ in range(rng.randrange(4))]
        return b"{" + space + b",".join(key + space + b":" + value(depth - 1) for key in keys) + space + b"}"

    agreed = valid = 0
    for _ in range(20_000):
        members = (rng.choice([b'"date":', b'"k":']) + value(3) for _ in range(rng.randrange(3)))
        text = bytearray(b"{" + b",".join(members) + b"}")
        for _ in range(rng.choice([0, 0, 1, 2])):
            at = rng.randrange(len(text) + 1)
            if rng.random() < 0.5:
                del text[at : at + 1]
            else:
                text[at:at] = rng.choice(tokens)
        try:
            parsed = orjson.loads(bytes(text))
        except orjson.JSONDecodeError:
            expected: object = jsontext.NotJSONError
        else:
            expected = jsontext.NotObjectError
            if isinstance(parsed, dict):
                date = parsed.get("date")
                expected = (date if isinstance(date, str) else None,)
        try:
            found: object = (jsontext._scan(bytes(text)),)
        except ValueError as error:
            found = type(error)
        assert found == expected, text
        agreed, valid = agreed + 1, valid + isinstance(expected, tuple)
    assert (agreed, valid > 8_000) == (20_000, True)
