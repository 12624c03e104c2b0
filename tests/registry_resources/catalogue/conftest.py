"""Catalogue files for tests."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from registry_resources.catalogue import Changes, Document, apply, diff, load
from registry_resources.database import Database


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a catalogue file."""

    def write_(text: str) -> Path:
        path = tmp_path / "catalogue.yaml"
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    return write_


@pytest.fixture
def read(write: Callable[[str], Path]) -> Callable[[str], Document]:
    """Reads a catalogue from a text."""
    return lambda text: load(write(text))


@pytest.fixture
def sync(read: Callable[[str], Document], database: Database) -> Callable[[str], Changes]:
    """Synchronises a text, having checked that the difference was told before, and that nothing differs after."""

    def sync_(text: str) -> Changes:
        document = read(text)
        with database.session(read_only=True) as session:
            told = diff(document, session)
        with database.session() as session:
            made = apply(document, session)
        assert told == made
        with database.session(read_only=True) as session:
            assert not diff(document, session)
        return made

    return sync_
