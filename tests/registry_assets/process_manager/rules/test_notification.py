"""What is told of a publication: a change of state once, and never its repetition."""

from __future__ import annotations

import datetime
import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_assets.process_manager.rules.notification import (
    MOST_CAUSES,
    Event,
    JobFacts,
    Kind,
    Told,
    judge,
    normalise,
)
from registry_resources.database.choices import JobResult

START = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
WEEK = datetime.timedelta(days=7)
OK, FAILED, CANCELLED = JobResult.SUCCEEDED, JobResult.FAILED, JobResult.CANCELLED


def ended(number: int) -> datetime.datetime:
    return START + number * WEEK


def job(number: int, result: JobResult = OK, note: str = "", **values: object) -> JobFacts:
    return JobFacts(number, result, ended(number), note, **values)  # type: ignore[arg-type]


def failed(number: int, note: str = "collect: HTTP 403") -> JobFacts:
    return job(number, FAILED, note)


def blocked(number: int, why: str = "half of the ocids are missing") -> JobFacts:
    return job(number, FAILED, f"publishing: {why}", blocked=why)


def told_of(*jobs: JobFacts, frozen: bool = False) -> list[str]:
    """What is told, if somebody looks an hour after each job: its kind and the job's number."""
    told: Told | None = None
    said = []
    for count in range(1, len(jobs) + 1):
        now = jobs[count - 1].ended + datetime.timedelta(hours=1)
        events, told = judge(jobs[:count], told, now, frozen=frozen)
        said += [f"{event.kind} {event.job}" for event in events]
        assert judge(jobs[:count], told, now, frozen=frozen) == ([], told), "looking again tells nothing"
    return said


def test_the_first_failure_is_told_and_the_next_ones_are_not() -> None:
    """ASK-12: after a success, or as the first job; the third in a row of one cause proposes to freeze, once."""
    assert told_of(failed(1), failed(2)) == ["failed 1"]
    assert told_of(job(1), failed(2), failed(3), failed(4), failed(5), failed(6), failed(7)) == [
        "failed 2",
        "freeze 4",
    ]


def test_success_tells_nothing_but_after_a_failure_that_was_told() -> None:
    """ASK-12: recovery."""
    assert told_of(job(1), job(2)) == []
    assert told_of(failed(1), job(2), job(3), failed(4)) == ["failed 1", "recovered 2", "failed 4"]


def test_a_cancelled_job_counts_neither_as_a_failure_nor_as_a_success() -> None:
    """Somebody cancelled it, who knows. It does not part failures of one cause either."""
    assert told_of(job(1, CANCELLED, "Cancelled during collect")) == []
    assert told_of(failed(1), job(2, CANCELLED), failed(3), job(4, CANCELLED), failed(5)) == ["failed 1", "freeze 5"]


def test_another_cause_is_told_once_until_the_publication_recovers() -> None:
    """A publication that fails now so, now so, is told of twice, not every week."""
    one, other = "collect: HTTP 403", "exporter: No space left on device"
    history = [failed(1, one), failed(2, other), failed(3, one), failed(4, other), job(5), failed(6, other)]
    assert told_of(*history) == ["failed 1", "cause 2", "recovered 5", "failed 6"]


def test_freezing_is_proposed_for_failures_of_one_cause_in_a_row() -> None:
    """Numbers that differ make no other cause. A frozen publication needs no such proposal."""
    by_number = [
        failed(n, f"collect: The crawl failed: {n * 7} of 1,000 requests at https://x.test/{n}") for n in (1, 2)
    ]
    assert told_of(*by_number, failed(3, "collect: The crawl failed: 9 of 1,234 requests at https://x.test/z")) == [
        "failed 1",
        "freeze 3",
    ]
    mixed = [failed(1, "a"), failed(2, "a"), failed(3, "b"), failed(4, "a"), failed(5, "a"), failed(6, "a")]
    assert told_of(*mixed) == ["failed 1", "cause 3", "freeze 6"]
    assert told_of(failed(1), failed(2), failed(3), frozen=True) == ["failed 1"]


def test_a_blocked_version_is_told_and_is_no_failure() -> None:
    """ASK-03: a version that is blocked for one reason again and again is told of once, and nothing to freeze for."""
    assert told_of(job(1), blocked(2), blocked(3), blocked(4), blocked(5)) == ["blocked 2"]
    assert told_of(failed(1), blocked(2), failed(3), blocked(4)) == ["failed 1", "blocked 2"]
    assert told_of(blocked(1), failed(2), failed(3, "exporter: b"), job(4)) == [
        "blocked 1",
        "failed 2",
        "cause 3",
        "recovered 4",
    ]


def test_an_accepted_version_is_a_recovery_only_once_it_is_published() -> None:
    """ASK-03: between the two nothing is told; but if publishing it fails, that is."""
    accepted = ended(1) + datetime.timedelta(hours=3)
    now = ended(2)
    _, told = judge([blocked(1)], None, now)
    waiting = job(1, FAILED, "publishing: blocked", accepted=accepted)
    assert judge([waiting], told, now) == ([], told)
    events, _ = judge([job(1, OK, accepted=accepted)], told, now)
    assert [event.kind for event in events] == [Kind.RECOVERED]
    tried = JobFacts(1, FAILED, accepted + datetime.timedelta(minutes=1), "publishing: disk full", "", accepted)
    events, _ = judge([tried], told, now)
    assert [event.kind for event in events] == [Kind.FAILED]


@pytest.mark.parametrize(("seconds", "kinds"), [(299, []), (300, [Kind.FAILED])])
def test_a_failure_is_told_after_five_minutes(seconds: int, kinds: list[Kind]) -> None:
    """A job whose worker was lost is taken up again before that, and may succeed."""
    events, _ = judge([job(1), failed(2)], None, ended(2) + datetime.timedelta(seconds=seconds))
    assert [event.kind for event in events] == kinds


def test_a_success_is_told_at_once() -> None:
    _, told = judge([failed(1)], None, ended(2))
    events, told = judge([failed(1), job(2)], told, ended(2))
    assert events == [Event(Kind.RECOVERED, 2, since=ended(1))]
    assert told is None


def test_what_happened_while_nobody_looked_is_told_in_order() -> None:
    """A recovery between two failures was one; of several failures in a row the latest is told of, and since when."""
    _, told = judge([failed(1)], None, ended(2))
    events, told = judge([failed(1), job(2), failed(3), failed(4, "process: b")], told, ended(5))
    assert events == [
        Event(Kind.RECOVERED, 2, since=ended(1)),
        Event(Kind.FAILED, 4, ended(3), "process: b", "failed: process: b", failures=2),
    ]
    assert told == Told(ended(3), 4, ("failed: process: b",))


def test_a_job_that_is_taken_up_again_or_deleted_leaves_what_was_told_true() -> None:
    """The job before it was a success, but that is no recovery."""
    _, told = judge([job(1), failed(2)], None, ended(3))
    assert judge([job(1)], told, ended(3)) == ([], told)
    assert judge([], told, ended(3)) == ([], told)
    events, _ = judge([job(1), job(2)], told, ended(3))
    assert [event.kind for event in events] == [Kind.RECOVERED]


def test_a_failure_of_ever_new_words_is_told_five_times_at_most() -> None:
    """Otherwise it would be told each time."""
    history = [failed(n + 1, f"collect: {chr(97 + n) * 3}") for n in range(9)]
    assert told_of(*history) == ["failed 1", "cause 2", "cause 3", "cause 4", "cause 5"]
    assert MOST_CAUSES == 5


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("GET https://a.test/1?page=2 timed out", "GET https://b.test/9 timed out"),
        ("job 12 ended", "job 7 ended"),
        ("since 2026-11-24 10:09:13 UTC", "since 2025-01-02 03:04:05 UTC"),
        ("since 2026-11-24T10:09:13Z", "since 2025-01-02T03:04:05Z"),
        ("on Tue Nov 24 it ended", "on Mon, 3 March it ended"),
        ("run 1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed", "run 00000000-0000-4000-8000-000000000000"),
        ("sha256 0a1b2c3d4e5f differs", "sha256 99ffaa00bb11 differs"),
        ("12 of 1,000 requests (1.2%)", "3 of 20 requests (15%)"),
        ("1.9 MB free", "800 kB free"),
        ("no file /srv/exports/x/12/full.jsonl", "no file /srv/exports/x/13/full.jsonl"),
        ("two\n  lines", "Two lines"),
        ("(1 error, 2 files)", "(13 errors, 1 file)"),
    ],
)
def test_what_differs_each_time_is_no_other_cause(one: str, other: str) -> None:
    """Numbers, ids, dates and addresses are taken out."""
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("collect: HTTP 403", "collect: HTTP 503"),
        ("[Errno 28] exporter", "[Errno 5] exporter"),
        ("collect: timed out", "process: timed out"),
        ("it may fail 3 times", "it fails 3 times"),
    ],
)
def test_what_makes_another_cause_stays(one: str, other: str) -> None:
    """The codes of errors are numbers that say something."""
    assert normalise(one) != normalise(other)


@settings(max_examples=2_000, deadline=None)
@given(st.text(max_size=3_000))
def test_any_reason_can_be_compared(text: str) -> None:
    """It is bounded, and taking the same out again takes nothing more."""
    once = normalise(text)
    assert len(once) <= 200
    assert normalise(once) == once or len(once) == 200


NAMES = ("ok", "ok", "a", "a", "a", "b", "block", "c", "cancel", "new")


def outcomes_of(number: int) -> list[str]:
    """A digit an outcome: hypothesis draws one number sooner than a list."""
    return [NAMES[int(digit)] for digit in str(number)]


OUTCOMES = st.integers(0, 10**12 - 1).map(outcomes_of)


@functools.cache
def made(name: str, number: int) -> JobFacts:
    if name in {"ok", "cancel"}:
        return job(number, OK if name == "ok" else CANCELLED)
    if name == "block":
        return blocked(number)
    return failed(number, f"collect: {chr(99 + number) * 4}" if name == "new" else name)


def history_of(outcomes: list[str]) -> list[JobFacts]:
    return [made(name, number) for number, name in enumerate(outcomes, 1)]


def model(outcomes: list[str]) -> list[str]:
    """What is told, by the words of the rule: one job after the other, with counters."""
    said: list[str] = []
    known: list[str] = []  # causes that were told; none if it is well
    row, row_cause, proposed = 0, "", False
    for number, name in enumerate(outcomes, 1):
        if name == "cancel":
            continue
        if name == "ok":
            if known:
                said.append(f"recovered {number}")
            known, row, row_cause, proposed = [], 0, "", False
            continue
        cause = f"new{number}" if name == "new" else name
        row = row + 1 if cause == row_cause else 1
        row_cause = cause
        if cause not in known and len(known) < 5:
            failures_told = [told for told in known if told != "block"]
            said.append(f"{'blocked' if name == 'block' else 'cause' if failures_told else 'failed'} {number}")
            known.append(cause)
        if row >= 3 and name != "block" and not proposed:
            said.append(f"freeze {number}")
            proposed = True
    return said


@settings(max_examples=10_000, deadline=None)
@given(OUTCOMES)
def test_any_history_is_told_as_the_rule_says(outcomes: list[str]) -> None:
    """ASK-12: against a model that goes through the jobs one by one."""
    assert told_of(*history_of(outcomes)) == model(outcomes)


@settings(max_examples=10_000, deadline=None)
@given(OUTCOMES, st.integers(0, 2**12 - 1), st.booleans())
def test_however_seldom_somebody_looks_the_end_is_told(outcomes: list[str], looks: int, backwards: bool) -> None:
    """The daemon may be down: what was told last is how it is, and failures and recoveries take turns."""
    jobs = history_of(outcomes)
    told: Told | None = None
    kinds: list[Kind] = []
    for count in range(1, len(jobs) + 1):
        if looks >> count & 1 or count == len(jobs):
            some = jobs[:count][::-1] if backwards else jobs[:count]
            events, told = judge(some, told, ended(count + 1))
            kinds += [event.kind for event in events]
    counted = [name for name in outcomes if name != "cancel"]
    assert (told is not None) == (bool(counted) and counted[-1] != "ok")
    ill = False
    for kind in kinds:
        if kind == Kind.RECOVERED:
            assert ill
        elif not ill:
            assert kind in {Kind.FAILED, Kind.BLOCKED}
        ill = kind != Kind.RECOVERED
    assert ill == (told is not None)
