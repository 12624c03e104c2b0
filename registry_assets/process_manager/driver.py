"""Drives one task of one job to its end: run, poll, heartbeat, record, cancel.

Does not belong here: what any task does (`tasks/`), or which task a run works on (`job_store.py`).
"""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from registry_assets.process_manager import job_store
from registry_assets.process_manager.lease import LeaseLostError
from registry_assets.process_manager.outage import through_outages
from registry_assets.process_manager.progress import Reporter, ThrottledLog
from registry_assets.process_manager.services import Services
from registry_assets.process_manager.util import TaskManager, get_task_manager
from registry_resources.database import JOB_TASKS_PLAN, Job, Task, utcnow
from registry_resources.database.choices import JobResult
from registry_resources.exceptions import RecoverableError
from registry_resources.redaction import redact

HEARTBEAT = 15.0
"""Seconds between two beats of a running task."""


class TaskFailedError(Exception):
    """The task ended without success. The message is the reason, for people; it is recorded already."""


@dataclass(frozen=True)
class Pace:
    """How often a task is polled: the interval grows from `first` to `longest` seconds by `factor`."""

    first: float = 0.2
    longest: float = 5.0
    factor: float = 1.3
    sleep: Callable[[float], None] = field(default=time.sleep)

    def intervals(self) -> Iterator[float]:
        """The seconds to wait between polls, without end."""
        interval = self.first
        while True:
            yield interval
            interval = min(interval * self.factor, self.longest)


def drive(task_id: int, services: Services, reporter: Reporter, pace: Pace | None = None) -> None:
    """Run the task to its end, and record everything.

    Args:
        task_id: the task.
        services: what it works with.
        reporter: who is told how far it is.
        pace: how often it is polled, instead of as its task manager asks for.

    Raises:
        TaskFailedError: if it failed, with the reason. The job has ended as failed.
        LockFileError: if another job of the publication is in the way. Nothing has changed.
        LeaseLostError: if this process was given up meanwhile, and the job freed. It has written nothing since.
        BaseException: whatever interrupted it, such as a terminated run. The job has ended as cancelled.
    """
    if through_outages(lambda: _is_done(services, task_id)):
        reporter.info("Its process died after the task had succeeded: nothing is left to do")
        return
    task, resumed = through_outages(lambda: _begin(services, task_id))
    if resumed:
        reporter.info(f"Taking up {task.type} of job {task.job.id} again: its last attempt never ended")
    manager: TaskManager | None = None
    try:
        with heartbeat(services, task_id) as lost:
            manager = get_task_manager(task, services, resume=resumed)
            reason = _attend(manager, services, reporter, pace or Pace(*manager.poll), lost)
        for warning in manager.warnings:
            reporter.warning(warning)
    except LeaseLostError:
        # Whoever has the job now goes on with what was begun: nothing of it is ended or deleted here.
        if manager is not None:
            manager.abandon()
        raise
    except Exception as e:
        _cancel(manager, services, reporter)
        reason = redact(str(e)) or type(e).__name__
        _record_failure(services, task, reason)
        raise TaskFailedError(_sentence(task, reason)) from e
    except BaseException:
        # The run was terminated (or Ctrl-C pressed): that is how a job is cancelled.
        with uninterrupted(), contextlib.suppress(LeaseLostError):
            reporter.warning(f"Cancelling {task.type} of job {task.job.id}")
            _cancel(manager, services, reporter)
            _record_end(services, task, Job.Result.CANCELLED, "Cancelled", f"Cancelled during {task.type}")
            if task.type != JOB_TASKS_PLAN[0]:  # whose own end that is, and whose crawl may tell later what it made
                _leave_nothing(task.job.id, services, reporter)
        raise
    if reason:
        _record_failure(services, task, reason)
        raise TaskFailedError(_sentence(task, reason))
    _record(services, lambda session: job_store.end_task(session, task_id, Task.Result.OK))
    progress = manager.progress()
    reporter.progress(progress)
    reporter.info(f"{progress.task} of job {task.job.id} succeeded{f': {said}' if (said := progress.message) else ''}")


def _is_done(services: Services, task_id: int) -> bool:
    """Whether the task had succeeded when its process died, just before its run could say so."""
    if services.lease is None or not services.lease.resumes:
        return False
    with services.database.session(read_only=True) as session:
        task = session.get_one(Task, task_id)
        return task.is_successful and not task.job.is_complete


def _begin(services: Services, task_id: int) -> tuple[Task, bool]:
    """Begin the task, or take it up again. Returns the task and whether it was taken up."""
    with services.database.session() as session:
        resumed = job_store.begin_task(session, task_id, services.lease)
        return job_store.load_task(session, task_id), resumed


def _last_words(services: Services, manager: TaskManager) -> str:
    """What a task said last of what hinders it, or of how far it is."""
    with services.database.session(read_only=True) as session:
        return job_store.load_task(session, manager.task.id).note or manager.progress().message


def _sentence(task: Task, reason: str) -> str:
    return f"{task.job.collection.key}: {task.type} of job {task.job.id} failed: {reason}"


def _attend(
    manager: TaskManager, services: Services, reporter: Reporter, pace: Pace, lost: threading.Event
) -> str | None:
    """Start the task and poll it until it is completed. Returns the reason if it failed."""
    log = ThrottledLog()
    allowed, setting = services.settings.deadline(manager.task.type)
    # From when the task began, however often it was taken up again (I4).
    spent = (utcnow() - (manager.task.start or utcnow())).total_seconds() if manager.resume else 0.0
    deadline = time.monotonic() + allowed - spent
    started = False
    for interval in pace.intervals():
        try:
            if not started or lost.is_set():
                _make_sure_of_the_lease(services)
            if not started:
                manager.run()
                started = True
            status, reason = manager.get_status()
            if status == Task.Status.COMPLETED:
                return reason
            _store_hindrance(services, manager.task.id, "")
            progress = manager.progress()
            reporter.progress(progress)
            if log.admits(progress.message, time.monotonic()):
                reporter.info(f"{progress.task}: {progress.message}")
        except RecoverableError as e:
            # JOB-13: it may pass; kept as the task's note meanwhile.
            message = redact(str(e))
            _store_hindrance(services, manager.task.id, message)
            if log.admits(message, time.monotonic()):
                reporter.warning(f"{message} (trying again)")
        except DBAPIError as e:
            # Whether the database is there again is asked here, before the task is asked again.
            through_outages(lambda: _make_sure_of_the_lease(services), e)
        if time.monotonic() > deadline:
            last = through_outages(lambda: _last_words(services, manager))
            _cancel(manager, services, reporter)
            return f"It took longer than {allowed / 3600:g} hours ({setting}){f': {last}' if last else ''}"
        pace.sleep(interval * random.uniform(0.9, 1.1))  # noqa: S311 (so that many tasks don't poll in step)
    raise AssertionError("unreachable")


def _make_sure_of_the_lease(services: Services) -> None:
    with services.database.session() as session:
        services.guard(session)


def _record(services: Services, write: Callable[[Session], object]) -> None:
    """Write to the job's rows in one transaction, which the lease guards, and wait for a database that is away."""

    def attempt() -> None:
        with services.database.session() as session:
            services.guard(session)
            write(session)

    through_outages(attempt)


def _store_hindrance(services: Services, task_id: int, note: str) -> None:
    _record(services, lambda session: job_store.store_hindrance(session, task_id, note))


def _record_failure(services: Services, task: Task, reason: str) -> None:
    _record_end(services, task, Job.Result.FAILED, reason, f"{task.type}: {reason}")


def _record_end(services: Services, task: Task, result: JobResult, reason: str, note: str) -> None:
    def write(session: Session) -> None:
        job_store.end_task(session, task.id, Task.Result.FAILED, reason)
        job_store.end_job(session, task.job.id, result, note)

    _record(services, write)


def _cancel(manager: TaskManager | None, services: Services, reporter: Reporter) -> None:
    """End the task's work, and remove what is half done: unless another has the job now, who goes on with it."""
    if manager is None:
        return
    try:
        # Deleting what is half done takes a while, in which this process is not to be taken for dead.
        with heartbeat(services, manager.task.id):
            through_outages(lambda: _make_sure_of_the_lease(services))
            manager.cancel()
    except LeaseLostError:
        manager.abandon()
        raise
    except Exception as e:  # noqa: BLE001 (the job must be recorded as ended whatever happens here)
        reporter.warning(f"Could not tidy up after {manager.task.type}: {redact(str(e))}")


def _leave_nothing(job_id: int, services: Services, reporter: Reporter) -> None:
    """Delete what a cancelled job has made (ASK-02), unless it is preserved, was blocked, or had been published.

    A blocked version is kept for somebody to judge, also if doing one of its stages again was cancelled. Of a job that
    failed it stays for a while, as somebody may go on with it. What can't be deleted now, cleaning up deletes later.
    """

    def is_over() -> bool:
        with services.database.session(read_only=True) as session:
            job = session.get_one(Job, job_id)
            return job.result == Job.Result.CANCELLED and not job.keep_all_data and not job.blocked

    def archive(session: Session) -> None:
        session.get_one(Job, job_id).archived = True

    if through_outages(is_over):
        with heartbeat(services):
            if wipe_unfinished(job_id, services, reporter, final_output=True):
                _record(services, archive)


def wipe_unfinished(job_id: int, services: Services, reporter: Reporter, *, final_output: bool = False) -> bool:
    """Delete the temporary data of a job that was given up, ending whatever of it still goes on, such as its crawl.

    Args:
        job_id: the job.
        services: what its tasks work with.
        reporter: who is told what can't be deleted.
        final_output: whether to delete its unpublished exports, too.

    Returns:
        Whether everything could be deleted.
    """

    def load() -> list[Task]:
        with services.database.session(read_only=True) as session:
            return [job_store.load_task(session, task.id) for task in session.get_one(Job, job_id).tasks]

    done = True
    for task in through_outages(load):
        manager = get_task_manager(task, services)
        if final_output or not manager.final_output:
            try:
                manager.wipe()
            except Exception as e:  # noqa: BLE001 (what can't be deleted now must not keep the new job from starting)
                done = False
                reporter.warning(f"Could not delete what {task.type} of job {job_id} left: {redact(str(e))}")
    return done


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Let no signal break off the block, as no second Ctrl-C what the first one has begun.

    Signals only reach the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


@contextlib.contextmanager
def heartbeat(services: Services, task_id: int | None = None) -> Iterator[threading.Event]:
    """Give signs of life from a thread of its own, as a long C call must not stop them.

    Args:
        services: with the lease, if there is one.
        task_id: the task that is worked on, if it is one.

    Yields:
        An event, which is set once the lease is lost.
    """
    stop, lost = threading.Event(), threading.Event()

    def beat() -> None:
        while not stop.wait(HEARTBEAT) and not lost.is_set():
            try:
                if services.lease:
                    services.lease.beat(services.database, task_id)
                elif task_id:
                    with services.database.session() as session:
                        session.get_one(Task, task_id).heartbeat = utcnow()
            except LeaseLostError:
                lost.set()
            except Exception:  # noqa: BLE001, S112 (such as a database that is away: the next beat may get through)
                continue

    thread = threading.Thread(target=beat, name=f"heartbeat-{task_id}", daemon=True)
    thread.start()
    try:
        yield lost
    finally:
        stop.set()
        thread.join()
