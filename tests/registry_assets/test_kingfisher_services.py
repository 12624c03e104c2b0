"""What `registry check` says of a real Scrapyd and a stand-in Kingfisher Process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry_assets.commands.check import run_checks
from tests.services.kingfisher_process import KingfisherProcess
from tests.services.real_scrapyd import PROJECT, RealScrapyd
from tests.support.registry import TestRegistry
from tests.support.services import add, used_by_a_registry


@pytest.fixture(scope="module")
def scrapyd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealScrapyd]:
    pytest.importorskip("scrapyd")
    with RealScrapyd(tmp_path_factory.mktemp("scrapyd")) as server:
        yield server


@pytest.fixture
def process(
    scrapyd: RealScrapyd, postgresql: str, registry: TestRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[KingfisherProcess]:
    with used_by_a_registry(scrapyd, postgresql, tmp_path / "unused", monkeypatch) as service:
        yield service


def test_the_check_says_which_services_answer(
    registry: TestRegistry, scrapyd: RealScrapyd, process: KingfisherProcess
) -> None:
    """`registry check` tries each, and names the spiders that are missing."""
    add(registry, process)
    outcomes = {outcome.check: outcome for outcome in run_checks()}
    for name in ("Scrapyd", "Kingfisher Process", "Kingfisher Process' database"):
        assert outcomes[name].status == "ok", outcomes[name]
    assert f"project {PROJECT} has 5 spiders" in outcomes["Scrapyd"].detail
    registry.add("ruritania", "ruritania")
    process.stop()
    outcomes = {outcome.check: outcome for outcome in run_checks()}
    process.start_again()
    assert "has no spiders ruritania in project" in outcomes["Scrapyd"].detail
    assert outcomes["Kingfisher Process"].status == "failed"
