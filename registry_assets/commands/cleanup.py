"""`registry cleanup`: what is no longer needed goes, with a reason for every job, as the hourly schedule does it.

Does not belong here: the decisions (`process_manager.cleanup`), or one job that somebody wants gone (`delete_job`).
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from registry_assets.commands.common import find, json_option, print_json, print_table, shown, table
from registry_assets.commands.services import open_services

if TYPE_CHECKING:
    from registry_assets.process_manager.cleanup import Report


@click.command(short_help="Delete what is no longer needed.")
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--now", "at_once", is_flag=True, help="Also wipe what failed lately, and might be taken up again.")
@json_option
def cleanup(keys: tuple[str, ...], *, dry_run: bool, at_once: bool, as_json: bool) -> None:
    """Wipe the temporary data of ended jobs, and delete jobs that retention does not keep.

    Of all publications, or of those named. The published version, running jobs and preserved data are never touched.
    The exit code is 1 if something could not be done; the next pass, every hour, tries it again.
    """
    from registry_assets.process_manager.cleanup import clean  # noqa: PLC0415 - not before it is needed

    with open_services() as services:
        with services.database.session(read_only=True) as session:
            for key in keys:
                find(session, key)
        report = clean(services, keys=keys, dry_run=dry_run, at_once=at_once)
    if as_json:
        print_json(
            {"dry_run": dry_run, "bytes": report.freed, "actions": [asdict(action) for action in report.actions]}
        )
    else:
        _print(report)
    if report.problems:
        sys.exit(1)


def _print(report: Report) -> None:
    from registry_assets.process_manager import disk  # noqa: PLC0415 - not before it is needed

    view = table("Publication", "Job", "Action", "Frees", "Why")
    for action in report.actions:
        why = f"{action.reason}. It could not be done: {action.problem}" if action.problem else action.reason
        view.add_row(
            shown(action.publication),
            shown(action.job),
            f"{'! ' if action.warning or action.problem else ''}{action.action}",
            disk.readable(action.bytes) if action.bytes else "",
            shown(why),
        )
    if report.actions:
        print_table(view)
    click.echo(f"{report.summary[0].upper()}{report.summary[1:]}.", err=True)
