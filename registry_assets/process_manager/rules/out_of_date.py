"""When a publication is due (JOB-05, JOB-06), as a pure function of what is known of it and of today's date.

Does not belong here: reading the database or the clock (`planning.py`), or what is done about it (the sensor).
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from registry_resources.database.choices import JobResult, RetrievalFrequency

DAYS: Mapping[RetrievalFrequency, int] = {
    RetrievalFrequency.WEEKLY: 7,
    RetrievalFrequency.BIWEEKLY: 14,
    RetrievalFrequency.MONTHLY: 30,
    RetrievalFrequency.HALF_YEARLY: 180,
    RetrievalFrequency.ANNUALLY: 365,
}
"""How many days lie between two retrievals (JOB-05)."""


@dataclass(frozen=True)
class PastJob:
    """What the rule needs to know of a job, complete or not.

    Attributes:
        id: its id.
        created: when it was planned, aware.
        start: when it began, aware; None if it has not, or ended before it could.
        result: how it ended; None while it is incomplete.
    """

    id: int
    created: datetime.datetime
    start: datetime.datetime | None = None
    result: JobResult | None = None

    @property
    def counts_from(self) -> datetime.datetime:
        """When it began. A job that never did counts from when it was planned, so that it can't count for ever."""
        return self.start or self.created


class State(StrEnum):
    """How a publication stands: due, or why not."""

    DUE = "due"
    LATER = "later"
    BUSY = "busy"
    FROZEN = "frozen"
    UNSCHEDULED = "unscheduled"


@dataclass(frozen=True)
class Verdict:
    """Whether a publication is due, and why.

    Attributes:
        state: how it stands. A job is planned if it is due.
        reason: why, for people.
        due_on: the first day (UTC) on which it is due, or None if no day is. A publication that was never retrieved
            is due from the first day there is.
        overdue: whether it would be due, if a job that began long ago were not still incomplete (JOB-05 warns then).
    """

    state: State
    reason: str
    due_on: datetime.date | None = None
    overdue: bool = False

    @property
    def due(self) -> bool:
        """Whether a job is to be planned."""
        return self.state == State.DUE


def judge(
    jobs: Sequence[PastJob], today: datetime.date, *, frequency: RetrievalFrequency | None, frozen: bool = False
) -> Verdict:
    """Say whether a publication is due (JOB-05), in the order of the rule.

    The order decides only which reason is given. In one place it is not the rule's: a job that is not complete is
    named although the publication would not be due yet without it, since that is what people ask about.

    Args:
        jobs: the publication's jobs, in any order: all of them, or at least the most recent and the incomplete ones.
        today: the date in UTC.
        frequency: how often the registry retrieves it, or None if nobody has said.
        frozen: whether an administrator stopped its scheduling.
    """
    if frozen:
        return Verdict(State.FROZEN, "frozen")
    if frequency is None:
        return Verdict(State.UNSCHEDULED, "no retrieval frequency")
    if frequency == RetrievalFrequency.NEVER:
        return Verdict(State.UNSCHEDULED, "no longer updated by the publisher")
    if not jobs:
        return Verdict(State.DUE, "due: never retrieved", datetime.date.min)
    incomplete = next((job for job in jobs if job.result is None), None)
    if incomplete and incomplete.start is None:
        return Verdict(State.BUSY, f"job {incomplete.id} is planned")
    latest = max(jobs, key=lambda job: (job.counts_from, job.id))
    failed = latest.result not in {None, JobResult.SUCCEEDED}
    due_on = _after(latest.counts_from, DAYS[RetrievalFrequency.WEEKLY if failed else frequency])
    if incomplete:
        overdue = today >= due_on
        since = f" since {_day(incomplete.counts_from)}, and due again" if overdue else ""
        return Verdict(State.BUSY, f"job {incomplete.id} is running{since}", due_on, overdue)
    if today < due_on:
        days = (due_on - today).days
        return Verdict(State.LATER, f"due in {days} day{'s' if days > 1 else ''}", due_on)
    began = f"{'last began' if latest.start else 'planned in vain'} {_day(latest.counts_from)}"
    how = f"weekly after a job that {_ended(latest.result)}" if failed else frequency.label.lower()
    return Verdict(State.DUE, f"due: {began}, {how}", due_on)


def _day(moment: datetime.datetime) -> datetime.date:
    return moment.astimezone(datetime.UTC).date()


def _after(moment: datetime.datetime, days: int) -> datetime.date:
    """The day so many days after a moment, or the last one there is."""
    day = _day(moment)
    return day + datetime.timedelta(days=days) if (datetime.date.max - day).days > days else datetime.date.max


def _ended(result: JobResult | None) -> str:
    return "was cancelled" if result == JobResult.CANCELLED else "failed"
