"""Which jobs of a publication are kept, and which are deleted (RET-01 to RET-04, RET-08).

Belongs here: the rules, as a pure function of what is known of the jobs, with a reason for people for each of them.
Does not belong here: reading jobs or deleting them (`cleanup.py`).
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

UNSUCCESSFUL_FOR = datetime.timedelta(days=180)
"""How long a job without success is kept, from its start; exactly so long ago is still kept (RET-01)."""

MORE, OF = 11, 10
"""An older version is kept if it has more than 11 tenths of the published version's ocids (RET-03). Whole numbers, as
1.1 is none that a computer holds: 1,100 of 1,000 is not more."""


@dataclass(frozen=True)
class JobFacts:
    """What retention needs to know of a job.

    Attributes:
        id: the job's id. Of two jobs that began at once, the one with the greater id is the newer.
        complete: whether it ended.
        succeeded: whether it ended with success.
        began: when it began; if it never did, when it was made.
        ocids: the number of ocids by its coverage; 0 if that is missing (COV-04).
    """

    id: int
    complete: bool
    succeeded: bool
    began: datetime.datetime
    ocids: int = 0


@dataclass(frozen=True)
class Decision:
    """What becomes of a job.

    Attributes:
        job: its id.
        keep: whether it is kept.
        reason: why, for people.
        warning: whether an administrator should look at it.
    """

    job: int
    keep: bool
    reason: str
    warning: bool = False


def decide(
    jobs: Sequence[JobFacts], *, active: int | None, published: Collection[int] = (), now: datetime.datetime
) -> list[Decision]:
    """Decide for every job of one publication, the newest first.

    Args:
        jobs: all of them, in any order.
        active: the id of the active job, against whose ocids older versions are measured; None if there is none, and
            then nothing is deleted (RET-08).
        published: the ids of jobs whose files readers see, whatever the database says.
        now: the current time.
    """
    ordered = sorted(jobs, key=_recency, reverse=True)
    reference = next((job for job in ordered if job.id == active), None)
    succeeded = [job for job in ordered if job.complete and job.succeeded]
    second = succeeded[1].id if len(succeeded) > 1 else None
    must_stay = {
        **dict.fromkeys(published, "its files are the published version"),
        **({active: "it is the active job"} if active is not None else {}),
    }
    return [_decide(job, ordered[0].id, second, reference, must_stay, now=now) for job in ordered]


def _recency(job: JobFacts) -> tuple[datetime.datetime, int]:
    return job.began, job.id


def _decide(
    job: JobFacts,
    newest: int,
    second: int | None,
    reference: JobFacts | None,
    must_stay: Mapping[int, str],
    *,
    now: datetime.datetime,
) -> Decision:
    if job.id in must_stay:
        return Decision(job.id, keep=True, reason=must_stay[job.id])
    if not job.complete:
        return Decision(job.id, keep=True, reason="it is incomplete")
    if reference is None:
        return Decision(job.id, keep=True, reason="there is no active job to measure it against", warning=True)
    if job.id == newest:
        return Decision(job.id, keep=True, reason="it is the newest job")
    if not job.succeeded:
        return _decide_unsuccessful(job, now)
    if job.id == second:
        return Decision(job.id, keep=True, reason="it is the second-most recent successful job")
    if _recency(job) > _recency(reference):
        return Decision(job.id, keep=True, reason=f"it is newer than the active job {reference.id}")
    return _decide_older(job, reference)


def _decide_unsuccessful(job: JobFacts, now: datetime.datetime) -> Decision:
    until = job.began + UNSUCCESSFUL_FOR
    if until < now:
        days = UNSUCCESSFUL_FOR.days
        reason = f"it did not succeed, and began on {job.began:%Y-%m-%d}, more than {days} days ago"
        return Decision(job.id, keep=False, reason=reason)
    return Decision(job.id, keep=True, reason=f"it did not succeed: kept for people to look at until {until:%Y-%m-%d}")


def _decide_older(job: JobFacts, reference: JobFacts) -> Decision:
    compared = f"{job.ocids:,} ocids, against {reference.ocids:,} of the active job {reference.id}"
    if OF * job.ocids <= MORE * reference.ocids:
        return Decision(job.id, keep=False, reason=f"it is superseded: it has {compared}")
    reason = f"it has over 10% more ocids: {compared}. Look whether the newer data is complete"
    return Decision(job.id, keep=True, reason=reason, warning=True)
