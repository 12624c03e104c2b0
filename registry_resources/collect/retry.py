"""Tries failed downloads again, later each time. Belongs here: when and whether; Scrapy's middleware does the rest."""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import random
import re
from typing import TYPE_CHECKING, Any, cast

from scrapy.downloadermiddlewares.retry import RetryMiddleware
from scrapy.http import Request, Response

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from registry_resources.collect.spiders.base import CollectSpider


class BackoffRetryMiddleware(RetryMiddleware):
    """Waits before each new try: as long as `Retry-After` asks, else twice as long each time, with some chance in it.

    Settings: `RETRY_BACKOFF` (seconds before the second try), `RETRY_BACKOFF_MAX` (seconds at most), `RETRY_AFTER_MAX`
    (seconds at most that a server may ask for: if it asks for longer, the download isn't tried again).
    """

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> BackoffRetryMiddleware:
        """Make one of a crawler's settings."""
        middleware: BackoffRetryMiddleware = super().from_crawler(crawler)
        middleware.first = crawler.settings.getfloat("RETRY_BACKOFF")
        middleware.longest = crawler.settings.getfloat("RETRY_BACKOFF_MAX")
        middleware.longest_asked = crawler.settings.getfloat("RETRY_AFTER_MAX")
        return middleware

    first = 1.0
    longest = 60.0
    longest_asked = 600.0

    async def process_response(  # type: ignore[override]  # Scrapy awaits what is awaitable
        self, request: Request, response: Response
    ) -> Any:
        """Try again where the status says that it may help."""
        asked = retry_after((response.headers.get(b"Retry-After") or b"").decode("latin-1"))
        if asked is not None and asked > self.longest_asked:
            return response
        return await self._wait(super().process_response(request, response), asked)

    async def process_exception(  # type: ignore[override]
        self, request: Request, exception: Exception
    ) -> Any:
        """Try again where the error says that it may help."""
        return await self._wait(super().process_exception(request, exception), None)

    async def _wait(self, result: Any, asked: float | None) -> Any:
        if isinstance(result, Request):
            tries = result.meta["retry_times"]
            seconds = min(self.longest, self.first * 2 ** (tries - 1)) * random.uniform(0.5, 1)  # noqa: S311
            seconds = seconds if asked is None else asked
            # In steps, so that a crawl that is ending doesn't wait for it.
            while seconds > 0 and not cast("CollectSpider", self.crawler.spider).stopping:
                await asyncio.sleep(min(seconds, 0.5))
                seconds -= 0.5
        return result


def retry_after(text: str, now: datetime.datetime | None = None) -> float | None:
    """The seconds that a `Retry-After` header asks for (RFC 9110, 10.2.3: seconds or a date), or None."""
    text = text.strip()
    if re.fullmatch(r"\d{1,9}", text, re.ASCII):
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return max(0.0, (moment - (now or datetime.datetime.now(datetime.UTC))).total_seconds())
