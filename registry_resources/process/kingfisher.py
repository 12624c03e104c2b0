"""Processing by Kingfisher Process: it is fed by the crawl itself, watched through its API, read from its database.

Belongs here: what its answers mean for a job, and not being fooled by what it loses in silence. Does not belong here:
requests (`kingfisher_api.py`), queries (`kingfisher_database.py`), or what a tree says (`kingfisher_tree.py`).
"""

from __future__ import annotations

import contextlib
import datetime
import re
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, urlsplit

from registry_resources.exceptions import ConfigurationError, RecoverableError, UnexpectedError
from registry_resources.process.backend import Note, ProcessJob, ProcessMetadata, ProcessProgress, ProcessState
from registry_resources.process.kingfisher_api import GoneError, KingfisherApi, Timeouts
from registry_resources.process.kingfisher_database import KingfisherDatabase, Stored
from registry_resources.process.kingfisher_notes import Losses, gathered
from registry_resources.process.kingfisher_stream import stream
from registry_resources.process.kingfisher_tree import Patience, Tree, count, diagnosis
from registry_resources.redaction import register_secret
from registry_resources.settings import Settings

_LEVELS = ("ERROR", "WARNING")
_DELETED_WITHIN = 60.0  # seconds; Kingfisher Process took 0.04 for 40 files
_REMEDY = "Materialise `collected` and what follows it again."


@dataclass
class _Watch:
    """What was last seen of a collection, and since when it looks so."""

    marks: tuple[object, ...] = ()
    since: float = 0.0
    looked: float = 0.0
    seen: str = ""
    patience: float = 0.0
    stored: tuple[int | None, int | None, int] = (None, None, 0)
    next_count: float = 0.0


class KingfisherProcess:
    """The process backend of the Kingfisher services.

    Args:
        settings: with `kingfisher` settings.
        patience: when to give up a collection that doesn't get on.
        timeouts: how long to wait for an answer.
        clock: gives seconds that only ever grow.
        sleep: waits for so many seconds.

    Raises:
        ConfigurationError: if the settings name no Kingfisher services, or can't be used.
    """

    name = "kingfisher"
    begins_anew = False
    """What the crawl has fed can't be begun anew, only deleted."""
    poll = (1.0, 30.0)
    """Kingfisher Process itself looks every 30 seconds whether it is done."""

    def __init__(
        self,
        settings: Settings,
        patience: Patience | None = None,
        timeouts: Timeouts | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if settings.kingfisher is None:
            raise ConfigurationError("The settings name no Kingfisher services: set SCRAPYD_URL and the others.")
        with contextlib.suppress(ValueError):  # an address that is none is told when it is used
            password = urlsplit(settings.kingfisher.process_url).password or ""
            register_secret(password)
            register_secret(unquote(password))
        self._api = KingfisherApi(settings.kingfisher.process_url, timeouts)
        self._database = KingfisherDatabase(settings.kingfisher.process_database_url)
        self._page = settings.kingfisher.page_size
        self._patience = patience or Patience()
        self._clock = clock
        self._sleep = sleep
        self._watches: dict[int, _Watch] = {}

    def start(self, job: ProcessJob) -> None:
        """Nothing is to be done: the crawl has announced each file (PRO-01)."""

    def status(self, job: ProcessJob) -> ProcessProgress:
        """Where it is: completed once both collections are (PRO-03).

        Raises:
            RecoverableError: if that can't be told for now.
            UnexpectedError: if the answer isn't one of Kingfisher Process.
        """
        try:
            tree = self._tree(job)
            compiled = _compiled(tree)
        except GoneError as error:
            return _failed(str(error))
        number = tree.root["id"]
        if tree.deleted:
            return _failed(f"Collection {number} is being deleted from Kingfisher Process. {_REMEDY}")
        if tree.completed:
            self._watches.pop(number, None)
            total = count(compiled, "cached_compiled_releases_count") or 0
            return ProcessProgress(ProcessState.COMPLETED, done=total, total=total, phase="merging")
        return self._watched(tree)

    def _watched(self, tree: Tree) -> ProcessProgress:
        """Running, unless it hasn't got on for too long."""
        now = self._clock()
        watch = self._watches.setdefault(tree.root["id"], _Watch(since=now))
        if now >= watch.next_count or (watch.seen and now - watch.since >= watch.patience):
            # What takes long to count is seldom counted, but always before it is given up.
            self._count(tree, watch, now)
        marks = (*tree.progress_marks(), watch.stored)
        if marks != watch.marks:
            watch.marks, watch.since, watch.looked, watch.seen = marks, now, now, ""
        quiet = now - watch.since
        if quiet >= self._patience.look and (not watch.seen or now - watch.looked >= self._patience.look):
            errors = self._gathered(tree.root["id"], ("ERROR",))
            watch.seen, watch.patience = diagnosis(tree, errors, self._patience, watch.stored[0])
            watch.looked = now
        if watch.seen and quiet >= watch.patience:
            return _failed(f"{watch.seen}. Nothing has happened for {_span(quiet)}. {_REMEDY}")
        files, ocids, compiled = watch.stored
        merging = tree.phase == "merging"
        return ProcessProgress(
            ProcessState.RUNNING,
            reason=watch.seen,
            done=compiled if merging else files or 0,
            total=ocids if merging else tree.expected_files,
            phase=tree.phase,
        )

    def _count(self, tree: Tree, watch: _Watch, now: float) -> None:
        """Count what is stored, seldom enough not to be a burden, however long counting takes."""
        if tree.compiled is not None:
            stored = self._database.stored(tree.originals, tree.compiled["id"])
            watch.stored = (stored.files, stored.ocids, stored.compiled)
            watch.next_count = self._clock() + max(5.0, 20 * (self._clock() - now))

    def metadata(self, job: ProcessJob) -> ProcessMetadata:
        """What is known of the result, what got lost on the way, and whether anything is left (PRO-04, PRO-09).

        Raises:
            RecoverableError: if it can't be told for now.
            UnexpectedError: if it is gone, or has a date that is none (PRO-05).
        """
        tree = self._tree(job)
        compiled = _compiled(tree)
        found = self._api.metadata(compiled["id"])
        losses, stored = self._compared(job, tree)
        counts = {
            "files": tree.expected_files,
            "releases": count(tree.root, "cached_releases_count"),
            "records": count(tree.root, "cached_records_count"),
            "ocids": stored.ocids,
            "compiled_releases": stored.compiled,
            **losses.counts(),
        }
        return ProcessMetadata(
            date_from=date_of(found.get("published_from")),
            date_to=date_of(found.get("published_to")),
            ocid_prefix=_text(found.get("ocid_prefix")),
            license=_text(found.get("license")),
            publication_policy=_text(found.get("publication_policy")),
            counts={name: number for name, number in counts.items() if number},
            context={"process_compiled_collection_id": compiled["id"]},
            failure=_emptiness(tree, stored),
        )

    def notes(self, job: ProcessJob) -> Sequence[Note]:
        """What Kingfisher Process has noted, and what got lost without a note. None if the collection is gone.

        Raises:
            RecoverableError: if that can't be told for now.
            UnexpectedError: if the answer isn't one of Kingfisher Process.
        """
        try:
            tree = self._tree(job)
        except GoneError:
            return []
        found = self._gathered(tree.root["id"], _LEVELS)
        if not tree.completed or tree.compiled is None:
            return found
        losses, stored = self._compared(job, tree)
        return [*losses.notes(stored), *found]

    def compiled_releases(self, job: ProcessJob) -> Generator[Sequence[tuple[str | None, bytes]]]:
        """Batches of (date or None, JSON as stored), sorted by `data.id`; empty ones while there is nothing yet.

        Raises:
            RecoverableError: if the connection breaks: then it is to be begun anew.
            UnexpectedError: if they are gone, or fewer or more than were counted.
        """
        number = _whole(job.context.get("process_compiled_collection_id"))
        if number is None:
            number = int(_compiled(self._tree(job))["id"])
        found = 0
        for batch in stream(self._database.connect, self._database.explained, number, self._page):
            found += len(batch)
            yield batch
        counted = _whole((job.context.get("process_counts") or {}).get("compiled_releases"))
        if found == 0 or found != (counted or found):
            raise UnexpectedError(
                f"Collection {number} of Kingfisher Process has {found:,} compiled releases, and had "
                f"{f'{counted:,}' if counted else 'some'} when it was completed: it was deleted or changed. {_REMEDY}"
            )

    def cancel(self, job: ProcessJob) -> None:
        """Nothing can be ended: a collection whose crawl was cancelled never closes, and is to be wiped."""

    def wipe(self, job: ProcessJob) -> None:
        """Delete the collection, and see that it is gone (PRO-10, DEF-18): a DELETE is only accepted, not done.

        One whose crawl never told of it, as it got no answer to its request, is found by the crawl's id.

        Raises:
            RecoverableError: if it can't be deleted for now, or is not gone within a minute.
            UnexpectedError: if the answer isn't one of Kingfisher Process.
        """
        number, crawl = _collection_of(job), job.context.get("job_id")
        if number is not None:
            self._wipe(number, job)
        elif isinstance(crawl, str) and crawl:
            for found in self._database.made_by(crawl):
                self._wipe(found, replace(job, context={**job.context, "process_id": found}))

    def _wipe(self, number: int, job: ProcessJob) -> None:
        try:
            known = self._tree(job).ids
        except GoneError as error:
            # Of derived collections nothing can be told then: their ids may be another crawl's by now (I5).
            known = [number]
            if isinstance(error, OthersError) or not self._database.rows_left(known):
                return
        deadline = self._clock() + _DELETED_WITHIN
        self._api.delete(number)
        wait = 0.05
        while self._api.tree(number) is not None or self._database.rows_left(known):
            if self._clock() > deadline:
                raise RecoverableError(
                    f"Kingfisher Process was asked to delete collection {number}, and it is still there after "
                    f"{_span(_DELETED_WITHIN)}: its worker for deletions may be down, or busy"
                )
            self._sleep(wait)
            wait = min(2.0, wait * 1.5)

    def _tree(self, job: ProcessJob) -> Tree:
        """The collections of a job.

        Raises:
            GoneError: if there are none (any more), or they are of another crawl.
        """
        number = _collection_of(job)
        if number is None:
            raise GoneError(f"The crawl has left no collection of Kingfisher Process. {_REMEDY}")
        answer = self._api.tree(number)
        if answer is None:
            raise GoneError(f"Collection {number} is gone from Kingfisher Process: it was deleted. {_REMEDY}")
        tree = Tree.of(answer)
        if not _is_of(tree.root, job.context):
            raise OthersError(
                f"Collection {number} of Kingfisher Process is of another crawl "
                f"({tree.root.get('source_id')}, {tree.root.get('data_version')}): its own is gone. {_REMEDY}"
            )
        return tree

    def _compared(self, job: ProcessJob, tree: Tree) -> tuple[Losses, Stored]:
        """What is stored, and what got lost on the way there."""
        compiled = _compiled(tree)
        stored = self._database.stored(tree.originals, compiled["id"])
        told = count(compiled, "cached_compiled_releases_count")
        if told is not None and told != stored.compiled:
            raise RecoverableError(
                f"Kingfisher Process counts {told:,} compiled releases in collection {compiled['id']}, and its "
                f"database has {stored.compiled:,}. If that lasts, KINGFISHER_PROCESS_URL and "
                "KINGFISHER_PROCESS_DATABASE_URL are of two different ones"
            )
        records = count(tree.root, "cached_records_count")
        if not records:
            stored = replace(stored, unreadable=tuple(name for name in stored.unreadable if name != "record"))
        elif "record" in stored.unreadable:
            stored = replace(stored, files=None, ocids=None)
        return Losses.between(_whole(job.context.get("files")), tree.expected_files, stored), stored

    def _gathered(self, number: int, levels: Sequence[str]) -> list[Note]:
        return gathered((level, *note) for level in levels for note in self._api.notes(number, level))


class OthersError(GoneError):
    """The collection of this id is another crawl's: Kingfisher Process was set up anew, say. It is left alone (I5)."""


def date_of(value: object) -> datetime.date | None:
    """The date of a text of Kingfisher Process, which is a publisher's, as the greatest or least of texts (PRO-05).

    Raises:
        UnexpectedError: if it is none.
    """
    if value is None or value == "":
        return None
    text = str(value)
    if " " in text:
        text = text.replace("T12:00:00", "")  # "2024-05-01 16:30:04.160T12:00:00Z", as one publisher has it
    try:
        return datetime.datetime.fromisoformat(text.strip()).date()
    except ValueError as error:
        raise UnexpectedError(
            f"Kingfisher Process gives {str(value)[:100]!r} as the first or last date of releases, which is no date"
        ) from error


def _compiled(tree: Tree) -> Mapping[str, Any]:
    """The compiled collection.

    Raises:
        GoneError: if there is none (PRO-02).
    """
    if tree.compiled is None:
        raise GoneError(
            f"No compiled collection: collection {tree.root['id']} of Kingfisher Process was made without one, or it "
            f"was deleted. {_REMEDY}"
        )
    return tree.compiled


def _emptiness(tree: Tree, stored: Stored) -> str:
    """Why nothing can come of a completed collection, or ""."""
    if tree.expected_files == 0:
        return f"Collection is empty: the crawl has collected no files. Look at the crawl's log. {_REMEDY}"
    if stored.compiled:
        return ""
    files = f"{tree.expected_files:,} files" if tree.expected_files is not None else "its files"
    why = "none of them could be merged" if stored.ocids else "Kingfisher Process has stored no release of them"
    return (
        f"Collection is empty: it has no compiled releases. Of {files}, {why}: they hold no releases, or one whose "
        f"ocid is null, for which a file is given up as a whole. Look at the notes and at the files. {_REMEDY}"
    )


def _is_of(root: Mapping[str, Any], context: Mapping[str, Any]) -> bool:
    """Whether a collection is of the crawl that a job remembers: with a new database, ids begin anew."""
    spider, version = context.get("spider"), context.get("data_version")
    digits = [re.sub(r"\D", "", str(each))[:14] for each in (version, root.get("data_version"))]
    return (not spider or root.get("source_id") == spider) and (not version or digits[0] == digits[1])


def _collection_of(job: ProcessJob) -> int | None:
    """The id of the original collection, of which nothing but digits is believed (DEF-11)."""
    return _whole(job.context.get("process_id"))


def _whole(value: object) -> int | None:
    """A positive whole number, given as one or as its digits; else None."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        value = int(value)
    return value if type(value) is int and 0 < value < 2**63 else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _failed(reason: str) -> ProcessProgress:
    return ProcessProgress(ProcessState.FAILED, reason=reason)


def _span(seconds: float) -> str:
    """Seconds, for people."""
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:,.0f} minutes"
