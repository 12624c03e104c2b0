"""What the registry's spiders share: where they write, how they count, and how they end.

Belongs here: threads, statistics, and the form of error lines, which the reader of crawl logs counts: one ERROR line
for each source that failed. Does not belong here: which sources there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import scrapy
from scrapy import Request, signals
from scrapy.exceptions import CloseSpider, IgnoreRequest
from scrapy.http import Response

from registry_resources.collect.archives import Limits
from registry_resources.collect.arguments import sample_size
from registry_resources.collect.download import REST
from registry_resources.collect.problems import StoppedError, StoreError
from registry_resources.collect.store import FileStore

T = TypeVar("T")
# Further lines of skipped files would say the same; their number is in the statistics.
MAX_SKIPPED_LINES = 100


class CollectSpider(scrapy.Spider):
    """A spider that streams what it finds into the file store."""

    crawl_dir: Path
    sample_size: int | None
    store: FileStore
    limits: Limits
    threads: ThreadPoolExecutor
    loop: asyncio.AbstractEventLoop
    _ended = False

    @property
    def stopping(self) -> bool:
        """Whether the crawl is ending: threads and waits look at it."""
        slot = getattr(self.crawler.engine, "_slot", None)
        return self._ended or (slot is not None and slot.closing is not None)

    @classmethod
    def from_crawler(cls, crawler: Any, *args: Any, **kwargs: Any) -> CollectSpider:
        """Make one, with the file store of its crawl."""
        spider: CollectSpider = super().from_crawler(crawler, *args, **kwargs)
        crawl = crawler.settings["REGISTRY_CRAWL"]
        spider.crawl_dir = Path(crawl["crawl_dir"])
        spider.sample_size = sample_size({"sample": getattr(spider, "sample", "")})
        spider.limits = Limits(
            crawler.settings.getfloat("COLLECT_MAX_RATIO"), crawler.settings.getint("COLLECT_MAX_RATIO_FROM")
        )
        spider.threads = ThreadPoolExecutor(max(1, crawler.settings.getint("COLLECT_THREADS")), "store")
        spider.store = FileStore(
            Path(crawl["files_store"]),
            crawl["directory"],
            Path(crawl["partial"]),
            spider.crawl_dir / "files.jsonl",
            crawler.settings.getint("COLLECT_MAX_BYTES"),
        )
        spider.store.stopping = lambda: spider.stopping
        crawler.signals.connect(spider._closed, signal=signals.spider_closed)
        return spider

    async def in_thread(self, function: Callable[..., T], *args: Any) -> T:
        """Run a function that reads or writes files beside the event loop.

        Raises:
            CloseSpider: if the file store can't be written.
        """
        self.loop = asyncio.get_running_loop()
        try:
            return await self.loop.run_in_executor(self.threads, function, *args)
        except StoreError as error:
            raise self.broken_store(error) from error

    def broken_store(self, error: StoreError) -> CloseSpider:
        """End the crawl because the file store can't be written. Its finish reason says so."""
        if not self.stopping:
            self.logger.critical("The crawl ends: %s", error)
        self._ended = True
        return CloseSpider(str(error))

    def stop_at_sample(self) -> None:
        """End the crawl if its sample is complete.

        Raises:
            CloseSpider: with the reason `sample`, in Kingfisher Collect's words.
        """
        if self.sample_size and self.store.files >= self.sample_size:
            self._ended = True
            raise CloseSpider("sample")

    def count(self, stat: str, amount: int = 1) -> None:
        """Add to a statistic."""
        self.crawler.stats.inc_value(stat, amount)

    def counted(self) -> None:
        """Bring the statistics of files up to date."""
        self.crawler.stats.set_value("file_count", self.store.files)
        self.crawler.stats.set_value("file_bytes", self.store.bytes)

    def error(self, where: str, what: str) -> None:
        """Count one error, of a source or of a member of an archive."""
        self.logger.error("%s: %s", where, what)

    def skipped(self, where: str, what: str) -> None:
        """Count something beside the data that was passed over."""
        self.count("skipped_count")
        seen = self.crawler.stats.get_value("skipped_count")
        if seen <= MAX_SKIPPED_LINES:
            self.logger.warning("Skipped %s: %s", where, what)
        if seen == MAX_SKIPPED_LINES:
            self.logger.warning("Skipped: further ones are only counted (skipped_count).")

    def failure(self, failure: Any) -> str:
        """What a failed request says of itself, in words that the reader of crawl logs sorts; "" if it is no error."""
        error = failure.value
        if rest := failure.request.meta.get(REST):  # nobody will ask for what is missing of it
            rest[0].unlink(missing_ok=True)
        if isinstance(error, StoppedError):
            return ""
        if isinstance(error, StoreError):
            # Raised from here, Scrapy would tell it as a failed download, too.
            reason = self.broken_store(error).reason
            self.ending = asyncio.ensure_future(self.crawler.engine.close_spider_async(reason=reason))
            return ""
        response: Response | None = getattr(error, "response", None)
        if response is not None:
            return f"status={response.status} message='' request=<{failure.request.method} {response.url}>"
        request: Request = failure.request
        tried = request.meta.get("retry_times", 0) + 1
        detail = str(error) if not isinstance(error, IgnoreRequest) else f"given up ({error})"
        return f"Error downloading <{request.method} {request.url}> ({tried} tries): {detail}"

    def _closed(self) -> None:
        self.counted()
        self.threads.shutdown(wait=True, cancel_futures=True)
        self.store.close()
