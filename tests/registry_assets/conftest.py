"""A whole registry, for tests that go through Dagster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from registry_resources.settings import KINGFISHER_VARIABLES, Settings
from tests.support.registry import TestRegistry


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestRegistry]:
    for name in ("DATABASE_URL", "EXPORTER_DIR", "KINGFISHER_COLLECT_FILES_STORE", "KINGFISHER_COLLECT_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name in KINGFISHER_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REGISTRY_HOME", str(tmp_path / "home"))
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        registry = TestRegistry(Settings.from_env(), instance)
        yield registry
        registry.database.dispose()
