"""Fixtures that tests of every room use. What only one room needs stands in that room's own conftest."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry_resources.database import Database, schema
from tests.support import postgresql as servers

LONG = (
    "deploy/test_production.py",
    "exporter/test_crash.py",
    "registry_assets/commands/test_run_after_a_death.py",
    "registry_assets/test_by_itself.py",
    "registry_assets/test_crash_runs.py",
    "registry_assets/test_kingfisher_cases.py",
    "registry_assets/test_kingfisher_services.py",
    "registry_assets/test_outages.py",
    "registry_assets/test_recovery.py",
    "registry_assets/test_soak.py",
)
"""Files whose few tests take minutes, and most of them several processes at once."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGCHLD)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Keep pytest-xdist from putting the files with the fewest tests last, which are the long ones."""
    config.option.loadscopereorder = False
    missing = [name for name in LONG if not (Path(__file__).parent / name).is_file()]
    assert not missing, f"no longer there: {missing}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the long files over the first two thirds: seldom two at once, and none alone at the end.

    Files, and the tests in each, otherwise keep their order, which is random.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    long = [path for path in files if path.as_posix().endswith(LONG)]
    others = [path for path in files if path not in long]
    step = max(1, len(others) * 2 // 3 // max(1, len(long)))
    for place, path in enumerate(long):
        others.insert(place * (step + 1), path)
    items[:] = [item for path in others for item in files[path]]


def _surroundings() -> dict[str, object]:
    """What the tests of one process share, and what child processes inherit."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    handlers = {number.name: _handler(number) for number in SIGNALS}
    return {**environ, **handlers, "blocked signals": blocked, "folder": Path.cwd(), "umask": _umask()}


def _handler(number: signal.Signals) -> object:
    found = signal.getsignal(number)
    # What Dagster makes of a signal, for good, as soon as it is used.
    return signal.SIG_DFL if found is signal.default_int_handler else found


def _umask() -> int:
    found = os.umask(0o22)
    os.umask(found)
    return found


@pytest.fixture(autouse=True)
def surroundings() -> Iterator[None]:
    """Each test leaves environment, signals and folder as it found them: the order of tests is random."""
    before = _surroundings()
    yield
    after = _surroundings()
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert not changed, f"left changed: {', '.join(sorted(changed))}"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real publishers' data and recorded exchanges, which is not part of the project."""
    path = Path(os.environ.get("REGISTRY_SHARED") or Path(__file__).parents[2] / "shared")
    if not (path / "data").is_dir():
        pytest.skip(f"no real data at {path}: set REGISTRY_SHARED to the folder that holds it")
    return path


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """A real PostgreSQL server, as the URL of its maintenance database, with a migrated database `registry`."""
    with servers.server() as url:
        yield url


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "template.sqlite3"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    with database.engine.connect() as connection:
        connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.dispose()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a migrated database without publications, on either kind of database."""
    if request.param == "sqlite":
        path = tmp_path / "registry.sqlite3"
        shutil.copy(request.getfixturevalue("sqlite"), path)
        return f"sqlite:///{path}"
    # One for all, emptied: a new one takes longer than most tests.
    found = servers.database_url(request.getfixturevalue("postgresql"), "registry")
    servers.execute(
        found,
        "TRUNCATE collection, job, task, task_note, license, settings_bundle, setting, notice "
        "RESTART IDENTITY CASCADE",
        f"UPDATE registry_version SET version_num = '{schema.head()}'",  # noqa: S608
    )
    return found


@pytest.fixture
def connect() -> Iterator[Callable[[str], Database]]:
    """Opens databases, and closes them after the test."""
    opened: list[Database] = []

    def open_(url: str) -> Database:
        opened.append(Database(url))
        return opened[-1]

    yield open_
    for database in opened:
        database.dispose()
