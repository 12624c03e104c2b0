"""What a collect backend is: the contract between the collect task and whatever runs crawls.

Belongs here: the protocol and the values that cross it. Does not belong here: any way of running a crawl.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from registry_resources.collect.crawl_log import CrawlLog


class CrawlState(StrEnum):
    """Where a crawl is, in Scrapyd's words (observed of Scrapyd: `finished` says nothing about success)."""

    PENDING = "pending"
    RUNNING = "running"
    FINISHED = "finished"
    LOST = "lost"


@dataclass(frozen=True)
class CrawlRequest:
    """What to crawl.

    Attributes:
        crawl: the crawl's id, of the caller's making (`[A-Za-z0-9_-]+`): asking again for the same id starts nothing.
        key: the publication's key.
        spider: the spider's name.
        arguments: the spider's arguments (`spider_arguments` of the publication).
        settings: Scrapy settings (of the settings bundle), `env:NAME` values already resolved. Never logged.
    """

    crawl: str
    key: str
    spider: str
    arguments: Mapping[str, str]
    settings: Mapping[str, str]


@dataclass(frozen=True)
class CrawlProgress:
    """A crawl's state, and how far it is.

    Attributes:
        state: where it is.
        files: files written so far.
        bytes: their size.
        reason: if it is lost, why, in a sentence; else the last thing it said, or "".
    """

    state: CrawlState
    files: int = 0
    bytes: int = 0
    reason: str = ""


class CollectBackend(Protocol):
    """Runs crawls. Every method names the crawl by its id, may be repeated, and may raise RecoverableError.

    Attributes:
        name: what it is called.
        poll: how often to ask it where a crawl is: the shortest and the longest interval, in seconds.
        resumes: whether scheduling a lost crawl again goes on with it. If not, a lost crawl has failed (ASK-04).
        makes_collections: whether its crawls make a collection in Kingfisher Process.
    """

    name: str
    poll: tuple[float, float]
    resumes: bool
    makes_collections: bool

    def schedule(self, request: CrawlRequest) -> Mapping[str, str | int]:
        """Start a crawl, unless it was started already.

        Returns:
            What to remember of it in `Job.context`: at least `spider`, `job_id` (the crawl's id), `scrapy_log` (where
            its log is read: a path or a URL, without secrets), and, as soon as they are known, `data_version`
            (`YYYY-MM-DD HH:MM:SS`, UTC), `directory` (relative to the file store), `process_id` (the collection in
            Kingfisher Process, an integer) and `scrapyd` (what Scrapyd said at the end).

        Raises:
            UnexpectedError: if the spider is unknown (with those that exist) or an argument is refused.
        """

    def status(self, crawl: str) -> CrawlProgress:
        """Where the crawl is. An id that was never scheduled, or was forgotten, is LOST."""

    def context(self, crawl: str) -> Mapping[str, str | int]:
        """What to remember of the crawl in `Job.context`, as far as it is known by now, like `schedule` returns it."""

    def log(self, crawl: str) -> CrawlLog:
        """What the crawl's log says, read so far."""

    def cancel(self, crawl: str) -> None:
        """End the crawl: gracefully, then by force. Returns when it has ended. No crawl of that id is no error."""

    def wipe(self, context: Mapping[str, object], spare: Collection[str] = ()) -> None:
        """Delete what the crawl wrote, given `Job.context`, ending it first if it runs. Twice is once.

        Args:
            context: `Job.context`.
            spare: folders, relative to the file store, that stay: another crawl that is still needed wrote there too.
        """
