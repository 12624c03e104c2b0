"""The lease on a job: who may write to it, and how one that lost it is kept from writing (DEF-01, DEF-02).

Belongs here: taking, checking, keeping, giving back and withdrawing leases, all of it in the database's transactions.
Does not belong here: which job a run works on (`job_store.py`), or when a lease is withdrawn (`recovery.py`).

A job's context holds the `lease`, a number that grows whenever the lease changes hands, and the `worker` that has it:
its process (`worker.identity`), its `run`, and `idle` between two steps of that run; or the `run` alone, and that it
is `gone`. Every write locks the job's row
and compares the number in its own transaction, so a worker that was given up can't write any more, however late it
wakes up.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ScalarSelect, select
from sqlalchemy.orm import Session

from registry_assets.process_manager import holding, worker
from registry_resources.database import Collection, Database, Job, Task, utcnow
from registry_resources.exceptions import LockFileError

NUMBER, WORKER = "lease", "worker"
"""Where both are in `Job.context`."""

GIVEN_UP_AFTER = datetime.timedelta(minutes=2)
"""A worker that can't be looked up from here is taken for dead if it gave no sign of life for so long. Workers beat
every 15 seconds."""


class LeaseLostError(LockFileError):
    """This process was given up, and its job freed. Nothing it does counts any more."""


@dataclass(frozen=True)
class Runs:
    """What is known elsewhere of runs.

    Attributes:
        alive: tells, of a run's id, whether that run, or another of the runs that retry it, is said to go on.
        bury: records, of a run's id, that its process is gone, and why that is believed. It is not retried.
    """

    alive: Callable[[str], bool]
    bury: Callable[[str, str], None]


@dataclass(frozen=True)
class Lease:
    """The right to write to a job.

    Attributes:
        job_id: the job.
        number: the number of the lease. The job's own is greater once another has taken it.
        resumes: whether its run goes on where another's process has died, so that what is done already stays done.
    """

    job_id: int
    number: int
    resumes: bool = False

    def check(self, session: Session) -> Job:
        """Make sure that the lease is held, and keep everybody else from taking it until the transaction ends.

        Returns:
            The job, as it is now.

        Raises:
            LeaseLostError: if it is not.
        """
        job = _lock(session, self.job_id)
        if job is None or job.context.get(NUMBER) != self.number:
            raise LeaseLostError(
                f"Job {self.job_id} was taken from this process, which had given no sign of life and was given up. "
                "Nothing more of what it does is kept; see the job's other runs."
            )
        return job

    def beat(self, database: Database, task_id: int | None = None) -> None:
        """Give a sign of life.

        Args:
            database: the registry's database.
            task_id: the task that is worked on; by default the job's last one.

        Raises:
            LeaseLostError: if the lease is lost.
        """
        with database.session() as session:
            job = self.check(session)
            task = session.get_one(Task, task_id) if task_id else job.tasks[-1]
            task.heartbeat = utcnow()

    def rest(self, database: Database) -> None:
        """Record that no step is being worked on for now: the lease lasts as long as its run does.

        Raises:
            LeaseLostError: if the lease is lost.
        """
        with database.session() as session:
            job = self.check(session)
            job.context[WORKER] = {**(job.context.get(WORKER) or {}), "idle": True}


def take(
    session: Session, collection: Collection, job: Job, run_id: str, runs: Runs, *, resumes: bool = False
) -> Lease:
    """Take the lease on a job, for a step of a run in this process. One publication has one worker at a time.

    Args:
        session: a session in which the collection's row is locked.
        collection: the publication.
        job: its job.
        run_id: the run that works on it.
        runs: what is known of other runs.
        resumes: whether the run goes on where the one that it retries has stopped.

    Raises:
        LockFileError: if another process works on a job of this publication, or the job is being cleaned up.
    """
    session.flush()
    mine = {**worker.identity(), "run": run_id}
    statement = select(Job.id, Job.context).where(Job.collection_id == collection.id)
    for other_id, context in session.execute(statement).all():
        holder = context.get(WORKER)
        if holder and not _is(mine, holder):
            if _holds(session, other_id, holder, runs):
                raise LockFileError(
                    f"{collection.key}: job {other_id} is being worked on by run {holder.get('run')} (process "
                    f"{holder.get('pid')} on {holder.get('host')}). Wait until it ends, or terminate that run, then "
                    f"start again."
                )
            if other_id != job.id:
                withdraw(session, other_id)
    holding.refuse_if_held(session, job.id)  # locks its row
    number = int(job.context.get(NUMBER) or 0)
    if not _is(mine, job.context.get(WORKER)):
        number += 1
    job.context.update({NUMBER: number, WORKER: mine})
    session.flush()
    return Lease(job.id, number, resumes)


def withdraw(session: Session, job_id: int, number: int | None = None) -> Job | None:
    """Take the lease from whoever has it, if anybody: from then on it can't write.

    Args:
        session: a writing session.
        job_id: the job.
        number: the number that the lease had when this was decided, or None to withdraw it whatever it is now.

    Returns:
        The job, its row locked; or None if it is gone, or if the lease has changed hands since.
    """
    job = _lock(session, job_id)
    if job is None or (number is not None and int(job.context.get(NUMBER) or 0) != number):
        return None
    holder = job.context.get(WORKER)
    if holder and not holder.get("gone"):
        # The run is kept: its retry goes on with the job.
        left = {"run": holder.get("run"), "gone": True}
        job.context.update({NUMBER: int(job.context.get(NUMBER) or 0) + 1, WORKER: left})
    return job


def lock_collection(session: Session, collection_id: int | ScalarSelect[int]) -> None:
    """Let whoever else works on a job of the publication wait until this transaction ends.

    It comes before the job's own lock, always: two that take them the other way round would wait for each other.
    """
    # Without the key: rows that refer to it may be added meanwhile. On SQLite, writers wait for each other anyway.
    statement = select(Collection.id).where(Collection.id == collection_id)
    session.execute(statement.with_for_update(key_share=True))


def _lock(session: Session, job_id: int) -> Job | None:
    lock_collection(session, select(Job.collection_id).where(Job.id == job_id).scalar_subquery())
    return holding.lock(session, job_id)


def last_sign_of_life(job: Job) -> datetime.datetime:
    """When anything last happened to a job."""
    times = [job.created, job.start]
    for task in job.tasks:
        times += [task.start, task.end, task.heartbeat]
    return max(time for time in times if time is not None)


def _is(mine: Mapping[str, Any], holder: Mapping[str, Any] | None) -> bool:
    """Whether a holder is this process, at work on this run."""
    return holder is not None and all(holder.get(name) == value for name, value in mine.items())


def _holds(session: Session, job_id: int, holder: Mapping[str, Any], runs: Runs) -> bool:
    """Whether a worker still has its lease."""
    gone = worker.is_gone(holder)
    if gone:
        return False
    if holder.get("idle"):
        return bool(holder.get("run")) and runs.alive(str(holder["run"]))
    return gone is False or utcnow() - last_sign_of_life(session.get_one(Job, job_id)) < GIVEN_UP_AFTER
