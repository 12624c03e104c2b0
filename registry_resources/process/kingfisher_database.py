"""Kingfisher Process' database: connecting, counting, and what its errors mean.

Belongs here: what is asked of the tables, but for the stream of compiled releases (`kingfisher_stream.py`). Nothing
is ever written. Does not belong here: what the counts mean for a job.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg2
from psycopg2 import errorcodes, errors
from psycopg2.extensions import connection as Connection  # noqa: N812 (it is a class)
from psycopg2.extensions import parse_dsn

from registry_resources.exceptions import ConfigurationError, RecoverableError, UnexpectedError
from registry_resources.redaction import redact, register_secret

NEEDED = ("compiled_release", "data")
"""The tables without which nothing can be exported."""

WANTED = ("release", "record")
"""Read too, to notice what Kingfisher Process lost; `record` only tells of publications that publish records."""

_ENTRIES = {
    table: f"SELECT ocid, collection_id, collection_file_id FROM {table} WHERE collection_id = ANY(%(originals)s)"  # noqa: S608
    for table in WANTED
}
_DEFAULTS = {
    "connect_timeout": "10",
    "application_name": "ocds-data-registry",
    # A peer that vanishes without a word is noticed within a minute, however long a query may take.
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}
_SETTINGS = (
    # What an administrator sets to stop runaway queries must not stop an export of hours.
    "SET statement_timeout = 0",
    "SET idle_in_transaction_session_timeout = 0",
    "SET jit = off",
)
# Said by a server that will say the same the next time.
_WRONG = ("authentication failed", "does not exist", "no pg_hba.conf entry", "not permitted to log in", "no password")
# Classes of errors that pass: connections, resources, an operator's intervention, a replica's conflicts.
_PASSING = frozenset(
    {
        errorcodes.CLASS_CONNECTION_EXCEPTION,
        errorcodes.CLASS_INSUFFICIENT_RESOURCES,
        errorcodes.CLASS_OPERATOR_INTERVENTION,
        errorcodes.CLASS_TRANSACTION_ROLLBACK,
        errorcodes.CLASS_SYSTEM_ERROR,
    }
)


@dataclass(frozen=True)
class Stored:
    """What is stored of a collection. None is what can't be told, for want of a privilege.

    Attributes:
        files: files of which at least one release or record is stored.
        ocids: different ocids among these.
        compiled: compiled releases.
        unreadable: tables that would have told, but may not be read.
    """

    files: int | None
    ocids: int | None
    compiled: int
    unreadable: tuple[str, ...] = ()


class KingfisherDatabase:
    """The database, as a role that may only read.

    Args:
        url: `KINGFISHER_PROCESS_DATABASE_URL`.
    """

    def __init__(self, url: str) -> None:
        try:
            self._parameters = {**_DEFAULTS, **parse_dsn(url)}
        except psycopg2.Error:
            raise ConfigurationError(
                "KINGFISHER_PROCESS_DATABASE_URL can't be read. Set it like "
                "postgresql://user:password@host:5432/name, with %40 for @ and so on within user and password."
            ) from None
        register_secret(self._parameters.get("password", ""))

    @contextmanager
    def session(self) -> Iterator[Connection]:
        """A connection in one read-only transaction, all of whose queries see the same snapshot.

        Raises:
            ConfigurationError: if the server says that it will never let us in.
            RecoverableError: if it can't be reached for now, or the connection breaks.
            UnexpectedError: if the tables are not there, or may not be read.
        """
        connection = self.connect()
        try:
            yield connection
        except psycopg2.Error as error:
            raise self.explained(error) from error
        finally:
            connection.close()

    def connect(self) -> Connection:
        """Open a connection like that of `session`. The caller closes it, and explains its errors."""
        try:
            connection: Connection = psycopg2.connect(**{**self._parameters, "client_encoding": "UTF8"})
        except psycopg2.Error as error:
            raise self.explained(error) from error
        try:
            connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
            with connection.cursor() as cursor:
                cursor.execute("; ".join(_SETTINGS))
        except psycopg2.Error as error:
            connection.close()
            raise self.explained(error) from error
        return connection

    def explained(self, error: psycopg2.Error) -> Exception:
        """Tell an error of the database as one of the registry's."""
        lines = str(error).strip().splitlines()
        said = redact(lines[0]) if lines else type(error).__name__
        prefix = f"Kingfisher Process' database ({self._shown()}): "
        if isinstance(error, errors.InsufficientPrivilege):
            return UnexpectedError(
                f"{prefix}{said}. Grant the role of KINGFISHER_PROCESS_DATABASE_URL SELECT on "
                f"{', '.join((*NEEDED, *WANTED))}."
            )
        if isinstance(error, errors.UndefinedTable | errors.UndefinedColumn):
            return UnexpectedError(
                f"{prefix}{said}. Point KINGFISHER_PROCESS_DATABASE_URL at the database of Kingfisher Process."
            )
        if error.pgcode is None and any(text in str(error) for text in _WRONG):
            return ConfigurationError(f"{prefix}{said}. Correct KINGFISHER_PROCESS_DATABASE_URL.")
        if error.pgcode is None or error.pgcode[:2] in _PASSING:
            return RecoverableError(f"{prefix}{said}")
        return UnexpectedError(f"{prefix}{said} ({error.pgcode})")

    def readable(self, connection: Connection) -> dict[str, bool]:
        """Which of the tables may be read.

        Raises:
            psycopg2.Error: if one is not there.
        """
        tables = (*NEEDED, *WANTED)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {', '.join(['has_table_privilege(%s, %s)'] * len(tables))}", _pairs(tables))
            return dict(zip(tables, cursor.fetchone() or (), strict=True))

    def stored(self, originals: Sequence[int], compiled: int) -> Stored:
        """Count what is stored.

        Args:
            originals: ids of the original collection, and of an upgraded one if there is such, which has the files of
                the first one again.
            compiled: id of the compiled collection.

        Raises:
            DataRegistryError: as `session` does.
        """
        with self.session() as connection:
            may_read = self.readable(connection)
            unreadable = tuple(name for name in WANTED if not may_read[name])
            parts = [_ENTRIES[table] for table in WANTED if may_read[table]]
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM compiled_release WHERE collection_id = %s", (compiled,))
                number = (cursor.fetchone() or (0,))[0]
                if not may_read["release"]:
                    return Stored(None, None, number, unreadable)
                cursor.execute(
                    "SELECT count(DISTINCT collection_file_id) FILTER (WHERE collection_id = %(root)s),"  # noqa: S608
                    f" count(DISTINCT ocid) FROM ({' UNION ALL '.join(parts)}) AS stored",
                    {"originals": list(originals), "root": originals[0]},
                )
                files, ocids = cursor.fetchone() or (0, 0)
        return Stored(files, ocids, number, unreadable)

    def rows_left(self, collections: Sequence[int]) -> bool:
        """Whether anything is still stored of collections, in the tables that may be read.

        Raises:
            DataRegistryError: as `session` does.
        """
        with self.session() as connection:
            may_read = self.readable(connection)
            exist = [
                f"EXISTS (SELECT FROM {table} WHERE collection_id = ANY(%(collections)s))"
                for table in ("compiled_release", *WANTED)
                if may_read[table]
            ]
            if not exist:
                return False
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT {' OR '.join(exist)}", {"collections": list(collections)})
                return bool((cursor.fetchone() or (False,))[0])

    def made_by(self, crawl: str) -> list[int]:
        """Give the ids of the original collections that a crawl has made, if the table that tells may be read.

        Args:
            crawl: the crawl's id.

        Raises:
            DataRegistryError: as `session` does.
        """
        with self.session() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT has_table_privilege(to_regclass('collection'), 'SELECT')")
            if not (cursor.fetchone() or (False,))[0]:
                return []
            cursor.execute(
                "SELECT id FROM collection WHERE scrapyd_job = %s AND transform_type = '' ORDER BY id", (crawl,)
            )
            return [number for (number,) in cursor.fetchall()]

    def _shown(self) -> str:
        """Where the database is, without a password."""
        found = self._parameters
        return f"{found.get('dbname', found.get('user', ''))} on {found.get('host', 'this machine')}"


def _pairs(tables: Sequence[str]) -> list[str]:
    return [part for table in tables for part in (table, "SELECT")]
