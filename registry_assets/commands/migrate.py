"""`registry migrate`: creates the database, or brings it to this version's schema.

Does not belong here: the revisions themselves (`registry_resources.database.migrations`).
"""

from __future__ import annotations

import click

from registry_assets.commands.common import json_option, print_json


@click.command(short_help="Create or upgrade the database.")
@json_option
def migrate(*, as_json: bool) -> None:
    """Create the database (DATABASE_URL), or bring it to this version's schema. Repeating it changes nothing."""
    from registry_resources.database import Database  # noqa: PLC0415 - not before it is needed
    from registry_resources.settings import Settings  # noqa: PLC0415

    database = Database(Settings.from_env().database_url)
    try:
        before = database.revision() if database.exists() else None
        database.migrate()
        after = database.revision()
    finally:
        database.dispose()
    if as_json:
        print_json({"before": before, "after": after})
    elif before == after:
        click.echo(f"The database is at version {after} already.")
    else:
        click.echo(f"The database is at version {after} now (before: {before or 'none'}).")
