"""The spider for publications offered as files: URLs, paths, globs and folders, plain or in archives.

Belongs here: the way from a source to its documents in the file store. That a document is valid JSON is judged when
it is processed; here it must look like it. Does not belong here: opening archives, or the list of sources.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scrapy import Request
from scrapy.http import Response

from registry_resources.collect.archives import Document, documents
from registry_resources.collect.download import BODY
from registry_resources.collect.layout import safe_name
from registry_resources.collect.problems import BadContentError, StoppedError
from registry_resources.collect.sources import Source, saved
from registry_resources.collect.spiders.base import CollectSpider
from registry_resources.redaction import redact

BATCH = 100  # local files between two looks at the event loop
MAX_WAITING = 500  # requests at once, since all of them are held in memory
_SUFFIXES = (".json", ".jsonl", ".ndjson")
_WRAPPERS = (".gz", ".tgz", ".zip", ".tar")


class BulkSpider(CollectSpider):
    """Collects every JSON document of its sources. See `arguments.SPIDERS` for its arguments."""

    name = "bulk"
    urls = ""

    async def start(self) -> AsyncIterator[Request]:
        """Store each local source, and request each other one, that an earlier attempt hasn't completed."""
        done: set[int] = await self.in_thread(self._resume)
        sources = await self.in_thread(saved, self.crawl_dir / "sources.jsonl", self.urls)
        batch: list[tuple[int, Source]] = []
        self.waiting = 0
        for number, source in enumerate(sources, 1):
            if number in done:
                continue
            if source.problem:
                self.error(source.location, f"{source.problem}. Correct urls in spider_arguments")
            elif source.local:
                batch.append((number, source))
                if len(batch) == BATCH:
                    await self._store_batch(batch)
                    batch = []
            else:
                while self.waiting >= MAX_WAITING and not self.stopping:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                self.waiting += 1
                cb_kwargs = {"number": number, "source": source}
                yield Request(source.location, self.parse, errback=self.failed, cb_kwargs=cb_kwargs, dont_filter=True)
        await self._store_batch(batch)

    async def parse(self, response: Response, number: int, source: Source) -> None:
        """Store the documents of a source that was downloaded."""
        self.waiting -= 1
        path: Path = response.meta[BODY]
        try:
            await self.in_thread(self._store_whole, path, number, source)
        except StoppedError:
            self.logger.info("Stopped while storing %s.", source.location)
        finally:
            await self.in_thread(path.unlink, True)
        self.counted()
        self.stop_at_sample()

    async def _store_batch(self, batch: list[tuple[int, Source]]) -> None:
        """Store the documents of local sources: they need no request, each of which takes Scrapy 3 ms."""

        def store() -> None:
            for number, source in batch:
                if self.stopping:
                    return
                self._store_whole(Path(source.location), number, source)

        try:
            await self.in_thread(store)
        except StoppedError:
            self.logger.info("Stopped while storing %s.", batch[0][1].location)
        self.counted()
        self.stop_at_sample()

    def failed(self, failure: Any) -> None:
        """Count a source that couldn't be downloaded."""
        self.waiting -= 1
        if text := self.failure(failure):
            self.logger.error("%s", text)

    def _resume(self) -> set[int]:
        done = set()
        for record in self.store.resume():
            done.add(record["source"])
            self.count("resumed_count", record["files"])
        if done:
            self.counted()
            self.logger.info("Resumed: %s files of %s sources are stored already.", self.store.files, len(done))
        return done

    def _store_whole(self, path: Path, number: int, source: Source) -> None:
        """Store the documents of a file, and record it as done unless something was wrong with it."""
        if self._store(path, number, source):
            self.store.done(number)

    def _store(self, path: Path, number: int, source: Source) -> bool:
        """Store the documents of a file. Returns whether all of it was as it should be."""
        name = _name(source.location)
        if not path.is_file():  # opening a pipe would wait for ever
            self._tell(source.location, "it isn't a file, or is gone", counts=True)
            return False
        try:
            file = path.open("rb")
        except OSError as error:
            self._tell(source.location, f"it can't be read: {error.strerror}", counts=True)
            return False
        whole, told = True, ""
        with file:
            size = path.stat().st_size
            found = documents(file, name, self.limits, self.store.partial, size=size, seekable=file)
            for member, document in enumerate(found, 1):
                where = f"{source.location} ({document.member})" if document.member else source.location
                problem, counts = document.problem, document.counts
                if not problem and self.sample_size and self.store.files >= self.sample_size:
                    break
                if not problem:
                    problem, counts = self._keep(document, path, number, member, source), True
                # A cut-off archive is told once: where it was cut, not again at its end.
                if problem and (document.member or problem != told):
                    told = problem
                    beside = source.listed and not document.member and not _claims(name)
                    whole &= self._tell(where, problem, counts=counts and not beside)
        return whole

    def _keep(self, document: Document, path: Path, number: int, member: int, source: Source) -> str:
        """Store one document. Returns what is wrong with it, or ""."""
        if document.stream is None:
            return document.problem
        label = f"{source.location}#{document.member}" if document.member else source.location
        file_name = _file_name(_name(source.location), document.member, number, member)
        if document.whole and not source.local:
            temporary = path  # it lies in the file store already
        else:
            temporary = self.store.temporary()
            try:
                self.store.write(document.stream, temporary)
            except BadContentError as error:
                return str(error)
            except OSError as error:
                return f"it can't be read: {error.strerror}"
        self.store.keep(temporary, file_name, number, redact(label))
        self.loop.call_soon_threadsafe(self.count, "item_scraped_count")
        return ""

    def _tell(self, where: str, problem: str, *, counts: bool) -> bool:
        """Tell of a problem from a thread. Returns whether it is none to count."""
        tell = self.error if counts else self.skipped
        self.loop.call_soon_threadsafe(tell, where, problem)
        return not counts


def _name(location: str) -> str:
    """The name that a URL or a path gives a file."""
    path = urlsplit(location).path if "://" in location else location
    return path.rstrip("/").rsplit("/", 1)[-1] or "data"


def _claims(name: str) -> bool:
    """Whether a name says that the file holds JSON or an archive of it."""
    return name.lower().endswith((*_SUFFIXES, *_WRAPPERS))


def _file_name(name: str, member: str, number: int, member_number: int) -> str:
    """The name under which a document is stored: unique by its numbers, which keep the order of the sources."""
    safe = safe_name(member or name)
    while safe.lower().endswith(_WRAPPERS):
        safe = safe.rsplit(".", 1)[0]
    if not safe.lower().endswith(_SUFFIXES):
        safe = f"{safe}.json"
    return f"{number:06d}-{member_number:06d}-{safe}" if member else f"{number:06d}-{safe}"
