"""Spiders of a checkout such as Kingfisher Collect's, run by name: here an invented Scrapy project."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

import pytest

from registry_assets.process_manager.rules.acceptance import rejection
from registry_resources.collect.backend import CrawlState
from registry_resources.collect.scrapy import ScrapyBackend
from registry_resources.exceptions import UnexpectedError
from registry_resources.settings import Settings

SPIDERS = """
    import os, scrapy

    class Base(scrapy.Spider):
        sample = None
        crawl_time = None

        async def start(self):
            self.logger.info("Cookie is %s", self.settings["CF_CLEARANCE"])
            for n in range(3):
                yield scrapy.Request(f"{self.base}/{n}")

        def parse(self, response):
            yield {"file_name": response.url.rsplit("/", 1)[1] + ".json", "data": response.body}

    class InventedSpider(Base):
        name = "invented"

    class BrokenSpider(Base):
        name = "broken"

        @classmethod
        def from_crawler(cls, crawler, *args, **kwargs):
            raise RuntimeError("it breaks before it begins")
"""
PIPELINE = """
    import os, zlib

    class Store:
        @classmethod
        def from_crawler(cls, crawler):
            store = cls()
            store.crawler = crawler
            return store

        def process_item(self, item):
            spider = self.crawler.spider
            moment = self.crawler.stats.get_value("start_time")
            name = spider.name + ("_sample" if spider.sample else "")
            folder = f"{zlib.adler32(item['file_name'].encode()) % 4096:03X}"
            path = os.path.join(self.crawler.settings["FILES_STORE"], name, f"{moment:%Y%m%d_%H%M%S}", folder)
            os.makedirs(path, exist_ok=True)
            with open(os.path.join(path, item["file_name"]), "wb") as file:
                file.write(item["data"])
            return {"file_name": item["file_name"]}
"""


@pytest.fixture
def checkout(tmp_path):
    root = tmp_path / "checkout"
    package = root / "invented_scrapy"
    (package / "spiders").mkdir(parents=True)
    (root / "scrapy.cfg").write_text("[settings]\ndefault = invented_scrapy.settings\n")
    (package / "__init__.py").touch()
    (package / "spiders" / "__init__.py").touch()
    (package / "spiders" / "some.py").write_text(textwrap.dedent(SPIDERS))
    (package / "pipelines.py").write_text(textwrap.dedent(PIPELINE))
    (package / "settings.py").write_text(
        "import os\n"
        'BOT_NAME = "invented"\n'
        'SPIDER_MODULES = ["invented_scrapy.spiders"]\n'
        'ITEM_PIPELINES = {"invented_scrapy.pipelines.Store": 1}\n'
        'FILES_STORE = os.environ["FILES_STORE"]\n'
    )
    return root


@pytest.fixture
def crawls_there(crawls, checkout):
    crawls.settings = Settings.from_env(
        {"REGISTRY_HOME": str(crawls.settings.home), "KINGFISHER_COLLECT_DIR": str(checkout)}
    )
    crawls.backend = ScrapyBackend(crawls.settings, collect_python=Path(sys.executable), grace=5)
    return crawls


def test_a_spider_of_a_checkout_runs_by_name(crawls_there, publisher):
    """Its own pipeline writes; where it wrote and its data version are known, strictly, once it began."""
    base = publisher.url()
    for n in range(3):
        publisher.add(f"/{n}", b"[%d]" % n)

    log = crawls_there.run(spider="invented", base=base, settings={"CF_CLEARANCE": "canary-77aa"})

    context = crawls_there.backend.context("job-1")
    assert context["directory"] == f"invented/{context['data_version'].translate({45: None, 58: None, 32: '_'})}"
    assert crawls_there.files() == {"0.json": b"[0]", "1.json": b"[1]", "2.json": b"[2]"}
    assert (log.items, log.errors, log.data_version, rejection(log)) == (3, 0, context["data_version"], None)
    assert crawls_there.backend.status("job-1").files == 3
    assert "Cookie is ***" in crawls_there.text()
    assert "canary" not in crawls_there.text()
    assert crawls_there.start(spider="invented", base=base) == context
    crawls_there.backend.wipe({"job_id": "job-1"})
    assert not (crawls_there.settings.files_store / "invented").exists()


def test_a_sample_of_a_checkout_is_in_a_folder_of_its_own(crawls_there, publisher):
    """Observed: the folder of a sample has the suffix _sample."""
    for n in range(3):
        publisher.add(f"/{n}", b"[]")

    log = crawls_there.run(spider="invented", base=publisher.url(), sample="1")

    assert crawls_there.backend.context("job-1")["directory"].startswith("invented_sample/")
    assert "partial (sample=1)" in rejection(log, {"sample": "1"})


def test_crawls_of_one_spider_that_start_together_get_a_second_each(crawls_there, publisher):
    """Observed of Scrapyd: in one second they shared a folder and a data version."""
    for n in range(3):
        publisher.add(f"/{n}", b"[]")
    for n in range(2):
        crawls_there.start(f"job-{n}", "invented", base=publisher.url())
    for n in range(2):
        crawls_there.wait(f"job-{n}")

    directories = {crawls_there.backend.context(f"job-{n}")["directory"] for n in range(2)}
    assert len(directories) == 2
    assert all(len(crawls_there.files(f"job-{n}")) == 3 for n in range(2))


def test_an_unknown_spider_is_told_with_those_that_exist(crawls_there):
    """The message names it, those of the checkout and the registry's own, and the remedy."""
    with pytest.raises(UnexpectedError, match="There is no spider 'nope'") as error:
        crawls_there.start(spider="nope")
    assert "broken, bulk, invented, links_next" in str(error.value)
    assert "Correct the publication's source_id" in str(error.value)


def test_the_generic_spiders_stay_available(crawls_there, publisher):
    """A checkout adds spiders."""
    log = crawls_there.run(spider="bulk", urls=publisher.add("/a", b"{}"))

    assert (log.items, list(crawls_there.files())) == (1, ["000001-a.json"])


def test_a_spider_that_breaks_before_it_begins_has_ended(crawls_there):
    """Observed of Scrapyd: finished, without statistics; the reason is in the log."""
    crawls_there.start(spider="broken", base="x")
    progress = crawls_there.wait()

    log = crawls_there.backend.log("job-1")
    assert progress.state is CrawlState.FINISHED
    assert "The crawl wasn't finished: its log has no end" in rejection(log)
    assert "it breaks before it begins" in rejection(log)


def test_a_checkout_that_cant_be_loaded_is_told(crawls_there, checkout):
    """The last line of its error is in the message, and what to check."""
    (checkout / "invented_scrapy" / "settings.py").write_text("import nothing_of_that_name\n")
    with pytest.raises(UnexpectedError, match="can't be listed") as error:
        crawls_there.start(spider="invented")
    assert "No module named 'nothing_of_that_name'" in str(error.value)
    assert "KINGFISHER_COLLECT_DIR" in str(error.value)


def test_a_folder_that_a_checkout_names_strangely_is_never_deleted(crawls_there):
    """DEF-11: the name and the moment are of a strict form, or nothing is deleted."""
    folder = crawls_there.folder("job-1")
    folder.make()
    folder.write("request", {"key": "pub", "spider": "invented", "project": True})
    for located in (
        {"data_version": "../../x", "name": "a"},
        {"data_version": "2020-01-01 00:00:00", "name": "../.."},
    ):
        (folder.path / "located.json").write_text(json.dumps(located))
        with pytest.raises(UnexpectedError, match="nothing was deleted"):
            crawls_there.backend.wipe({"job_id": "job-1"})
