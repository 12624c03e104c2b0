"""What an error of the database is made into for administrators."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy.exc import DatabaseError, OperationalError

from registry_resources.database.failures import explain


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("database disk image is malformed", "Restore it from a backup"),
        ("file is not a database", "Restore it from a backup"),
        ("database is locked", "Another process holds it."),
        ("database or disk is full", "Free disk space"),
        ("attempt to write a readonly database", "Let this user read and write it"),
        ("server closed the connection unexpectedly\n\tThis probably means…", "`registry check` may tell why."),
    ],
)
def test_the_cause_is_one_line_with_its_remedy_and_without_the_statement(said: str, remedy: str) -> None:
    """Statements help nobody who runs a registry."""
    error = OperationalError("SELECT canary", {"a": "canary"}, sqlite3.OperationalError(said))
    text = explain(error)
    assert text.startswith(f"The database failed: {' '.join(said.split())}. ")
    assert remedy in text
    assert "canary" not in text
    assert "\n" not in text


def test_an_error_without_a_driver_s_own_loses_its_statement_too() -> None:
    """As when a value can't be bound."""
    error = DatabaseError("SELECT canary", {}, None)  # type: ignore[arg-type]
    assert "canary" not in explain(error)
