"""Where a job's files are, as the exporter's library knows it.

Belongs here: going from a job to its `Export`, and the exporter's errors to the registry's.
Does not belong here: anything about the files themselves (`exporter`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from exporter import errors, publish
from exporter.util import Export
from registry_assets.process_manager.services import Services
from registry_resources.database import Job
from registry_resources.exceptions import LockFileError, UnexpectedError


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


@contextmanager
def translated() -> Iterator[None]:
    """Raise the exporter's errors as the registry's."""
    try:
        yield
    except errors.LockFileError as e:
        raise LockFileError(str(e)) from e
    except errors.ExporterError as e:
        raise UnexpectedError(str(e)) from e
