"""Publications from real crawls of a real Scrapyd, over Kingfisher Process, to published files, and every way to fail.

The crawls are of an invented project, and Kingfisher Process is a stand-in over a real PostgreSQL; both do as the real
ones were observed to.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from registry_assets.commands.check import run_checks
from registry_assets.process_manager import driver
from registry_assets.process_manager.services import Services
from registry_resources.dagster_resources import CollectResource, ProcessResource
from registry_resources.database import Collection, Job, Setting, SettingsBundle
from registry_resources.settings import Settings
from tests.services.kingfisher_process import KingfisherProcess
from tests.services.real_scrapyd import PROJECT, RealScrapyd
from tests.support.backends import Listener
from tests.support.kingfisher import Kingfisher, kingfisher_on, prepare
from tests.support.registry import TestRegistry, read_jsonl


@pytest.fixture(scope="module")
def scrapyd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealScrapyd]:
    pytest.importorskip("scrapyd")
    with RealScrapyd(tmp_path_factory.mktemp("scrapyd")) as server:
        yield server


@pytest.fixture
def process(
    scrapyd: RealScrapyd, postgresql: str, registry: TestRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[KingfisherProcess]:
    """Kingfisher Process, whose workers read the file store as soon as a crawl closes its collection."""
    prepare(postgresql)
    with kingfisher_on(postgresql, tmp_path / "unused") as bench:
        at_work(bench, scrapyd.files, monkeypatch)
        found = bench.settings.kingfisher
        assert found is not None
        for name, value in {
            "SCRAPYD_URL": scrapyd.url,
            "SCRAPYD_PROJECT": PROJECT,
            "KINGFISHER_COLLECT_FILES_STORE": str(scrapyd.files),
            "KINGFISHER_PROCESS_URL": bench.process.url,
            "KINGFISHER_PROCESS_DATABASE_URL": found.process_database_url,
        }.items():
            monkeypatch.setenv(name, value)
        yield bench.process


def at_work(bench: Kingfisher, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let closing a collection load its files, merge and complete it."""
    close = bench.process.close

    def work(root: int, *args: Any, **kwargs: Any) -> None:
        (source, version) = bench.process.run(
            "SELECT source_id, to_char(data_version AT TIME ZONE 'UTC', 'YYYYMMDD_HH24MISS') FROM collection"
            " WHERE id = %s",
            root,
        )[0]
        for path in sorted((files / source / version).rglob("*.json")):
            bench.process.load(root, path.name, json.loads(path.read_text())["releases"])
        close(root, *args, **kwargs)
        bench.process.merge(root)
        bench.process.complete(root)

    monkeypatch.setattr(bench.process, "close", work)


def add(registry: TestRegistry, process: KingfisherProcess, spider: str = "acme", **arguments: str) -> None:
    """Add the publication `acme`, whose crawls talk to Kingfisher Process."""
    registry.add("acme", spider, arguments=arguments)
    with registry.database.session() as session:
        bundle = SettingsBundle(name="services")
        bundle.settings = [Setting(key="KINGFISHER_API2_URL", value=process.url)]
        session.add(bundle)
        session.query(Collection).one().settings_bundle = bundle


def services(registry: TestRegistry) -> Services:
    settings = Settings.from_env()
    return Services(
        settings, registry.database, CollectResource().backend(settings), ProcessResource().backend(settings)
    )


def clean_up(registry: TestRegistry, job: Job) -> None:
    """Wipe what a job left, as the cleanup does, until nothing passing is in the way."""
    deadline = time.monotonic() + 120
    while True:
        listener = Listener()
        driver.wipe_unfinished(job.id, services(registry), listener)
        if not listener.lines:
            return
        assert time.monotonic() < deadline, listener.lines
        time.sleep(0.5)


def nothing_is_left(scrapyd: RealScrapyd, process: KingfisherProcess) -> None:
    """No file, no collection, no crawl that runs or waits."""
    assert not list(scrapyd.files.rglob("*.json"))
    deadline = time.monotonic() + 10
    while process.run("SELECT id FROM collection"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    listed = requests.get(f"{scrapyd.url}/listjobs.json", params={"project": PROJECT}, timeout=60).json()
    assert (listed["pending"], listed["running"]) == ([], [])


def when(condition: Callable[[], Any], then: Callable[[], Any]) -> threading.Thread:
    """Do something as soon as something is so."""

    def wait() -> None:
        deadline = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        then()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_publication_goes_from_a_crawl_to_a_download_and_leaves_nothing_behind(
    registry: TestRegistry, scrapyd: RealScrapyd, process: KingfisherProcess
) -> None:
    """All six assets; then the cleanup leaves only what is published."""
    add(registry, process, items="5")
    result = registry.run("acme")
    assert result.success
    lines = read_jsonl(registry.published("acme") / "full.jsonl.gz")
    assert sorted(line["ocid"] for line in lines) == [f"ocds-213czf-{number:03}" for number in range(5)]
    (job,) = registry.jobs("acme")
    shown = registry.metadata(result, "collected")
    assert (shown["files"], shown["collection"]) == (5, job.context["process_id"])
    assert requests.get(shown["crawl log"], timeout=60).ok
    clean_up(registry, job)
    nothing_is_left(scrapyd, process)
    assert registry.published("acme").is_dir()


@pytest.mark.parametrize(
    "case",
    [
        ("acme", {"items": "0"}, "The crawl collected no files"),
        ("acme", {"sample": "2"}, "The crawl was partial"),
        ("broken", {}, "RuntimeError: no such luck"),
    ],
)
def test_a_crawl_that_is_rejected_leaves_nothing_behind(
    case: tuple[str, dict[str, str], str], registry: TestRegistry, scrapyd: RealScrapyd, process: KingfisherProcess
) -> None:
    """COL-09: though Kingfisher Process has its collection, and Scrapyd says that it finished."""
    spider, arguments, reason = case
    add(registry, process, spider, **arguments)
    assert reason in registry.failure(registry.run("acme"))
    (job,) = registry.jobs("acme")
    assert job.result == Job.Result.FAILED
    clean_up(registry, job)
    nothing_is_left(scrapyd, process)


def test_a_crawl_while_kingfisher_process_is_down_is_rejected_as_that(
    registry: TestRegistry, scrapyd: RealScrapyd, process: KingfisherProcess
) -> None:
    """Observed: such a crawl looks well, and writes files that nobody reads. They go too."""
    add(registry, process, items="30")
    process.stop()
    assert "The crawl couldn't reach Kingfisher Process" in registry.failure(registry.run("acme"))
    assert list(scrapyd.files.rglob("*.json"))
    process.start_again()
    (job,) = registry.jobs("acme")
    clean_up(registry, job)
    nothing_is_left(scrapyd, process)


def test_a_restart_of_scrapyd_fails_the_job_and_the_next_one_succeeds(
    registry: TestRegistry, scrapyd: RealScrapyd, process: KingfisherProcess
) -> None:
    """ASK-04: the crawl goes on by itself, and what it wrote and fed goes once it has ended."""
    add(registry, process, items="80", pause="0.1")

    def restart() -> None:
        scrapyd.stop()
        scrapyd.start()

    thread = when(lambda: len(list(scrapyd.files.rglob("*.json"))) > 3, restart)
    failure = registry.failure(registry.run("acme"))
    thread.join()
    assert "it was restarted" in failure
    (lost,) = registry.jobs("acme")
    assert len(list((registry.settings.home / "crawls").iterdir())) == 1
    with registry.database.session() as session:
        session.query(Collection).one().spider_arguments = {"items": "5"}
    assert registry.run("acme").success
    for job in (lost, registry.jobs("acme")[1]):
        clean_up(registry, job)
    nothing_is_left(scrapyd, process)


def test_the_check_says_which_services_answer(
    registry: TestRegistry, scrapyd: RealScrapyd, process: KingfisherProcess
) -> None:
    """`registry check` tries each, and names the spiders that are missing."""
    add(registry, process)
    outcomes = {outcome.check: outcome for outcome in run_checks()}
    for name in ("Scrapyd", "Kingfisher Process", "Kingfisher Process' database"):
        assert outcomes[name].status == "ok", outcomes[name]
    assert f"project {PROJECT} has 3 spiders" in outcomes["Scrapyd"].detail
    registry.add("ruritania", "ruritania")
    process.stop()
    outcomes = {outcome.check: outcome for outcome in run_checks()}
    process.start_again()
    assert "has no spiders ruritania in project" in outcomes["Scrapyd"].detail
    assert outcomes["Kingfisher Process"].status == "failed"
