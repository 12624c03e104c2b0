"""Every shape is read, and what can't be read is counted and named (I8)."""

from __future__ import annotations

import codecs
import gzip
import json

import pytest

from registry_resources.process import jsontext
from registry_resources.process.documents import DocumentReader
from registry_resources.process.tally import Tally

A = {"ocid": "ocds-1-a", "id": "1", "date": "2020-01-01", "tag": ["tender"], "title": "A"}
B = {"ocid": "ocds-1-b", "id": "2", "date": "2020-01-02", "tag": ["tender"], "title": "B"}
C = {"ocid": "ocds-1-c", "id": "3", "date": "2020-01-03", "tag": ["tender"], "title": "C"}
PACKAGE_A = {"uri": "x", "releases": [A]}
PACKAGE_B = {"license": "L", "releases": [B]}
RECORD_A = {"ocid": "ocds-1-a", "releases": [A]}
LINES = "\n".join(json.dumps(release) for release in (A, B, C))


@pytest.mark.parametrize(
    "content",
    [
        {"releases": [A, B]},
        {"records": [RECORD_A, {"ocid": "ocds-1-b", "releases": [B]}]},
        [PACKAGE_A, PACKAGE_B],
        [{"records": [RECORD_A]}, PACKAGE_B],
        [A, B],
        [A, PACKAGE_B],
        json.dumps(A) + "\n" + json.dumps(B) + "\n",
        json.dumps(A) + "\r\n\r\n" + json.dumps(PACKAGE_B) + "\r\n",
        json.dumps(A) + json.dumps(B),
        json.dumps(A, indent=2) + "\n" + json.dumps(PACKAGE_B, indent=2),
        json.dumps(RECORD_A) + " " + json.dumps([B]),
        codecs.BOM_UTF8 + json.dumps([A, B]).encode(),
        codecs.BOM_UTF16_LE + json.dumps([A, B]).encode("utf-16-le"),
        codecs.BOM_UTF16_BE + json.dumps([A, B]).encode("utf-16-be"),
        gzip.compress(json.dumps([A, B]).encode()),
        gzip.compress(json.dumps(A).encode()) + gzip.compress(json.dumps(B).encode()),
    ],
)
def test_releases_are_found_whatever_the_shape(process, content):
    """Packages, records, lists, lines, one after the other, UTF-8 and UTF-16, gzip."""
    found = process({"file": content})
    assert {ocid: release["title"] for ocid, release in found.releases.items()} == {"ocds-1-a": "A", "ocds-1-b": "B"}
    assert found.counts["releases"] == found.counts["ocids"] == found.counts["compiled_releases"] == 2
    assert not found.skipped()
    assert found.dates == {"ocds-1-a": "2020-01-01", "ocds-1-b": "2020-01-02"}


@pytest.mark.parametrize("content", [A, RECORD_A, {"records": [RECORD_A]}, json.dumps(A, indent=4)])
def test_a_single_release_or_record_in_a_file_is_read(process, content):
    """Single release, single record."""
    assert process({"file": content}).releases == {
        "ocds-1-a": {
            "ocid": "ocds-1-a",
            "id": "ocds-1-a-2020-01-01",
            "date": "2020-01-01",
            "tag": ["compiled"],
            "title": "A",
        }
    }


def test_a_bad_line_loses_only_that_line(process):
    """In JSON Lines each line is a document: I8."""
    lines = ['{"ocid": "x", ', json.dumps(A), '{"ocid": nonsense}', json.dumps(B), '["', json.dumps(C), "{"]
    found = process({"file.jsonl": "\n".join(lines)})
    assert set(found.lines) == {"ocds-1-a", "ocds-1-b", "ocds-1-c"}
    assert found.skipped() == {"invalid_json": 4}
    note = found.note("InvalidJSON")
    assert note["level"] == "ERROR"
    assert note["data"]["total"] == 4
    where = [example.partition(":")[0] for example in note["data"]["examples"]]
    assert where == [f"file.jsonl, document from line {line}" for line in (1, 3, 5, 7)]


def test_a_document_that_breaks_off_is_left_out_whole_and_its_releases_are_counted(process):
    """What was read of a broken document isn't half kept, as in Kingfisher Process; other files are."""
    broken = json.dumps({"releases": [A, B, C]})[:-40]
    found = process({"1.json": broken, "2.json": B})
    assert set(found.lines) == {"ocds-1-b"}
    assert found.skipped() == {"invalid_json": 1, "releases_in_invalid_json": 2}
    assert "2 releases before it" in found.note("InvalidJSON")["note"]


def test_a_large_document_that_breaks_off_is_left_out_whole_too(process, monkeypatch):
    """Also what was handed on before its end was known."""
    monkeypatch.setattr("registry_resources.process.documents._HELD", 100)
    broken = json.dumps({"releases": [A, B, C]}, indent=1)[:-3]
    found = process({"1.json": broken + "\n" + json.dumps({"releases": [B]}, indent=1)})
    assert set(found.lines) == {"ocds-1-b"}
    assert found.skipped() == {"invalid_json": 1, "releases_in_invalid_json": 3}


@pytest.mark.parametrize("indent", [None, 0, 2])
def test_the_insides_of_a_broken_document_are_not_taken_for_documents(process, indent):
    """After an error, reading goes on where a whole document begins, never within the broken one."""
    text = json.dumps({"releases": [A, B, C]}, indent=indent).replace('"2020-01-01"', "oops")
    if indent is None:
        text = text.replace("{", "\n{").lstrip()
    assert process({"1.json": text, "2.json": []}).releases == {}


def test_a_file_cut_off_in_gzip_is_named(process):
    """A truncated gzip is a document that isn't JSON."""
    whole = gzip.compress(b"".join(json.dumps({**A, "ocid": f"o{n}"}).encode() + b"\n" for n in range(20000)))
    found = process({"1.json": whole[:-100], "2.json": A})
    assert "ocds-1-a" in found.lines
    assert found.skipped()["invalid_json"] == 1
    assert "gzip is cut off or broken" in found.note("InvalidJSON")["note"]


def test_bytes_that_are_not_utf_8_lose_only_their_document(process):
    """JSON is UTF-8."""
    lines = json.dumps(A).encode() + b'\n{"ocid": "x", "title": "caf\xe9"}\n' + json.dumps(B).encode()
    found = process({"file": lines})
    assert set(found.lines) == {"ocds-1-a", "ocds-1-b"}
    assert "Not UTF-8" in found.note("InvalidJSON")["note"]


@pytest.mark.parametrize(
    ("content", "count"),
    [
        ({"relesases": [A]}, "not_ocds"),
        ({"error": "no such page"}, "not_ocds"),
        ('"text"', "not_ocds"),
        ("[1, null]", "not_ocds"),
        ("[[[]]]", "not_ocds"),
        ({"releases": {"a": 1}}, "not_ocds"),
        ({"releases": [1]}, "not_an_object"),
        ({"records": ["x"]}, "not_an_object"),
        ({"releases": [{"id": "1", "date": "2020-01-01"}]}, "no_ocid"),
        ({"releases": [{"id": "1", "ocid": None}]}, "no_ocid"),
        ({"ocid": None, "id": "1"}, "no_ocid"),
        ({"releases": [{"id": "1", "ocid": 12}]}, "ocid_not_text"),
        ({"releases": [{"id": "1", "ocid": {"a": "b"}}]}, "ocid_not_text"),
        ({"releases": [{"url": "https://example.com/1", "date": "2020-01-01"}]}, "linked_release"),
        ({"records": [{"packages": []}]}, "no_ocid"),
        ({"records": [{"ocid": "o", "versionedRelease": {}}]}, "record_without_releases"),
        ("<html></html>", "invalid_json"),
        ('{"releases": []', "invalid_json"),
        ('{"releases": [],}', "invalid_json"),
        ('{"releases": [{"ocid": "a"} {"ocid": "b"}]}', "invalid_json"),
        ('{"a" 1}', "invalid_json"),
        ("tru", "invalid_json"),
        (b"PK\x03\x04\x00\xff", "invalid_json"),
        (b"\xff\xfe\x00", "invalid_json"),
    ],
)
def test_what_cannot_be_compiled_is_counted_by_reason_and_named(process, content, count):
    """Nothing is dropped in silence: I8."""
    found = process({"some.json": content, "good.json": A})
    assert set(found.lines) == {"ocds-1-a"}
    assert count in found.skipped()
    if count != "linked_release":
        examples = [text for note in found.result["notes"] for text in note["data"]["examples"]]
        assert examples
        assert all("some.json" in text or text.startswith("o: ") for text in examples)


def test_an_empty_ocid_is_one_ocid(process):
    """Observed of Kingfisher Process: `ocid: ""` is stored and compiled."""
    assert process({"file": [{"ocid": "", "date": "2020"}]}).releases == {
        "": {"ocid": "", "id": "-2020", "date": "2020", "tag": ["compiled"]}
    }


def test_values_are_passed_over_however_deep_they_are(process):
    """A release nested 10,000 deep is counted; those around it are read."""
    deep = '{"ocid": "deep", "x": ' + '{"a":[' * 5000 + '"]}\\""' + "]}" * 5000 + "}"
    text = f'{{"releases": [{json.dumps(A)}, {deep}, {json.dumps(B)}]}}'
    found = process({"1.json": text, "2.json": "[" * 10000 + "]" * 10000, "3.json": deep})
    assert set(found.lines) == {"ocds-1-a", "ocds-1-b"}
    assert found.skipped()["nesting"] >= 2


def test_values_at_the_edge_of_what_is_read_at_once_are_read_whole(process, monkeypatch):
    """Every cut of the text gives the same result."""
    release = {**A, "n": [1234567, -0.5e3, True, None], "s": 'q"\\u00e9\u20ac\\', "e": "\U0001f600"}
    text = json.dumps({"license": "L", "releases": [release, B]}) + "\n" + json.dumps(C, ensure_ascii=False) + " 12345"
    expected = process({"file": text})
    assert len(expected.lines) == 3
    for chunk in range(1, 40):
        monkeypatch.setattr("registry_resources.process.jsontext.CHUNK", chunk)
        found = process({"file": text})
        assert (found.lines, found.result) == (expected.lines, expected.result)


def test_a_value_that_is_too_large_is_named(process, monkeypatch):
    """Memory is bounded: one release may have so many characters (ASK-16)."""
    monkeypatch.setattr("registry_resources.process.jsontext.MAX_VALUE", 4 << 20)
    lines = [json.dumps(A), json.dumps({**B, "title": "x" * (9 << 20)}), json.dumps(C)]
    found = process({"file": "\n".join(lines)})
    assert set(found.lines) == {"ocds-1-a", "ocds-1-c"}
    assert "larger than" in found.note("InvalidJSON")["note"]


def test_files_are_read_in_the_order_of_their_names_and_hidden_ones_are_not(process):
    """Releases of one date are merged in that order, whatever folder the file store hashed them into."""
    files = {
        "F00/000001-a.json": {**A, "title": "first"},
        "0AA/000002-a.json": {**A, "title": "second"},
        "0AA/.partial.json": "{",
    }
    found = process(files)
    assert found.releases["ocds-1-a"]["title"] == "second"
    assert found.counts["files"] == 2
    assert found.note("RepeatedDateValueWarning")["data"]["dates"] == {"2020-01-01": 1}


def test_the_licence_is_what_most_packages_state(process):
    """PRO-04: licence and policy come from packages; the most common, of equals the first by name."""
    packages = [{"license": name, "publicationPolicy": name, "releases": []} for name in ("b", "b", "c", "a")]
    found = process({"1.json": [*packages, {"license": None, "records": []}], "2.json": A})
    assert (found.result["license"], found.result["publication_policy"]) == ("b", "b")


@pytest.mark.parametrize("before", range(2))
def test_a_line_after_an_error_is_found_wherever_reading_stops(before, monkeypatch):
    """A line may begin exactly where a piece of the file does."""
    monkeypatch.setattr(jsontext, "CHUNK", 1)
    text = '{\n"ocid": "a"}\n' * before + '{"ocid":\n "b", x\n{"ocid": "c",\n"id": "d"}\n'
    data, at = text.encode(), [0]

    def read(size):
        at[0] += size
        return data[at[0] - size : at[0]]

    entries, tally = [], Tally()
    DocumentReader(jsontext.JsonText(read), 0, "file", entries.append, tally).read()
    assert [entry.ocid for entry in entries] == ["a"] * before + ["c"]
    assert tally.counts["skipped_invalid_json"] == 1
