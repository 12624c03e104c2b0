"""Where a job's files are, as the exporter's library knows it.

Belongs here: going from a job to its `Export`, and the exporter's errors to the registry's.
Does not belong here: anything about the files themselves (`exporter`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from exporter import errors, manifest, publish, verify
from exporter.util import Export
from registry_assets.process_manager.services import Services
from registry_resources.database import Job
from registry_resources.exceptions import LockFileError, UnexpectedError

_OWN_REMEDY = re.compile(r": (?:do the stage \w+|export) again$")

_ASSETS = (("coverage", "coverage"), ("flatten", "flattened"))
"""Stages that need nothing but the export, each with its asset."""


def current(services: Services, job: Job) -> Export:
    """The directory of the job's latest revision, which may not be there yet."""
    return publish.current(services.settings.exporter_dir, job.collection.key, job.id)


def writable(services: Services, job: Job) -> Export:
    """The directory of the job that may be written: a new revision if the latest was published (I2)."""
    return publish.writable(services.settings.exporter_dir, job.collection.key, job.id)


def remove_unpublished(services: Services, job: Job) -> None:
    """Delete the job's latest revision, unless it was published: such a version never changes (I2, I5)."""
    target = current(services, job)
    if not target.published:
        with translated():
            publish.remove(target)


def remedy(services: Services, job: Job, *, thorough: bool = False) -> str:
    """How to make again what is missing or damaged in a job's export, which depends on what is there still.

    Args:
        services: what the job logic works with.
        job: the job, with its publication.
        thorough: whether to read every file, not only to look at its size.

    Returns:
        A sentence, or "" if nothing is missing.
    """
    key, target = job.collection.key, current(services, job)
    try:
        stages = _damaged(target, services.settings.workers if thorough else 0)
    except errors.BrokenExportError:
        stages = {"export"}
    if "export" not in stages:
        assets = ",".join(name for stage, name in _ASSETS if stage in stages)
        return f"Make it again: `registry run {key} --select {assets},published`." if assets else ""
    if job.archived:
        return f"What it was made of was wiped, so refresh the publication: `registry run {key}`."
    return f"Make it again, and what follows from it: `registry run {key} --select exported+`."


def with_remedy(services: Services, job: Job, said: str) -> str:
    """Give what the exporter said, if its export is not whole with the remedy here instead of its own.

    To do a stage again, as the exporter says, takes what may have been wiped meanwhile.
    """
    found = remedy(services, job)
    return f"{_OWN_REMEDY.sub('', said).rstrip('.')}. {found}" if found else said


def _damaged(target: Export, workers: int) -> set[str]:
    """The stages of which files are missing or not as they were made; with workers, also by their checksums."""
    found = manifest.read(target.directory)
    if found is None:
        return {"export"}
    wrong = {fault.partition(": ")[0] for fault in verify.verify(target, workers=workers)[1]} if workers else set()
    return {
        entry.stage
        for entry in found.files
        if entry.name in wrong
        or not (path := target.directory / entry.name).is_file()
        or path.stat().st_size != entry.bytes
    }


@contextmanager
def translated() -> Iterator[None]:
    """Raise the exporter's errors as the registry's."""
    try:
        yield
    except errors.LockFileError as e:
        raise LockFileError(str(e)) from e
    except errors.ExporterError as e:
        raise UnexpectedError(str(e)) from e
