"""The words in which people are told of publications."""

from __future__ import annotations

import datetime

from registry_assets.process_manager.digest import News, subject, text
from registry_assets.process_manager.rules.notification import Event, Kind, normalise

SINCE = datetime.datetime(2026, 11, 24, 10, 9, 13, tzinfo=datetime.UTC)


def news(key: str, kind: Kind = Kind.FAILED, reason: str = "collect: HTTP 403", **values: object) -> News:
    number = int(values.get("job", 41))  # type: ignore[call-overload]
    event = Event(kind, number, SINCE, reason, f"{kind}: {normalise(reason)}", int(values.get("failures", 1)))  # type: ignore[call-overload]
    url = f"http://127.0.0.1:3000/runs/{key}-{number}"
    return News(key, str(values.get("title", "")), url, event)


def test_one_failure_says_who_what_since_when_why_where_and_what_to_do() -> None:
    """ASK-12. A command can be copied."""
    one = [news("moldova", title="MTender")]
    assert subject(one) == "Registry: moldova failed"
    assert text(one) == (
        "moldova failed: collect: HTTP 403\n"
        "- moldova (MTender): job 41, since 2026-11-24 10:09 UTC\n"
        "  http://127.0.0.1:3000/runs/moldova-41\n"
        "`registry show moldova` tells more. `registry run moldova` tries again now, not only when it is due.\n"
        "\n"
        "Nothing more is told of this until something changes.\n"
    )
    assert one[0].fields == {
        "kind": "failed",
        "publication": "moldova",
        "title": "MTender",
        "job": 41,
        "since": "2026-11-24T10:09:13+00:00",
        "failures": 1,
        "reason": "collect: HTTP 403",
        "url": "http://127.0.0.1:3000/runs/moldova-41",
        "remedy": (
            "`registry show moldova` tells more. `registry run moldova` tries again now, not only when it is due."
        ),
    }


def test_what_is_urgent_comes_first_and_what_has_one_cause_stands_together() -> None:
    """A full disk is one cause, however many fail by it."""
    several = [
        news("a", Kind.RECOVERED, "", job=7),
        news("b", reason="exporter: 3 MB free, 9 GB needed"),
        news("c", Kind.BLOCKED, "half is missing", job=9),
        news("d", reason="exporter: 2 MB free, 7 GB needed", failures=2),
        news("e", Kind.FREEZE, failures=3),
    ]
    assert subject(several) == (
        "Registry: 2 failed, 1 has a version that is kept from readers, "
        "1 keeps failing for the same cause, 1 recovered"
    )
    said = text(several)
    assert said.split("\n\n")[0] == (
        "2 publications failed (in these or similar words): exporter: 3 MB free, 9 GB needed\n"
        "- b: job 41, since 2026-11-24 10:09 UTC\n"
        "  http://127.0.0.1:3000/runs/b-41\n"
        "- d: job 41, since 2026-11-24 10:09 UTC, 2 times in a row\n"
        "  http://127.0.0.1:3000/runs/d-41\n"
        "`registry show KEY` tells more. `registry run KEY` tries again now, not only when it is due."
    )
    assert said.index("c has a version") < said.index("e keeps failing") < said.index("a recovered.")
    assert '`registry accept c 9 --reason "…"`' in said
    assert "`registry freeze e`" in said
    assert "- a: job 7, after trouble since 2026-11-24 10:09 UTC" in said


def test_a_message_stays_short_however_many_fail() -> None:
    """And says how many it does not name (I8)."""
    alike = [news(f"publication_{n:04}") for n in range(3_000)]
    said = text(alike)
    assert said.startswith("3,000 publications failed")
    assert "- and 2,980 more: publication_0020, " in said
    assert len(said) < 6_000
    named = said.count("publication_0") + said.count("publication_1") + said.count("publication_2")
    assert f" and {3_000 - (named - 20):,} more\n" in said  # those in full are named a second time, by their run
    unlike = [news(f"publication_{n:02}", reason=f"collect: {chr(97 + n) * 4} broke") for n in range(25)]
    assert "And 5 more, for 5 other causes: publication_20, publication_21" in text(unlike)


def test_a_publishers_text_forges_no_line_and_shows_no_secret() -> None:
    """I6: reasons hold what servers answered."""
    hostile = news(
        "a",
        reason="collect: GET https://u:canary-1@x.test/?token=canary-2 said\r\n\r\nb recovered.\u202e\x1b[2J\ud800",
        title="T\nitle",
    )
    said = text([hostile])
    assert said.splitlines()[0] == "a failed: collect: GET https://u:***@x.test/?token=*** said b recovered. [2J"
    assert "- a (T itle): job 41" in said
    assert "canary" not in said + hostile.line + str(hostile.fields)
    said.encode()


def test_a_reason_is_cut_where_nobody_reads_on() -> None:
    """`registry show` has all of it."""
    assert len(news("a", reason="x" * 100_000).reason) == 501
