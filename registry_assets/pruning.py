"""Pruning what Dagster remembers: run records, event log, and what steps printed.

Belongs here: which runs are needed, and deleting the others with all of theirs. Does not belong here: when that is
done (`schedules.py`), or the registry's own jobs (`process_manager.cleanup`).

Dagster has no retention of its own for these. Deleting a run deletes its events, materialisations among them, so the
runs are kept that hold the latest materialisation or the latest check result of any asset in any partition that is
still there. Dagster (1.13) forgets some of what belongs to a run, which is deleted here: on SQLite the run's own
database file and its tags, everywhere its check results.
"""

from __future__ import annotations

import contextlib
import datetime
import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from dagster import DagsterInstance
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.legacy_storage import LegacyEventLogStorage, LegacyRunStorage
from dagster._core.storage.runs.schema import RunsTable, RunTagsTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from sqlalchemy import delete, func, or_, select
from sqlalchemy.engine import make_url

from registry_assets.partitions import NAME
from registry_assets.process_manager import disk
from registry_resources.exceptions import UnexpectedError

HOUSEKEEPING_FOR = datetime.timedelta(days=3)
"""How long runs of the registry's own housekeeping are kept, since they come every hour."""

SPARE_SHARE, SPARE_BYTES = 0.25, 8 << 20
"""An SQLite file is written anew if at least this share of it, and this many bytes, are spare: that blocks it for a
moment."""

ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


@dataclass(frozen=True)
class Pruned:
    """What was pruned.

    Attributes:
        runs: how many runs were deleted.
        kept: how many old runs are kept, since something needs them or they can't be deleted.
        bytes: the bytes that were freed on this machine; 0 for storage elsewhere.
        problem: why SQLite's files could not be made smaller, or some runs not be deleted, or "".
    """

    runs: int
    kept: int
    bytes: int
    problem: str = ""

    @property
    def summary(self) -> str:
        """One line for people."""
        text = f"runs forgotten: {self.runs:,}; old runs kept: {self.kept:,}; freed: {disk.readable(self.bytes)}"
        return f"{text}; {self.problem}" if self.problem else text


def prune(
    instance: DagsterInstance,
    *,
    keep_days: int,
    needed: Collection[str] = (),
    housekeeping: Collection[str] = (),
    now: datetime.datetime | None = None,
) -> Pruned:
    """Delete the records of runs that ended long ago and that nothing needs.

    Args:
        instance: Dagster's instance, on SQLite or PostgreSQL.
        keep_days: how many days a run is kept after its end.
        needed: ids of runs that are kept whatever their age.
        housekeeping: names of jobs whose runs are kept for `HOUSEKEEPING_FOR` only.
        now: instead of the current time.

    Raises:
        UnexpectedError: if the instance's storage is of another kind.
    """
    events, runs = _storages(instance)
    now = now or datetime.datetime.now(datetime.UTC)
    before = disk.freeable(_files(instance))
    old = {
        **_ended_before(runs, now - datetime.timedelta(days=keep_days)),
        **_ended_before(runs, now - min(HOUSEKEEPING_FOR, datetime.timedelta(days=keep_days)), housekeeping),
    }
    keep = _relatives(runs, _latest(events, set(instance.get_dynamic_partitions(NAME))) | set(needed))
    unneeded = [run_id for run_id in old if run_id not in keep]
    refused: dict[str, str] = {}
    for run_id in unneeded:
        try:
            _delete(instance, events, runs, run_id)
        except OSError as e:  # such as files of a run that root started: the others are forgotten all the same
            refused[run_id] = f"{e.filename or ''}: {e.strerror or e}"
    problems = [_shrink(instance)] if unneeded else []
    if refused:
        run_id, why = next(iter(refused.items()))
        problems.append(f"runs that could not be forgotten: {len(refused):,}, such as {run_id} ({why})")
    freed = max(0, before - disk.freeable(_files(instance)))
    forgotten = len(unneeded) - len(refused)
    return Pruned(forgotten, len(old) - forgotten, freed, "; ".join(filter(None, problems)))


def _storages(instance: DagsterInstance) -> tuple[SqlEventLogStorage, SqlRunStorage]:
    events: object = instance.event_log_storage
    runs: object = instance.run_storage
    # An instance that is configured from a file reaches both through wrappers.
    if isinstance(events, LegacyEventLogStorage):
        events = events._storage.event_log_storage  # noqa: SLF001
    if isinstance(runs, LegacyRunStorage):
        runs = runs._storage.run_storage  # noqa: SLF001
    if not isinstance(events, SqlEventLogStorage) or not isinstance(runs, SqlRunStorage):
        raise UnexpectedError(
            f"Dagster's storage is {type(events).__name__}, which can't be pruned. Use SQLite or PostgreSQL (see "
            f"deploy/)."
        )
    return events, runs


def _ended_before(
    runs: SqlRunStorage, moment: datetime.datetime, names: Collection[str] | None = None
) -> dict[str, None]:
    """Return the ids of runs that ended before a moment, the oldest first: all, or those of some jobs."""
    ended = func.coalesce(RunsTable.c.end_time, func.coalesce(RunsTable.c.start_time, 0))
    statement = (
        select(RunsTable.c.run_id)
        .where(RunsTable.c.status.in_([status.value for status in ENDED]))
        .where(ended < moment.timestamp())
        # A run that never began has no times but this.
        .where(RunsTable.c.update_timestamp < moment.replace(tzinfo=None))
        .order_by(RunsTable.c.id)
    )
    if names is not None:
        statement = statement.where(RunsTable.c.pipeline_name.in_(list(names)))
    with runs.connect() as connection:
        return dict.fromkeys(connection.scalars(statement))


def _latest(events: SqlEventLogStorage, partitions: set[str]) -> set[str]:
    """Return the runs that hold the latest materialisation or check result of each asset and live partition."""
    log, checks = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c
    materialised = (
        select(func.max(log.id))
        .where(log.dagster_event_type == "ASSET_MATERIALIZATION", log.asset_key.is_not(None))
        .group_by(log.asset_key, log.partition)
    )
    checked = (
        select(func.max(checks.id))
        .where(checks.evaluation_event.is_not(None))
        .group_by(checks.asset_key, checks.check_name, checks.partition)
    )
    found: set[str] = set()
    with events.index_connection() as connection:
        for columns, newest in ((log, materialised), (checks, checked)):
            rows = connection.execute(
                select(columns.run_id, columns.partition).where(columns.id.in_(newest)).distinct()
            )
            found.update(run_id for run_id, partition in rows if partition is None or partition in partitions)
    return found


def _relatives(runs: SqlRunStorage, needed: set[str]) -> set[str]:
    """Return these runs with those that they retry: a run's page can't be shown without its first one."""
    tags = RunTagsTable.c
    statement = select(tags.run_id, tags.value).where(
        or_(tags.key == "dagster/root_run_id", tags.key == "dagster/parent_run_id")
    )
    with runs.connect() as connection:
        return needed | {value for run_id, value in connection.execute(statement) if run_id in needed}


def _delete(instance: DagsterInstance, events: SqlEventLogStorage, runs: SqlRunStorage, run_id: str) -> None:
    """Delete a run with all of its own. Its record goes last, so that a kill in between is mended by the next time."""
    with contextlib.suppress(NotImplementedError):
        instance.compute_log_manager.delete_logs(prefix=[run_id])
    with events.index_connection() as connection:
        events.delete_events_for_run(connection, run_id)
        connection.execute(delete(AssetCheckExecutionsTable).where(AssetCheckExecutionsTable.c.run_id == run_id))
    events.free_concurrency_slots_for_run(run_id)
    if isinstance(events, SqliteEventLogStorage):
        shard = Path(events.path_for_shard(run_id))
        for path in (shard, Path(f"{shard}-wal"), Path(f"{shard}-shm"), Path(f"{shard}-journal")):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # where a file system keeps what steps printed, if that is empty now
            (Path(instance.storage_directory()) / run_id).rmdir()
    with runs.connect() as connection:
        connection.execute(delete(RunTagsTable).where(RunTagsTable.c.run_id == run_id))
    runs.delete_run(run_id)


def _databases(instance: DagsterInstance) -> Iterator[Path]:
    """Yield the files of SQLite that all runs share."""
    events, runs = _storages(instance)
    if isinstance(events, SqliteEventLogStorage):
        yield Path(events.path_for_shard("index"))
    with runs.connect() as connection:
        url = make_url(str(connection.engine.url))
    if url.get_backend_name() == "sqlite" and url.database:
        yield Path(url.database)


def _files(instance: DagsterInstance) -> list[Path]:
    """Return where Dagster's records are on this machine."""
    found = list(_databases(instance))
    folders = {path.parent for path in found}
    with contextlib.suppress(Exception):  # there may be no such folder
        folders.add(Path(instance.storage_directory()))
    return [path for path in folders if not any(other in path.parents for other in folders)]


def _shrink(instance: DagsterInstance) -> str:
    """Give back the space that SQLite's files no longer need. Returns why not, or ""."""
    for path in _databases(instance):
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as connection:
                pages, spare, size = (
                    connection.execute(f"PRAGMA {name}").fetchone()[0]
                    for name in ("page_count", "freelist_count", "page_size")
                )
                if spare > pages * SPARE_SHARE and spare * size > SPARE_BYTES:
                    connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.OperationalError as e:
            return f"{path.name} is in use, so it stays as large as it is until next time ({e})"
    return ""
