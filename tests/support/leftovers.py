"""Jobs with all the files that a job leaves, made by hand: as small as may be, in the places where they really are."""

from __future__ import annotations

import datetime
import json
import os
import time
from pathlib import Path

from registry_assets.process_manager.cleanup import Action, Report
from registry_assets.process_manager.services import Services
from registry_resources.database import Collection, Job, Task, utcnow

DAY = datetime.timedelta(days=1)


class Made:
    """A job and the paths of its files."""

    def __init__(self, services: Services, job_id: int, key: str, crawl: str, directory: str) -> None:
        settings = services.settings
        self.id = job_id
        self.crawl = settings.crawls_dir / crawl
        self.files = settings.files_store / directory
        self.compiled = settings.process_dir / key / str(job_id)
        self.export = settings.exporter_dir / key / str(job_id)

    @property
    def temporary(self) -> list[bool]:
        """Whether there are collected files, and compiled releases."""
        return [self.files.exists(), self.compiled.exists()]

    @property
    def everything(self) -> list[bool]:
        """Whether there are any of its files: crawl, collected, compiled, exported."""
        return [self.crawl.exists(), *self.temporary, self.export.exists()]


def make_job(
    services: Services,
    key: str = "ruritania",
    *,
    days_ago: float = 0,
    ended_days_ago: float | None = None,
    result: Job.Result | None = Job.Result.SUCCEEDED,
    ocids: int = 4,
    stages: int = 5,
    active: bool = False,
    published: str = "",
) -> Made:
    """Make a job that began so many days ago, with its files.

    Args:
        services: where.
        key: its publication, which is made if it isn't there.
        days_ago: when it began.
        ended_days_ago: when it ended; by default when it began.
        result: how it ended; None for one that is running.
        ocids: what its coverage says.
        stages: how many of its tasks succeeded.
        active: whether it becomes the active job, and the pointer names it.
        published: the directory that the pointer names, instead of the job's first export.
    """
    began = utcnow() - days_ago * DAY
    end = utcnow() - (days_ago if ended_days_ago is None else ended_days_ago) * DAY
    with services.database.session() as session:
        collection = session.query(Collection).filter_by(key=key).one_or_none()
        if collection is None:
            collection = Collection(key=key, title=key.title(), source_id="bulk")
            session.add(collection)
        job = Job.plan(collection)
        session.add(job)
        session.flush()
        crawl = f"{key}-{job.id}-0123abcd"
        directory = f"{key}/20260101_{job.id:06d}"
        job.initiate(began)
        job.context = {"job_id": crawl, "directory": directory, "data_version": f"2026-01-01 00:00:{job.id % 60:02d}"}
        job.coverage = {"/ocid": ocids}
        for task in job.tasks[:stages]:
            task.initiate(began)
            task.complete(Task.Result.OK, at=end)
        if result is not None:
            job.complete(result, "" if result == Job.Result.SUCCEEDED else "no luck", at=end)
        session.flush()
        if active:
            collection.active_job = job
        made = Made(services, job.id, key, crawl, directory)
    write(made.crawl / "request.json", json.dumps({"key": key, "spider": "bulk", "directory": directory}))
    write(made.crawl / "crawl.log", "it went well\n")
    write(made.files / "0A1" / "data.json", "{}" * 5000)
    write(made.compiled / "result" / "part-0", "x" * 10_000)
    write(made.export / "full.jsonl.gz", "not really\n")
    if active:
        point(services, key, made.id, published or str(made.id))
    return made


def point(services: Services, key: str, job: int, directory: str, *, days_ago: float = 30) -> None:
    """Write the pointer, and mark what it names as published."""
    at = (utcnow() - days_ago * DAY).isoformat(timespec="seconds").replace("+00:00", "Z")
    pointer = {"job": str(job), "directory": directory, "manifest_sha256": "0" * 64, "published_at": at}
    folder = services.settings.exporter_dir / key
    write(folder / "latest.json", json.dumps(pointer))
    write(folder / directory / ".published", "")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def exists(services: Services, job_id: int) -> bool:
    """Whether the job has its row."""
    with services.database.session(read_only=True) as session:
        return session.get(Job, job_id) is not None


def of(report: Report, job: Made) -> list[Action]:
    """What a report says of a job."""
    return [action for action in report.actions if action.job == job.id]


def did(report: Report, job: Made) -> list[str]:
    """What was done to a job, by name."""
    return [action.action for action in of(report, job)]


def row(services: Services, made: Made) -> Job:
    """A job as it is in the database."""
    with services.database.session(read_only=True) as session:
        return session.get_one(Job, made.id)


def change(services: Services, made: Made, **fields: object) -> None:
    """Change fields of a job's row."""
    with services.database.session() as session:
        job = session.get_one(Job, made.id)
        for name, value in fields.items():
            setattr(job, name, value)


def remember(services: Services, made: Made, **context: object) -> None:
    """Add to a job's context."""
    with services.database.session() as session:
        job = session.get_one(Job, made.id)
        job.context.update(context)


def age(path: Path, days: float) -> None:
    """Let a file or folder look as if nothing had changed in it for so long."""
    then = time.time() - days * 86400
    for found in [path, *path.rglob("*")]:
        os.utime(found, (then, then), follow_symlinks=False)
