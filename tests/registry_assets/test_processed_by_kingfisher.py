"""A publication from a crawl at Scrapyd through Kingfisher Process to its published files, by settings alone."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry_assets.process_manager import driver
from tests.services.scripted_scrapyd import ScriptedScrapyd
from tests.support.kingfisher import Kingfisher, kingfisher_on, prepare, release
from tests.support.registry import TestRegistry, read_jsonl
from tests.support.scrapyd import HEALTHY


@pytest.fixture
def kingfisher(
    postgresql: str, registry: TestRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Kingfisher]:
    """Both services, and a registry that uses them."""
    prepare(postgresql)
    with kingfisher_on(postgresql, tmp_path / "unused") as bench, ScriptedScrapyd() as scrapyd:
        found = bench.settings.kingfisher
        assert found is not None
        for name, value in {
            "SCRAPYD_URL": scrapyd.url,
            "SCRAPYD_PROJECT": "kingfisher",
            "KINGFISHER_COLLECT_FILES_STORE": str(tmp_path / "files"),
            "KINGFISHER_PROCESS_URL": bench.process.url.replace("//", "//someone:canary-process@"),
            "KINGFISHER_PROCESS_DATABASE_URL": found.process_database_url,
        }.items():
            monkeypatch.setenv(name, value)
        registry.add("acme", "acme")
        bench.scrapyd = scrapyd  # type: ignore[attr-defined]
        yield bench


def crawl(kingfisher: Kingfisher, tmp_path: Path, releases: list[dict[str, object]]) -> threading.Thread:
    """Let the crawl be over once it is asked for: its log names collection 7, which Kingfisher Process has."""
    scrapyd: ScriptedScrapyd = kingfisher.scrapyd  # type: ignore[attr-defined]
    process = kingfisher.process

    def run() -> None:
        deadline = time.monotonic() + 60
        while scrapyd.state is None and time.monotonic() < deadline:
            time.sleep(0.02)
        folder = tmp_path / "files" / "acme" / "20260102_030406" / "0A1"
        folder.mkdir(parents=True)
        (folder / "1.json").write_text("{}")
        process.run("SELECT setval(pg_get_serial_sequence('collection', 'id'), 6)")
        root, _ = process.create("acme", "2026-01-02 03:04:06")
        process.load(root, "1.json", releases)
        process.close(root)
        scrapyd.state, scrapyd.log = "finished", HEALTHY
        process.merge(root)
        process.complete(root)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_the_same_assets_publish_what_the_services_made(
    registry: TestRegistry, kingfisher: Kingfisher, tmp_path: Path
) -> None:
    """Each release is in the published files; Dagit links to the collections, without the password."""
    thread = crawl(kingfisher, tmp_path, [release(1, "2021-01-02"), release(2, "2022-01-02")])
    result = registry.run("acme")
    thread.join()
    assert result.success
    (job,) = registry.jobs("acme")
    assert (job.result, job.context["process_id"], job.context["process_compiled_collection_id"]) == (
        "SUCCEEDED",
        7,
        8,
    )
    lines = read_jsonl(registry.published("acme") / "full.jsonl.gz")
    assert [line["ocid"] for line in lines] == ["ocds-213czf-001", "ocds-213czf-002"]
    shown = registry.metadata(result, "processed")
    assert shown["collections"] == f"http://someone:***@127.0.0.1:{kingfisher.process.port}/api/collections/7/tree/"
    assert (shown["compiled collection"], shown["compiled releases"]) == (8, 2)


def test_a_lost_file_ends_the_job_and_leaves_nothing_behind(
    registry: TestRegistry, kingfisher: Kingfisher, tmp_path: Path
) -> None:
    """PRO-09, RET-05: after the job has failed, its wipe leaves no collection and no file."""
    thread = crawl(kingfisher, tmp_path, [release(1), {"ocid": None}])
    result = registry.run("acme")
    thread.join()
    assert "Collection is empty: it has no compiled releases" in registry.failure(result)
    (job,) = registry.jobs("acme")
    assert job.result == "FAILED"
    services = dataclasses.replace(_services(registry), lease=None)
    driver.wipe_unfinished(job.id, services, _Silent())
    assert not kingfisher.process.exists(7)
    assert not list((tmp_path / "files").rglob("*.json"))


class _Silent:
    def progress(self, progress: object) -> None: ...

    def info(self, message: str) -> None: ...

    def warning(self, message: str) -> None:
        raise AssertionError(message)


def _services(registry: TestRegistry):
    from registry_assets.process_manager.services import Services
    from registry_resources.dagster_resources import CollectResource, ProcessResource
    from registry_resources.settings import Settings

    settings = Settings.from_env()
    return Services(
        settings, registry.database, CollectResource().backend(settings), ProcessResource().backend(settings)
    )
