"""Wiping the temporary data of a job, deleting a job, and removing a publication.

Belongs here: in which order things go, so that a kill in between leaves what a plain retry mends. Does not belong
here: which jobs go (`rules/retention.py`), and when (`cleanup.py`).

Files go before rows: as long as there are files of it, a job has its row, by which they are found again.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import defer, joinedload

from exporter import files, publish, withdraw
from exporter.util import Export
from registry_assets.process_manager import exports, holding, job_store, lease
from registry_assets.process_manager.services import Services
from registry_assets.process_manager.util import TaskManager, get_task_manager
from registry_resources.collect.crawls import CrawlFolder
from registry_resources.collect.layout import DIRECTORY, PARTIAL
from registry_resources.database import Collection, Job, collection_by_key
from registry_resources.exceptions import ConfigurationError, LockFileError, RecoverableError

CRAWL = re.compile(r"([a-z0-9_]+)-([1-9][0-9]*)-[0-9a-f]{8}", re.ASCII)
"""The id of a crawl: the publication's key, the job's id, and what makes it unique."""

_COMPACT = str.maketrans(" ", "_", "-:")


def temporary_paths(services: Services, job: Job) -> list[Path]:
    """Return where a job's temporary data are on this machine, whether or not they are there."""
    settings, paths = services.settings, []
    directory, crawl = job.context.get("directory"), job.context.get("job_id")
    if isinstance(directory, str) and DIRECTORY.fullmatch(directory):
        paths.append(settings.files_store / directory)
    if isinstance(crawl, str) and CRAWL.fullmatch(crawl):
        paths.append(settings.files_store / PARTIAL / crawl)
    return [*paths, settings.process_dir / job.collection.key / str(job.id)]


def crawl_folders(services: Services, key: str, job_id: int) -> list[Path]:
    """Return the folders of every crawl that a job ever had, which hold their logs."""
    found = (CRAWL.fullmatch(path.name) for path in services.settings.crawls_dir.glob(f"{key}-{job_id}-*"))
    return [services.settings.crawls_dir / match[0] for match in found if match and match[1] == key]


def crawl_directory(folder: CrawlFolder) -> str | None:
    """Return where a crawl of this machine wrote, relative to the file store; None if it isn't known."""
    directory = folder.request.get("directory")
    if not directory and (located := folder.located):
        directory = f"{located.get('name')}/{str(located.get('data_version')).translate(_COMPACT)}"
    return directory if isinstance(directory, str) and DIRECTORY.fullmatch(directory) else None


def wipe_job(services: Services, job_id: int) -> None:
    """Delete a job's temporary data, make sure that they are gone, and record that (RET-05, DEF-18).

    Raises:
        LockFileError: if somebody works on the job.
        RecoverableError: if something can't be deleted for now: nothing is recorded, and the next pass tries again.
    """
    with holding.hold(services.database, job_id):
        for manager in _managers(services, job_id):
            if not manager.final_output:
                manager.wipe()
        _verify(services, job_id)
        with services.database.session() as session:
            session.get_one(Job, job_id).archived = True


def delete_job(services: Services, job_id: int) -> None:
    """Delete a job with all it made: its crawls, temporary data and exports first, its rows last (RET-07).

    Raises:
        ConfigurationError: if it is the active job, or its files are the published version.
        LockFileError: if it is incomplete, or somebody works on it.
        RecoverableError: if something can't be deleted for now: then its rows stay, and it can be tried again.
    """
    _refuse_if_published(services, job_id)  # before the hold, for the clearer message; and within, to be sure
    with holding.hold(services.database, job_id):
        _refuse_if_published(services, job_id)
        for manager in _managers(services, job_id):
            manager.wipe()
        _verify(services, job_id)
        job = load(services, job_id)
        remove_exports(services, job)
        _remove_crawl_folders(services, job)
        with services.database.session() as session:
            session.delete(session.get_one(Job, job_id))


def remove_exports(services: Services, job: Job, directories: list[Export] | None = None) -> None:
    """Delete export directories of a job, by default every revision; never the published version (I5).

    Raises:
        LockFileError: if somebody works in one.
        UnexpectedError: if one can't be deleted.
    """
    with exports.translated():
        for target in directories or publish.revisions(services.settings.exporter_dir, job.collection.key, job.id):
            publish.remove(target)
    folder = services.settings.exporter_dir / job.collection.key
    if not folder.is_symlink():
        for name in (f"{job.id}-", f"{job.id}.r"):  # what a kill in the middle of it has left, an earlier time
            files.clean_temporaries(folder, name)


def remove_publication(services: Services, key: str, *, keep_exports: bool = False) -> None:
    """Delete a publication: its jobs with all they made, then what readers see, and its row last.

    Args:
        services: what the job logic works with.
        key: the publication's key.
        keep_exports: whether to leave the published version and the pointer to it.

    Raises:
        ConfigurationError: if there is no such publication.
        LockFileError: if a job of it is incomplete, or somebody works on one.
        RecoverableError: if something can't be deleted for now. It can be tried again.
    """
    jobs, active = _freeze(services, key)
    root = services.settings.exporter_dir
    with exports.translated():
        pointer = publish.read_latest(root, key)
    for job_id in jobs:
        if job_id != active and (pointer is None or pointer.job != str(job_id)):
            delete_job(services, job_id)
        else:
            wipe_job(services, job_id)
    if not keep_exports:
        with exports.translated():
            withdraw.withdraw(root, key)
        with services.database.session() as session:
            collection = session.scalars(select(Collection).where(Collection.key == key)).one()
            collection.active_job = None
        for job_id in jobs:
            with services.database.session(read_only=True) as session:
                left = session.get(Job, job_id) is not None
            if left:
                delete_job(services, job_id)
        withdraw.remove_folder(root, key)
    _delete_row(services, key, jobs)


def _freeze(services: Services, key: str) -> tuple[list[int], int | None]:
    """See that nothing new begins, also if the removal is interrupted. Returns the ids of all jobs and the active one.

    Raises:
        ConfigurationError: if there is no such publication.
        LockFileError: if a job of it is incomplete.
    """
    with services.database.session() as session:
        collection = collection_by_key(session, key)
        if collection is None:
            raise ConfigurationError(
                f"{key}: the catalogue has no such publication. `registry list` shows those it has."
            )
        collection.frozen = True
        jobs = list(session.scalars(select(Job).where(Job.collection_id == collection.id).order_by(Job.id)))
    if incomplete := next((job for job in jobs if not job.is_complete), None):
        raise LockFileError(
            f"{key}: job {incomplete.id} is {incomplete.status.lower()}. Terminate its run, or wait until it ends, "
            f"then remove the publication again."
        )
    return [job.id for job in jobs], collection.active_job_id


def _delete_row(services: Services, key: str, jobs: list[int]) -> None:
    """Delete the publication's row, unless somebody has begun another job meanwhile, whose files nobody would find."""
    with services.database.session() as session:
        collection = session.scalars(select(Collection).where(Collection.key == key)).one()
        lease.lock_collection(session, collection.id)  # no other begins until this is done
        if begun := next((job for job in collection.jobs if job.id not in jobs), None):
            raise LockFileError(
                f"{key}: job {begun.id} was begun meanwhile. Terminate its run, or wait until it ends, then remove "
                f"the publication again."
            )
        collection.active_job = None
        session.flush()
        for job in collection.jobs:
            _remove_crawl_folders(services, job)
        session.delete(collection)


def _refuse_if_published(services: Services, job_id: int) -> None:
    job = load(services, job_id)
    key = job.collection.key
    with exports.translated():
        pointer = publish.read_latest(services.settings.exporter_dir, key)
    if job.collection.active_job_id == job_id or (pointer is not None and pointer.job == str(job_id)):
        raise ConfigurationError(
            f"{key}: job {job_id} is the active job, whose version readers see, so it can't be deleted. Publish "
            f"another first, or remove the publication (`registry remove {key}`)."
        )


def load(services: Services, job_id: int) -> Job:
    """Return a job with its publication and its tasks, but without its coverage.

    Raises:
        ConfigurationError: if there is none.
    """
    with services.database.session(read_only=True) as session:
        # Its coverage is large, and nobody here needs it.
        options = [joinedload(Job.collection), joinedload(Job.tasks), defer(Job.coverage, raiseload=True)]
        job = session.get(Job, job_id, options=options)
        if job is None:
            raise ConfigurationError(f"There is no job {job_id}.")
        return job


def _managers(services: Services, job_id: int) -> list[TaskManager]:
    with services.database.session(read_only=True) as session:
        tasks = [job_store.load_task(session, task.id) for task in session.get_one(Job, job_id).tasks]
    return [get_task_manager(task, services) for task in tasks]


def _verify(services: Services, job_id: int) -> None:
    """Make sure that temporary data on this machine are gone. Backends elsewhere make sure of it themselves."""
    job = load(services, job_id)
    if left := [path for path in temporary_paths(services, job) if path.exists() or path.is_symlink()]:
        raise RecoverableError(
            f"{job.collection.key}: {left[0]} of job {job_id} was to be deleted, but is still there."
        )


def _remove_crawl_folders(services: Services, job: Job) -> None:
    for path in crawl_folders(services, job.collection.key, job.id):
        if CrawlFolder(path.parent, path.name).alive():
            raise RecoverableError(f"{job.collection.key}: the crawl {path.name} of job {job.id} still runs.")
        try:
            shutil.rmtree(path)  # refuses a link, and follows none
        except FileNotFoundError:
            continue
        except OSError as error:
            raise RecoverableError(f"{path} can't be deleted: {error.strerror or error}.") from error
