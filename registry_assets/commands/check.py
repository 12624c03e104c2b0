"""`registry check`: whether the registry can work as it is set up.

Belongs here: checks that change nothing. Does not belong here: whether publications are healthy.
"""

from __future__ import annotations

import datetime
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from registry_assets.commands.common import json_option, print_json, print_table, shown, table
from registry_resources.exceptions import ConfigurationError, UnexpectedError
from registry_resources.redaction import redact

if TYPE_CHECKING:
    from registry_resources.database import Database
    from registry_resources.settings import Settings


SILENT_FOR = 120.0
"""Seconds without a heartbeat after which the daemon is said not to run. It beats every 30."""


class Outcome(NamedTuple):
    """One check: what, `ok`, `warning` or `failed`, and what was found or is to do."""

    check: str
    status: str
    detail: str


@click.command(short_help="Check the settings, database and folders.")
@json_option
def check(*, as_json: bool) -> None:
    """Check the settings, the database and the folders. The exit code is 1 if something fails."""
    outcomes = run_checks()
    if as_json:
        print_json([outcome._asdict() for outcome in outcomes])
    else:
        view = table("Check", "Status", "Detail")
        for outcome in outcomes:
            view.add_row(*(shown(text) for text in outcome))
        print_table(view)
    if any(outcome.status == "failed" for outcome in outcomes):
        sys.exit(1)


def run_checks() -> list[Outcome]:
    """Run all checks that make sense."""
    from registry_resources.settings import Settings  # noqa: PLC0415 - not before it is needed

    try:
        settings = Settings.from_env()
    except ConfigurationError as error:
        return [Outcome("settings", "failed", str(error))]
    folders = {
        "REGISTRY_HOME": settings.home,
        "EXPORTER_DIR": settings.exporter_dir,
        "file store": settings.files_store,
    }
    where = (
        "the Kingfisher services collect and process" if settings.kingfisher else "this machine collects and processes"
    )
    if settings.kingfisher and not settings.files_store.exists():
        del folders["file store"]
    database, found = _database(settings)
    try:
        return [
            Outcome("settings", "ok", f"REGISTRY_HOME is {settings.home}; {where}"),
            found,
            *_of_catalogue(settings, database),
            *(_outcome(name, lambda path=path: _folder(path)) for name, path in folders.items()),  # type: ignore[misc]
            *_kingfisher(settings, database),
            _notifications(settings, database),
            *_dagster(),
        ]
    finally:
        if database:
            database.dispose()


def _outcome(name: str, run: Callable[[], str], otherwise: str = "failed") -> Outcome:
    """Run a check. If it raises a `ConfigurationError`, its status is `otherwise`."""
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - not before it is needed

    from registry_resources.database.failures import explain  # noqa: PLC0415

    try:
        return Outcome(name, "ok", run())
    except ConfigurationError as error:
        return Outcome(name, otherwise, str(error))
    except SQLAlchemyError as error:  # a table is damaged, or it went away since it was opened
        return Outcome(name, "failed", explain(error))


def _database(settings: Settings) -> tuple[Database | None, Outcome]:
    """Open the database, for the checks that follow: None if it can't be used."""
    from registry_resources.database import Database  # noqa: PLC0415 - not before it is needed

    opened: list[Database] = []

    def reach() -> str:
        database = Database(settings.database_url)
        try:
            database.check()
            opened.append(database)
        finally:
            if not opened:
                database.dispose()
        database.verify()
        return f"{database.engine.url} is reachable and at version {database.revision()}"

    found = _outcome("database", reach)
    return (opened[0] if opened else None), found


def _of_catalogue(settings: Settings, database: Database | None) -> list[Outcome]:
    if database is None:
        return [Outcome("settings bundles", "warning", "not looked at, without a database")]
    bundles = _outcome("settings bundles", lambda: _bundles(database))
    if settings.kingfisher or settings.collect_dir:
        return [bundles]  # their spiders are only known to them
    return [bundles, _outcome("spiders", lambda: _local_spiders(database), "warning")]


def _bundles(database: Database) -> str:
    """Whether every `env:NAME` has its variable, told for all bundles at once."""
    from sqlalchemy import select  # noqa: PLC0415 - not before it is needed
    from sqlalchemy.orm import selectinload  # noqa: PLC0415

    from registry_resources.catalogue import resolve_settings  # noqa: PLC0415
    from registry_resources.database import SettingsBundle  # noqa: PLC0415

    errors = []
    with database.session(read_only=True) as session:
        bundles = session.scalars(select(SettingsBundle).options(selectinload(SettingsBundle.settings))).all()
    for bundle in bundles:
        try:
            resolve_settings(bundle)
        except ConfigurationError as error:
            errors.append(str(error))
    if errors:
        raise ConfigurationError(" ".join(errors))
    return f"{len(bundles)}, with all their environment variables set"


def _local_spiders(database: Database) -> str:
    """Whether each publication that is due at times has its spider, with arguments that it takes."""
    from sqlalchemy import select  # noqa: PLC0415 - not before it is needed

    from registry_resources.collect.arguments import check_arguments  # noqa: PLC0415
    from registry_resources.database import Collection  # noqa: PLC0415

    with database.session(read_only=True) as session:
        publications = session.scalars(
            select(Collection).where(Collection.frozen.is_(False)).order_by(Collection.key)
        ).all()
    wrong: dict[str, list[str]] = {}
    for publication in publications:
        try:
            check_arguments(publication.source_id, publication.spider_arguments)
        except UnexpectedError as error:
            wrong.setdefault(str(error), []).append(publication.key)
    if wrong:
        found = " ".join(f"{', '.join(keys)}: {reason}" for reason, keys in wrong.items())
        raise ConfigurationError(f"These can't be collected. {found}")
    return f"{len(publications)} publications have theirs"


def _kingfisher(settings: Settings, database: Database | None) -> list[Outcome]:
    """Whether each of the Kingfisher services answers, if they are set up."""
    services = settings.kingfisher
    if services is None:
        return []
    from registry_resources.collect.scrapyd_check import check_scrapyd  # noqa: PLC0415 - not before it is needed
    from registry_resources.process.kingfisher_check import check_api, check_database  # noqa: PLC0415

    return [
        *_file_store(settings),
        _outcome("Scrapyd", lambda: check_scrapyd(services, _spiders(database))),
        _outcome("Kingfisher Process", lambda: check_api(services)),
        _outcome("Kingfisher Process' database", lambda: check_database(services)),
    ]


def _file_store(settings: Settings) -> list[Outcome]:
    """Crawls of Scrapyd make the file store, not the registry: if it isn't there, another one may be meant."""
    if settings.files_store.exists():
        return []
    return [
        Outcome(
            "file store",
            "warning",
            f"{settings.files_store} is not there. If Kingfisher Collect has crawled already, set "
            "KINGFISHER_COLLECT_FILES_STORE to the folder that is FILES_STORE where Scrapyd runs.",
        )
    ]


def _spiders(database: Database | None) -> list[str]:
    """The spiders of the publications that are due at times. None, if there is no database to tell."""
    if database is None:
        return []
    from sqlalchemy import select  # noqa: PLC0415 - not before it is needed

    from registry_resources.database import Collection  # noqa: PLC0415

    with database.session(read_only=True) as session:
        return list(session.scalars(select(Collection.source_id).where(Collection.frozen.is_(False)).distinct()))


def _folder(path: Path) -> str:
    """Whether files can be made in a folder, or the folder itself."""
    existing = path
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    remedy = "Point the setting at a folder that this user can write to."
    if not existing.is_dir():
        raise ConfigurationError(f"{path} can't be a folder, since {existing} is a file. {remedy}")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ConfigurationError(f"{existing} can't be written to. {remedy}")
    free = shutil.disk_usage(existing).free / 10**9
    return f"{path}{'' if existing == path else ' (made when needed)'}, {free:,.1f} GB free"


def _notifications(settings: Settings, database: Database | None) -> Outcome:
    """Where notifications go, without sending any: `registry notify-test` does."""
    return _outcome("notifications", lambda: _channels(settings, database), "warning")


def _channels(settings: Settings, database: Database | None) -> str:
    from registry_assets.process_manager import outbox  # noqa: PLC0415 - not before it is needed
    from registry_resources.notify import channels  # noqa: PLC0415

    ways = [f"by {channel.name} to {channel.where}" for channel in channels(settings).values()]
    detail = "; ".join(["to the log", *ways, *(["`registry notify-test` tries them"] if ways else ["nowhere else"])])
    if database:
        with database.session(read_only=True) as session:
            waiting = outbox.waiting(session)
        if waiting:
            raise ConfigurationError(
                "; ".join(f"{count:,} wait for {channel}: {error}" for channel, count, error in waiting)
            )
    return detail


def _dagster() -> list[Outcome]:
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        detail = (
            "not set, so runs can't be made. Set it to the absolute path of the folder where Dagster keeps its runs."
        )
        return [Outcome("DAGSTER_HOME", "warning", detail)]
    if not Path(home).is_absolute():
        return [Outcome("DAGSTER_HOME", "failed", f"{home} is no absolute path. Set it to one.")]
    folder = _outcome("DAGSTER_HOME", lambda: _folder(Path(home)))
    if folder.status == "failed":
        return [folder]
    if not (Path(home) / "dagster.yaml").is_file():
        detail = f"{home} has none. Copy one from deploy/, or the limits and recovery that it sets up are missing."
        return [folder, Outcome("dagster.yaml", "warning", detail)]
    return [folder, _daemon()]


def _daemon() -> Outcome:
    """Whether Dagster's storage answers, and whether its daemon, which does everything by itself, is there."""
    from registry_assets.commands.run import open_instance  # noqa: PLC0415 - importing Dagster takes seconds

    try:
        with open_instance() as instance:
            beats = [status.last_heartbeat for status in instance.get_daemon_statuses().values() if status.required]
    except Exception as error:  # noqa: BLE001 (whatever its storage or its configuration raises)
        return Outcome("Dagster", "failed", f"Its storage can't be used: {redact(str(error)).strip().splitlines()[0]}")
    times = [beat.timestamp for beat in beats if beat]
    if len(times) < len(beats) or time.time() - min(times, default=0) > SILENT_FOR:
        when = (
            f" since {datetime.datetime.fromtimestamp(min(times), datetime.UTC):%Y-%m-%d %H:%M} UTC" if times else ""
        )
        detail = f"its daemon is not running{when}: nothing is done by itself. Start it (docs/production.md)."
        return Outcome("Dagster", "warning", detail)
    heard = max(0.0, time.time() - min(times, default=0))
    return Outcome("Dagster", "ok", f"its daemon is running: all {len(times)} parts were heard of, {heard:.0f} s ago")
