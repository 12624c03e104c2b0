"""The connection to the registry's database.

Belongs here: engines and sessions. Does not belong here: models, what migrations do, or how each database is set up.
"""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session, sessionmaker

from registry_resources.database import dialects, schema
from registry_resources.database.types import clean
from registry_resources.exceptions import ConfigurationError
from registry_resources.redaction import register_secret, safe_url


class Database:
    """The registry's database. Making one connects to nothing and creates nothing.

    Attributes:
        engine: SQLAlchemy's engine. Its `repr`, like its errors, shows no password.
    """

    engine: Engine

    def __init__(self, url: str) -> None:
        """Prepare to connect.

        Args:
            url: SQLAlchemy URL, of SQLite (a file) or PostgreSQL.

        Raises:
            ConfigurationError: if it is no such URL.
        """
        parsed = _parse(url)
        if parsed.password:
            register_secret(str(parsed.password))
        self.engine = create_engine(
            parsed,
            json_serializer=_to_json,
            # Parameters hold what publishers and administrators wrote, secrets among it: errors don't show them.
            hide_parameters=True,
            **dialects.engine_options(parsed),
        )
        dialects.prepare(self.engine)
        self._write = sessionmaker(self.engine, expire_on_commit=False)
        self._read = sessionmaker(self.engine.execution_options(**dialects.READ_ONLY), expire_on_commit=False)

    @contextmanager
    def session(self, *, read_only: bool = False) -> Iterator[Session]:
        """Open one transaction: committed at the end, rolled back if there is an error.

        On SQLite a writer holds the database from its beginning (others wait for up to 30 s), so keep it short;
        readers never wait. What was loaded stays readable after the end.

        Args:
            read_only: refuse to write, and never make writers wait.

        Raises:
            ConfigurationError: if there is no such database file.
        """
        with (self._read if read_only else self._write).begin() as session:
            yield session

    def exists(self) -> bool:
        """Whether there is a database to connect to: on PostgreSQL assumed, on SQLite whether the file is there."""
        path = dialects.sqlite_path(self.engine.url)
        return path is None or path.is_file()

    def migrate(self, revision: str = "head") -> None:
        """Create the database's file and tables as needed, and bring them to the current schema.

        Two processes may do it at once: one waits for the other. It is one transaction: all or nothing.

        Raises:
            ConfigurationError: if the database can't be reached or created, or is of a newer version.
        """
        schema.upgrade(self.engine, revision)

    def downgrade(self, revision: str) -> None:
        """Take the schema back to an earlier revision, or to nothing (`base`), losing data that has no place there."""
        schema.downgrade(self.engine, revision)

    def revision(self) -> str | None:
        """Give the revision of the database's schema, or None if it has none."""
        return schema.current(self.engine)

    def check(self) -> None:
        """Check that the database is there and that its schema is current.

        Raises:
            ConfigurationError: if not, with the remedy.
        """
        schema.check(self.engine)

    def verify(self) -> None:
        """Read all of it to see whether it is damaged, as far as that is ours to see to: SQLite's file.

        Raises:
            ConfigurationError: if it is, with the remedy.
        """
        schema.verify(self.engine)

    def dispose(self) -> None:
        """Close all connections. It can be used again after."""
        self.engine.dispose()

    def __repr__(self) -> str:
        return f"Database({self.engine.url.render_as_string(hide_password=True)})"


def _parse(url: str) -> URL:
    remedy = "Set DATABASE_URL like postgresql://user:password@host:5432/name or sqlite:////a/path/registry.sqlite3."
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError(f"DATABASE_URL is {safe_url(url)}, which is no database URL. {remedy}") from None
    if parsed.drivername in {"postgres", "postgresql"}:
        parsed = parsed.set(drivername="postgresql+psycopg2")
    if parsed.drivername not in {"postgresql+psycopg2", "sqlite", "sqlite+pysqlite"}:
        raise ConfigurationError(
            f"DATABASE_URL is for {parsed.drivername}, but the registry's database is SQLite or PostgreSQL. {remedy}"
        )
    if dialects.is_sqlite(parsed) and dialects.sqlite_path(parsed) is None:
        raise ConfigurationError(f"DATABASE_URL is for SQLite in memory, which processes can't share. {remedy}")
    return parsed


def _to_json(value: Any) -> str:
    """Write JSON that PostgreSQL takes, and reads members of.

    NaN and the infinities, which are no JSON, become text. NUL and lone surrogates, also in names, become U+FFFD: with
    one of them anywhere in a text, PostgreSQL reads no member of it, so that one publisher's field would fail every
    query that looks into the column.
    """
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_storable(value), allow_nan=False)
    return json.dumps(_storable(value)) if "\\u0000" in text or "\\ud" in text else text


def _storable(value: Any) -> Any:
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return clean(value) if isinstance(value, str) else value
