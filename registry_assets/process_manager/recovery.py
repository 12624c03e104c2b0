"""Jobs that nobody works on any more: how they are found, and how they are freed.

Belongs here: what is known of open jobs, what an observer remembers between two looks, and ending what was left. Does
not belong here: runs (`registry_assets.runs`), or what one look does (`registry_assets.sensors.watch`).
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Collection as Several
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, joinedload

from registry_assets.process_manager import job_store, lease, worker
from registry_resources.database import Database, Job, Task
from registry_resources.database.choices import JobResult, JobStatus, TaskType
from registry_resources.redaction import redact
from registry_resources.settings import Settings

LOOKED_AWAY_AFTER = 300.0
"""An observer that did not look for so many seconds (the machine was off, for one) begins to count anew."""

MARGIN = datetime.timedelta(minutes=15)
"""How long after its deadline a task may go on: its own process ends it, and only if that hangs somebody else must."""


@dataclass(frozen=True)
class OpenJob:
    """A job that is incomplete, or of which a task is being done again.

    Attributes:
        id: its id.
        key: its publication's key.
        status: where it is.
        run_id: its run, or None if it has none yet.
        lease: the number of its lease.
        worker: who works on it, or None.
        beat: its last sign of life.
        running: the tasks that are running, with their starts.
        all_done: whether every task succeeded, so that it has only to be published.
        crawl: the id of its crawl, if it is still collecting.
    """

    id: int
    key: str
    status: JobStatus
    run_id: str | None
    lease: int
    worker: Mapping[str, Any] | None
    beat: datetime.datetime
    running: Mapping[TaskType, datetime.datetime | None]
    all_done: bool
    crawl: str | None

    @property
    def runs(self) -> list[str]:
        """The runs that it belongs to: the one that works on it, then its own."""
        at_work = (self.worker or {}).get("run")
        return list(dict.fromkeys(str(run_id) for run_id in (at_work, self.run_id) if run_id))

    @property
    def is_idle(self) -> bool:
        """Whether its worker is between two steps."""
        return bool((self.worker or {}).get("idle"))

    @property
    def worker_is_gone(self) -> bool | None:
        """Whether its worker's process has ended; None if that can't be told, or if it has none."""
        return worker.is_gone(self.worker)

    def overdue(self, settings: Settings, now: datetime.datetime) -> str | None:
        """Say which task goes on long after its deadline, if one does."""
        for kind, start in self.running.items():
            allowed, name = settings.deadline(kind)
            if start and (now - start - MARGIN).total_seconds() > allowed:
                return f"{kind} goes on since {start:%Y-%m-%d %H:%M} UTC, though it may take {allowed:g} s ({name})"
        return None


def open_jobs(session: Session, run_ids: Several[str] = ()) -> list[OpenJob]:
    """Give all open jobs, and those that one of these runs works on, by id."""
    at_work = Job.context[(lease.WORKER, "run")].as_string()
    running = select(Task.job_id).where(Task.status == Task.Status.RUNNING)
    wanted = [Job.status != Job.Status.COMPLETED, Job.id.in_(running)]
    if run_ids:
        wanted.append(at_work.in_(list(run_ids)))
    statement = select(Job).where(or_(*wanted)).options(joinedload(Job.tasks), joinedload(Job.collection))
    return [_open_job(job) for job in session.scalars(statement.order_by(Job.id)).unique()]


def _open_job(job: Job) -> OpenJob:
    running = {task.type: task.start for task in job.tasks if task.status == Task.Status.RUNNING}
    return OpenJob(
        id=job.id,
        key=job.collection.key,
        status=job.status,
        run_id=job.run_id,
        lease=int(job.context.get(lease.NUMBER) or 0),
        worker=job.context.get(lease.WORKER) or None,
        beat=lease.last_sign_of_life(job),
        running=running,
        all_done=all(task.is_successful for task in job.tasks),
        crawl=str(job.context["job_id"]) if Task.Type.COLLECT in running and job.context.get("job_id") else None,
    )


def await_retry(database: Database, job: OpenJob, reason: str) -> bool:
    """Take a job from a worker that is gone, and leave it open for the retry, which goes on with what was begun.

    Returns:
        Whether it was still that worker's.
    """
    with database.session() as session:
        left = lease.withdraw(session, job.id, job.lease)
        if left is None:
            return False
        for task in left.tasks:
            if task.status == Task.Status.RUNNING:
                task.note, task.result = redact(f"{reason}. It is taken up again"), Task.Result.FAILED
        return True


def end(database: Database, job: OpenJob, result: JobResult, reason: str) -> bool:
    """End a job that nobody works on, and nobody will, with the tasks that it was at (I4).

    Returns:
        Whether it was still as it was when this was decided.
    """
    with database.session() as session:
        left = lease.withdraw(session, job.id, job.lease)
        # It may have ended by itself since.
        running = left is not None and any(task.status == Task.Status.RUNNING for task in left.tasks)
        if left is None or left.status != job.status or (left.is_complete and not running):
            return False
        job_store.end_unfinished(left, result, reason)
        return True


@dataclass
class Memory:
    """What an observer remembers from one look to the next: since when something hasn't changed.

    An observer counts by its own clock, and only the time in which it looked, so neither clocks that differ between
    hosts nor a night in which everything was switched off make the living look dead.

    Attributes:
        now: the observer's clock, in seconds.
        last: when it looked before.
        seen: by name, how something looked, and since when.
    """

    now: float
    last: float = 0.0
    seen: dict[str, tuple[str, float]] = field(default_factory=dict)
    _kept: dict[str, tuple[str, float]] = field(default_factory=dict)

    @classmethod
    def load(cls, text: str | None, now: float) -> Self:
        """Read what was dumped. What can't be read is forgotten."""
        try:
            stored = json.loads(text or "{}")
            seen = {str(name): (str(look), float(since)) for name, (look, since) in stored.get("seen", {}).items()}
            return cls(now, float(stored.get("last", 0.0)), seen)
        except (ValueError, TypeError, AttributeError):
            return cls(now)

    def unchanged(self, name: str, look: object) -> float:
        """For how many seconds something has looked the same."""
        before = self.seen.get(name)
        fresh = before is None or before[0] != str(look) or not 0 <= self.now - self.last <= LOOKED_AWAY_AFTER
        self._kept[name] = (str(look), self.now) if fresh or before is None else before
        return self.now - self._kept[name][1]

    def dump(self) -> str:
        """Write down what was looked at this time."""
        return json.dumps({"last": self.now, "seen": self._kept})
