"""Compiled releases out of Kingfisher Process' database: one COPY, one snapshot, in the order of `data.id` (EXP-03).

Belongs here: the query, its binary format, and the thread that reads it ahead. Does not belong here: connecting, or
what errors mean (`kingfisher_database.py`).

The text of each compiled release is what PostgreSQL makes of its `jsonb`, byte for byte: the binary format needs no
escaping. A thread reads ahead by a few batches, so that the server, the network and whoever compresses work at once;
libpq gives up Python's lock while it waits. Whatever the size, a few MB are held.
"""

from __future__ import annotations

import contextlib
import json
import queue
import struct
import threading
from collections.abc import Callable, Generator, Sequence

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 (it is a class)

from registry_resources.exceptions import RecoverableError, UnexpectedError

Batch = Sequence[tuple[str | None, bytes]]

BATCH = 1 << 20
"""Bytes after which a batch is given, if it has fewer rows than a page."""

AHEAD = 4
"""Batches read ahead."""

BEAT = 0.5
"""Seconds after which an empty batch is given if there is no other, so that whoever reads can stop meanwhile."""

_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_HEADER = len(_SIGNATURE) + 8
_TRAILER = b"\xff\xff"
_LENGTHS = struct.Struct(">hi")
_LENGTH = struct.Struct(">i")
_JSONB = 1  # the only version of jsonb's binary format

# A sorted list of ids, then each row by its primary key: other plans would sort the releases themselves on the
# server's disk, or read the table from its beginning, where other collections are. Two compiled releases that share a
# row of `data` are two releases.
_PLAN = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"
_QUERY = """
COPY (
    SELECT data.data -> 'date', data.data
    FROM (SELECT data_id FROM compiled_release WHERE collection_id = {collection} ORDER BY data_id) AS compiled
    JOIN data ON data.id = compiled.data_id
    ORDER BY compiled.data_id
) TO STDOUT (FORMAT binary)
"""


class _StoppedError(Exception):
    """Whoever reads has had enough."""


class _Rows:
    """What COPY writes to: takes its messages apart, and hands on batches. Lives in the thread."""

    def __init__(self, page: int, hand_on: Callable[[Batch], None]) -> None:
        self._page = page
        self._hand_on = hand_on
        self._batch: list[tuple[str | None, bytes]] = []
        self._size = 0
        self._begun = False
        self.ended = False

    def write(self, message: bytes) -> int:
        """Take one message: PostgreSQL sends each row as one; the header is before the first row, in its message."""
        at = 0
        if not self._begun:
            if not message.startswith(_SIGNATURE):
                raise UnexpectedError("Kingfisher Process' database answers COPY in an unknown format")
            self._begun, at = True, _HEADER
        while at < len(message):
            at = self._row(message, at)
        return len(message)

    def _row(self, message: bytes, at: int) -> int:
        if message[at : at + 2] == _TRAILER:
            self.flush()
            self.ended = True
            return at + 2
        columns, length = _LENGTHS.unpack_from(message, at)
        at += 6
        date = None
        if length > 0:
            date = _text_of(message[at + 1 : at + length])
            at += length
        length = int(_LENGTH.unpack_from(message, at)[0])
        at += 4
        if columns != 2 or length < 1 or message[at] != _JSONB:
            raise UnexpectedError("Kingfisher Process' database answers COPY in an unknown format")
        self._batch.append((date, message[at + 1 : at + length]))
        self._size += length
        if self._size >= BATCH or len(self._batch) >= self._page:
            self.flush()
        return at + length

    def flush(self) -> None:
        """Hand on what there is."""
        if self._batch:
            self._hand_on(self._batch)
            self._batch, self._size = [], 0


def _text_of(value: bytes) -> str | None:
    """The text of a JSON value if it is a string. A number such as 20220501 is no date: OCDS' dates are strings."""
    if not value.startswith(b'"'):
        return None
    if b"\\" in value:
        return str(json.loads(value))
    return value[1:-1].decode()


def stream(
    connect: Callable[[], Connection],
    explained: Callable[[psycopg2.Error], Exception],
    collection: int,
    page: int,
) -> Generator[Batch]:
    """Give the compiled releases of a collection, in batches.

    Args:
        connect: opens a connection in a read-only transaction.
        explained: makes an error of the database one of the registry's.
        collection: the id of the compiled collection.
        page: releases in a batch at most (`EXPORTER_PAGE_SIZE`). About 1 MB is enough, too.

    Yields:
        Batches of (the release's `date` if it is a string, else None; its JSON), sorted by `data.id`; and empty ones
        while there is nothing yet.

    Raises:
        RecoverableError: if the connection breaks, or can't be made: then nothing of this may be used.
        UnexpectedError: if the tables are not there or may not be read.
    """
    ready: queue.Queue[Batch | None] = queue.Queue(AHEAD)
    stop = threading.Event()
    failures: list[BaseException] = []
    opened: list[Connection] = []

    def hand_on(batch: Batch | None) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                return ready.put(batch, timeout=BEAT)
        raise _StoppedError

    def read() -> None:
        rows = _Rows(page, hand_on)
        try:
            connection = connect()
            opened.append(connection)
            try:
                with connection.cursor() as cursor:
                    cursor.execute(_PLAN)
                    cursor.copy_expert(_QUERY.format(collection=int(collection)), rows)
            finally:
                connection.close()
            if not rows.ended:
                failures.append(RecoverableError("Kingfisher Process' database broke off amid the compiled releases"))
        except psycopg2.Error as error:
            failures.append(explained(error))
        except BaseException as error:  # noqa: BLE001 (raised again in the thread that reads)
            failures.append(error)
        with contextlib.suppress(_StoppedError):
            hand_on(None)

    thread = threading.Thread(target=read, name=f"copy-{collection}", daemon=True)
    thread.start()
    try:
        while True:
            try:
                batch = ready.get(timeout=BEAT)
            except queue.Empty:
                yield ()
                continue
            if batch is None:
                break
            yield batch
        if failures:
            raise failures[0]
    finally:
        stop.set()
        if thread.is_alive():
            for connection in opened:
                # The server may be sorting still, and the thread waiting for it.
                with contextlib.suppress(psycopg2.Error):
                    connection.cancel()
            thread.join(10)
