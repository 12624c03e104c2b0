"""Which job a run works on, and how job and task rows change (JOB-*).

Belongs here: every write to the status, result, note and times of jobs and tasks.
Does not belong here: when to write them (`driver.py`), or anything of Dagster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from registry_assets.process_manager import holding, lease, worker
from registry_assets.process_manager.lease import Lease, Runs
from registry_resources.database import (
    JOB_TASKS_PLAN,
    Collection,
    Database,
    Job,
    SettingsBundle,
    Task,
    collection_by_key,
    utcnow,
)
from registry_resources.database.choices import JobResult, TaskResult, TaskType
from registry_resources.exceptions import ConfigurationError, LockFileError, UnexpectedError
from registry_resources.redaction import redact

BEFORE: Mapping[TaskType, tuple[TaskType, ...]] = {
    kind: tuple(
        earlier
        for earlier in JOB_TASKS_PLAN[: JOB_TASKS_PLAN.index(kind)]
        # Flattening and coverage both work on the export, and neither on the other.
        if not (kind == Task.Type.FLATTENER and earlier == Task.Type.COVERAGE)
    )
    for kind in JOB_TASKS_PLAN
}
"""The tasks that each task needs to have succeeded, as the assets' lineage shows it."""


NEED_TEMPORARY_DATA = (Task.Type.PROCESS, Task.Type.EXPORTER)
"""The tasks that read what is wiped once a job has ended (RET-05)."""


class NothingLeftError(LockFileError):
    """What a run was asked for is another's work by now, or over: there is nothing to do for it, and nothing amiss."""


@dataclass(frozen=True)
class RunIdentity:
    """The run that asks for a job.

    Attributes:
        run_id: the run's id.
        root_run_id: the id of the run that it retries, or its own.
        collects: whether the run selects `collected`, so that it may start a job.
        planned: the id of the planned job that it was asked for, or None.
        resumes: whether it goes on where the run that it retries has stopped, rather than to begin anew.
        retried: the ids of the run that it retries, of the run that that one retries, and so on up to the root run.
    """

    run_id: str
    root_run_id: str
    collects: bool
    planned: int | None = None
    resumes: bool = False
    retried: tuple[str, ...] = ()

    @property
    def line(self) -> tuple[str, ...]:
        """Its id, then those of the runs that it retries, the nearest first."""
        return tuple(dict.fromkeys((self.run_id, *self.retried, self.root_run_id)))


@dataclass(frozen=True)
class Found:
    """The job that a run's step works on.

    Attributes:
        job_id: its id.
        lease: the right to write to it, which this process has now.
        superseded: the id of the job that was given up for it, whose unfinished work is to be wiped; or None.
    """

    job_id: int
    lease: Lease
    superseded: int | None = None


def find_job(database: Database, key: str, stage: TaskType | None, run: RunIdentity, runs: Runs) -> Found:
    """Return the job that a run's step works on, with the lease on it.

    That is the job of this run, or of the run it retries, or the planned one that it was asked for; else, if the run
    collects, a new job; else the latest job whose earlier tasks succeeded.

    Args:
        database: the registry's database.
        key: the publication's key.
        stage: the kind of task, or None for publishing, which comes after all of them.
        run: the run that asks.
        runs: what is known of other runs.

    Raises:
        ConfigurationError: if the catalogue has no such publication.
        LockFileError: if another run works on a job of this publication.
        NothingLeftError: if another run has the job that this one was asked for, or it has ended.
        UnexpectedError: if no job has come far enough.
    """
    with database.session() as session:
        collection = collection_by_key(session, key)
        if collection is None:
            raise ConfigurationError(
                f"{key}: the catalogue has no such publication. Add it to the catalogue file and run `registry sync`."
            )
        lease.lock_collection(session, collection.id)
        superseded = None
        job = _job_of_run(session, collection, stage, run) or _planned_job(session, collection, stage, run)
        if job is None and run.collects and stage == JOB_TASKS_PLAN[0]:
            job, superseded = _start_job(session, collection, run, runs)
        if job is None:
            job = _latest_eligible(session, collection, stage)
        return Found(job.id, lease.take(session, collection, job, run.run_id, runs, resumes=run.resumes), superseded)


def _job_of_run(session: Session, collection: Collection, stage: TaskType | None, run: RunIdentity) -> Job | None:
    # A run that was executed again as a whole has a job of its own: its retries belong to that, not to its root's.
    for run_id in run.line:
        job = session.scalar(select(Job).where(Job.run_id == run_id, Job.collection_id == collection.id))
        if job is None:
            continue
        # A run that is executed again after another has refreshed the publication goes on with the newer data.
        if job.is_complete and (collection.active_job_id or 0) > job.id:
            return None
        # A run that is executed again as a whole, after it had collected, means to collect again.
        again = run_id != run.run_id and not run.resumes and stage == JOB_TASKS_PLAN[0]
        return None if again and job.task(JOB_TASKS_PLAN[0]).result == Task.Result.OK else job
    return None


def _planned_job(session: Session, collection: Collection, stage: TaskType | None, run: RunIdentity) -> Job | None:
    """Return the planned job that the run was asked for, and note that it is the run's now.

    Raises:
        NothingLeftError: if another run has it, or it has ended.
    """
    job = session.get(Job, run.planned) if run.planned is not None and stage == JOB_TASKS_PLAN[0] else None
    if job is None or job.collection_id != collection.id or job.run_id in {run.run_id, run.root_run_id}:
        return None
    if job.run_id is not None or job.status != Job.Status.PLANNED:
        raise NothingLeftError(
            f"{collection.key}: job {job.id}, which this run was asked for, "
            f"{f'is that of run {job.run_id}' if job.run_id else f'has ended ({job.note})'}. Nothing was done. "
            f"Materialise `collected` in a new run to refresh the publication all the same."
        )
    job.run_id = run.root_run_id
    return job


def _start_job(session: Session, collection: Collection, run: RunIdentity, runs: Runs) -> tuple[Job, int | None]:
    """Return a new job, or one that is planned and has no run; and the id of the job that was given up for it."""
    taken = session.scalar(select(Job.id).where(Job.run_id == run.root_run_id)) is not None
    run_id = run.run_id if taken else run.root_run_id
    open_job = session.scalar(
        select(Job).where(Job.collection_id == collection.id, Job.status != Job.Status.COMPLETED)
    )
    if open_job is not None:
        if open_job.status == Job.Status.PLANNED and open_job.run_id is None:
            open_job.run_id = run_id
            return open_job, None
        reason = _why_over(collection, open_job, runs)
        end_unfinished(open_job, Job.Result.CANCELLED, reason)
        lease.withdraw(session, open_job.id)
        session.flush()
    job = Job.plan(collection, run_id=run_id)
    session.add(job)
    session.flush()
    return job, open_job.id if open_job else None


def _why_over(collection: Collection, job: Job, runs: Runs) -> str:
    """Say why an incomplete job is over, so that another may start.

    Raises:
        LockFileError: if it is not.
    """
    alive = bool(job.run_id) and runs.alive(str(job.run_id))
    holder = job.context.get(lease.WORKER)
    working = any(task.status == Task.Status.RUNNING for task in job.tasks) or (holder and not holder.get("idle"))
    if not working and not alive:
        return "Superseded: a new job was started after its run had ended"
    if job.status == Job.Status.PLANNED:
        raise LockFileError(
            f"{collection.key}: job {job.id} is planned already, and its run {job.run_id} is to begin. Wait "
            f"for it, or terminate that run, then start again."
        )
    last = lease.last_sign_of_life(job)
    gone = worker.is_gone(holder)
    if not gone and (gone is False or utcnow() - last < lease.GIVEN_UP_AFTER):
        # Of a process of this host it is known at once whether it is gone.
        elsewhere = (
            ""
            if gone is False
            else f" If its process, on {(holder or {}).get('host') or 'another host'}, is gone, it is given up "
            f"{lease.GIVEN_UP_AFTER.seconds // 60} minutes after that."
        )
        raise LockFileError(
            f"{collection.key}: job {job.id} is running (run {job.run_id}, last sign of life {last:%H:%M:%S} UTC). "
            f"Wait until it ends, or terminate that run, then start again.{elsewhere}"
        )
    reason = f"Its process is gone: it gave no sign of life since {last:%Y-%m-%d %H:%M:%S} UTC"
    if alive:
        runs.bury(str((holder or {}).get("run") or job.run_id), reason)
    return reason


def end_unfinished(job: Job, result: JobResult, reason: str) -> None:
    """End a job that nobody works on any more, with the tasks that it was at. One that had succeeded stays so."""
    for task in job.tasks:
        if task.status == Task.Status.RUNNING:
            task.complete(Task.Result.FAILED, redact(reason))
    if not job.is_complete:
        job.complete(result, redact(reason))


def _latest_eligible(session: Session, collection: Collection, stage: TaskType | None) -> Job:
    earlier = BEFORE[stage] if stage else JOB_TASKS_PLAN
    jobs = session.scalars(select(Job).where(Job.collection_id == collection.id).order_by(Job.id.desc()))
    for job in jobs:
        if all(job.task(kind).result == Task.Result.OK for kind in earlier):
            return job
    raise UnexpectedError(
        f"{collection.key}: no job has come as far as {stage or 'publishing'}, which needs "
        f"{', '.join(earlier)} to have succeeded. Materialise `collected` and what follows it."
    )


def job_of_run(session: Session, *run_ids: str) -> Job | None:
    """Return the job of the first of these runs that has one."""
    for run_id in run_ids:
        if job := session.scalar(select(Job).where(Job.run_id == run_id)):
            return job
    return None


def load_task(session: Session, task_id: int) -> Task:
    """Return the task with its job, the job's tasks, and the publication with its settings bundle."""
    bundle = joinedload(Job.collection).joinedload(Collection.settings_bundle).joinedload(SettingsBundle.settings)
    statement = (
        select(Task).where(Task.id == task_id).options(joinedload(Task.job).options(joinedload(Job.tasks), bundle))
    )
    return session.scalars(statement).unique().one()


def begin_task(session: Session, task_id: int, held: Lease | None = None) -> bool:
    """Record that a task starts (JOB-09), or that a new attempt goes on with one that never ended.

    A job that had failed or was cancelled is taken up again; one that had succeeded stays so, whatever comes of this,
    as its version is published. Of other jobs, later tasks are planned again: what they made came from what is now
    replaced.

    Args:
        session: a writing session.
        task_id: the task.
        held: the lease on its job, or None to begin without one, as another process's.

    Returns:
        Whether it goes on.

    Raises:
        LockFileError: if the lease is lost, if another job of the publication is incomplete, so that this one can't be
            taken up again, if another process works on the task, or if the job is being cleaned up.
    """
    if held:
        held.check(session)
    if job_id := session.scalar(select(Task.job_id).where(Task.id == task_id)):
        holding.refuse_if_held(session, job_id)
    task = load_task(session, task_id)
    job = task.job
    if job.archived and task.type in NEED_TEMPORARY_DATA:
        # Refused before anything is recorded: a failed task would keep later ones of the published job from working.
        raise UnexpectedError(
            f"{job.collection.key}: what job {job.id} collected and compiled was wiped after it had ended, so "
            f"{task.type} can't be done again. Materialise `collected` and what follows it, which makes a new job."
        )
    resumed = task.status == Task.Status.RUNNING
    if resumed and worker.is_gone(job.context.get("worker")) is False:
        raise LockFileError(
            f"{job.collection.key}: another run works on {task.type} of job {job.id} already. Wait until it ends, or "
            f"terminate that run, then start again."
        )
    if held is None:
        job.context[lease.WORKER] = worker.identity()
    if task.type == JOB_TASKS_PLAN[0]:
        job.archived = False  # there will be temporary data again
    start = task.start if resumed else None
    task.initiate(start)
    task.heartbeat = utcnow()
    if job.status == Job.Status.PLANNED:
        job.initiate()
    elif job.is_unsuccessful:
        _refuse_if_another_is_open(session, job)
        job.initiate(job.start)
    if not job.is_successful:
        for later in job.tasks:
            if task.type in BEFORE[later.type]:
                later.status, later.result, later.note = Task.Status.PLANNED, "", ""
                later.start = later.end = None
    return resumed


def _refuse_if_another_is_open(session: Session, job: Job) -> None:
    other = session.scalar(
        select(Job.id).where(
            Job.collection_id == job.collection_id, Job.status != Job.Status.COMPLETED, Job.id != job.id
        )
    )
    if other is not None:
        raise LockFileError(
            f"{job.collection.key}: job {job.id} can't be taken up again while job {other} is incomplete. "
            f"Wait until that job ends, or terminate its run."
        )


def store_hindrance(session: Session, task_id: int, note: str) -> None:
    """Record what keeps a running task from getting on for now, or, if blank, that nothing does (JOB-10, JOB-13)."""
    task = session.get_one(Task, task_id)
    if task.note != note:
        task.note, task.result = note, Task.Result.FAILED if note else ""


def end_task(session: Session, task_id: int, result: TaskResult, note: str = "") -> None:
    """Record how a task ended. If another task of its job has failed, the job is over once more (JOB-11)."""
    task = session.get_one(Task, task_id)
    task.complete(result, redact(note))
    if result == Task.Result.OK and (failed := task.job.failed_task):
        end_job(session, task.job_id, Job.Result.FAILED, f"{failed.type}: {failed.note}")


def end_job(session: Session, job_id: int, result: JobResult, note: str = "") -> None:
    """Record how a job ended. A job that had succeeded before stays so: its version is published."""
    job = session.get_one(Job, job_id)
    if not job.is_successful:
        job.complete(result, redact(note))
