"""What cleanup needs to know of publications and their jobs, in two queries however many there are.

Belongs here: reading. Does not belong here: deciding anything by it.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection as Several
from dataclasses import dataclass

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from exporter import publish
from exporter.errors import BrokenExportError
from exporter.publish import Pointer
from registry_assets.process_manager.rules.retention import JobFacts
from registry_assets.process_manager.services import Services
from registry_resources.database import Collection, Job, Task


@dataclass(frozen=True)
class JobRow:
    """A job, without what may be large.

    Attributes:
        id: its id.
        complete: whether it ended.
        succeeded: whether it ended with success.
        began: when it began, or was made.
        end: when it ended.
        archived: whether its temporary data were wiped.
        keep_all_data: whether they are kept.
        exported: whether its exporter task succeeded.
        ocids: the number of ocids by its coverage; 0 if that is missing.
        blocked: whether its version was kept from being published, so that somebody may accept it.
    """

    id: int
    complete: bool
    succeeded: bool
    began: datetime.datetime
    end: datetime.datetime | None
    archived: bool
    keep_all_data: bool
    exported: bool
    ocids: int
    blocked: bool = False


@dataclass(frozen=True)
class Publication:
    """A publication with its jobs.

    Attributes:
        key: its key.
        active: the id of its active job, or None.
        jobs: all of them, the oldest first.
        pointer: what readers see, or None.
        problem: why the pointer can't be read, or "".
    """

    key: str
    active: int | None
    jobs: list[JobRow]
    pointer: Pointer | None
    problem: str


def of(job: JobRow) -> JobFacts:
    """What retention needs to know of a job."""
    return JobFacts(job.id, job.complete, job.succeeded, job.began, job.ocids)


def read(services: Services, keys: Several[str] = ()) -> list[Publication]:
    """Read the publications (all, or those of these keys), by key."""
    with services.database.session(read_only=True) as session:
        statement = select(Collection.id, Collection.key, Collection.active_job_id).order_by(Collection.key)
        if keys:
            statement = statement.where(Collection.key.in_(keys))
        collections = session.execute(statement).all()
        jobs = _jobs(session, [row.id for row in collections] if keys else None)
    return [
        Publication(row.key, row.active_job_id, jobs.get(row.id, []), *_pointer(services, row.key))
        for row in collections
    ]


def _pointer(services: Services, key: str) -> tuple[Pointer | None, str]:
    try:
        return publish.read_latest(services.settings.exporter_dir, key), ""
    except BrokenExportError as e:
        return None, str(e)


def _jobs(session: Session, collections: list[int] | None) -> dict[int, list[JobRow]]:
    exported = exists().where(Task.job_id == Job.id, Task.type == Task.Type.EXPORTER, Task.result == Task.Result.OK)
    columns = (
        Job.id,
        Job.collection_id,
        Job.status,
        Job.result,
        Job.start,
        Job.created,
        Job.end,
        Job.archived,
        Job.keep_all_data,
        Job.blocked,
        exported.label("exported"),
        Job.coverage["/ocid"].as_string().label("ocids"),
    )
    statement = select(*columns).order_by(Job.id)
    if collections is not None:
        statement = statement.where(Job.collection_id.in_(collections))
    jobs: dict[int, list[JobRow]] = {}
    for row in session.execute(statement):
        jobs.setdefault(row.collection_id, []).append(
            JobRow(
                id=row.id,
                complete=row.status == Job.Status.COMPLETED,
                succeeded=row.result == Job.Result.SUCCEEDED,
                began=row.start or row.created,
                end=row.end,
                archived=row.archived,
                keep_all_data=row.keep_all_data,
                exported=bool(row.exported),
                ocids=int(row.ocids) if row.ocids and str(row.ocids).isdigit() else 0,
                blocked=bool(row.blocked),
            )
        )
    return jobs
