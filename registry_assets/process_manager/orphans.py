"""What is on the disk without a job: left by a kill, by a database that was restored, or by hand.

Belongs here: finding it, and telling what is surely ours and needed by nobody from what only an administrator can
judge. Does not belong here: what a job in the database still needs (`cleanup.py`).

It is deleted only if all of this holds: it is a folder in one of our roots, no link; its name is of our form, with the
key of a publication in the database and the id of a job that this database once gave (so not if the database is older
than the files, as after restoring a backup) and has deleted since; the pointer does not name it; nobody works in it;
and nothing in it has changed for a day. All else is told, and left.
"""

from __future__ import annotations

import datetime
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import func, select

from exporter import files as exporter_files
from exporter import lock, publish
from exporter.errors import BrokenExportError
from exporter.util import Export
from registry_assets.process_manager import disk
from registry_assets.process_manager.deletion import CRAWL, crawl_directory
from registry_assets.process_manager.services import Services
from registry_resources.collect.crawls import CrawlFolder
from registry_resources.collect.layout import PARTIAL, remove_directory
from registry_resources.database import Collection as Publication
from registry_resources.database import Job
from registry_resources.process.result import JobFolder

KEY = re.compile(r"[a-z0-9_]+", re.ASCII)

GRACE = datetime.timedelta(hours=24)
"""What changed since then may be somebody's work in progress."""


@dataclass(frozen=True)
class Orphan:
    """Something without a job.

    Attributes:
        publication: the key it bears.
        job: the id it bears, or None.
        reason: what it is, for people.
        paths: where it is.
        remove: deletes it; None if it is not surely ours, or may be needed.
    """

    publication: str
    job: int | None
    reason: str
    paths: list[Path]
    remove: Callable[[], object] | None


@dataclass(frozen=True)
class _Known:
    """What the database knows: ids of jobs by key, and the greatest id it gave."""

    jobs: dict[str, set[int]]
    greatest: int
    now: datetime.datetime

    def lacks(self, key: str, job: int) -> bool:
        return job not in self.jobs.get(key, set())

    def doubt(self, key: str, job: int) -> str:
        """Why it is not deleted, or "" if it can be."""
        if key not in self.jobs:
            return "the catalogue has no such publication: if it is not to come back, delete it by hand"
        if job > self.greatest:
            return "the database never had such a job, so it may be older than the files: judge by hand"
        return ""

    def orphan(self, key: str, job: int, what: str, paths: list[Path], remove: Callable[[], object]) -> Orphan:
        """Describe one, which is deleted unless there is a doubt."""
        doubt = self.doubt(key, job)
        reason = f"{paths[0]}: {what} without a job{f'; {doubt}' if doubt else ''}"
        return Orphan(key, job, reason, paths, None if doubt else remove)

    def fresh(self, *paths: Path) -> bool:
        """Whether anything in there changed within the last day, so that it may be somebody's work."""
        return any(self.now.timestamp() - disk.last_change(path) < GRACE.total_seconds() for path in paths)


def find_orphans(services: Services, keys: Collection[str], now: datetime.datetime) -> Iterator[Orphan]:
    """Find what has no job.

    Args:
        services: what the job logic works with.
        keys: look at what bears these keys only; all if empty.
        now: the current time.
    """
    known = _known(services, now)
    for find in (_exports, _crawls, _processing):
        for orphan in find(services, known):
            if not keys or orphan.publication in keys:
                yield orphan


def _known(services: Services, now: datetime.datetime) -> _Known:
    with services.database.session(read_only=True) as session:
        jobs: dict[str, set[int]] = {key: set() for key in session.scalars(select(Publication.key))}
        for key, job in session.execute(select(Publication.key, Job.id).join(Job.collection)):
            jobs[key].add(job)
        return _Known(jobs, session.scalar(select(func.max(Job.id))) or 0, now)


def _exports(services: Services, known: _Known) -> Iterator[Orphan]:
    root = services.settings.exporter_dir
    for folder in disk.folders(root):
        key = folder.name
        if key not in known.jobs:
            if (folder / publish.LATEST).exists() or disk.folders(folder):
                reason = f"{folder}: {known.doubt(key, 0)}"
                yield Orphan(key, None, reason, [folder], None)
            continue
        try:
            pointer = publish.read_latest(root, key)
        except BrokenExportError:
            continue  # told with the publication
        named = pointer.directory if pointer else None
        if pointer and pointer.job.isdigit() and known.lacks(key, int(pointer.job)):
            reason = f"{folder / publish.LATEST}: it names job {pointer.job}, which the database lacks: judge by hand"
            yield Orphan(key, int(pointer.job), reason, [folder], None)
            continue
        yield from _directories(services, known, folder, named)
        yield from _unfinished(known, folder)


def _directories(services: Services, known: _Known, folder: Path, named: str | None) -> Iterator[Orphan]:
    for path in disk.folders(folder):
        number = path.name.partition(".r")[0]
        if not _is_number(number) or path.name == named or not known.lacks(folder.name, int(number)):
            continue
        target = Export(folder.name, path.name, root=services.settings.exporter_dir)
        if target.locked or known.fresh(path):
            continue
        yield known.orphan(folder.name, int(number), "an export", [path], partial(publish.remove, target))


def _unfinished(known: _Known, folder: Path) -> Iterator[Orphan]:
    """What a killed process left beside exports under temporary names, and locks of the dead."""
    old = [path for path in sorted(folder.iterdir()) if exporter_files.is_temporary(path) and not known.fresh(path)]

    def remove() -> None:
        lock.sweep(folder)
        for path in old:
            exporter_files.delete(path)

    if old:
        yield Orphan(folder.name, None, f"{folder}: {len(old)} unfinished files of processes that died", old, remove)


def _crawls(services: Services, known: _Known) -> Iterator[Orphan]:
    store = services.settings.files_store
    for path in disk.folders(services.settings.crawls_dir):
        match = CRAWL.fullmatch(path.name)
        if not match or not known.lacks(match[1], int(match[2])):
            continue
        crawl = CrawlFolder(path.parent, path.name)
        directory = crawl_directory(crawl)
        paths = [path, store / PARTIAL / path.name, *([store / directory] if directory else [])]
        if not crawl.alive() and not known.fresh(*paths):
            yield known.orphan(
                match[1], int(match[2]), "a crawl", paths, partial(_remove_crawl, crawl, store, directory)
            )


def _remove_crawl(crawl: CrawlFolder, store: Path, directory: str | None) -> None:
    if directory:
        remove_directory(store, directory)
    shutil.rmtree(store / PARTIAL / crawl.crawl, ignore_errors=True)
    shutil.rmtree(crawl.path)  # last, as it knows where the others are


def _processing(services: Services, known: _Known) -> Iterator[Orphan]:
    root = services.settings.process_dir
    for folder in disk.folders(root):
        for path in disk.folders(folder):
            if not _is_number(path.name) or not known.lacks(folder.name, int(path.name)):
                continue
            held = KEY.fullmatch(folder.name) and JobFolder(root, folder.name, int(path.name)).holder() is not None
            if not held and not known.fresh(path):
                remove = partial(shutil.rmtree, path)
                yield known.orphan(folder.name, int(path.name), "compiled releases", [path], remove)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()
