"""A registry between a real Scrapyd and a stand-in Kingfisher Process, whose workers work, and what is left of both.

Both do as the real ones were observed to. Does not belong here: either service (`tests/services`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from registry_assets.process_manager import cleanup
from registry_assets.process_manager.services import Services
from registry_resources.dagster_resources import CollectResource, ProcessResource
from registry_resources.database import Collection, Setting, SettingsBundle
from registry_resources.settings import Settings
from tests.services.kingfisher_process import KingfisherProcess
from tests.services.kingfisher_process_store import OF_A_COLLECTION
from tests.services.kingfisher_process_workers import Workers
from tests.services.real_scrapyd import PROJECT, RealScrapyd
from tests.support.kingfisher import kingfisher_on, prepare
from tests.support.registry import TestRegistry


@contextmanager
def used_by_a_registry(
    scrapyd: RealScrapyd, postgresql: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[KingfisherProcess]:
    """Kingfisher Process at work on what crawls of Scrapyd write, and the settings that name both."""
    prepare(postgresql)
    with kingfisher_on(postgresql, home) as bench, Workers(bench.process, scrapyd.files):
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


def add(registry: TestRegistry, process: KingfisherProcess, spider: str = "acme", **arguments: str) -> None:
    """Add the publication `acme`, whose crawls talk to Kingfisher Process."""
    registry.add("acme", spider, arguments=arguments)
    with registry.database.session() as session:
        bundle = SettingsBundle(name="services")
        bundle.settings = [Setting(key="KINGFISHER_API2_URL", value=process.url)]
        session.add(bundle)
        session.query(Collection).one().settings_bundle = bundle


def services_of(registry: TestRegistry) -> Services:
    """What the job logic works with, made anew, as by another process."""
    settings = Settings.from_env()
    return Services(
        settings, registry.database, CollectResource().backend(settings), ProcessResource().backend(settings)
    )


def clean_up(registry: TestRegistry) -> None:
    """Let the cleanup pass as often as it takes, until nothing passing is in the way."""
    deadline = time.monotonic() + 240
    while problems := cleanup.clean(services_of(registry), at_once=True).problems:
        assert time.monotonic() < deadline, problems
        time.sleep(0.5)
    assert all(job.archived for job in registry.jobs("acme"))


def assert_nothing_is_left(registry: TestRegistry, scrapyd: RealScrapyd, process: KingfisherProcess) -> None:
    """No file or folder in the file store, no row of a collection, no crawl that runs or waits."""
    assert sorted(scrapyd.files.rglob("*")) == []
    for table in ("collection", *OF_A_COLLECTION):
        assert (process.run(f"SELECT count(*) FROM {table}"), table) == ([(0,)], table)  # noqa: S608
    listed = requests.get(f"{scrapyd.url}/listjobs.json", params={"project": PROJECT}, timeout=60).json()
    assert (listed["pending"], listed["running"]) == ([], [])
    process_dir = registry.settings.process_dir
    assert not process_dir.exists() or not list(process_dir.rglob("*"))
