"""Bringing a database to the current schema, and saying whether it is.

Belongs here: running Alembic. Does not belong here: what any migration does (`migrations/versions/`).

Alembic is imported where it is needed: commands that only read start faster without it.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DatabaseError

from registry_resources.database import dialects, failures
from registry_resources.exceptions import ConfigurationError

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

VERSION_TABLE = "registry_version"
"""Where the schema's revision is kept. Not Alembic's default name, since Dagster may use the same database."""

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 7_236_411_905
"""Any number that others don't use: PostgreSQL's advisory lock while migrating."""


def upgrade(engine: Engine, revision: str) -> None:
    """Create what is missing and upgrade to a revision.

    Raises:
        ConfigurationError: if the database can't be reached or created, or is of a newer version.
    """
    from alembic import command  # noqa: PLC0415 - see above

    dialects.create_file(engine.url)
    with _migrating(engine) as connection, connection.begin():
        _wait_for_others(connection)
        _check_known(_current(connection))
        command.upgrade(_config(connection), revision)
        _check_foreign_keys(connection)


def downgrade(engine: Engine, revision: str) -> None:
    """Downgrade to a revision.

    Raises:
        ConfigurationError: if the database can't be reached, or is of a newer version.
    """
    from alembic import command  # noqa: PLC0415 - see above

    with _migrating(engine) as connection, connection.begin():
        _wait_for_others(connection)
        _check_known(_current(connection))
        command.downgrade(_config(connection), revision)
        _check_foreign_keys(connection)


def current(engine: Engine) -> str | None:
    """Give the database's revision, or None if it has no schema.

    Raises:
        ConfigurationError: if it can't be reached, or is damaged.
    """
    try:
        with engine.connect().execution_options(**dialects.READ_ONLY) as connection:
            return _current(connection)
    except DatabaseError as error:
        raise _unreachable(engine, error) from error


def check(engine: Engine) -> None:
    """Check that the database's schema is current.

    Raises:
        ConfigurationError: if not, with the remedy.
    """
    revision = current(engine)
    if revision is None:
        raise ConfigurationError(f"The database {engine.url} has no tables yet. {dialects.NO_DATABASE}")
    _check_known(revision)
    if revision != head():
        raise ConfigurationError(
            f"The database {engine.url} is at version {revision}, and this registry needs {head()}. "
            "Back it up, then run `registry migrate`."
        )


def verify(engine: Engine) -> None:
    """Read all of a SQLite file, to see whether it is damaged. PostgreSQL looks after that itself.

    Raises:
        ConfigurationError: if it is.
    """
    if not dialects.is_sqlite(engine.url):
        return
    try:
        with engine.connect().execution_options(**dialects.READ_ONLY) as connection:
            found = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())
    except DatabaseError as error:
        raise _unreachable(engine, error) from error
    if found != "ok":
        raise ConfigurationError(
            f"The database {engine.url} is damaged: {' '.join(found.split())}. Restore it from a backup "
            "(docs/production.md)."
        )


@cache
def head() -> str:
    """Give the newest revision."""
    revision = _scripts().get_current_head()
    if revision is None:
        raise ConfigurationError(f"{MIGRATIONS} holds no migrations. Install the registry again.")
    return revision


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    revision: str | None = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
    return revision


def _check_known(revision: str | None) -> None:
    known = {script.revision for script in _scripts().walk_revisions()}
    if revision is not None and revision not in known:
        raise ConfigurationError(
            f"The database is at version {revision}, which this registry doesn't know: a newer one made it. "
            "Install that version again, or restore a backup."
        )


def _migrating(engine: Engine) -> Connection:
    try:
        return engine.connect().execution_options(**dialects.MIGRATION)
    except DatabaseError as error:
        raise _unreachable(engine, error) from error


def _wait_for_others(connection: Connection) -> None:
    """Be the only one to migrate. On SQLite the transaction is that already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})


def _check_foreign_keys(connection: Connection) -> None:
    """SQLite doesn't check foreign keys while a migration may rebuild tables: do so at its end."""
    if connection.dialect.name == "sqlite":
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
        if broken:
            raise ConfigurationError(
                f"The migration would leave {len(broken)} rows that refer to nothing, the first in table "
                f"{broken[0][0]}, so nothing was changed. Restore a backup, or mend those rows."
            )


def _unreachable(engine: Engine, error: DatabaseError) -> ConfigurationError:
    what = "can't be read" if dialects.is_sqlite(engine.url) else "can't be reached"
    remedy = failures.remedy(error, "Check DATABASE_URL and that the server runs.")
    return ConfigurationError(f"The database {engine.url} {what}: {failures.cause(error)}. {remedy}")


def _config(connection: Connection | None = None) -> "Config":
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _scripts() -> "ScriptDirectory":
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - see above

    return ScriptDirectory.from_config(_config())
