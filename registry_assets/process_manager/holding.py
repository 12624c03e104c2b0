"""Holding an ended job while it is cleaned up, so that nobody takes it up again meanwhile.

Belongs here: whether somebody works on an ended job, and keeping others off it. Does not belong here: what is done to
it (`deletion.py`), or how one worker keeps others off a job that it works on (`job_store.py`).

The hold stands in the job's context under the row's lock, with the process that has it: when that is gone, so is the
hold.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry_assets.process_manager import worker
from registry_resources.database import Database, Job, Task, utcnow
from registry_resources.exceptions import LockFileError, UnexpectedError

HOLD = "cleanup"
"""The name of the hold in `Job.context`."""

FORGOTTEN_AFTER = datetime.timedelta(hours=1)
"""A hold whose process is on another host, so that nobody can see whether it is there, is over after so long."""

QUIET_FOR = datetime.timedelta(minutes=2)
"""A worker on another host that gave no sign of life for so long is taken for gone: tasks beat every 15 seconds."""


def lock(session: Session, job_id: int) -> Job | None:
    """Return the job as it is now, and keep other transactions from changing it until this one ends."""
    return session.scalar(
        select(Job).where(Job.id == job_id).with_for_update().execution_options(populate_existing=True)
    )


def refuse_if_held(session: Session, job_id: int) -> None:
    """Make sure that a job isn't being cleaned up. Call it before it is taken up again, in the same transaction.

    Raises:
        LockFileError: if it is.
    """
    job = lock(session, job_id)
    if job is not None and is_held(job.context.get(HOLD)):
        raise LockFileError(
            f"{job.collection.key}: job {job_id} is being cleaned up (process {job.context[HOLD].get('pid')} on "
            f"{job.context[HOLD].get('host')}). Try again when that is done, which takes minutes at most."
        )


def is_held(hold: dict[str, Any] | None) -> bool:
    """Whether a hold is still in force."""
    if not hold:
        return False
    gone = worker.is_gone(hold)
    if gone is None:
        return utcnow() - datetime.datetime.fromisoformat(str(hold["since"])) < FORGOTTEN_AFTER
    return not gone


def who_works_on(job: Job) -> str | None:
    """Say who works on a job, or None if it has ended and nobody does.

    A run that Dagster shows as ended may still have a living process, so the process counts, not the run.
    """
    if not job.is_complete:
        return f"it is {job.status.lower()}"
    if running := [task.type for task in job.tasks if task.status == Task.Status.RUNNING]:
        return f"{', '.join(running)} is being done again"
    if is_held(job.context.get(HOLD)):
        return f"process {job.context[HOLD].get('pid')} cleans it up already"
    identity = job.context.get("worker")
    if not identity:
        return None
    gone = worker.is_gone(identity)
    quiet = utcnow() - max(time for task in job.tasks for time in (task.heartbeat, task.end, job.end) if time)
    if gone is False or (gone is None and quiet < QUIET_FOR):
        return f"its process {identity.get('pid')} on {identity.get('host')} has not ended yet"
    return None


@contextmanager
def hold(database: Database, job_id: int) -> Iterator[None]:
    """Hold an ended job for the time of the block.

    Raises:
        LockFileError: if somebody works on it.
        UnexpectedError: if it is gone.
    """
    with database.session() as session:
        job = lock(session, job_id)
        if job is None:
            raise UnexpectedError(f"Job {job_id} is gone: nothing was done.")
        if busy := who_works_on(job):
            raise LockFileError(f"{job.collection.key}: job {job_id} is left alone, as {busy}.")
        job.context[HOLD] = {**worker.identity(), "since": utcnow().isoformat()}
    try:
        yield
    finally:
        with database.session() as session:
            job = lock(session, job_id)
            if job is not None:
                job.context.pop(HOLD, None)
