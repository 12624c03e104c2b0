"""A registry with one publication and a job whose crawl has succeeded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry_assets.process_manager.services import Services
from registry_resources.database import Collection, Database, Job, Task
from registry_resources.settings import Settings
from tests.support.backends import COMPLETED, NoCollect, ScriptedProcess


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_env({"REGISTRY_HOME": str(tmp_path / "home"), "REGISTRY_WORKERS": "1"})


@pytest.fixture
def database(settings: Settings, sqlite: Path) -> Iterator[Database]:
    settings.home.mkdir(parents=True, exist_ok=True)
    shutil.copy(sqlite, settings.home / "registry.sqlite3")
    database = Database(settings.database_url)
    with database.session() as session:
        session.add(Collection(key="ruritania", title="Ruritania", source_id="bulk"))
    yield database
    database.dispose()


@pytest.fixture
def services(settings: Settings, database: Database) -> Services:
    return Services(settings, database, NoCollect(), ScriptedProcess(COMPLETED))  # type: ignore[arg-type]


@pytest.fixture
def collected_job(database: Database) -> int:
    """A job of run `run-1` that has collected, and has not processed yet."""
    with database.session() as session:
        job = Job.plan(session.query(Collection).one(), run_id="run-1")
        session.add(job)
        job.initiate()
        job.tasks[0].initiate()
        job.tasks[0].complete(Task.Result.OK)
        session.flush()
        return job.id
