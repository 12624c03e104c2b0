"""Spiders that request nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import scrapy


class Acme(scrapy.Spider):
    """Gives `items` items, one each `pause` seconds."""

    name = "acme"
    items = "3"
    pause = "0"

    async def start(self) -> AsyncIterator[Any]:
        for number in range(int(self.items)):
            await asyncio.sleep(float(self.pause))
            yield {
                "file_name": f"{number}.json",
                "url": f"https://acme.example/{number}",
                "data_type": "release_package",
                "releases": [
                    {"ocid": f"ocds-213czf-{number:03}", "id": "1", "date": f"{2020 + number % 3}-01-02T03:04:05Z"}
                ],
            }


class Other(Acme):
    """Another one, whose logs and files are apart."""

    name = "other"


class Broken(scrapy.Spider):
    """Ends before it begins."""

    name = "broken"

    @classmethod
    def from_crawler(cls, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("no such luck")
