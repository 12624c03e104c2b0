"""Ends crawls of Scrapyd, and deletes what they wrote.

Belongs here: interrupting once and no more, and which folder is a crawl's. Does not belong here: anything about crawls
that go on.

One interrupt ends a crawl in an orderly way; a second one kills it (observed of Scrapyd). So whoever interrupts a
crawl leaves a mark first, and whoever finds the mark only waits. A crawl whose Scrapyd was restarted runs on by itself
and can't be interrupted at all: nothing of it is deleted until its log has an end, or nothing more is written to it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry_resources.collect.arguments import is_sample
from registry_resources.collect.crawl_log import CrawlLog, is_data_version
from registry_resources.collect.layout import directory_of, remove_directory
from registry_resources.collect.scrapyd_client import NotReachedError, ScrapydClient
from registry_resources.collect.scrapyd_log import RemoteLog
from registry_resources.collect.scrapyd_memory import CrawlMemory
from registry_resources.exceptions import RecoverableError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """How long what may take, in seconds.

    Attributes:
        log: a running crawl to begin its log.
        read: reading a log, at once.
        ended: waiting for an interrupted crawl to end, at once: within a minute a run has to be cancelled, and the
            sensor that ends the crawls of dead runs has to be done. 5 were observed.
        heard: an interrupt whose answer never came to show in the log, before it is sent again.
        force: an interrupted crawl to end, before it is killed by a second interrupt. Requests that are under way may
            take 6 minutes each (Kingfisher Collect's DOWNLOAD_TIMEOUT).
        quiet: a log to stay as it is, until its crawl is taken for dead. Scrapy writes a line a minute.
        pause: between two looks.
    """

    log: float = 120.0
    read: float = 30.0
    ended: float = 25.0
    heard: float = 10.0
    force: float = 900.0
    quiet: float = 180.0
    pause: float = 1.0


@dataclass(frozen=True)
class Ending:
    """Ends one crawl.

    Attributes:
        client: the client.
        crawl: the crawl's id.
        memory: what is remembered of it.
        log: its log, or None if its spider isn't known.
        context: `Job.context`, as far as it is known.
        limits: how long what may take.
    """

    client: ScrapydClient
    crawl: str
    memory: CrawlMemory
    log: RemoteLog | None
    context: Mapping[str, object]
    limits: Limits

    def cancel(self) -> None:
        """Interrupt the crawl if it is pending or running, and wait until it is neither. Others are let alone.

        Raises:
            RecoverableError: if it hasn't ended yet, or Scrapyd can't tell. Calling again goes on waiting.
        """
        deadline = time.monotonic() + self.limits.ended
        while states := {state for state, _ in self.client.jobs(self.crawl)} - {"finished"}:
            self._interrupt(running="running" in states)
            if time.monotonic() > deadline:
                raise RecoverableError(
                    f"The crawl {self.crawl} was told to end, and hasn't yet: requests that are under way are waited "
                    "for. What it wrote is deleted after that."
                )
            time.sleep(self.limits.pause)

    def wipe(self, files_store: Path, spare: Collection[str]) -> None:
        """Delete what the crawl wrote, ending it first if it runs. Twice is once (COL-15).

        Args:
            files_store: the root of the file store.
            spare: folders that stay.

        Raises:
            UnexpectedError: if the folder isn't one of a crawl.
            RecoverableError: if it can't be deleted for now.
        """
        self.cancel()
        self._refuse_if_orphaned()
        self._learn()
        directory = self._directory()
        if directory is None or directory in spare:
            if directory:
                logger.warning("%s stays for now: another job's crawl wrote there too.", directory)
            return
        if (files := self.context.get("files")) and not files_store.is_dir():
            raise RecoverableError(
                f"{files_store} isn't there, and the crawl {self.crawl} wrote {files} files to it. Mount it, or "
                "correct KINGFISHER_COLLECT_FILES_STORE."
            )
        try:
            remove_directory(files_store, directory)
        except OSError as error:
            raise RecoverableError(f"{directory} can't be deleted now: {error.strerror} ({error.filename})") from error

    def _interrupt(self, *, running: bool) -> None:
        """Interrupt the crawl, unless it runs and that was done. One that is pending may begin at this very moment."""
        if not self.memory.claim_interrupt():
            if running and not self._may_repeat():
                return
            self.memory.release_interrupt()
            self.memory.claim_interrupt()
        self.memory.note(interrupt_unanswered=True)
        try:
            self.client.cancel(self.crawl)
        except NotReachedError:
            self.memory.release_interrupt()
            raise
        self.memory.note(interrupt_unanswered=False)

    def _may_repeat(self) -> bool:
        """Whether an interrupt was never answered and the log shows nothing of it, or the crawl never ends."""
        ago = self.memory.interrupted_for()
        if ago is None or ago > self.limits.force:
            return True
        unanswered = self.memory.read().get("interrupt_unanswered")
        return bool(unanswered) and ago > self.limits.heard and not self._read().closing

    def _read(self) -> CrawlLog:
        if self.log is None:
            return CrawlLog()
        while not self.log.read(self.limits.read):
            pass
        return self.log.result()

    def _learn(self) -> None:
        """Read in the log what isn't known yet of what the crawl made: it may have ended before anybody looked."""
        known = {**self.memory.read(), **{name: value for name, value in self.context.items() if value}}
        spider = known.get("spider")
        if self.log is None or not isinstance(spider, str) or (known.get("process_id") and known.get("directory")):
            return
        said = self._read()
        if not self.log.missing:
            remember(self.memory, said, spider)

    def _directory(self) -> str | None:
        """The crawl's folder, of what is remembered."""
        known = self.memory.read()
        for found in (self.context.get("directory"), known.get("directory")):
            if isinstance(found, str) and found:
                return found
        spider, version = (known.get(name) or self.context.get(name) for name in ("spider", "data_version"))
        if isinstance(spider, str) and isinstance(version, str) and is_data_version(version):
            return directory_of(f"{spider}_sample" if known.get("sample") else spider, version)
        if known.get("log_seen") and self.log is not None and (self.log.missing or self.log.result().items):
            logger.warning(
                "The folder of the crawl %s isn't known, since its log doesn't tell (any more). If there are files of "
                "it in KINGFISHER_COLLECT_FILES_STORE, delete them by hand.",
                self.crawl,
            )
        return None

    def _refuse_if_orphaned(self) -> None:
        """Refuse to delete what a crawl still writes that no Scrapyd can end."""
        if self.log is None or self.client.state(self.crawl) is not None or self._read().finish_reason:
            return
        age = self.log.age()
        began = self.memory.read().get("running_since")
        if age is None and isinstance(began, float) and 0 <= time.time() - began < self.limits.log:
            raise RecoverableError(
                f"The crawl {self.crawl} may have begun without Scrapyd, which was restarted: it ran already, and its "
                f"log may follow ({self.log.url}). It is looked for again until {self.limits.log:g} seconds have "
                "passed."
            )
        if age is not None and age < self.limits.quiet:
            raise RecoverableError(
                f"The crawl {self.crawl} may still run without Scrapyd, which was restarted: {age:.0f} seconds ago "
                f"it wrote to its log ({self.log.url}). Its files go once it has ended, or written nothing "
                f"for {self.limits.quiet:g} seconds. It can be ended on Scrapyd's machine."
            )


def directory_in(log: CrawlLog, spider: str, *, sample: bool) -> str | None:
    """The folder of a crawl, relative to the file store, as its log tells. None if it doesn't.

    It is named after the moment at which the crawl began, which is the data version, whether or not there is a
    collection. A log that names a folder is not believed (DEF-11).
    """
    version = log.data_version or log.began
    return directory_of(f"{spider}_sample" if sample else spider, version) if version else None


def remember(memory: CrawlMemory, log: CrawlLog, spider: str) -> dict[str, Any]:
    """Remember what a crawl's log says for the time when it is gone. Returns all that is known."""
    known = memory.note(spider=spider, log_seen=True)
    found = {"process_id": log.process_id, "data_version": log.data_version}
    found["directory"] = directory_in(log, spider, sample=bool(known.get("sample")) or is_sample(log.arguments))
    return memory.note(**{name: value for name, value in found.items() if value is not None})
