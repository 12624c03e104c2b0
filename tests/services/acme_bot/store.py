"""What Kingfisher Collect's extensions do, as far as others see it: their log lines, and the layout of the file store.

Without KINGFISHER_API2_URL, nothing is sent anywhere: the collection is invented, with a random id.
"""

from __future__ import annotations

import datetime
import json
import os
import random
import zlib
from pathlib import Path
from typing import Any, Self

from scrapy import signals


class Store:
    """Writes items as files, and says so."""

    invents = True
    collection = 0

    @classmethod
    def from_crawler(cls, crawler: Any) -> Self:
        store = cls()
        store.invents = not crawler.settings.get("KINGFISHER_API2_URL")
        for name in ("spider_opened", "item_scraped", "spider_closed"):
            crawler.signals.connect(getattr(store, name), signal=getattr(signals, name))
        return store

    def spider_opened(self, spider: Any) -> None:
        """Tell of the arguments and of a collection, before any request."""
        arguments = {name: getattr(spider, name, None) for name in ("sample", "from_date", "until_date")}
        spider.logger.info("Spider arguments: %r", arguments)
        spider.began = began = datetime.datetime.now(datetime.UTC)
        spider.sample = arguments["sample"]
        name = f"{spider.name}_sample" if arguments["sample"] else spider.name
        self.folder = Path(os.environ["FILES_STORE"]) / name / f"{began:%Y%m%d_%H%M%S}"
        if getattr(spider, "without", None) == "collection":
            spider.logger.critical("Failed to create collection: status=%d response=%r headers=%r", 503, "no", {})
        elif self.invents:
            self.collection = random.randrange(1, 1_000_000)
            spider.logger.info(
                "Created collection %d in Kingfisher Process (%s)", self.collection, f"{began:%Y-%m-%d %H:%M:%S}"
            )

    def item_scraped(self, item: Any, spider: Any) -> None:
        """Write a file, so that nobody sees it half written."""
        folder = self.folder / f"{zlib.adler32(item['file_name'].encode()) % 4096:03X}"
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / f".{item['file_name']}"
        unfinished.write_text(item["text"] if "text" in item else json.dumps({"releases": item["releases"]}))
        unfinished.rename(folder / item["file_name"])

    def spider_closed(self, spider: Any, reason: str) -> None:
        """Tell where the files are, and that the collection is closed; nothing of a crawl that was cancelled."""
        if reason not in {"finished", "sample"}:
            return
        found = f"The data is available at: {self.folder}"
        message = found if self.folder.exists() else "Something went wrong. No data was downloaded."
        spider.logger.info("+-%s DATA DIRECTORY %s-+", "-" * 20, "-" * 20)
        spider.logger.info("| %s |", message)
        if self.collection:
            spider.logger.info("Closed collection %d in Kingfisher Process", self.collection)
