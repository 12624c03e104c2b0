"""`registry check` where the database, or what it holds, is not as it should be."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from registry_assets.cli import cli
from registry_resources.database import Collection, Database, dialects
from registry_resources.settings import KINGFISHER_VARIABLES

OTHERS = {"settings", "database", "REGISTRY_HOME", "EXPORTER_DIR", "file store", "notifications", "DAGSTER_HOME"}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a database without publications."""
    for name in (
        *KINGFISHER_VARIABLES,
        *("DATABASE_URL", "DAGSTER_HOME", "EXPORTER_DIR", "KINGFISHER_COLLECT_FILES_STORE", "KINGFISHER_COLLECT_DIR"),
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REGISTRY_HOME", str(tmp_path))
    path = tmp_path / "registry.sqlite3"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.dispose()
    return path


@pytest.fixture
def checked() -> Callable[[int], dict[str, dict[str, str]]]:
    """Runs the command, which has to end with an exit code, and returns its rows by what they are about."""

    def checked_(code: int) -> dict[str, dict[str, str]]:
        table = CliRunner().invoke(cli, ["check"], catch_exceptions=False)
        result = CliRunner().invoke(cli, ["check", "--json"], catch_exceptions=False)
        assert (table.exit_code, result.exit_code) == (code, code), result.output
        rows: list[dict[str, Any]] = json.loads(result.stdout)
        assert all(row["check"] in table.stdout for row in rows)
        return {row["check"]: row for row in rows}

    return checked_


def test_a_file_that_is_no_database_is_one_row_of_all(path: Path, checked: Callable[[int], dict[str, Any]]) -> None:
    """With the remedy. What needs no database is looked at all the same."""
    path.write_bytes(b"no database" * 1000)
    rows = checked(1)
    assert set(rows) >= OTHERS
    assert {name for name, row in rows.items() if row["status"] == "failed"} == {"database"}
    assert "file is not a database. The file is damaged. Restore it from a backup" in rows["database"]["detail"]
    assert rows["settings bundles"]["status"] == "warning"


def test_damage_within_a_table_is_found(path: Path, checked: Callable[[int], dict[str, Any]]) -> None:
    """Though the database opens, and its version can be read."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'settings_bundle'").fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    rows = checked(1)
    assert set(rows) >= OTHERS
    assert rows["database"]["status"] == "failed"
    assert "Restore it from a backup" in rows["database"]["detail"]
    assert rows["settings bundles"]["status"] == "failed"
    assert "The database failed: database disk image is malformed" in rows["settings bundles"]["detail"]


def test_a_database_that_is_held_by_another_process_is_told_as_that(
    path: Path, checked: Callable[[int], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was tried once, not by each check anew."""
    monkeypatch.setattr(dialects, "BUSY_TIMEOUT", 0.1)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.execute("BEGIN EXCLUSIVE")
    try:
        rows = checked(1)
    finally:
        connection.close()
    assert set(rows) >= OTHERS
    assert "database is locked. Another process holds it." in rows["database"]["detail"]


def test_publications_whose_spider_or_arguments_do_not_exist_are_named(
    path: Path, checked: Callable[[int], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All in one row. Not the frozen ones, and not where their spiders are elsewhere."""
    assert checked(0)["spiders"] == {"check": "spiders", "status": "ok", "detail": "0 publications have theirs"}
    database = Database(f"sqlite:///{path}")
    with database.session() as session:
        for key, spider, arguments in (
            ("good", "bulk", {"urls": "/data"}),
            ("one", "gone_spider", {}),
            ("two", "gone_spider", {}),
            ("three", "bulk", {}),
            ("rests", "gone_spider", {}),
        ):
            values = {"spider_arguments": arguments, "frozen": key == "rests"}
            session.add(Collection(key=key, title=key, source_id=spider, **values))
    database.dispose()
    row = checked(0)["spiders"]
    assert row["status"] == "warning"
    assert "one, two: There is no spider 'gone_spider'" in row["detail"]
    assert "three: The spider bulk needs the argument urls" in row["detail"]
    assert "rests" not in row["detail"]
    (path.parent / "scrapy.cfg").touch()
    monkeypatch.setenv("KINGFISHER_COLLECT_DIR", str(path.parent))
    assert "spiders" not in checked(0)
