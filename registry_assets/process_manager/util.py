"""The task manager: what every kind of task can do, and how one is found for a task.

Belongs here: the abstract class, its helpers, `get_task_manager` and `skip_if_not_started`.
Does not belong here: how any one kind of task works (`tasks/`), or when it is run (`driver.py`).
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, TypeVar

import requests
from sqlalchemy import delete

from registry_assets.process_manager import holding
from registry_assets.process_manager.progress import Progress
from registry_assets.process_manager.services import Services
from registry_resources.database import Collection, Job, Task, TaskNote
from registry_resources.database.choices import TaskStatus
from registry_resources.exceptions import RecoverableError, UnexpectedError
from registry_resources.process.backend import Note, ProcessJob
from registry_resources.redaction import redact, redact_value, safe_url

M = TypeVar("M", bound="TaskManager")


class TaskManager(ABC):
    """Knows how to run, watch and wipe one kind of task (JOB-23).

    A task manager may only update the context and the metadata fields of its job, and its task's notes: status, result
    and times are the driver's. An expected failure is returned by `get_status` as a reason; a passing one is raised as
    `RecoverableError`; anything else that is raised fails the task.

    Attributes:
        final_output: whether the task makes a final output, such as a download. If not, its data are temporary and are
            wiped once the job has ended.
        warnings: what an administrator should be told, once the task has ended.
        resume: whether an earlier attempt of this task began and never ended: then `run` re-attaches to its work.
    """

    final_output: ClassVar[bool]

    def __init__(self, task: Task, services: Services, *, resume: bool = False) -> None:
        """Manage a task, whose `job` and the job's `collection` are loaded."""
        self.task = task
        self.services = services
        self.resume = resume
        self.warnings: list[str] = []

    @property
    def job(self) -> Job:
        """The job that the task is a stage of."""
        return self.task.job

    @property
    def collection(self) -> Collection:
        """The publication on which the task is performed."""
        return self.task.job.collection

    @property
    def key(self) -> str:
        """The publication's key."""
        return self.collection.key

    @property
    def process_job(self) -> ProcessJob:
        """The job, as process backends know it."""
        return ProcessJob(self.key, self.job.id, dict(self.job.context))

    @property
    def poll(self) -> tuple[float, float]:
        """How often to ask for the status: the shortest and the longest interval, in seconds."""
        return 0.2, 5.0

    @property
    def job_url(self) -> str:
        """The page of the job's run in Dagit, or "" if it has none yet."""
        return self.services.settings.run_url(self.job.run_id)

    @abstractmethod
    def run(self) -> None:
        """Start the task, or re-attach to it if `resume`. Returns at once.

        Raises:
            RecoverableError: if the task can't be started for now.
        """

    @abstractmethod
    def get_status(self) -> tuple[TaskStatus, str | None]:
        """Where the task is: WAITING, RUNNING or COMPLETED, and, if it failed, the reason.

        Only after `run`, many times.

        Raises:
            RecoverableError: if that can't be told for now.
        """

    @abstractmethod
    def wipe(self) -> None:
        """Delete what the task wrote. Idempotent, and allowed before `run`.

        Raises:
            RecoverableError: if it can't be deleted for now.
        """

    def cancel(self) -> None:  # noqa: B027 (a task with no work of its own has nothing to end)
        """End the task's work now, and remove what is only half done. Returns when it has ended."""

    def abandon(self) -> None:  # noqa: B027 (a task whose work goes on without this process has nothing to stop)
        """Stop what only this process does, as it was given up. Delete nothing: another goes on with it."""

    def progress(self) -> Progress:
        """How far the task is, as of the last `get_status`."""
        return Progress(self.key, self.task.type, "")

    def request(
        self, method: str, url: str, *, error_message: str, timeout: float = 10, **kwargs: Any
    ) -> requests.Response:
        """Send a request to a service (JOB-25).

        Args:
            method: the HTTP method.
            url: the address; a password in it is never shown.
            error_message: what failed, for people.
            timeout: seconds to connect, and to wait for each part of the answer.
            **kwargs: for `requests.request`.

        Raises:
            RecoverableError: if the service can't be reached, or answers with an error status.
        """
        try:
            response = requests.request(method, url, timeout=timeout, **kwargs)
            response.raise_for_status()
        except requests.RequestException as e:
            raise RecoverableError(f"{self.task.type}: {error_message} ({safe_url(url)}): {redact(str(e))}") from e
        return response

    def update_job(self, change: Callable[[Job], None]) -> None:
        """Change the job's context or metadata, in the database and in hand.

        Raises:
            LeaseLostError: if another process has the job now. Nothing has changed.
        """
        with self.services.database.session() as session:
            self.services.guard(session)
            # Locked, as others write to the context too, and what they wrote must not be lost.
            job = holding.lock(session, self.job.id)
            if job is None:
                raise UnexpectedError(f"{self.key}: job {self.job.id} is gone from the database.")
            change(job)
        change(self.job)

    def remember(self, **context: Any) -> None:
        """Add to the job's context (JOB-22)."""
        self.update_job(lambda job: job.context.update(context))

    def replace_notes(self, notes: Iterable[Note]) -> None:
        """Write the task's notes instead of those it had, so that a repeated task repeats none (COL-14, PRO-08)."""
        with self.services.database.session() as session:
            self.services.guard(session)
            session.execute(delete(TaskNote).where(TaskNote.task_id == self.task.id))
            session.add_all(
                TaskNote(task_id=self.task.id, level=note.level, note=redact(note.note), data=redact_value(note.data))
                for note in notes
            )


def skip_if_not_started(method: Callable[[M], None]) -> Callable[[M], None]:
    """Let a `wipe` return early if the task never started (JOB-24)."""

    @functools.wraps(method)
    def wrapper(self: M) -> None:
        if self.task.start is not None:
            method(self)

    return wrapper


def get_task_manager(task: Task, services: Services, *, resume: bool = False) -> TaskManager:
    """Return the task manager of a task, according to its type."""
    from registry_assets.process_manager import tasks  # noqa: PLC0415 (the task managers import this module)

    return tasks.MANAGERS[task.type](task, services, resume=resume)
