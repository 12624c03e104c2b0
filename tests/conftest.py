"""Fixtures that tests of every room use. What only one room needs stands in that room's own conftest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real publishers' data and recorded exchanges, which is not part of the project."""
    path = Path(os.environ.get("REGISTRY_SHARED") or Path(__file__).parents[2] / "shared")
    if not (path / "data").is_dir():
        pytest.skip(f"no real data at {path}: set REGISTRY_SHARED to the folder that holds it")
    return path
