"""Versions of a publication, made without a crawl: rows that succeeded, and an export of the size asked for."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
from collections.abc import Iterator, Mapping

import pytest

from exporter import jsonl, manifest, publish
from exporter.util import Export
from registry_assets.process_manager import publishing
from registry_assets.process_manager.services import Services
from registry_resources.database import Collection, Job, Task

YEARS = {2023: 60, 2024: 40}
HALF = {2023: 30, 2024: 20}


def add_version(
    services: Services, key: str, years: Mapping[int, int] = YEARS, counts: Mapping[str, int] | None = None
) -> int:
    """Add a job whose tasks have all succeeded, with its export, and return its id.

    Args:
        services: the registry's.
        key: the publication.
        years: how many ocids each year has.
        counts: further values by path, for the coverage.
    """
    total = sum(years.values())
    with services.database.session() as session:
        job = Job.plan(session.query(Collection).filter_by(key=key).one())
        session.add(job)
        job.initiate()
        for task in job.tasks:
            task.initiate()
            task.complete(Task.Result.OK)
        job.context["process_counts"] = {"ocids": total, "compiled_releases": total}
        job.date_from = datetime.date(min(years), 6, 1)
        job.date_to = datetime.date(max(years), 6, 1)
        session.flush()
        number = job.id
    make_export(publish.writable(services.settings.exporter_dir, key, number), years, counts)
    return number


def make_export(target: Export, years: Mapping[int, int], counts: Mapping[str, int] | None = None) -> None:
    """Make an export: JSON Lines as they are made, a coverage with little in it, and no tables."""
    lines = [
        (f"{year}-06-01T00:00:00Z", json.dumps({"ocid": f"ocds-a-{year}-{i}", "tender": {"id": "1"}}).encode())
        for year, n in years.items()
        for i in range(n)
    ]
    jsonl.export(target, [lines], workers=1)
    total = len(lines)
    coverage = {"": total, "/": total, "/ocid": total, "/tender/": total, "/tender/id": total, "/x": 1, "/y": 1}
    text = json.dumps({**coverage, **(counts or {})}).encode()
    (target.directory / "coverage.json").write_bytes(text)
    entry = manifest.FileEntry(
        name="coverage.json",
        format="coverage",
        rows=len(coverage),
        bytes=len(text),
        sha256=hashlib.sha256(text).hexdigest(),
    )
    manifest.record_stage(target, "coverage", files=[entry], counts={})
    manifest.record_stage(target, "flatten", files=[], counts={}, tables={})


def collection(services: Services) -> Collection:
    """The only publication, as it is in the database."""
    with services.database.session(read_only=True) as session:
        found = session.query(Collection).one()
        assert found.active_job_id is None or found.active_job
        assert found.history is not None
        return found


def job(services: Services, number: int) -> Job:
    """A job as it is in the database."""
    with services.database.session(read_only=True) as session:
        found = session.get_one(Job, number)
        assert found.tasks
        return found


def change(services: Services, number: int, **fields: object) -> None:
    """Change fields of a job's row."""
    with services.database.session() as session:
        for name, value in fields.items():
            setattr(session.get_one(Job, number), name, value)


def pointer(services: Services) -> publish.Pointer | None:
    """What readers see."""
    return publish.read_latest(services.settings.exporter_dir, "ruritania")


class Died(BaseException):
    """What no code handles."""


@contextlib.contextmanager
def dying_after_the_pointer_moved() -> Iterator[None]:
    """Publishing dies in the block, once readers see the new version and before the database says so."""
    original = publish.publish

    def die(target: Export, *, job: int) -> None:
        original(target, job=job)
        raise Died

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publishing.publish, "publish", die)
        with pytest.raises(Died):
            yield
