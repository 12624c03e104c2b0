"""`registry sync` and `registry export-catalogue`: between the catalogue file and the database.

Does not belong here: what the file may hold, or how it is compared (`registry_resources.catalogue`).
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from registry_assets.commands.common import json_option, open_database, print_json, shown
from registry_resources.exceptions import ConfigurationError

if TYPE_CHECKING:
    from registry_resources.catalogue import Changes, Document
    from registry_resources.database import Database
    from registry_resources.settings import Settings

WIDTH = 100
"""How much of a value is shown, in characters."""


@click.command(short_help="Make the catalogue as a file says.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@json_option
def sync(file: Path, *, dry_run: bool, as_json: bool) -> None:
    """Make the database's catalogue as FILE says, and show what changed.

    The file is the truth for the fields it may hold, except that `frozen`, `public` and `publication_policy` change
    only if it mentions them. What is only in the database is told and kept. The database is created if there is none.
    """
    from registry_resources.catalogue import load  # noqa: PLC0415 - not before it is needed
    from registry_resources.database import Database  # noqa: PLC0415
    from registry_resources.settings import Settings  # noqa: PLC0415

    document = load(file)
    settings = Settings.from_env()
    database = Database(settings.database_url)
    try:
        changes = _compare(document, database) if dry_run else _apply(document, database)
        partitions = None if dry_run else _sync_partitions(database)
    finally:
        database.dispose()
    for warning in [*document.warnings, *_spider_warnings(document, settings)]:
        click.echo(f"Warning: {warning}", err=True)
    if as_json:
        print_json({"dry_run": dry_run, **changes.as_json(), "partitions": partitions})
    else:
        _print(changes, partitions, dry_run=dry_run)


def _spider_warnings(document: Document, settings: Settings) -> list[str]:
    """What will not run as it is set up here: the file may be meant for another machine, so that is no error."""
    from registry_resources.collect.arguments import check_arguments  # noqa: PLC0415 - not before it is needed
    from registry_resources.exceptions import UnexpectedError  # noqa: PLC0415

    if settings.collect_dir or settings.kingfisher:
        return []  # their spiders are only known to them
    warnings = []
    for entry in document.publications:
        if entry.values.get("frozen"):
            continue
        try:
            check_arguments(entry.values["source_id"], entry.values["spider_arguments"])
        except UnexpectedError as error:
            warnings.append(f"{document.path}:{entry.line}: publication {entry.key} can't be collected: {error}")
    return warnings


def _compare(document: Document, database: Database) -> Changes:
    from registry_resources.catalogue import diff  # noqa: PLC0415 - not before it is needed

    if not database.exists() or database.revision() is None:
        return diff(document, None)
    database.check()
    with database.session(read_only=True) as session:
        return diff(document, session)


def _apply(document: Document, database: Database) -> Changes:
    from registry_resources.catalogue import apply  # noqa: PLC0415 - not before it is needed

    database.migrate()
    with database.session() as session:
        return apply(document, session)


def _sync_partitions(database: Database) -> dict[str, list[str]] | None:
    """Give the publications their partitions, if there is an instance of Dagster to give them in."""
    if not os.environ.get("DAGSTER_HOME"):
        return None
    from registry_assets.commands.run import open_instance  # noqa: PLC0415 - importing Dagster takes seconds
    from registry_assets.partitions import sync_partitions  # noqa: PLC0415

    with open_instance() as instance:
        changes = sync_partitions(instance, database)
    return {"added": changes.added, "removed": changes.removed, "kept": changes.kept}


def _print(changes: Changes, partitions: dict[str, list[str]] | None, *, dry_run: bool) -> None:
    for change in changes.changes:
        sign = "+" if change.action == "add" else "~"
        click.echo(f"{sign} {change.kind} {change.key}")
        for item in change.fields:
            new = _short(item.new)
            click.echo(
                f"    {item.field}: {new}" if item.old is None else f"    {item.field}: {_short(item.old)} → {new}"
            )
    for kind, keys in changes.kept.items():
        click.echo(f"= {kind} {', '.join(keys)}: not in the file, kept in the database")
    added = sum(change.action == "add" for change in changes.changes)
    counts = f"{added} added, {len(changes.changes) - added} changed, {changes.unchanged} unchanged"
    click.echo(f"Dry run, nothing was changed: {counts}." if dry_run else f"{counts[0].upper()}{counts[1:]}.")
    if partitions is not None:
        for what in ("added", "removed"):
            if partitions[what]:
                click.echo(f"Partitions {what}: {', '.join(partitions[what])}.")
        if partitions["kept"]:
            click.echo(f"Partitions kept for now, as runs of them are active: {', '.join(partitions['kept'])}.")


def _short(value: Any) -> str:
    text = " ".join(shown(value).split()) or "(nothing)"
    return text if len(text) <= WIDTH else f"{text[:WIDTH]}…"


@click.command("export-catalogue", short_help="Write the catalogue to a file.")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
def export_catalogue(file: Path) -> None:
    """Write the database's catalogue to FILE (- is standard output), as a file that `registry sync` takes.

    Settings that are not env:NAME are written in plain text, so the file is readable by its owner only.
    """
    from registry_resources.catalogue import export_catalogue as export  # noqa: PLC0415 - not before it is needed

    with open_database() as database, database.session(read_only=True) as session:
        text = export(session)
    if str(file) == "-":
        click.echo(text, nl=False)
        return
    partial = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
            stream.write(text)
        partial.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):  # where nothing may be made, nothing may be removed
            partial.unlink()
        raise ConfigurationError(
            f"{file} can't be written: {error.strerror}. Give the path of a file in a folder that you can write to."
        ) from error
    click.echo(f"Wrote {file}.", err=True)
