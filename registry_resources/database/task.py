"""The models of tasks and their notes.

Belongs here: one stage of a job, and what it found worth telling. Does not belong here: how a stage works.
"""

import datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from registry_resources.database import choices
from registry_resources.database.base import NEVER_REUSED, Base, Identified, Timestamped, json_object
from registry_resources.database.types import Choice, choice_check, utcnow

if TYPE_CHECKING:
    from registry_resources.database.job import Job


class Task(Identified, Timestamped, Base):
    """One stage of a job (JOB-02).

    Attributes:
        type: which stage.
        order: its place in the job, from 1.
        status: PLANNED, RUNNING or COMPLETED. WAITING is only ever reported.
        result: OK or FAILED once completed; FAILED before that means that the last try met something passing (JOB-13).
        note: why it failed.
        start: when it last began.
        end: when it ended.
        heartbeat: when its worker last said that it is alive.
        attempts: how often it began.
    """

    Status = choices.TaskStatus
    Result = choices.TaskResult
    Type = choices.TaskType

    __tablename__ = "task"
    __table_args__ = (
        UniqueConstraint("job_id", "order"),
        UniqueConstraint("job_id", "type"),
        choice_check("status", choices.TaskStatus, never=[choices.TaskStatus.WAITING]),
        choice_check("result", choices.TaskResult, blank=True),
        choice_check("type", choices.TaskType),
        CheckConstraint("status <> 'COMPLETED' OR result <> ''", name="result_when_completed"),
        CheckConstraint("result <> 'OK' OR status = 'COMPLETED'", name="ok_when_completed"),
        CheckConstraint("status <> 'RUNNING' OR start IS NOT NULL", name="start_when_running"),
        CheckConstraint("status <> 'COMPLETED' OR \"end\" IS NOT NULL", name="end_when_completed"),
        CheckConstraint('"order" >= 1', name="order_positive"),
        CheckConstraint("attempts >= 0", name="attempts_positive"),
        NEVER_REUSED,
    )

    job_id: Mapped[int] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"))
    type: Mapped[choices.TaskType] = mapped_column(Choice(choices.TaskType))
    order: Mapped[int]
    status: Mapped[choices.TaskStatus] = mapped_column(
        Choice(choices.TaskStatus), default=choices.TaskStatus.PLANNED, index=True
    )
    result: Mapped[choices.TaskResult | Literal[""]] = mapped_column(Choice(choices.TaskResult), default="")
    note: Mapped[str] = mapped_column(default="")
    start: Mapped[datetime.datetime | None]
    end: Mapped[datetime.datetime | None]
    heartbeat: Mapped[datetime.datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)

    job: Mapped["Job"] = relationship(back_populates="tasks")
    notes: Mapped[list["TaskNote"]] = relationship(
        back_populates="task", order_by="TaskNote.id", cascade="all, delete-orphan", passive_deletes=True
    )

    def initiate(self, at: datetime.datetime | None = None) -> None:
        """Begin, or begin again, now or at a given time."""
        self.start = self.heartbeat = at or utcnow()
        self.end = None
        self.status = choices.TaskStatus.RUNNING
        self.result = ""
        self.note = ""
        self.attempts = (self.attempts or 0) + 1

    def complete(self, result: choices.TaskResult, note: str = "", at: datetime.datetime | None = None) -> None:
        """End, now or at a given time, with OK, or with FAILED and why."""
        self.end = at or utcnow()
        self.status = choices.TaskStatus.COMPLETED
        self.result = result
        self.note = note

    @property
    def is_successful(self) -> bool:
        """Whether it ended well."""
        return self.status == choices.TaskStatus.COMPLETED and self.result == choices.TaskResult.OK

    @property
    def is_failed(self) -> bool:
        """Whether it failed for good (JOB-06)."""
        return self.status == choices.TaskStatus.COMPLETED and self.result == choices.TaskResult.FAILED

    def __str__(self) -> str:
        return f"{self.type} of job {self.job_id}"


class TaskNote(Identified, Timestamped, Base):
    """Something a task found worth telling an administrator (COL-11, PRO-06).

    Attributes:
        level: how serious it is.
        note: the text. It may be the publisher's: escape it.
        data: what a program can use, with a `type` to group notes by.
    """

    Level = choices.NoteLevel

    __tablename__ = "task_note"
    __table_args__ = (choice_check("level", choices.NoteLevel), NEVER_REUSED)

    task_id: Mapped[int] = mapped_column(ForeignKey("task.id", ondelete="CASCADE"), index=True)
    level: Mapped[choices.NoteLevel] = mapped_column(Choice(choices.NoteLevel))
    note: Mapped[str]
    data: Mapped[dict[str, Any]] = json_object()

    task: Mapped[Task] = relationship(back_populates="notes")

    def __str__(self) -> str:
        return f"{self.level}: {self.note}"
