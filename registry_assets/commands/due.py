"""`registry due`: which publications are due, and why the others are not, as the sensor `out_of_date` sees it.

Does not belong here: the rule (`process_manager.rules.out_of_date`), or starting runs, which is the sensor's.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

import click

from registry_assets.commands.common import find, json_option, open_database, print_json, print_table, shown, table

if TYPE_CHECKING:
    from registry_assets.process_manager.planning import Standing
    from registry_resources.database import Database


@click.command(short_help="Say which publications are due, and plan their jobs.")
@click.argument("keys", metavar="[KEY]...", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Only say it: plan nothing.")
@json_option
def due(keys: tuple[str, ...], *, dry_run: bool, as_json: bool) -> None:
    """Say of each publication (or of each KEY) whether it is due, and why, and plan the jobs of those that are.

    Dagster, if its daemon runs, plans what is due by itself, and asks for the runs of planned jobs, some every half
    minute. `registry run KEY` refreshes a publication that is not due.
    """
    from registry_assets.process_manager import planning  # noqa: PLC0415 - not before it is needed
    from registry_resources.database import utcnow  # noqa: PLC0415

    today = utcnow().date()
    with open_database() as database:
        found = _standings(database, keys, today)
        wanted = [standing.key for standing in sorted(found, key=_urgency) if standing.verdict.due]
        planned = planning.plan(database, [] if dry_run else wanted[: planning.AT_ONCE], today)
        if planned.refused:
            # Another process was quicker: say how they stand now.
            found = _standings(database, keys, today)
    if as_json:
        print_json([_row(standing, planned.jobs.get(standing.key)) for standing in found])
        return
    _show(found, planned.jobs)


def _standings(database: Database, keys: tuple[str, ...], today: datetime.date) -> list[Standing]:
    from registry_assets.process_manager import planning  # noqa: PLC0415 - not before it is needed

    with database.session(read_only=True) as session:
        for key in keys:
            find(session, key)
        return planning.standings(session, today, keys or None)


def _urgency(standing: Standing) -> tuple[datetime.date, str]:
    return standing.urgency


def _row(standing: Standing, planned: int | None) -> dict[str, Any]:
    never = standing.verdict.due_on == datetime.date.min
    return {
        "key": standing.key,
        "state": standing.verdict.state,
        "due": standing.verdict.due,
        "reason": standing.verdict.reason,
        "due_on": None if never else standing.verdict.due_on,
        "overdue": standing.verdict.overdue,
        "retrieval_frequency": standing.frequency or "",
        "frozen": standing.frozen,
        "last_job": standing.latest.id if standing.latest else None,
        "last_began": standing.latest.start if standing.latest else None,
        "planned_job": planned,
    }


def _show(standings: list[Standing], planned: Any) -> None:
    if not standings:
        click.echo("There are no publications. Write a catalogue file, and run `registry sync FILE`.", err=True)
        return
    view = table("Key", "Frequency", "Last began", "Due on", "Standing", "Planned now")
    for standing in sorted(standings, key=_urgency):
        row = _row(standing, planned.get(standing.key))
        began = row["last_began"]
        view.add_row(
            standing.key,
            shown(row["retrieval_frequency"]),
            shown(began.date()) if began else "",
            shown(row["due_on"]),
            standing.verdict.reason,
            f"job {row['planned_job']}" if row["planned_job"] else "",
        )
    print_table(view, ("Last began",))
    for standing in standings:
        if standing.verdict.overdue:
            click.echo(f"Warning: {standing.key}: {standing.verdict.reason}. See its run in Dagit.", err=True)
    if planned:
        click.echo(f"Jobs planned: {len(planned):,}. Their runs are asked for while Dagster's daemon runs.", err=True)
        if left := sum(standing.verdict.due and standing.key not in planned for standing in standings):
            click.echo(f"Due as well: {left:,}. Dagster plans their jobs in their turn.", err=True)
