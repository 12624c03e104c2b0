"""What tests of the Scrapyd backend share: its settings, and an invented log in the form of Kingfisher Collect's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from registry_assets.process_manager.rules.acceptance import rejection
from registry_resources.collect.backend import CrawlRequest, CrawlState
from registry_resources.collect.scrapyd import ScrapydBackend
from registry_resources.collect.scrapyd_client import ScrapydClient
from registry_resources.collect.scrapyd_end import Limits
from registry_resources.exceptions import DataRegistryError, RecoverableError
from registry_resources.settings import Settings
from tests.services.scripted_scrapyd import Fault, ScriptedScrapyd

CRAWL = "crawl-1"
QUICK = Limits(log=0.3, read=5, ended=0.6, heard=0.2, force=0.5, quiet=180, pause=0.02)

START = "2026-01-02 03:04:05 [scrapy.utils.log] INFO: Scrapy 2.16.0 started (bot: acme_bot)\n"
ASKED = (
    "2026-01-02 03:04:06 [acme] DEBUG: Sending synchronous request to Kingfisher Process at "
    "http://127.0.0.1:8009/api/collections/ with {'source_id': 'acme', 'data_version': '2026-01-02 03:04:06', "
    "'sample': False, 'upgrade': False, 'job': 'crawl-1', 'compile': True}\n"
)
CREATED = "2026-01-02 03:04:07 [acme] INFO: Created collection 7 in Kingfisher Process (2026-01-02 03:04:06)\n"
ITEM = (
    "2026-01-02 03:04:08 [scrapy.core.scraper] DEBUG: Scraped from <200 https://acme.example/1.json>\n"
    "{'file_name': '1.json', 'url': 'https://acme.example/1.json', 'data_type': 'release_package'}\n"
)
CLOSED = "2026-01-02 03:04:09 [acme] INFO: Closed collection 7 in Kingfisher Process\n"
STATS = (
    "2026-01-02 03:04:09 [scrapy.statscollectors] INFO: Dumping Scrapy stats:\n"
    "{'finish_reason': 'finished',\n 'item_scraped_count': 4,\n 'log_count/INFO': 9,\n"
    " 'start_time': datetime.datetime(2026, 1, 2, 3, 4, 6, 1, tzinfo=datetime.timezone.utc)}\n"
)
END = "2026-01-02 03:04:09 [scrapy.core.engine] INFO: Spider closed (finished)\n"
LOCATED = "2026-01-02 03:04:09 [acme] INFO: | The data is available at: /elsewhere/store/acme/20260102_030406 |\n"
HEALTHY = (START + CREATED + ITEM + LOCATED + CLOSED + STATS + END).encode()
LOGIN = b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>"


def settings_for(folder: Path, url: str) -> Settings:
    return Settings.from_env(
        {
            "REGISTRY_HOME": str(folder / "home"),
            "SCRAPYD_URL": url,
            "SCRAPYD_PROJECT": "kingfisher",
            "KINGFISHER_COLLECT_FILES_STORE": str(folder / "files"),
            "KINGFISHER_PROCESS_URL": "http://127.0.0.1:1",
            "KINGFISHER_PROCESS_DATABASE_URL": "postgresql://127.0.0.1/process",
        }
    )


def make(settings: Settings, **limits: float) -> ScrapydBackend:
    """A backend, as another process would make one anew."""
    assert settings.kingfisher
    client = ScrapydClient(settings.kingfisher.scrapyd_url, "kingfisher", timeout=2, schedule_timeout=2)
    return ScrapydBackend(settings, client=client, limits=dataclasses.replace(QUICK, **limits))


def request(spider: str = "acme", crawl: str = CRAWL, **changes: Any) -> CrawlRequest:
    return CrawlRequest(crawl, "acme", spider, changes.pop("arguments", {}), changes.pop("settings", {}))


def outcome(backend: ScrapydBackend) -> tuple[str, str]:
    """What the driver would make of asking once: `wait`, `retry`, `fail` or `accept`, and the text of it."""
    try:
        backend.schedule(request())
        progress = backend.status(CRAWL)
        if progress.state in {CrawlState.PENDING, CrawlState.RUNNING}:
            return "wait", progress.reason
        if progress.state == CrawlState.LOST:
            return "fail", progress.reason
        reason = rejection(backend.log(CRAWL), makes_collection=True)
    except RecoverableError as error:
        return "retry", str(error)
    except DataRegistryError as error:
        return "fail", str(error)
    return ("fail", reason) if reason else ("accept", "")


def scheduled(state: Any, log: bytes | str | None = None, **more: Any) -> Callable[[ScriptedScrapyd], None]:
    """A crawl that Scrapyd has, in a state, with a log."""

    def arrange(scrapyd: ScriptedScrapyd) -> None:
        scrapyd.state = state
        scrapyd.log = log.encode() if isinstance(log, str) else log
        for name, value in more.items():
            setattr(scrapyd, name, value)

    return arrange


def faulty(
    name: str, fault: Fault, *, state: Any = "running", log: bytes | None = HEALTHY, times: int | None = 1
) -> Any:
    """The same, whose answer to one request is wrong."""

    def arrange(scrapyd: ScriptedScrapyd) -> None:
        scheduled(state, log)(scrapyd)
        scrapyd.fault(name, fault, times)

    return arrange


def without(*parts: str) -> str:
    text = HEALTHY.decode()
    for part in parts:
        text = text.replace(part, "")
    return text


ERROR = {"status": "error", "node_name": "test"}
