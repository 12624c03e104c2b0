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

from registry_assets.process_manager import job_store
from registry_assets.process_manager.progress import Reporter, ThrottledLog
from registry_assets.process_manager.services import Services
from registry_assets.process_manager.util import TaskManager, get_task_manager
from registry_resources.database import Job, Task, utcnow
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
        BaseException: whatever interrupted it, such as a terminated run. The job has ended as cancelled.
    """
    with services.database.session() as session:
        resumed = job_store.begin_task(session, task_id)
        task = job_store.load_task(session, task_id)
    if resumed:
        reporter.info(f"Taking up {task.type} of job {task.job.id} again: its last attempt never ended")
    manager: TaskManager | None = None
    try:
        with _heartbeat(services, task_id):
            manager = get_task_manager(task, services, resume=resumed)
            reason = _attend(manager, services, reporter, pace or Pace(*manager.poll))
        for warning in manager.warnings:
            reporter.warning(warning)
    except Exception as e:
        _cancel(manager, reporter)
        reason = redact(str(e)) or type(e).__name__
        _record_failure(services, task, reason)
        raise TaskFailedError(_sentence(task, reason)) from e
    except BaseException:
        # The run was terminated (or Ctrl-C pressed): that is how a job is cancelled.
        with _uninterrupted():
            reporter.warning(f"Cancelling {task.type} of job {task.job.id}")
            _cancel(manager, reporter)
            with services.database.session() as session:
                job_store.end_task(session, task_id, Task.Result.FAILED, "Cancelled")
                job_store.end_job(session, task.job.id, Job.Result.CANCELLED, f"Cancelled during {task.type}")
        raise
    if reason:
        _record_failure(services, task, reason)
        raise TaskFailedError(_sentence(task, reason))
    with services.database.session() as session:
        job_store.end_task(session, task_id, Task.Result.OK)
    progress = manager.progress()
    reporter.progress(progress)
    reporter.info(f"{progress.task} of job {task.job.id} succeeded{f': {said}' if (said := progress.message) else ''}")


def _sentence(task: Task, reason: str) -> str:
    return f"{task.job.collection.key}: {task.type} of job {task.job.id} failed: {reason}"


def _attend(manager: TaskManager, services: Services, reporter: Reporter, pace: Pace) -> str | None:
    """Start the task and poll it until it is completed. Returns the reason if it failed."""
    log = ThrottledLog()
    allowed, setting = services.settings.deadline(manager.task.type)
    deadline = time.monotonic() + allowed
    started = False
    for interval in pace.intervals():
        try:
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
        if time.monotonic() > deadline:
            with services.database.session(read_only=True) as session:
                last = job_store.load_task(session, manager.task.id).note or manager.progress().message
            _cancel(manager, reporter)
            return f"It took longer than {allowed / 3600:g} hours ({setting}){f': {last}' if last else ''}"
        pace.sleep(interval * random.uniform(0.9, 1.1))  # noqa: S311 (so that many tasks don't poll in step)
    raise AssertionError("unreachable")


def _store_hindrance(services: Services, task_id: int, note: str) -> None:
    with services.database.session() as session:
        job_store.store_hindrance(session, task_id, note)


def _record_failure(services: Services, task: Task, reason: str) -> None:
    with services.database.session() as session:
        job_store.end_task(session, task.id, Task.Result.FAILED, reason)
        job_store.end_job(session, task.job.id, Job.Result.FAILED, f"{task.type}: {reason}")


def _cancel(manager: TaskManager | None, reporter: Reporter) -> None:
    if manager is not None:
        try:
            manager.cancel()
        except Exception as e:  # noqa: BLE001 (the job must be recorded as ended whatever happens here)
            reporter.warning(f"Could not tidy up after {manager.task.type}: {redact(str(e))}")


def wipe_unfinished(job_id: int, services: Services, reporter: Reporter) -> None:
    """Delete the temporary data of a job that was given up, ending whatever of it still goes on, such as its crawl."""
    with services.database.session(read_only=True) as session:
        tasks = [job_store.load_task(session, task.id) for task in session.get_one(Job, job_id).tasks]
    for task in tasks:
        manager = get_task_manager(task, services)
        if not manager.final_output:
            try:
                manager.wipe()
            except Exception as e:  # noqa: BLE001 (what can't be deleted now must not keep the new job from starting)
                reporter.warning(f"Could not delete what {task.type} of job {job_id} left: {redact(str(e))}")


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let no second Ctrl-C break off what the first one has begun. Signals only reach the main thread."""
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
def _heartbeat(services: Services, task_id: int) -> Iterator[None]:
    """Beat the task's heartbeat from a thread of its own: a long C call must not stop it."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(HEARTBEAT):
            with contextlib.suppress(Exception), services.database.session() as session:
                session.get_one(Task, task_id).heartbeat = utcnow()

    thread = threading.Thread(target=beat, name=f"heartbeat-{task_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
