"""Fixtures that tests of every room use. What only one room needs stands in that room's own conftest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import postgresql as servers


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
