"""The spider for OCDS APIs whose pages give the URL of the next one, as `links.next` or elsewhere.

A chain of pages breaks at its first fault, and what lies behind it is lost, so every break is told as a
`MissingNextLinkError`, which no error rate excuses (COL-09). Belongs here: following pages. Does not belong here:
what pages hold beside the link.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit

from scrapy import Request
from scrapy.http import Response

from registry_resources.collect.archives import documents
from registry_resources.collect.download import BODY
from registry_resources.collect.pages import read_page
from registry_resources.collect.problems import BadContentError, StoppedError
from registry_resources.collect.spiders.base import CollectSpider
from registry_resources.redaction import redact


class LinksNextSpider(CollectSpider):
    """Collects a chain of pages. See `arguments.SPIDERS` for its arguments."""

    name = "links_next"
    url = ""
    next_path = "links.next"

    async def start(self) -> AsyncIterator[Request]:
        """Request the first page, or the one after the last that an earlier attempt stored."""
        self.seen_urls: set[bytes] = set()
        self.seen_pages: dict[bytes, int] = {}
        number, url = await self.in_thread(self._resume)
        if url:
            yield self._request(url, number)

    async def parse(self, response: Response, number: int) -> AsyncIterator[Request]:
        """Store a page and request the next one."""
        path: Path = response.meta[BODY]
        try:
            following = await self.in_thread(self._store, path, response, number)
        except BadContentError as error:
            self._broken(response.url, str(error), number)
            return
        except StoppedError:
            return
        finally:
            await self.in_thread(path.unlink, True)  # missing_ok
        self.count("item_scraped_count")
        self.counted()
        self.stop_at_sample()
        if following:
            yield self._request(following, number + 1)

    def failed(self, failure: Any) -> None:
        """Tell of a page that couldn't be downloaded."""
        if text := self.failure(failure):
            self._broken(failure.request.url, text, failure.request.cb_kwargs["number"])

    def _request(self, url: str, number: int) -> Request:
        self.seen_urls.add(_digest(url.encode()))
        return Request(url, self.parse, errback=self.failed, cb_kwargs={"number": number}, dont_filter=True)

    def _broken(self, url: str, what: str, number: int) -> None:
        where = "" if "request=<" in what or "Error downloading" in what else f"{url}: "
        self.logger.error(
            "%s%s (MissingNextLinkError: the chain of pages breaks at page %s, and what follows is lost)",
            where,
            what,
            number,
        )

    def _resume(self) -> tuple[int, str]:
        number, following = 0, self.url.strip()
        for record in self.store.resume():
            if record["source"] != number + 1:
                break
            number, following = record["source"], record["next"]
            self.seen_urls.add(bytes.fromhex(record["url"]))
            self.seen_pages[bytes.fromhex(record["page"])] = number
            self.count("resumed_count", record["files"])
        if number:
            self.counted()
            self.logger.info("Resumed: %s pages are stored already.", number)
        return number + 1, following

    def _store(self, path: Path, response: Response, number: int) -> str:
        """Store a page. Returns the URL of the next one, or "".

        Raises:
            BadContentError: if it isn't a JSON object, or leads back.
        """
        url = response.request.url if response.request else response.url
        with path.open("rb") as file:
            temporary = _unwrapped(file, path, self)
        try:
            page, following = self._read(temporary, response.url, number)
            self.store.keep(temporary, f"page-{number:06d}.json", number, redact(response.url))
        finally:
            temporary.unlink(missing_ok=True)
        self.store.done(number, next=following, url=_digest(url.encode()).hex(), page=page.hex())
        return following

    def _read(self, path: Path, url: str, number: int) -> tuple[bytes, str]:
        """A page's digest, and the absolute URL of the next page, or "" at the last one."""
        found = read_page(path, self.next_path)
        with path.open("rb") as file:
            page = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
        if earlier := self.seen_pages.get(page):
            raise BadContentError(f"it is the same as page {earlier}: the server repeats itself")
        self.seen_pages[page] = number
        if not found.value:
            if number == 1 and not found.place:
                raise BadContentError(
                    f"the first page has no {self.next_path.rpartition('.')[0] or self.next_path}. Set next_path to "
                    "where pages give the next one's URL, or use the spider bulk for a single document"
                )
            return page, ""
        following = urljoin(url, found.value)
        if urlsplit(following).scheme not in {"http", "https"}:
            raise BadContentError(f"its next page is {following[:200]!r}, which is no http or https URL")
        if _digest(following.encode()) in self.seen_urls:
            raise BadContentError(f"its next page is {following[:200]}, which was read already: a loop")
        return page, following


def _unwrapped(file: BinaryIO, downloaded: Path, spider: CollectSpider) -> Path:
    """Unwrap a page, which may have come compressed. Returns the temporary file that it is in.

    Raises:
        BadContentError: if there isn't exactly one document.
    """
    path: Path | None = None
    try:
        size = downloaded.stat().st_size
        for document in documents(file, "", spider.limits, spider.store.partial, size=size, seekable=file):
            if document.stream is None:
                raise BadContentError(document.problem)  # noqa: TRY301
            if path:
                raise BadContentError("an archive of several documents, where a page is one")  # noqa: TRY301
            if document.whole:
                return downloaded
            path = spider.store.temporary()
            spider.store.write(document.stream, path)
    except BaseException:
        if path:
            path.unlink(missing_ok=True)
        raise
    if path is None:
        raise BadContentError("an archive without any document")
    return path


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=12).digest()
