"""`registry freeze` and `registry unfreeze`: stop scheduling a publication, and go on with it (CAT-15).

Does not belong here: what being frozen keeps from happening (`process_manager.rules.out_of_date`).
"""

from __future__ import annotations

import click

from registry_assets.commands.common import find, open_database


@click.command(short_help="Stop scheduling a publication.")
@click.argument("key")
def freeze(key: str) -> None:
    """Schedule no new jobs of the publication KEY, such as while its source is broken. Running jobs go on.

    A catalogue file that doesn't mention `frozen` leaves it so.
    """
    _set(key, frozen=True)


@click.command(short_help="Schedule a publication again.")
@click.argument("key")
def unfreeze(key: str) -> None:
    """Schedule jobs of the publication KEY again."""
    _set(key, frozen=False)


def _set(key: str, *, frozen: bool) -> None:
    with open_database() as database, database.session() as session:
        collection = find(session, key)
        changed = collection.frozen != frozen
        collection.frozen = frozen
    state = "frozen: no new jobs are scheduled" if frozen else "not frozen: jobs are scheduled when they are due"
    click.echo(f"{key} is {state}." if changed else f"{key} is {state}. It was so already.")
