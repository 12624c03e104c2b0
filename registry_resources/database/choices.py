"""The choices that fields of the models have, with the labels that people read.

Belongs here: enumerations stored as text. Does not belong here: the models, which carry these as `Job.Status` etc.
"""

from enum import StrEnum
from typing import Self


class Choices(StrEnum):
    """A choice: its value is what the database holds, its `label` is what people read."""

    label: str

    def __new__(cls, value: str, label: str) -> Self:
        """Make a member of its value and label."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.label = label
        return member


class Region(Choices):
    """The part of the world (CAT-05)."""

    MEA = "MEA", "Africa and Middle East"
    AS = "AS", "Asia"
    EECA = "EECA", "Eastern Europe & Central Asia"
    EU = "EU", "Europe"
    LAC = "LAC", "Latin America & Caribbean"
    NA = "NA", "North America"
    OC = "OC", "Oceania"


class RetrievalFrequency(Choices):
    """How often the registry retrieves the data (CAT-08)."""

    WEEKLY = "WEEKLY", "Weekly"
    BIWEEKLY = "BIWEEKLY", "Every 2 weeks"
    MONTHLY = "MONTHLY", "Monthly"
    HALF_YEARLY = "HALF_YEARLY", "Every 6 months"
    ANNUALLY = "ANNUALLY", "Annually"
    NEVER = "NEVER", "This dataset is no longer updated by the publisher"


class UpdateFrequency(Choices):
    """How often the publisher updates the data (CAT-07)."""

    UNKNOWN = "UNKNOWN", "Unknown"
    REAL_TIME = "REAL_TIME", "Real time"
    HOURLY = "HOURLY", "Hourly"
    DAILY = "DAILY", "Daily"
    WEEKLY = "WEEKLY", "Weekly"
    MONTHLY = "MONTHLY", "Monthly"
    QUARTERLY = "QUARTERLY", "Every 3 months"
    HALF_YEARLY = "HALF_YEARLY", "Every 6 months"
    ANNUALLY = "ANNUALLY", "Annually"


class JobStatus(Choices):
    """Where a job is (JOB-01)."""

    PLANNED = "PLANNED", "Planned"
    RUNNING = "RUNNING", "Running"
    COMPLETED = "COMPLETED", "Completed"


class JobResult(Choices):
    """How a completed job ended: exactly one of these (DEF-15). An incomplete job has a blank one."""

    SUCCEEDED = "SUCCEEDED", "Succeeded"
    FAILED = "FAILED", "Failed"
    CANCELLED = "CANCELLED", "Cancelled"


class TaskStatus(Choices):
    """Where a task is (JOB-02)."""

    WAITING = "WAITING", "Waiting"
    """Started, but its application hasn't begun. Only ever reported: the database refuses to store it."""
    PLANNED = "PLANNED", "Planned"
    RUNNING = "RUNNING", "Running"
    COMPLETED = "COMPLETED", "Completed"


class TaskResult(Choices):
    """How a task ended, or went the last time it was looked at (JOB-02, JOB-13)."""

    OK = "OK", "OK"
    FAILED = "FAILED", "Failed"


class TaskType(Choices):
    """The stage of a job that a task is (JOB-03)."""

    COLLECT = "collect", "Collect"
    PROCESS = "process", "Process"
    EXPORTER = "exporter", "Exporter"
    COVERAGE = "coverage", "Coverage"
    FLATTENER = "flattener", "Flattener"


class NoteLevel(Choices):
    """How serious a note is (COL-11)."""

    CRITICAL = "CRITICAL", "Critical"
    ERROR = "ERROR", "Error"
    WARNING = "WARNING", "Warning"
    INFO = "INFO", "Info"
    UNKNOWN = "UNKNOWN", "Unknown"
