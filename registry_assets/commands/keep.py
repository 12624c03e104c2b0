"""`registry keep`: preserve the temporary data of a job, or no longer (RET-06).

Does not belong here: wiping them (`cleanup`).
"""

from __future__ import annotations

import click

from registry_assets.commands.common import open_database
from registry_assets.commands.delete_job import check_job


@click.command(short_help="Preserve the temporary data of a job.")
@click.argument("key")
@click.argument("job", type=int)
@click.option("--no-keep", is_flag=True, help="No longer: they go at the next cleanup.")
def keep(key: str, job: int, *, no_keep: bool) -> None:
    """Preserve the temporary data of the job JOB of the publication KEY: what was collected and compiled.

    So that they can be looked at, such as after a failure. They take disk until `--no-keep`, or until the job itself
    is deleted.
    """
    from registry_resources.database import Job  # noqa: PLC0415 - not before it is needed

    check_job(key, job)
    with open_database() as database, database.session() as session:
        found = session.get_one(Job, job)
        found.keep_all_data = not no_keep
        archived = found.archived
    if no_keep:
        click.echo(f"{key}: the temporary data of job {job} {'are wiped' if archived else 'go at the next cleanup'}.")
    elif archived:
        click.echo(
            f"{key}: the temporary data of job {job} were wiped before. Only what it makes from now on is kept."
        )
    else:
        click.echo(f"{key}: the temporary data of job {job} are kept until `registry keep {key} {job} --no-keep`.")
