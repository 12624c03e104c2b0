"""Which jobs are kept: every boundary by hand, and any history against a model written from the rules alone."""

from __future__ import annotations

import datetime
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_assets.process_manager.rules.retention import Decision, JobFacts, decide

NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


def job(number: int, days_ago: float = 0, ocids: int = 1000, *, ok: bool = True, complete: bool = True) -> JobFacts:
    return JobFacts(number, complete, ok and complete, NOW - days_ago * DAY, ocids)


def kept(jobs: list[JobFacts], active: int | None, **options: object) -> dict[int, bool]:
    return {d.job: d.keep for d in decide(jobs, active=active, now=NOW, **options)}  # type: ignore[arg-type]


def reason(jobs: list[JobFacts], active: int | None, number: int) -> Decision:
    return next(d for d in decide(jobs, active=active, now=NOW) if d.job == number)


@pytest.mark.parametrize(
    ("ago", "keep"),
    [
        (datetime.timedelta(days=179), True),
        (datetime.timedelta(days=180), True),
        (datetime.timedelta(days=180, microseconds=1), False),
        (datetime.timedelta(days=181), False),
    ],
)
def test_a_job_without_success_goes_after_180_days(ago: datetime.timedelta, keep: bool) -> None:
    """RET-01: older than 180 days; exactly 180 days is not older. With a 29 February or without."""
    for now in (NOW, datetime.datetime(2024, 3, 1, tzinfo=datetime.UTC)):
        failed = JobFacts(1, complete=True, succeeded=False, began=now - ago)
        active = JobFacts(2, complete=True, succeeded=True, began=now)
        assert [d.keep for d in decide([failed, active], active=2, now=now)] == [True, keep]


@pytest.mark.parametrize(
    ("old", "new", "keep"),
    [
        (1100, 1000, False),
        (1101, 1000, True),
        (11, 10, False),
        (12, 10, True),
        (0, 0, False),
        (1, 0, True),
        (0, 1000, False),
        (110_000_000_000_000_000, 100_000_000_000_000_000, False),
        (110_000_000_000_000_001, 100_000_000_000_000_000, True),
    ],
)
def test_an_older_version_is_kept_if_it_has_over_a_tenth_more_ocids(old: int, new: int, keep: bool) -> None:
    """RET-03: 1.1 exactly, in whole numbers; missing coverage counts as 0."""
    history = [job(1, 90, old), job(2, 60), job(3, 30, new)]
    decision = reason(history, 3, 1)
    assert (decision.keep, decision.warning) == (keep, keep)
    assert f"{old:,} ocids, against {new:,} of the active job 3" in decision.reason


def test_the_newest_and_the_second_most_recent_successful_job_stay() -> None:
    """RET-02: a failed job between the two, and one after them, change nothing."""
    history = [job(1, 200), job(2, 190), job(3, 185, ok=False), job(4, 30), job(5, 1, ok=False)]
    assert kept(history, 4) == {5: True, 4: True, 3: False, 2: True, 1: False}
    assert reason(history, 4, 5).reason == "it is the newest job"
    assert reason(history, 4, 2).reason == "it is the second-most recent successful job"


def test_the_newest_job_stays_however_old_it_is() -> None:
    """RET-02: a publication that is no longer collected keeps the last that is known of it."""
    assert kept([job(1, 900), job(2, 800, ok=False)], 1) == {2: True, 1: True}


def test_incomplete_jobs_are_never_deleted() -> None:
    """RET-04."""
    assert kept([job(1, 900, complete=False), job(2, 30), job(3, 1)], 3) == {3: True, 2: True, 1: True}


def test_the_active_job_and_the_published_version_are_never_deleted() -> None:
    """CAT-13, I1: also if an older job was made the active one, or the pointer names another one than the database."""
    history = [job(number, 500 - number) for number in range(1, 7)]
    assert kept(history, 2) == {6: True, 5: True, 4: True, 3: True, 2: True, 1: False}
    assert kept(history, 6, published={3}) == {6: True, 5: True, 4: False, 3: True, 2: False, 1: False}


def test_without_an_active_job_nothing_is_deleted_and_that_is_told() -> None:
    """RET-08."""
    decisions = decide([job(1, 900, ok=False), job(2, 800, ok=False)], active=None, now=NOW)
    assert [(d.keep, d.warning) for d in decisions] == [(True, True)] * 2
    assert decisions[0].reason == "there is no active job to measure it against"


def test_no_jobs_need_no_decisions() -> None:
    assert decide([], active=None, now=NOW) == []


AGES = [0, 1, 2, 30, 179, 180, 181, 182, 400, 800]
"""In days. Some jobs of a history begin at the same time."""
OCIDS = [0, 9, 10, 11, 12, 1000, 1100, 1101, 1210]
OUTCOMES = ["ok", "ok", "failed", "incomplete"]
KINDS = [(age, ocids, outcome) for age in AGES for ocids in OCIDS for outcome in OUTCOMES]
HISTORIES = st.lists(st.sampled_from(KINDS), max_size=8)


def model(jobs: list[JobFacts], active: int | None, published: set[int]) -> set[int]:
    """The ids to delete, by the rules in the words of the checklist: what may go, less what must stay."""
    if active is None:
        return set()
    new = next(item for item in jobs if item.id == active)
    older_than_180_days = {item.id for item in jobs if not item.succeeded and NOW - item.began > 180 * DAY}
    older_versions = {
        item.id
        for item in jobs
        if item.succeeded
        and (item.began < new.began or (item.began == new.began and item.id < new.id))
        and Fraction(item.ocids) <= Fraction(11, 10) * new.ocids
    }
    incomplete = {item.id for item in jobs if not item.complete}
    by_age = sorted(jobs, key=lambda item: (item.began, item.id))
    newest = {by_age[-1].id}
    second = {item.id for item in [item for item in by_age if item.succeeded][-2:-1]}
    return (older_than_180_days | older_versions) - incomplete - newest - second - {active} - published


@settings(max_examples=10_000, deadline=None)
@given(HISTORIES, st.integers(0, 7), st.integers(0, 20), st.booleans())
def test_any_history_is_judged_as_the_rules_say(
    history: list[tuple[int, int, str]], choice: int, pointer: int, backwards: bool
) -> None:
    """RET-01 to RET-04, RET-08: against a model made of sets; every job is decided once, and with a reason."""
    jobs = [
        job(number, age, ocids, ok=outcome == "ok", complete=outcome != "incomplete")
        for number, (age, ocids, outcome) in enumerate(history, 1)
    ]
    good = [None, *(item.id for item in jobs if item.succeeded)]
    active, published = good[choice % len(good)], {pointer}
    decisions = decide(jobs[::-1] if backwards else jobs, active=active, published=published, now=NOW)
    assert sorted(d.job for d in decisions) == sorted(item.id for item in jobs)
    assert all(d.reason for d in decisions)
    assert {d.job for d in decisions if not d.keep} == model(jobs, active, published)
