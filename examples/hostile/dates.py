"""Dates as publishers write them. A year is 1000 to 9999 with a valid month, else the release is undated."""

from __future__ import annotations

from typing import Any

from examples.hostile.case import ABSENT, Case, release, simple, to_line

UNDATED = "undated"
KEPT = "The date stays as it was written; it decides the year file by its first seven characters."

# name, value of `date`, the year file
_DATES: tuple[tuple[str, Any, str], ...] = (
    ("date-only", "2019-06-30", "2019"),
    ("date-year-month", "2018-05", "2018"),
    ("date-year", "2018", UNDATED),
    ("date-compact", "20210504", UNDATED),
    ("date-one-digit-month", "2021-5-4", UNDATED),
    ("date-month-13", "2021-13-01T00:00:00Z", UNDATED),
    ("date-month-00", "2021-00-05", UNDATED),
    ("date-day-45", "2021-12-45T10:00:00Z", "2021"),
    ("date-day-before-month", "04-12-2009", UNDATED),
    ("date-slashes", "23/03/2015", UNDATED),
    ("date-short-slashes", "7/08/17", UNDATED),
    ("date-missing-slash", "30/052017", UNDATED),
    ("date-words", "the third Tuesday after the award", UNDATED),
    ("date-not-applicable", "n/a", UNDATED),
    ("date-empty", "", UNDATED),
    ("date-blank-before", " 2021-05-04", UNDATED),
    ("date-time-zone-in-words", "2014-04-15 14:00 Central Quirk Time (CQT)", "2014"),
    ("date-space", "2016-01-02 03:04:05", "2016"),
    ("date-two-times", "2017-05-01 16:30:04.160T12:00:00Z", "2017"),
    ("date-lower-case", "2021-05-04t12:00:00z", "2021"),
    ("date-leap-second", "2016-12-31T23:59:60Z", "2016"),
    ("date-nanoseconds", "2021-05-04T12:00:00.123456789Z", "2021"),
    ("date-offset", "2020-12-31T23:30:00-09:30", "2020"),
    ("date-offset-14", "2021-01-01T00:30:00+14:00", "2021"),
    ("date-year-0000", "0000-01-01T00:00:00Z", UNDATED),
    ("date-year-0001", "0001-01-01T00:00:00Z", UNDATED),
    ("date-year-0021", "0021-05-04T00:00:00Z", UNDATED),
    ("date-year-0207", "0207-05-15T00:00:00Z", UNDATED),
    ("date-year-1000", "1000-01-01T00:00:00Z", "1000"),
    ("date-year-1600", "1600-02-29T00:00:00Z", "1600"),
    ("date-year-2999", "2999-01-01T00:00:00Z", "2999"),
    ("date-year-9999", "9999-12-31T23:59:59Z", "9999"),
    ("date-year-10000", "10000-01-01T00:00:00Z", UNDATED),
    ("date-year-negative", "-2021-05-04T00:00:00Z", UNDATED),
    ("date-full-width-digits", "\uff12\uff10\uff12\uff11-05-04T00:00:00Z", UNDATED),
    ("date-arabic-digits", "\u0662\u0660\u0662\u0661-\u0660\u0665-04T00:00:00Z", UNDATED),
    ("date-path", "../../2021-05", UNDATED),
)

# A single release compiles without a usable date too, and is undated.
_NO_TEXT: tuple[tuple[str, Any], ...] = (
    ("date-missing", ABSENT),
    ("date-null", None),
    ("date-integer", 2014),
    ("date-zero", 0),
    ("date-float", 20210504.5),
    ("date-true", True),
    ("date-object", {"$date": "2021-05-04T00:00:00Z"}),
    ("date-array", ["2021-05-04T00:00:00Z"]),
)


def _elsewhere() -> Case:
    """Dates in the middle of a release: they must be text in the tables, as some are out of any timestamp's range."""
    values = ["0207-05-15", "0021-01-01T00:00:00Z", "9999-12-31T23:59:59Z", 2014, 0, "n/a", None, "2021-02-30"]
    contracts = [
        {"id": f"c{index}", "awardID": "a1", "dateSigned": value, "period": {"startDate": value, "endDate": value}}
        for index, value in enumerate(values)
    ]
    line = to_line(release("dates-elsewhere", contracts=contracts))
    return Case("dates-elsewhere", (line,), "Every date is unchanged; Parquet columns that hold them are text.")


CASES: tuple[Case, ...] = (
    *(simple(name, KEPT, date=value, year=year) for name, value, year in _DATES),
    *(simple(name, "A single release compiles without a date.", date=value, year=UNDATED) for name, value in _NO_TEXT),
    _elsewhere(),
)
