"""When a publication is due: every boundary by hand, and a model written from the rule's text."""

from __future__ import annotations

import datetime
from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry_assets.process_manager.rules.out_of_date import PastJob, State, judge
from registry_resources.database.choices import JobResult, RetrievalFrequency

OK, FAILED, CANCELLED = JobResult.SUCCEEDED, JobResult.FAILED, JobResult.CANCELLED
MONTHLY, NEVER = RetrievalFrequency.MONTHLY, RetrievalFrequency.NEVER


def at(text: str) -> datetime.datetime:
    """A moment in UTC."""
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)


def began(text: str, result: JobResult | None = OK, number: int = 1) -> PastJob:
    """A job that began at a moment."""
    return PastJob(number, at(text), at(text), result)


def due(jobs, today: str, frequency=MONTHLY, **options) -> bool:
    return judge(jobs, date.fromisoformat(today), frequency=frequency, **options).due


@pytest.mark.parametrize(
    ("frequency", "day_before", "day"),
    [
        # From 1 January 2023, of a year without a leap day.
        (RetrievalFrequency.WEEKLY, "2023-01-07", "2023-01-08"),
        (RetrievalFrequency.BIWEEKLY, "2023-01-14", "2023-01-15"),
        (RetrievalFrequency.MONTHLY, "2023-01-30", "2023-01-31"),
        (RetrievalFrequency.HALF_YEARLY, "2023-06-29", "2023-06-30"),
        (RetrievalFrequency.ANNUALLY, "2023-12-31", "2024-01-01"),
    ],
)
@pytest.mark.parametrize("time", ["00:00:00", "12:00:00", "23:59:59.999999"])
def test_it_is_due_7_14_30_180_or_365_days_later_to_the_day(frequency, day_before, day, time):
    """JOB-05: `today >= (start + days).date()`, whatever the time of day at which it began."""
    job = began(f"2023-01-01 {time}")
    assert not due([job], day_before, frequency)
    assert due([job], day, frequency)
    assert due([job], "2030-01-01", frequency)


@pytest.mark.parametrize(
    ("start", "frequency", "day_before", "day"),
    [
        # Days are counted, so that a leap day is one of them.
        ("2024-02-22", RetrievalFrequency.WEEKLY, "2024-02-28", "2024-02-29"),
        ("2024-02-29", RetrievalFrequency.WEEKLY, "2024-03-06", "2024-03-07"),
        ("2023-02-22", RetrievalFrequency.WEEKLY, "2023-02-28", "2023-03-01"),
        ("2024-02-15", RetrievalFrequency.BIWEEKLY, "2024-02-28", "2024-02-29"),
        ("2024-01-30", RetrievalFrequency.MONTHLY, "2024-02-28", "2024-02-29"),
        ("2024-02-29", RetrievalFrequency.ANNUALLY, "2025-02-27", "2025-02-28"),
        ("2024-01-01", RetrievalFrequency.ANNUALLY, "2024-12-30", "2024-12-31"),
        ("2023-09-02", RetrievalFrequency.HALF_YEARLY, "2024-02-28", "2024-02-29"),
    ],
)
def test_a_leap_day_is_a_day(start, frequency, day_before, day):
    """JOB-05: a year is 365 days, not a calendar year."""
    job = began(f"{start} 08:00:00")
    assert not due([job], day_before, frequency)
    assert due([job], day, frequency)


def test_the_day_is_that_of_utc():
    """JOB-05: late in the evening in New York is the next day, and early in the morning in Almaty the day before."""
    new_york = datetime.timezone(timedelta(hours=-5))
    start = datetime.datetime(2023, 1, 1, 23, 30, tzinfo=new_york)  # 2 January 04:30 UTC
    assert not due([PastJob(1, start, start, OK)], "2023-01-31")
    assert due([PastJob(1, start, start, OK)], "2023-02-01")
    almaty = datetime.timezone(timedelta(hours=6))
    start = datetime.datetime(2023, 1, 2, 5, 59, tzinfo=almaty)  # 1 January 23:59 UTC
    assert not due([PastJob(1, start, start, OK)], "2023-01-30")
    assert due([PastJob(1, start, start, OK)], "2023-01-31")


def test_frozen_comes_before_everything():
    """JOB-05, CAT-15: also before a publication that was never retrieved."""
    verdict = judge([], date(2026, 11, 24), frequency=MONTHLY, frozen=True)
    assert (verdict.state, verdict.reason) == (State.FROZEN, "frozen")
    assert not due([began("2001-01-01")], "2026-11-24", frozen=True)


@pytest.mark.parametrize(
    ("frequency", "reason"), [(None, "no retrieval frequency"), (NEVER, "no longer updated by the publisher")]
)
def test_without_a_frequency_or_with_never_it_is_not_due(frequency, reason):
    """JOB-05: not even if it was never retrieved."""
    verdict = judge([], date(2026, 11, 24), frequency=frequency)
    assert (verdict.due, verdict.reason, verdict.due_on) == (False, reason, None)


def test_a_publication_that_never_had_a_job_is_due():
    """JOB-05, before all others that are."""
    verdict = judge([], date(2026, 11, 24), frequency=RetrievalFrequency.ANNUALLY)
    assert (verdict.due, verdict.reason, verdict.due_on) == (True, "due: never retrieved", date.min)


def test_a_planned_job_keeps_others_from_being_planned():
    """JOB-05: the most recent job has no start."""
    planned = PastJob(7, at("2023-01-01"))
    verdict = judge([planned, began("2022-01-01")], date(2026, 11, 24), frequency=MONTHLY)
    assert (verdict.state, verdict.reason) == (State.BUSY, "job 7 is planned")


def test_a_running_job_keeps_others_from_being_planned():
    """JOB-05: any job that is not complete, though it began so long ago that people should look at it."""
    running = began("2023-01-01", None, 41)
    verdict = judge([running], date(2023, 1, 5), frequency=MONTHLY)
    assert (verdict.state, verdict.reason, verdict.overdue) == (State.BUSY, "job 41 is running", False)
    verdict = judge([running], date(2023, 1, 31), frequency=MONTHLY)
    assert (verdict.due, verdict.overdue) == (False, True)
    assert verdict.reason == "job 41 is running since 2023-01-01, and due again"


def test_a_job_that_is_not_complete_need_not_be_the_most_recent():
    """JOB-05: an older job whose task is run again blocks as well."""
    jobs = [began("2022-01-01", None, 3), began("2022-06-01", OK, 4)]
    verdict = judge(jobs, date(2023, 1, 1), frequency=MONTHLY)
    assert (verdict.state, verdict.overdue) == (State.BUSY, True)
    assert verdict.reason.startswith("job 3 is running")


@pytest.mark.parametrize("frequency", [frequency for frequency in RetrievalFrequency if frequency != NEVER])
@pytest.mark.parametrize("result", [FAILED, CANCELLED])
def test_after_a_job_that_did_not_succeed_it_is_weekly(frequency, result):
    """JOB-05, JOB-06, DEF-15: whatever its own frequency."""
    job = began("2023-01-01 10:00", result)
    assert not due([job], "2023-01-07", frequency)
    assert due([job], "2023-01-08", frequency)


def test_only_the_most_recent_job_makes_it_weekly():
    """JOB-05: an older failure is forgotten, and an older success doesn't help."""
    assert not due([began("2023-01-01", FAILED, 1), began("2023-01-09", OK, 2)], "2023-02-07")
    assert due([began("2023-01-01", FAILED, 1), began("2023-01-09", OK, 2)], "2023-02-08")
    assert due([began("2023-01-09", FAILED, 2), began("2023-01-01", OK, 1)], "2023-01-16")


def test_a_job_that_ended_before_it_began_does_not_block_for_ever():
    """It counts from when it was planned, such as a run that was terminated while it waited in the queue."""
    in_vain = PastJob(9, at("2023-06-01"), None, CANCELLED)
    jobs = [began("2023-01-01", OK, 8), in_vain]
    assert not due(jobs, "2023-06-07")
    assert judge(jobs, date(2023, 6, 8), frequency=MONTHLY).reason == (
        "due: planned in vain 2023-06-01, weekly after a job that was cancelled"
    )


@pytest.mark.parametrize(
    ("job", "today", "reason"),
    [
        (began("2026-10-01"), "2026-11-24", "due: last began 2026-10-01, monthly"),
        (began("2026-10-01", FAILED), "2026-11-24", "due: last began 2026-10-01, weekly after a job that failed"),
        (began("2026-11-06"), "2026-11-24", "due in 12 days"),
        (began("2026-10-26"), "2026-11-24", "due in 1 day"),
    ],
)
def test_reasons_are_for_people(job, today, reason):
    """As the tick of the sensor and `registry due` show them."""
    assert judge([job], date.fromisoformat(today), frequency=MONTHLY).reason == reason


def test_the_end_of_the_calendar_is_no_error():
    """A clock that was wrong must not stop the sensor for all publications."""
    assert judge([began("9999-12-30")], date(2026, 11, 24), frequency=MONTHLY).due_on == date.max


def model(jobs: list[dict], today: date, frequency: str, *, frozen: bool) -> bool:
    """The rule as its text has it, on rows as the old system had them (JOB-05, JOB-06)."""
    if frozen:
        return False
    if frequency in {"", "NEVER"}:
        return False
    if not jobs:
        return True
    # Order by -start, nulls first. One that has ended without a start has the time it was made for one.
    by_start = sorted(jobs, key=lambda job: job["id"], reverse=True)
    by_start.sort(
        key=lambda job: (
            datetime.datetime.max.replace(tzinfo=datetime.UTC)
            if job["start"] is None and not job["complete"]
            else job["start"] or job["made"]
        ),
        reverse=True,
    )
    latest = by_start[0]
    start = latest["start"] or (latest["made"] if latest["complete"] else None)
    if start is None:
        return False
    if latest["complete"] and not latest["ok"]:
        frequency = "WEEKLY"
    days = {"WEEKLY": 7, "BIWEEKLY": 14, "MONTHLY": 30, "HALF_YEARLY": 180, "ANNUALLY": 365}[frequency]
    if not today >= (start + timedelta(days=days)).date():
        return False
    return not any(not job["complete"] for job in jobs)


EPOCH = at("2024-01-01")
MINUTES = 2 * 365 * 24 * 60


@st.composite
def histories(draw):
    """Rows of jobs, as they were made: at most one of them is incomplete, and some never began."""
    values = draw(st.lists(st.integers(0, MINUTES * 30 - 1), max_size=4))
    incomplete = draw(st.integers(-6, 3))
    rows = []
    for number, value in enumerate(sorted(values, key=lambda value: value // 30)):
        made, kind = EPOCH + timedelta(minutes=value // 30), value % 10
        complete = number != incomplete
        # Most begin at once, some weeks later, and some never.
        start = None if kind < 2 else made + timedelta(days=value % 30) if kind < 5 else made
        ok = start is not None and value % 3 > 0
        rows.append({"id": number + 1, "made": made, "start": start, "complete": complete, "ok": ok})
    return rows


@settings(max_examples=10_000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(
    rows=histories(),
    frequency=st.sampled_from(["WEEKLY", "BIWEEKLY", "MONTHLY", "HALF_YEARLY", "ANNUALLY"] * 2 + ["", "NEVER"]),
    frozen=st.sampled_from([False] * 9 + [True]),
    # The days around each boundary, and any other.
    days=st.sampled_from([n + m for n in (7, 14, 30, 180, 365) for m in (-1, 0, 1)]) | st.integers(-2, 400),
)
def test_it_agrees_with_a_model_of_the_rule(*, rows, frequency, frozen, days):
    """JOB-05: whatever the jobs, on the days around each boundary as well as on any other."""
    today = max((row["start"] or row["made"] for row in rows), default=EPOCH).date() + timedelta(days=days)
    jobs = [
        PastJob(row["id"], row["made"], row["start"], (OK if row["ok"] else FAILED) if row["complete"] else None)
        for row in rows
    ]
    jobs = jobs[days % 3 :] + jobs[: days % 3]
    verdict = judge(jobs, today, frequency=RetrievalFrequency(frequency) if frequency else None, frozen=frozen)
    assert verdict.due == model(rows, today, frequency, frozen=frozen)
    assert verdict.due == (verdict.state == State.DUE) == verdict.reason.startswith("due:")
    if verdict.state == State.LATER:
        later = judge(jobs, verdict.due_on, frequency=RetrievalFrequency(frequency))
        before = judge(jobs, verdict.due_on - timedelta(days=1), frequency=RetrievalFrequency(frequency))
        assert (later.due, before.due) == (True, False)
    if verdict.overdue:
        assert not verdict.due
        assert any(not row["complete"] for row in rows)
