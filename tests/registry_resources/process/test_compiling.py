"""What is compiled of the releases of one ocid, and what can't be."""

from __future__ import annotations

import json

import pytest


def release(**fields):
    return {"ocid": "o", "id": "r", "date": "2020-01-01", "tag": ["tender"], **fields}


def without_date(**fields):
    return {key: value for key, value in release(**fields).items() if key != "date"}


def test_releases_are_merged_in_the_order_of_their_dates(process):
    """The merging specification: the latest value of each field; null removes; lists merge by id."""
    found = process(
        {
            "1.json": release(date="2020-03-01", tender={"id": "t", "title": "3rd", "x": None}),
            "2.json": '{"releases": [{"ocid": "o", "date": "2020-01-01", "tender": {"id": "t", "x": 1, '
            '"items": [{"id": 1, "a": 1.50}]}}]}',
            "3.json": release(date="2020-02-01", tender={"items": [{"id": 1, "b": 2}, {"id": "2", "b": 3}]}),
        }
    )
    assert found.lines == {
        "o": '{"tag":["compiled"],"id":"o-2020-03-01","date":"2020-03-01","ocid":"o","tender":{"id":"t",'
        '"items":[{"id":1,"a":1.50,"b":2},{"id":"2","b":3}],"title":"3rd"}}'
    }
    assert found.result["notes"] == []


@pytest.mark.parametrize("date", ["missing", None, "", "n/a", "04-12-2009", 2014, {"a": 1}])
def test_a_single_release_compiles_whatever_its_date(process, date):
    """Observed of Kingfisher Process: missing, null, "", non-date and numeric dates all compile."""
    found = process({"1.json": without_date() if date == "missing" else release(date=date)})
    assert found.counts["compiled_releases"] == 1
    assert found.dates["o"] == (date if isinstance(date, str) and date != "missing" else None)
    assert found.result["notes"] == []


@pytest.mark.parametrize(
    ("dates", "kind"),
    [
        (["missing", "2020"], "MissingDateKeyError"),
        (["2020", None], "NullDateValueError"),
        (["2020", 2014], "NonStringDateValueError"),
        ([2013, 2014], "NonStringDateValueError"),
        ([None, None], "NullDateValueError"),
    ],
)
def test_an_ocid_of_which_one_release_has_no_date_is_left_out_with_an_error(process, dates, kind):
    """Observed of Kingfisher Process: the OCID is dropped, with this type of note; others aren't."""
    releases = [
        without_date(id=str(n)) if date == "missing" else release(date=date, id=str(n)) for n, date in enumerate(dates)
    ]
    found = process({"1.json": [*releases, release(ocid="p")]})
    assert set(found.lines) == {"p"}
    assert found.skipped() == {"no_date_several_releases": 1, "releases_not_merged": 2}
    assert found.note(kind)["level"] == "ERROR"
    assert found.note(kind)["data"]["examples"][0].startswith("o: release ")


def test_dates_that_are_text_but_no_dates_merge(process):
    """Observed of Kingfisher Process: "" and other text merge, sorted as text."""
    found = process({"1.json": [release(date="n/a", a=1), release(date="", a=2), release(date="2020", a=3)]})
    assert found.releases["o"]["a"] == 1
    assert found.releases["o"]["id"] == "o-n/a"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"tender": "text"}, {"tender": {"id": "t"}}),
        ({"parties": "text"}, {"parties": [{"id": "1"}]}),
    ],
)
def test_an_ocid_of_which_a_field_changes_type_is_left_out_with_an_error(process, before, after):
    """Observed of Kingfisher Process: InconsistentTypeError."""
    found = process({"1.json": [release(**before), release(date="2021", **after), release(ocid="p")]})
    assert set(found.lines) == {"p"}
    assert found.skipped() == {"inconsistent_type": 1, "releases_not_merged": 2}
    assert found.note("InconsistentTypeError")["data"]["total"] == 1


def test_the_same_release_twice_is_merged_once(process):
    """Lists without ids would else double. Keys in another order and other digits are the same release."""
    one = '{"ocid":"o","id":"r","date":"2020","x":[{"a":1.0}],"y":{"b":1,"c":2}}'
    two = '{"date":"2020","id":"r","ocid":"o","y":{"c":2,"b":1},"x":[{"a":1.00}]}'
    found = process({"1.json": one, "2.json": two, "3.json": one})
    assert found.releases["o"]["x"] == [{"a": 1}]
    assert found.skipped() == {"duplicate_release": 2}
    assert found.result["notes"] == []


def test_the_same_undated_release_twice_is_a_single_release(process):
    """What is left after duplicates are dropped decides."""
    assert set(process({"1.json": [without_date(), without_date()]}).lines) == {"o"}


def test_repeated_ids_and_dates_are_summed(process):
    """PRO-06: per path the sum, per date the count."""
    items = [{"id": "1"}, {"id": "1"}, {"id": "1"}]
    releases = [release(ocid=f"o{n}", tender={"items": items}) for n in range(30)]
    repeats = [release(ocid=f"p{n % 2}", id=str(n), date="2020-05-05") for n in range(8)]
    found = process({"1.json": releases + repeats})
    assert found.note("DuplicateIdValueWarning")["data"] == {
        "type": "DuplicateIdValueWarning",
        "total": 60,
        "paths": {"tender.items": 60},
    }
    assert found.note("RepeatedDateValueWarning")["data"]["dates"] == {"2020-05-05": 6}


def test_notes_are_capped_and_their_total_is_counted(process):
    """ASK-11: a few examples of each type, the first ones; at most 100 paths or dates."""
    errors = [{**release(ocid=f"o{n:03}"), "date": date} for n in range(150) for date in (None, 1)]
    dates = [release(ocid=f"p{n}", id=str(k), date=f"d{n:03}") for n in range(150) for k in range(2)]
    found = process({"1.json": errors, "2.json": dates})
    note = found.note("NullDateValueError")
    assert note["data"]["total"] == 150
    assert len(note["data"]["examples"]) == 10
    repeated = found.note("RepeatedDateValueWarning")["data"]
    assert (repeated["total"], len(repeated["dates"]), repeated["other"]) == (150, 100, 50)


LINKED = {"url": "https://example.com/1.json", "date": "2020-01-01", "tag": ["tender"]}
COMPILED = {"ocid": "o", "id": "c", "date": "2020-09-09", "tag": ["compiled"], "title": "compiled", "null": None}


@pytest.mark.parametrize(
    ("record", "title"),
    [
        ({"releases": [release(title="own")], "compiledRelease": COMPILED}, "own"),
        ({"releases": [release(title="own", tag=["compiled"])]}, "own"),
        ({"releases": [], "compiledRelease": COMPILED}, "compiled"),
        ({"compiledRelease": COMPILED}, "compiled"),
        ({"releases": [LINKED], "compiledRelease": COMPILED}, "compiled"),
        ({"releases": [LINKED, release(title="own")], "compiledRelease": COMPILED}, "compiled"),
        ({"releases": [LINKED, release(title="tagged", tag=["compiled"])]}, "tagged"),
        ({"releases": [without_date(title="own")], "compiledRelease": COMPILED}, "compiled"),
        ({"releases": [without_date(title="own")]}, "own"),
        ({"releases": [without_date(title="own"), release(title="dated")], "compiledRelease": COMPILED}, "dated"),
        (
            {"releases": [release(tender=1), release(date="2021", tender={"a": 1})], "compiledRelease": COMPILED},
            "compiled",
        ),
    ],
)
def test_a_record_is_compiled_as_kingfisher_process_does(process, record, title):
    """Its own releases, unless one is linked or they can't be merged: then what the publisher compiled."""
    for content in ({"ocid": "o", **record}, {"records": [{"ocid": "o", **record}]}, {"records": [record]}):
        found = process({"1.json": content})
        assert found.releases["o"]["title"] == title
        assert found.counts["records"] == 1
        if title == "compiled":
            assert found.releases["o"] == COMPILED
            assert found.dates["o"] == "2020-09-09"
            assert found.counts["compiled_as_published"] == 1


def test_what_a_record_leaves_out_is_counted(process):
    """I8: undated releases next to dated ones, releases next to linked ones."""
    records = [
        {"ocid": "a", "releases": [without_date(ocid="a"), release(ocid="a")]},
        {"ocid": "b", "releases": [LINKED, release(ocid="b")], "compiledRelease": {**COMPILED, "ocid": "b"}},
        {"ocid": "c", "releases": [LINKED, release(ocid="c")]},
        {"ocid": "d", "releases": []},
    ]
    found = process({"1.json": {"records": records}})
    assert set(found.lines) == {"a", "b"}
    assert found.skipped() == {
        "undated_in_record": 1,
        "linked_release": 2,
        "release_next_to_linked": 2,
        "only_linked_releases": 1,
        "record_without_releases": 1,
    }
    levels = {note["data"]["type"]: note["level"] for note in found.result["notes"]}
    assert levels == {
        "OnlyLinkedReleases": "ERROR",
        "RecordWithoutReleases": "ERROR",
        "UndatedReleaseInRecord": "WARNING",
        "CompiledReleaseUsed": "INFO",
    }


def test_releases_of_records_and_others_are_merged_together(process):
    """An ocid may be in a record and in packages."""
    record = {"ocid": "o", "releases": [release(a=1)], "compiledRelease": COMPILED}
    found = process({"1.json": record, "2.json": {"releases": [release(date="2021-01-01", b=2)]}})
    assert found.releases["o"] == {
        "tag": ["compiled"], "id": "o-2021-01-01", "date": "2021-01-01", "ocid": "o", "a": 1, "b": 2
    }  # fmt: skip
    assert found.counts["unused_compiled_releases"] == 1


def test_a_release_tagged_compiled_is_taken_as_it_is_unless_there_are_others(process):
    """Compiled releases as publishers offer them: packages, lines; of several the latest, of one date the last."""
    older, newer = {**COMPILED, "date": "2020-01-01"}, {**COMPILED, "title": "newer"}
    found = process({"1.json": json.dumps(newer) + "\n" + json.dumps(older), "2.json": {"releases": [COMPILED]}})
    assert found.releases == {"o": COMPILED}
    assert (found.counts["compiled_as_published"], found.counts["unused_compiled_releases"]) == (1, 2)
    assert process({"1.json": [COMPILED, release(title="own")]}).releases["o"]["title"] == "own"


def test_ids_that_are_objects_are_compared_as_one_value(process):
    """As published in drafts of the standard; ocdsmerge alone would stop at them."""
    a, b = {"name": "x", "n": None}, {"name": "y"}
    found = process(
        {
            "1.json": [
                release(awards=[{"id": a, "v": 1, "w": None}, {"id": b}], buyer={"id": {"z": {}}}),
                release(date="2021", awards=[{"id": a, "v": 2}, {"id": [{"q": 1}]}]),
            ]
        }
    )
    assert found.releases["o"]["awards"] == [{"id": a, "v": 2}, {"id": b}, {"id": [{"q": 1}]}]
    assert found.note("IdNotScalar")["data"]["total"] == 1


def test_numbers_that_json_does_not_have_become_null_and_are_told(process):
    """NaN and Infinity: the release is kept."""
    found = process({"1.json": '{"ocid": "o", "date": "2020", "a": NaN, "b": {"c": -Infinity, "d": 1.0}}'})
    assert found.lines["o"] == '{"tag":["compiled"],"id":"o-2020","date":"2020","ocid":"o","b":{"d":1.0}}'
    assert found.counts["nonfinite_numbers"] == 2
    assert found.note("NonFiniteNumber")["level"] == "WARNING"


def test_a_release_too_deep_to_be_merged_is_counted(process):
    """Between what can be parsed and what can be merged."""
    deep = json.loads('{"a":[' * 350 + "1" + "]}" * 350)
    found = process({"1.json": [release(x=deep), release(ocid="p")]})
    assert "p" in found.lines
    assert found.skipped() in ({"nesting": 1}, {})


def test_odd_text_passes(process):
    """Lone surrogates and NUL in ocids, dates and values; keys that are empty or have dots."""
    text = r'{"ocid": "\ud800", "date": "\udfff\u0000", "": 1, "a.b": {"": "\ud83d"}, "a": {"b": 1}}'
    found = process({"1.json": text})
    assert json.loads(found.lines["\ud800"]) == {
        "tag": ["compiled"], "id": "\ud800-\udfff\0", "date": "\udfff\0", "ocid": "\ud800", "": 1,
        "a.b": {"": "\ud83d"}, "a": {"b": 1},
    }  # fmt: skip
    assert found.dates["\ud800"] == "\udfff\0"


def test_dates_of_the_metadata_are_after_1970_and_not_after_today(process):
    """PRO-04, PRO-05: dates > 1970-01-01 and ≤ today; others don't count; prefix of the greatest ocid."""
    dates = [
        "1970-01-01T23:00:00Z",
        "1970-01-02",
        "2026-01-31T12:00:00Z",
        "2026-02-01",
        "0207-05-15",
        "2020-13-01",
        "9",
        "",
    ]
    found = process({"1.json": [release(ocid=f"ocds-abcdef-{n}", date=date) for n, date in enumerate(dates)]})
    assert (found.result["date_from"], found.result["date_to"]) == ("1970-01-02", "2026-01-31")
    assert found.result["ocid_prefix"] == "ocds-abcdef"
    none = process({"1.json": release(date="2026-02-01 ")})
    assert (none.result["date_from"], none.result["date_to"]) == (None, None)


def test_a_compiled_release_without_an_ocid_gets_its_records(process):
    """Its tables couldn't be joined else; counted."""
    found = process({"1.json": {"records": [{"ocid": "o", "compiledRelease": {"id": "c", "title": "t"}}]}})
    assert found.releases == {"o": {"ocid": "o", "id": "c", "title": "t"}}
    assert found.counts["ocid_from_record"] == 1
