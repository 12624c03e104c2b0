"""What people are told of a publication: only what changed since they were last told (ASK-12).

Belongs here: the rule, as a pure function of a publication's jobs and of what was told last.
Does not belong here: reading jobs and remembering what was told (`process_manager.notifications`), or the words.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from itertools import takewhile

from registry_resources.database.choices import JobResult

SETTLED_AFTER = datetime.timedelta(minutes=5)
"""A job without success is not told before: it may be taken up again at once, as when its worker was lost."""

REPEATED = 3
"""After so many failures of one cause in a row, freezing the publication is proposed."""

MOST_CAUSES = 5
"""So many causes are told, until a publication recovers: one that fails in ever new words is told of no more."""

CAUSE_LENGTH = 200
"""How many characters tell one cause from another."""


class Kind(StrEnum):
    """What is told, the most urgent first."""

    FAILED = "failed"
    BLOCKED = "blocked"
    CAUSE = "cause"
    FREEZE = "freeze"
    RECOVERED = "recovered"


@dataclass(frozen=True)
class JobFacts:
    """What the rule needs to know of a completed job.

    Attributes:
        id: its id. Of a publication one job is open at a time, so a greater id is a later job.
        result: how it ended.
        ended: when, aware.
        note: why it did not succeed: the stage, then the cause.
        blocked: why its version is kept from readers; "" if it isn't, or if somebody accepted it.
        accepted: when somebody accepted its version although it was blocked, or None.
    """

    id: int
    result: JobResult
    ended: datetime.datetime
    note: str = ""
    blocked: str = ""
    accepted: datetime.datetime | None = None

    def counts(self, now: datetime.datetime) -> bool:
        """Whether anything follows from it: not if somebody cancelled it, or while it may still turn out otherwise."""
        if self.result == JobResult.SUCCEEDED and not self.blocked:
            return True
        awaits_publishing = self.accepted is not None and self.ended <= self.accepted
        cancelled = self.result == JobResult.CANCELLED and not self.blocked
        return not awaits_publishing and not cancelled and now - self.ended >= SETTLED_AFTER

    @property
    def well(self) -> bool:
        """Whether readers have its version."""
        return self.result == JobResult.SUCCEEDED and not self.blocked

    @cached_property
    def cause(self) -> str:
        """What made it fail, or be blocked, comparable with other jobs' causes."""
        return f"blocked: {normalise(self.blocked)}" if self.blocked else f"failed: {normalise(self.note)}"

    @property
    def reason(self) -> str:
        """The same, for people."""
        return self.blocked or self.note


@dataclass(frozen=True)
class Told:
    """What was told of a publication that is not well. Of one that is, nothing needs remembering.

    Attributes:
        since: when the first job ended that was not well.
        job: the id of the job that was told of last.
        causes: those that were told since then, comparable, the latest last.
        proposed: whether freezing was proposed.
    """

    since: datetime.datetime
    job: int
    causes: tuple[str, ...]
    proposed: bool = False


@dataclass(frozen=True)
class Event:
    """Something to tell.

    Attributes:
        kind: what.
        job: the id of the job that it is about.
        since: since when the publication is not well; of a recovery, since when it was not.
        reason: why, for people; of a recovery, "".
        cause: the same, comparable: publications with one cause are told together.
        failures: how many of its latest jobs were not well, as far back as is looked.
    """

    kind: Kind
    job: int
    since: datetime.datetime
    reason: str = ""
    cause: str = ""
    failures: int = 0


def judge(
    jobs: Sequence[JobFacts],
    told: Told | None,
    now: datetime.datetime,
    *,
    frozen: bool = False,
    repeated: int = REPEATED,
) -> tuple[list[Event], Told | None]:
    """Say what to tell of a publication, and what will have been told of it then.

    Args:
        jobs: its latest completed jobs, in any order: at least `repeated`.
        told: what was told last, or None if it was well.
        now: the time, aware.
        frozen: whether its scheduling is stopped already, so that this is not proposed.
        repeated: after how many failures of one cause in a row freezing is proposed.
    """
    counted = sorted((job for job in jobs if job.counts(now)), key=lambda job: job.id)
    # What was told of a job stays true when that job is deleted, or taken up again: earlier ones tell nothing new.
    if not counted or (told and counted[-1].id < told.job):
        return [], told
    events: list[Event] = []
    recovery = next((job for job in counted if told and job.well and job.id >= told.job), None)
    if told and recovery:
        events.append(Event(Kind.RECOVERED, recovery.id, told.since))
        told = None
    ill = list(takewhile(lambda job: not job.well, reversed(counted)))
    if not ill:
        return events, told
    latest = ill[0]
    now_told = told or Told(ill[-1].ended, latest.id, ())
    kinds: list[Kind] = []
    if latest.cause not in now_told.causes and len(now_told.causes) < MOST_CAUSES:
        kinds.append(_kind(latest, now_told))
        now_told = replace(now_told, causes=(*now_told.causes, latest.cause))
    same = list(takewhile(lambda job: job.cause == latest.cause, ill))
    if not latest.blocked and len(same) >= repeated and not frozen and not now_told.proposed:
        kinds.append(Kind.FREEZE)
        now_told = replace(now_told, proposed=True)
    if not kinds:
        return events, told
    for kind in kinds:
        failures = len(same) if kind == Kind.FREEZE else len(ill)
        events.append(Event(kind, latest.id, now_told.since, latest.reason, latest.cause, failures))
    return events, replace(now_told, job=latest.id)


def _kind(job: JobFacts, told: Told) -> Kind:
    if job.blocked:
        return Kind.BLOCKED
    return Kind.CAUSE if any(cause.startswith("failed: ") for cause in told.causes) else Kind.FAILED


_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}"
_VARYING = re.compile(
    r"[a-z][a-z0-9+.-]{1,20}://\S+"  # addresses
    r"|/\S*\d\S*"  # paths with a job's id or a date in them
    r"|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"  # ids of runs and crawls
    rf"|\b(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{{0,6}},? )?(?:{_MONTH} \d+|\d+ {_MONTH})\b"  # dates in words
    r"|0x[0-9a-f]+|\b(?=[a-f]*\d)[0-9a-f]{6,}\b"  # addresses in memory, checksums
    # Numbers, dates and times, with what is between their digits, and with their unit; not the code of an error.
    r"|(?<!http )(?<!errno )(?<!\d)\d+(?:[.,:t_/-]?\d+)*z?(?:\s?(?:[kmgt]i?b|bytes|b|ms|s|%)(?![a-z]))?"
)

_PLURAL = re.compile(r"(# [a-z]*[a-rt-z])s\b")
"""One error and two are the same cause."""


def normalise(text: str) -> str:
    """Take out of a reason what differs each time: addresses, ids, dates and numbers. What stays is the cause."""
    words = _PLURAL.sub(r"\1", _VARYING.sub("#", text[: CAUSE_LENGTH * 10].lower()))
    return " ".join(words.split())[:CAUSE_LENGTH]
