"""Ocids that are none, and releases of one ocid that can't be merged or are there more than once.

What is dropped and what compiles was observed of Kingfisher Process.
"""

from __future__ import annotations

from typing import Any

from examples.hostile.case import ABSENT, PREFIX, Case, release, simple, to_line

NO_OCID = "A release without a usable ocid is skipped, counted and named."
DROPPED = "The ocid is dropped whole, with an ERROR note that says why, and counted."
KEPT = "Compiles; the ocid is unchanged, and no part of any file's name."

_NO_OCIDS: dict[str, Any] = {
    "ocid-missing": ABSENT,
    "ocid-null": None,
    "ocid-number": 12345,
    "ocid-object": {"$oid": "5f0"},
    "ocid-array": [f"{PREFIX}-ocid-array"],
    "ocid-false": False,
}

_OCIDS: dict[str, str] = {
    "ocid-empty": "",
    "ocid-dollars": "QK-$$OD-252-1",
    "ocid-32-hex": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "ocid-uuid": "QK-ODD-9b2f0c1e-3d4a-5b6c-8d7e-0f1a2b3c4d5e",
    "ocid-path": f"{PREFIX}-../../../etc/ocid",
    "ocid-blanks": f" {PREFIX}-with blanks ",
    "ocid-crlf": f"{PREFIX}-two\r\nlines",
    "ocid-quotes": f"{PREFIX}-\"quoted\", 'comma'",
    "ocid-formula": "=1+1",
    "ocid-unicode": f"{PREFIX}-\u0417\u0430\u043a\u0443\u043f\u043a\u0430-\U0001f9f9",
    "ocid-upper-case": f"{PREFIX.upper()}-CASE",
    "ocid-lower-case": f"{PREFIX}-case",
    "ocid-leading-zeros": "0000123",
    "ocid-no-zeros": "123",
    "ocid-5000-characters": f"{PREFIX}-" + "o" * 5_000,
    "ocid-nul": f"{PREFIX}-nul\x00inside",
}


def _several(name: str, expect: str, *variants: dict[str, Any], compiled: bool = True, year: str = "2021") -> Case:
    """A case of several releases of one ocid, each with some members exchanged."""
    lines = tuple(to_line(release(name, number=n, **members)) for n, members in enumerate(variants, 1))
    return Case(name, lines, expect, compiled, year if compiled else "")


def _dropped(name: str, *variants: dict[str, Any]) -> Case:
    return _several(name, DROPPED, *variants, compiled=False)


_FIRST = {"date": "2021-01-01T00:00:00Z"}
_SECOND = {"date": "2021-06-01T00:00:00Z"}

CASES: tuple[Case, ...] = (
    *(simple(name, NO_OCID, compiled=False, year="", ocid=value) for name, value in _NO_OCIDS.items()),
    *(simple(name, KEPT, ocid=value) for name, value in _OCIDS.items()),
    _dropped("merge-date-missing", _FIRST, {"date": ABSENT}),
    _dropped("merge-date-null", _FIRST, {"date": None}),
    _dropped("merge-date-number", _FIRST, {"date": 20210601}),
    _dropped(
        "merge-object-to-array", {**_FIRST, "planning": {"rationale": "r"}}, {**_SECOND, "planning": [{"id": 1}]}
    ),
    _dropped(
        "merge-object-to-text", {**_FIRST, "x_place": {"town": "Oddham"}}, {**_SECOND, "x_place": {"town": {"n": 1}}}
    ),
    _several("merge-date-empty", "Texts merge in the order of text, the empty one first.", {"date": ""}, _SECOND),
    _several(
        "merge-date-words",
        "Texts merge in the order of text: words come after digits, so the result is undated.",
        _FIRST,
        {"date": "soon"},
        year="undated",
    ),
    _several("merge-date-repeated", "Merges in the order of reading, with a warning counted.", _FIRST, _FIRST, _FIRST),
    _several(
        "merge-across-years",
        "The compiled release has the last date, and so the last year.",
        {"date": "2019-12-31T23:59:59Z"},
        {"date": "2022-01-01T00:00:00Z"},
        year="2022",
    ),
    _several(
        "merge-out-of-order",
        "The order is that of the dates, not of reading: the title is the later one's.",
        {**_SECOND, "tender": {"id": "t", "title": "later"}},
        {**_FIRST, "tender": {"id": "t", "title": "earlier"}},
    ),
    _several(
        "merge-null-removes",
        "A null in a later release removes the value.",
        {**_FIRST, "tender": {"id": "t", "title": "gone later", "value": {"amount": 5, "currency": "XTS"}}},
        {**_SECOND, "tender": {"id": "t", "title": None, "value": None}},
    ),
    _several(
        "merge-ids-number-and-text",
        '1 and "1" are two ids, or one: whichever ocdsmerge says.',
        {**_FIRST, "parties": [{"id": 1, "name": "number"}]},
        {**_SECOND, "parties": [{"id": "1", "name": "text"}]},
    ),
    Case(
        "merge-duplicate",
        (to_line(release("merge-duplicate")),) * 3,
        "The same release three times compiles to itself.",
    ),
    _several(
        "merge-60-releases",
        "All sixty merge.",
        *({"date": f"2021-03-04T05:06:{n:02}Z", "parties": [{"id": f"p{n}"}]} for n in range(60)),
    ),
    _several(
        "merge-old-year",
        "Compiles, in 2021: the odd date is the earlier one.",
        {"date": "0207-05-15T00:00:00Z"},
        _SECOND,
    ),
)
