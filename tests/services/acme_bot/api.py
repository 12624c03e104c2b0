"""Talks to Kingfisher Process as Kingfisher Collect was observed to, if KINGFISHER_API2_URL is set.

It is named as the one of Kingfisher Collect, since its name is in the log when Kingfisher Process can't be reached.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any, Self

from scrapy import signals
from scrapy.exceptions import NotConfigured


class KingfisherProcessAPI2:
    """Makes a collection when the crawl starts, and closes it when it ends by itself."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.collection = 0
        self.items = 0

    @classmethod
    def from_crawler(cls, crawler: Any) -> Self:
        url = crawler.settings.get("KINGFISHER_API2_URL")
        if not url:
            raise NotConfigured
        extension = cls(url)
        for name in ("spider_opened", "item_scraped", "spider_closed"):
            crawler.signals.connect(getattr(extension, name), signal=getattr(signals, name))
        return extension

    def spider_opened(self, spider: Any) -> None:
        """Make a collection."""
        version = f"{spider.began:%Y-%m-%d %H:%M:%S}"
        asked = {
            "source_id": spider.name,
            "data_version": version,
            "sample": bool(spider.sample),
            "upgrade": False,
            "job": spider._job,
            "compile": True,
        }
        try:
            answer = self._post(spider, "/api/collections/", asked)
        except urllib.error.HTTPError as error:
            spider.logger.critical(
                "Failed to create collection: status=%d response=%r headers=%r",
                *(error.code, error.read().decode(), dict(error.headers)),
            )
        else:
            self.collection = answer["collection_id"]
            spider.logger.info("Created collection %d in Kingfisher Process (%s)", self.collection, version)

    def item_scraped(self, item: Any, spider: Any) -> None:
        """Count it. The stand-in reads the file store itself."""
        self.items += 1

    def spider_closed(self, spider: Any, reason: str) -> None:
        """Close the collection, unless the crawl was cancelled."""
        if self.collection and reason != "shutdown":
            stats = {"kingfisher_process_expected_files_count": self.items} if self.items else {}
            self._post(spider, f"/api/collections/{self.collection}/close/", {"reason": reason, "stats": stats})
            spider.logger.info("Closed collection %d in Kingfisher Process", self.collection)

    def _post(self, spider: Any, path: str, value: Any) -> Any:
        spider.logger.debug(
            "Sending synchronous request to Kingfisher Process at %s with %s", f"{self.url}{path}", value
        )
        request = urllib.request.Request(  # noqa: S310 - the test gives the URL
            self.url + path, json.dumps(value).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            return json.loads(response.read() or b"null")
