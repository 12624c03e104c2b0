"""Spiders that need no network, and one that does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import scrapy


def request(number: int) -> scrapy.Request:
    """A request that needs no network. An item straight out of `start` may keep an interrupted Scrapy from ending."""
    return scrapy.Request(f"data:,{number}", cb_kwargs={"number": number}, priority=-number, dont_filter=True)


class Acme(scrapy.Spider):
    """Gives `items` items, one each `pause` seconds."""

    name = "acme"
    items = "3"
    pause = "0"

    async def start(self) -> AsyncIterator[Any]:
        for number in range(int(self.items)):
            await asyncio.sleep(float(self.pause))
            yield request(number)

    def parse(self, response: Any, number: int) -> Any:
        yield {
            "file_name": f"{number}.json",
            "url": f"https://acme.example/{number}",
            "data_type": "release_package",
            "releases": [
                {"ocid": f"ocds-213czf-{number:03}", "id": "1", "date": f"{2020 + number % 3}-01-02T03:04:05Z"}
            ],
        }


class Texts(scrapy.Spider):
    """Gives a file of each text of `texts`, a JSON list."""

    name = "texts"
    texts = "[]"

    async def start(self) -> AsyncIterator[Any]:
        for number in range(len(json.loads(self.texts))):
            yield request(number)

    def parse(self, response: Any, number: int) -> Any:
        yield {
            "file_name": f"{number}.json",
            "url": f"https://acme.example/{number}",
            "data_type": "release_package",
            "text": json.loads(self.texts)[number],
        }


class Fetching(scrapy.Spider):
    """Requests `count` files below `url`, and tells of those that fail as Kingfisher Collect does."""

    name = "fetching"
    url = ""
    count = "0"

    async def start(self) -> AsyncIterator[Any]:
        for number in range(int(self.count)):
            yield scrapy.Request(
                f"{self.url}/{number}.json",
                meta={"file_name": f"{number}.json", "handle_httpstatus_all": True, "max_retry_times": 1},
            )

    def parse(self, response: Any) -> Any:
        name = response.meta["file_name"]
        if response.status != 200:
            self.logger.error(
                "status=%d message=%r request=%r file_name=%s", response.status, "", response.request, name
            )
            return
        yield {"file_name": name, "url": response.url, "data_type": "release_package", "text": response.text}


class Other(Acme):
    """Another one, whose logs and files are apart."""

    name = "other"


class Broken(scrapy.Spider):
    """Ends before it begins."""

    name = "broken"

    @classmethod
    def from_crawler(cls, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("no such luck")
