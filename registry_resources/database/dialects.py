"""What SQLite and PostgreSQL each need to behave alike.

Belongs here: connection options and what is said to a new connection or at the start of a transaction.
Does not belong here: anything that a model or a query could say portably.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL

from registry_resources.exceptions import ConfigurationError

BUSY_TIMEOUT = 30.0
"""How long one who wants to write to SQLite waits for the others, in seconds."""

MODE = "registry_mode"
READ_ONLY: Mapping[str, Any] = {MODE: "read", "postgresql_readonly": True}
"""Execution options of a transaction that may not write."""
MIGRATION: Mapping[str, Any] = {MODE: "migrate"}
"""Execution options of a migration."""

NO_DATABASE = "Run `registry sync FILE`, which makes it from a catalogue file, or `registry migrate`."


def is_sqlite(url: URL) -> bool:
    """Whether a URL is SQLite's."""
    return url.get_backend_name() == "sqlite"


def sqlite_path(url: URL) -> Path | None:
    """Give the path of SQLite's file, or None if it is PostgreSQL or in memory."""
    if not is_sqlite(url) or not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        return None
    return Path(url.database)


def engine_options(url: URL) -> dict[str, Any]:
    """Give the options of `create_engine`."""
    if is_sqlite(url):
        return {"connect_args": {"timeout": BUSY_TIMEOUT}}
    # A connection may have been closed by the server since its last use: pre-ping notices.
    return {
        "pool_pre_ping": True,
        "connect_args": {"application_name": "ocds-data-registry", "connect_timeout": 10},
    }


def prepare(engine: Engine) -> None:
    """Set up an engine's connections."""
    if is_sqlite(engine.url):
        event.listen(engine, "do_connect", _refuse_to_create)
        event.listen(engine, "connect", _on_connect)
        event.listen(engine, "begin", _on_begin)


def create_file(url: URL) -> None:
    """Create SQLite's file and its folder, if they are missing.

    Raises:
        ConfigurationError: if they can't be created.
    """
    path = sqlite_path(url)
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o640)
    except OSError as error:
        raise ConfigurationError(
            f"The database {path} can't be created: {error.strerror}. Point DATABASE_URL or REGISTRY_HOME at a folder "
            "that this user can write to."
        ) from error


def _refuse_to_create(_: Any, __: Any, arguments: list[Any], ___: Any) -> None:
    """SQLite would create a missing file at the first look: only migrating does."""
    if not Path(arguments[0]).is_file():
        raise ConfigurationError(f"There is no database at {arguments[0]}. {NO_DATABASE}")


def _on_connect(connection: Any, _: Any) -> None:
    # The driver's own transactions begin late and fail at once when they have to wait: we begin them ourselves.
    connection.isolation_level = None
    cursor = connection.cursor()
    # WAL lets readers read while one writes. Turning it on needs the file alone and doesn't wait for it by itself.
    deadline = time.monotonic() + BUSY_TIMEOUT
    while cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except connection.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    cursor.close()


def _on_begin(connection: Connection) -> None:
    mode = connection.get_execution_options().get(MODE)
    # With foreign keys on, a migration that rebuilds a table would delete what refers to it.
    connection.exec_driver_sql(f"PRAGMA foreign_keys={'OFF' if mode == 'migrate' else 'ON'}")
    connection.exec_driver_sql(f"PRAGMA query_only={'ON' if mode == 'read' else 'OFF'}")
    # A writer that starts as a reader can't wait for another one: it would have to fail.
    connection.exec_driver_sql("BEGIN" if mode == "read" else "BEGIN IMMEDIATE")
