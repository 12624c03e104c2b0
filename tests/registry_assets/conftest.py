"""A whole registry, for tests that go through Dagster."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from registry_resources.settings import KINGFISHER_VARIABLES, Settings
from tests.support.registry import TestRegistry


@pytest.fixture(scope="session")
def instance_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an instance whose databases have their tables, which takes a third of a second to make."""
    path = tmp_path_factory.mktemp("instance")
    with dg.instance_for_test(temp_dir=str(path)) as instance:
        instance.get_runs()
        instance.get_dynamic_partitions("none")
        instance.all_instigator_state()
    return path


@pytest.fixture
def instance_folder(tmp_path: Path, instance_template: Path) -> Path:
    """A folder to open an instance in, which is empty but has its tables already."""
    for name in ("history", "schedules"):
        shutil.copytree(instance_template / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def registry_home(tmp_path: Path, sqlite: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home that the environment names, and nothing else of the registry's in the environment."""
    for name in list(os.environ):
        if name.startswith("REGISTRY_"):
            monkeypatch.delenv(name)
    for name in ("DATABASE_URL", "EXPORTER_DIR", "KINGFISHER_COLLECT_FILES_STORE", "KINGFISHER_COLLECT_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name in KINGFISHER_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "home"
    monkeypatch.setenv("REGISTRY_HOME", str(path))
    path.mkdir(parents=True, exist_ok=True)
    shutil.copy(sqlite, path / "registry.sqlite3")
    return path


@pytest.fixture
def registry(instance_folder: Path, registry_home: Path) -> Iterator[TestRegistry]:
    with dg.instance_for_test(temp_dir=str(instance_folder)) as instance:
        registry = TestRegistry(Settings.from_env(), instance)
        assert registry.settings.home == registry_home
        yield registry
        registry.database.dispose()
