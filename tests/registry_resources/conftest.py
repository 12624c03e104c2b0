"""Databases for tests: each test gets its own, migrated, on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event

from registry_resources.database import Database
from tests.support.postgresql import create_database, database_url

_numbers = itertools.count()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'registry.sqlite3'}"
    server = request.getfixturevalue("postgresql")
    name = f"test_{next(_numbers)}"
    create_database(server, name)
    return database_url(server, name)


@pytest.fixture
def database(url: str, connect: Callable[[str], Database]) -> Database:
    """A migrated database."""
    return connect(url)


@pytest.fixture
def sqlite_database(sqlite: Path, tmp_path: Path, connect: Callable[[str], Database]) -> Database:
    """A migrated SQLite database, for what doesn't depend on which one it is."""
    shutil.copy(sqlite, tmp_path / "registry.sqlite3")
    return connect(f"sqlite:///{tmp_path / 'registry.sqlite3'}")


@pytest.fixture
def count_queries() -> Callable[[Database], AbstractContextManager[list[str]]]:
    """Gathers the SELECT statements sent to a database."""

    @contextmanager
    def count(database: Database) -> Iterator[list[str]]:
        statements: list[str] = []

        def gather(_: object, __: object, statement: str, *___: object) -> None:
            if statement.startswith("SELECT"):
                statements.append(statement)

        event.listen(database.engine, "before_cursor_execute", gather)
        try:
            yield statements
        finally:
            event.remove(database.engine, "before_cursor_execute", gather)

    return count
