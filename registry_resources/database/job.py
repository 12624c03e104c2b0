"""The model of jobs.

Belongs here: one attempt to refresh a publication, its plan, and how it begins and ends.
Does not belong here: what its tasks do, or whether a result is good enough to publish.
"""

import datetime
from typing import Any, Literal, Self

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from registry_resources.database import choices
from registry_resources.database.base import NEVER_REUSED, Base, Identified, Timestamped, json_object
from registry_resources.database.collection import Collection
from registry_resources.database.job_metadata import COUNTS, JobMetadata
from registry_resources.database.task import Task
from registry_resources.database.types import Choice, choice_check, utcnow

JOB_TASKS_PLAN = (
    choices.TaskType.COLLECT,
    choices.TaskType.PROCESS,
    choices.TaskType.EXPORTER,
    choices.TaskType.COVERAGE,
    choices.TaskType.FLATTENER,
)
"""The tasks of a job, in order. The first is the one that retrieves the data (JOB-03)."""

INCOMPLETE = "status <> 'COMPLETED'"


class Job(Identified, Timestamped, JobMetadata, Base):
    """One attempt to refresh a publication: one run, with its retries.

    Attributes:
        run_id: the root run's id, or None until there is a run.
        start: when it began; None while it is planned, or if it ended without beginning.
        end: when it ended.
        status: PLANNED, RUNNING, COMPLETED (JOB-01).
        result: how it ended; blank until then, never blank after (DEF-15).
        note: why it failed or was cancelled.
        context: what its tasks need to find their work again (JOB-22): `spider`, `data_version`, `job_id` (of
            the crawl), `scrapy_log`, `process_id`, `process_compiled_collection_id` and so on.
        archived: whether its temporary data was wiped (RET-05).
        keep_all_data: whether its temporary data is kept (RET-06).
        blocked: why its version was kept from being published, or "". It stays once somebody has accepted it.
        accepted_at: when somebody accepted the version although it was blocked, or None.
        accepted_by: who.
        accepted_reason: why.
        tasks: in order.
    """

    Status = choices.JobStatus
    Result = choices.JobResult
    COUNTS = COUNTS

    __tablename__ = "job"
    __table_args__ = (
        # What Collection.active_job refers to.
        UniqueConstraint("id", "collection_id"),
        # No two jobs of a publication at once, whoever starts them (JOB-20).
        Index(
            "uq_job_incomplete",
            "collection_id",
            unique=True,
            sqlite_where=text(INCOMPLETE),
            postgresql_where=text(INCOMPLETE),
        ),
        choice_check("status", choices.JobStatus),
        choice_check("result", choices.JobResult, blank=True),
        CheckConstraint("(status = 'COMPLETED') = (result <> '')", name="result_when_completed"),
        CheckConstraint("status <> 'RUNNING' OR start IS NOT NULL", name="start_when_running"),
        CheckConstraint("status <> 'COMPLETED' OR \"end\" IS NOT NULL", name="end_when_completed"),
        *(CheckConstraint(f"{name} >= 0", name=f"{name}_positive") for name in COUNTS),
        NEVER_REUSED,
    )

    collection_id: Mapped[int] = mapped_column(ForeignKey("collection.id", ondelete="CASCADE"), index=True)
    run_id: Mapped[str | None] = mapped_column(unique=True)
    start: Mapped[datetime.datetime | None]
    end: Mapped[datetime.datetime | None]
    status: Mapped[choices.JobStatus] = mapped_column(
        Choice(choices.JobStatus), default=choices.JobStatus.PLANNED, index=True
    )
    result: Mapped[choices.JobResult | Literal[""]] = mapped_column(Choice(choices.JobResult), default="")
    note: Mapped[str] = mapped_column(default="")
    context: Mapped[dict[str, Any]] = json_object()
    archived: Mapped[bool] = mapped_column(default=False)
    keep_all_data: Mapped[bool] = mapped_column(default=False)
    blocked: Mapped[str] = mapped_column(default="", server_default="")
    accepted_at: Mapped[datetime.datetime | None]
    accepted_by: Mapped[str] = mapped_column(default="", server_default="")
    accepted_reason: Mapped[str] = mapped_column(default="", server_default="")

    collection: Mapped[Collection] = relationship(back_populates="jobs", foreign_keys=[collection_id])
    tasks: Mapped[list[Task]] = relationship(
        back_populates="job", order_by="Task.order", cascade="all, delete-orphan", passive_deletes=True
    )

    @classmethod
    def plan(cls, collection: Collection, run_id: str | None = None) -> Self:
        """Make a planned job with its planned tasks (JOB-04). Add it to a session to save it.

        Args:
            collection: the publication to refresh.
            run_id: the root run's id, if it has one already.
        """
        tasks = [Task(type=task_type, order=order) for order, task_type in enumerate(JOB_TASKS_PLAN, 1)]
        return cls(collection=collection, run_id=run_id, tasks=tasks)

    def task(self, task_type: choices.TaskType) -> Task:
        """Give the task of a type.

        Raises:
            LookupError: if the job has none.
        """
        for task in self.tasks:
            if task.type == task_type:
                return task
        raise LookupError(f"Job {self.id} has no {task_type} task.")

    def initiate(self, at: datetime.datetime | None = None) -> None:
        """Begin, now or at a given time."""
        self.start = at or utcnow()
        self.end = None
        self.status = choices.JobStatus.RUNNING
        self.result = ""
        self.note = ""

    def complete(self, result: choices.JobResult, note: str = "", at: datetime.datetime | None = None) -> None:
        """End, now or at a given time.

        Args:
            result: how it ended.
            note: why, if it did not succeed.
            at: when.

        Raises:
            ValueError: if it is said to have succeeded, though some task did not (DEF-15).
        """
        if result == choices.JobResult.SUCCEEDED and (
            undone := [task for task in self.tasks if not task.is_successful]
        ):
            raise ValueError(f"Job {self.id} did not succeed: {', '.join(task.type for task in undone)} did not.")
        self.end = at or utcnow()
        self.status = choices.JobStatus.COMPLETED
        self.result = result
        self.note = note

    @property
    def is_complete(self) -> bool:
        """Whether it ended, in whatever way."""
        return self.status == choices.JobStatus.COMPLETED

    @property
    def is_successful(self) -> bool:
        """Whether it succeeded (JOB-06): said when it ended, never guessed from its tasks (DEF-15)."""
        return self.result == choices.JobResult.SUCCEEDED

    @property
    def is_unsuccessful(self) -> bool:
        """Whether it ended without success: failed or cancelled (JOB-06). An incomplete job is neither."""
        return self.is_complete and not self.is_successful

    @property
    def is_accepted(self) -> bool:
        """Whether somebody accepted its version although it was blocked (ASK-03).

        What was compiled after that is another version, of which nobody has said so.
        """
        compiled = self.task(choices.TaskType.PROCESS).end
        return self.accepted_at is not None and compiled is not None and compiled <= self.accepted_at

    @property
    def is_blocked(self) -> bool:
        """Whether its version is kept from being published until somebody accepts it: keep its files."""
        return self.is_complete and bool(self.blocked) and not self.is_accepted

    @property
    def failed_task(self) -> Task | None:
        """The first task that failed for good, or None."""
        return next((task for task in self.tasks if task.is_failed), None)

    def __str__(self) -> str:
        return f"{self.collection.key} #{self.id}"
