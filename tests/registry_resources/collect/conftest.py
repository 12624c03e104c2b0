"""Fixtures for crawls: a fake publisher, and a backend whose crawls end with the test."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry_resources.collect.backend import CrawlProgress, CrawlRequest, CrawlState
from registry_resources.collect.crawls import CrawlFolder
from registry_resources.collect.scrapy import ScrapyBackend
from registry_resources.collect.scrapyd import ScrapydBackend
from registry_resources.settings import Settings
from tests.services.publisher import Answer, Publisher
from tests.services.scripted_scrapyd import ScriptedScrapyd
from tests.support.scrapyd import make, settings_for

# Quick retries, so that tests of faults take no time.
QUICK = {"RETRY_TIMES": "2", "RETRY_BACKOFF": "0.01"}

PATIENCE = 120
"""Seconds that a crawl may take on a machine that is busy with other tests."""


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher() as server:
        yield server


@pytest.fixture
def answer() -> type[Answer]:
    """The class of the publisher's answers."""
    return Answer


class Crawls:
    """A backend in a temporary folder, with shorter words for tests."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings.from_env({"REGISTRY_HOME": str(home)})
        self.backend = ScrapyBackend(self.settings, grace=5)
        self.ids: list[str] = []

    def request(self, crawl="job-1", spider="bulk", settings=None, key="pub", **arguments):
        """A request with the key pub, and quick retries."""
        return CrawlRequest(crawl, key, spider, arguments, QUICK | (settings or {}))

    def start(self, crawl="job-1", spider="bulk", settings=None, key="pub", **arguments):
        """Schedule a crawl; it ends with the test."""
        self.ids.append(crawl)
        return self.backend.schedule(self.request(crawl, spider, settings, key, **arguments))

    def wait(self, crawl="job-1", seconds=PATIENCE) -> CrawlProgress:
        """Wait until the crawl has ended or is lost."""
        return self.until(
            lambda progress: progress.state not in {CrawlState.PENDING, CrawlState.RUNNING}, crawl, seconds
        )

    def until(self, condition, crawl="job-1", seconds=PATIENCE) -> CrawlProgress:
        """Wait until its progress is as wished."""
        deadline = time.monotonic() + seconds
        while not condition(progress := self.backend.status(crawl)):
            assert time.monotonic() < deadline, f"{progress}\n{self.text(crawl)}"
            time.sleep(0.05)
        return progress

    def run(self, crawl="job-1", spider="bulk", settings=None, key="pub", **arguments):
        """Crawl to the end. Returns the log that was read."""
        self.start(crawl, spider, settings, key, **arguments)
        progress = self.wait(crawl)
        assert progress.state is CrawlState.FINISHED, (progress, self.text(crawl))
        return self.backend.log(crawl)

    def folder(self, crawl="job-1") -> CrawlFolder:
        """Its folder."""
        return CrawlFolder(self.settings.crawls_dir, crawl)

    def text(self, crawl="job-1") -> str:
        """All that it and its process said."""
        folder = self.folder(crawl)
        return "".join(p.read_text(errors="replace") for p in (folder.log, folder.output) if p.exists())

    def files(self, crawl="job-1") -> dict[str, bytes]:
        """The stored files, by name, in the order of their names."""
        directory = self.settings.files_store / self.backend.context(crawl)["directory"]
        return {p.name: p.read_bytes() for p in sorted(directory.rglob("*"), key=lambda p: p.name) if p.is_file()}


@pytest.fixture
def crawls(tmp_path):
    made = Crawls(tmp_path / "home")
    yield made
    for crawl in made.ids:
        made.backend.cancel(crawl)


@pytest.fixture
def scrapyd() -> Iterator[ScriptedScrapyd]:
    """A Scrapyd that answers as it is told to."""
    with ScriptedScrapyd() as server:
        yield server


@pytest.fixture
def kingfisher(tmp_path: Path, scrapyd: ScriptedScrapyd) -> Settings:
    """Settings of the Kingfisher services, with that Scrapyd."""
    return settings_for(tmp_path, scrapyd.url)


@pytest.fixture
def remote(kingfisher: Settings) -> ScrapydBackend:
    """The backend of that Scrapyd."""
    return make(kingfisher)
