"""The Scrapyd backend with a real Scrapyd, which runs real crawls, and is stopped and killed in the middle of them."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests

from registry_assets.process_manager.rules.acceptance import rejection
from registry_resources.collect.backend import CrawlProgress, CrawlRequest, CrawlState
from registry_resources.collect.scrapyd import ScrapydBackend
from registry_resources.collect.scrapyd_check import check_scrapyd
from registry_resources.collect.scrapyd_end import Limits
from registry_resources.exceptions import ConfigurationError, RecoverableError, UnexpectedError
from registry_resources.settings import Settings
from tests.services.real_scrapyd import PROJECT, RealScrapyd

LIMITS = Limits(pause=0.1)

T = TypeVar("T")


@pytest.fixture(scope="module")
def scrapyd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealScrapyd]:
    pytest.importorskip("scrapyd")
    with RealScrapyd(tmp_path_factory.mktemp("scrapyd")) as server:
        yield server


@pytest.fixture
def services(scrapyd: RealScrapyd, tmp_path: Path) -> Settings:
    return Settings.from_env(
        {
            "REGISTRY_HOME": str(tmp_path / "home"),
            "SCRAPYD_URL": scrapyd.url,
            "SCRAPYD_PROJECT": PROJECT,
            "KINGFISHER_COLLECT_FILES_STORE": str(scrapyd.files),
            "KINGFISHER_PROCESS_URL": "http://127.0.0.1:1",
            "KINGFISHER_PROCESS_DATABASE_URL": "postgresql://127.0.0.1/process",
        }
    )


def make(settings: Settings) -> ScrapydBackend:
    """A backend, as another process would make one anew."""
    return ScrapydBackend(settings, limits=LIMITS)


def request(crawl: str, spider: str = "acme", **arguments: str) -> CrawlRequest:
    return CrawlRequest(crawl, "acme", spider, arguments, {"RETRY_TIMES": "1"})


def patiently(call: Callable[[], T], seconds: float = 120) -> T:
    """Call it until nothing passing is in the way, as the driver does: a busy machine may not answer in time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except RecoverableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def until(
    backend: ScrapydBackend, crawl: str, condition: Callable[[CrawlProgress], bool], seconds: float = 120
) -> list[CrawlProgress]:
    """Ask as often as possible until something is so. Gives all that was told."""
    seen: list[CrawlProgress] = []
    deadline = time.monotonic() + seconds
    while not (seen and condition(seen[-1])):
        assert time.monotonic() < deadline, seen[-1]
        seen.append(patiently(lambda: backend.status(crawl)))
        assert seen[-1].state != CrawlState.LOST or condition(seen[-1]), seen[-1]
        time.sleep(0.02)
    return seen


def ended(progress: CrawlProgress) -> bool:
    return progress.state in {CrawlState.FINISHED, CrawlState.LOST}


def collecting(progress: CrawlProgress) -> bool:
    return progress.state == CrawlState.RUNNING and progress.files > 1


def jobs(scrapyd: RealScrapyd, crawl: str) -> list[Any]:
    """Every job of an id, as Scrapyd lists them."""
    listed = requests.get(f"{scrapyd.url}/listjobs.json", params={"project": PROJECT}, timeout=60).json()
    return [job for state in ("pending", "running", "finished") for job in listed[state] if job["id"] == crawl]


def test_a_crawl_goes_from_the_queue_to_an_accepted_end_and_leaves_nothing(
    scrapyd: RealScrapyd, services: Settings
) -> None:
    """COL-02 to COL-07, COL-15: asked all the while, also before there is a log, which is no failure."""
    backend = make(services)
    patiently(lambda: backend.schedule(request("whole-1")))
    seen = until(backend, "whole-1", ended)
    assert {progress.state for progress in seen} >= {CrawlState.RUNNING, CrawlState.FINISHED}
    assert any(progress.reason == "running: its log has not begun yet" for progress in seen)
    log = backend.log("whole-1")
    assert rejection(log, makes_collection=True) is None
    assert (log.items, seen[-1].files) == (3, 3)
    context = backend.context("whole-1")
    assert context["process_id"] == log.process_id
    assert str(context["scrapyd"]).startswith("finished (start 20")
    assert requests.get(str(context["scrapy_log"]), timeout=60).text.startswith("20")
    assert (scrapyd.files / str(context["directory"])).is_dir()
    patiently(lambda: backend.wipe(context))
    patiently(lambda: backend.wipe(context))
    assert not (scrapyd.files / "acme").exists()
    assert len(jobs(scrapyd, "whole-1")) == 1


def test_another_process_finds_the_crawl_again(scrapyd: RealScrapyd, services: Settings, tmp_path: Path) -> None:
    """Whatever it remembers, nothing is scheduled twice."""
    patiently(lambda: make(services).schedule(request("again-1", items="1000", pause="0.1")))
    patiently(lambda: make(services).schedule(request("again-1")))
    elsewhere = make(dataclasses.replace(services, home=tmp_path / "elsewhere"))
    patiently(lambda: elsewhere.schedule(request("again-1")))
    until(elsewhere, "again-1", collecting)
    assert len(jobs(scrapyd, "again-1")) == 1
    patiently(lambda: elsewhere.wipe(elsewhere.context("again-1")))
    assert not (scrapyd.files / "acme").exists()


def test_one_interrupt_ends_a_crawl_in_an_orderly_way(scrapyd: RealScrapyd, services: Settings) -> None:
    """Its log has an end, and tells of no second interrupt. A sample is found in its own folder."""
    backend = make(services)
    patiently(lambda: backend.schedule(request("cancel-1", items="1000", pause="0.1", sample="9")))
    until(backend, "cancel-1", collecting)
    patiently(lambda: backend.cancel("cancel-1"))
    patiently(lambda: make(services).cancel("cancel-1"))
    assert until(backend, "cancel-1", ended)[-1].state == CrawlState.FINISHED
    assert rejection(backend.log("cancel-1"), makes_collection=True) == "The crawl wasn't finished: shutdown"
    text = requests.get(str(backend.context("cancel-1")["scrapy_log"]), timeout=60).text
    assert len(re.findall("Received SIGINT", text)) == 1
    assert (scrapyd.files / "acme_sample").is_dir()
    patiently(lambda: backend.wipe(backend.context("cancel-1")))
    assert not (scrapyd.files / "acme_sample").exists()


def test_a_crawl_can_be_cancelled_the_moment_it_runs(scrapyd: RealScrapyd, services: Settings) -> None:
    """It may die before it writes a log, which is told as that, and is no obstacle to wiping."""
    backend = make(services)
    patiently(lambda: backend.schedule(request("early-1", items="1000", pause="0.1")))
    until(backend, "early-1", lambda progress: progress.state == CrawlState.RUNNING)
    patiently(lambda: backend.cancel("early-1"))
    last = until(backend, "early-1", ended)[-1]
    assert last.state == CrawlState.FINISHED or "was cancelled before it wrote a log" in last.reason
    patiently(lambda: backend.wipe({"job_id": "early-1", **backend.context("early-1")}))
    assert not (scrapyd.files / "acme").exists()


def test_a_pending_crawl_is_cancelled_in_the_queue(scrapyd: RealScrapyd, services: Settings) -> None:
    """Only one runs at a time here."""
    backend = make(services)
    patiently(lambda: backend.schedule(request("first-1", items="1000", pause="0.1")))
    until(backend, "first-1", lambda progress: progress.state == CrawlState.RUNNING)
    patiently(lambda: backend.schedule(request("second-1")))
    assert backend.status("second-1").state == CrawlState.PENDING
    patiently(lambda: backend.cancel("second-1"))
    assert jobs(scrapyd, "second-1") == []
    patiently(lambda: backend.wipe({"job_id": "first-1", **backend.context("first-1")}))


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_restart_in_the_middle_loses_what_runs_and_keeps_what_waits(
    end: str, scrapyd: RealScrapyd, services: Settings
) -> None:
    """ASK-04: the orphan is told as lost, never scheduled again, and wiped once it has ended by itself."""
    backend, running, waiting = make(services), f"orphan-{end}", f"waiting-{end}"
    patiently(lambda: backend.schedule(request(running, items="80", pause="0.1")))
    until(backend, running, collecting)
    patiently(lambda: backend.schedule(request(waiting, "other")))
    context = backend.context(running)
    getattr(scrapyd, end)()
    with pytest.raises(RecoverableError, match="refuses connections"):
        backend.status(running)
    scrapyd.start()
    lost = patiently(lambda: make(services).status(running))
    assert lost.state == CrawlState.LOST
    assert "it was restarted" in lost.reason
    patiently(lambda: make(services).schedule(request(running)))
    assert jobs(scrapyd, running) == []
    try:
        backend.wipe(context)
    except RecoverableError:
        assert "may still run without Scrapyd" in lost.reason
    assert until(backend, waiting, ended)[-1].state == CrawlState.FINISHED
    deadline = time.monotonic() + 120
    while not patiently(lambda: backend.log(running)).finish_reason:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for of_one in (context, backend.context(waiting)):
        assert (scrapyd.files / str(of_one["directory"])).is_dir()
        patiently(lambda of_one=of_one: backend.wipe(of_one))
        assert not (scrapyd.files / str(of_one["directory"])).exists()


def test_a_log_that_scrapyd_deleted_is_a_failure_with_that_reason(scrapyd: RealScrapyd, services: Settings) -> None:
    """Only one earlier log of a spider is kept here, five by default."""
    backend = make(services)
    for number in range(3):
        patiently(lambda number=number: backend.schedule(request(f"pruned-{number}", "other")))
    assert until(backend, "pruned-2", ended)[-1].state == CrawlState.FINISHED
    progress = backend.status("pruned-0")
    assert progress.state == CrawlState.LOST
    assert "jobs_to_keep" in progress.reason


@pytest.mark.parametrize(
    ("spider", "arguments", "reason"),
    [
        ("broken", {}, "its log has no end (RuntimeError: no such luck)"),
        ("acme", {"without": "collection"}, "Kingfisher Process refused (503) to make a collection"),
        ("acme", {"items": "0"}, "The crawl collected no files"),
    ],
)
def test_what_scrapyd_calls_finished_may_be_none(
    spider: str, arguments: dict[str, str], reason: str, scrapyd: RealScrapyd, services: Settings
) -> None:
    """Observed of Scrapyd: `finished` says nothing about success."""
    backend, crawl = make(services), f"bad-{spider}-{len(arguments)}-{len(reason)}"
    patiently(lambda: backend.schedule(request(crawl, spider, **arguments)))
    assert until(backend, crawl, ended)[-1].state == CrawlState.FINISHED
    assert reason in str(rejection(backend.log(crawl), makes_collection=True))
    patiently(lambda: backend.wipe({"job_id": crawl, **backend.context(crawl)}))
    assert not (scrapyd.files / spider).exists()


def test_a_spider_that_does_not_exist_is_refused_with_those_that_do(services: Settings) -> None:
    """COL-02."""
    with pytest.raises(UnexpectedError, match="There are: acme, broken, fetching, other, texts"):
        make(services).schedule(request("none-1", "nope"))


def test_the_check_says_what_answered(scrapyd: RealScrapyd, services: Settings) -> None:
    """`registry check`: Scrapyd, its project, and the spiders of the publications."""
    kingfisher = services.kingfisher
    assert kingfisher
    said = check_scrapyd(kingfisher, ["acme", "other"])
    assert said.startswith(f"{scrapyd.url} answers (")
    assert said.endswith(f"project {PROJECT} has 5 spiders")
    with pytest.raises(ConfigurationError, match="has no spiders georgia, moldova in project"):
        check_scrapyd(kingfisher, ["acme", "moldova", "georgia"])
    with pytest.raises(ConfigurationError, match="Correct SCRAPYD_PROJECT"):
        check_scrapyd(dataclasses.replace(kingfisher, scrapyd_project="nope"), [])
