"""`registry delete-job`: one job goes, with everything it made (RET-07).

Does not belong here: how (`process_manager.deletion`), or jobs that retention chooses (`cleanup`).
"""

from __future__ import annotations

import click

from registry_assets.commands.common import confirm, find, open_database
from registry_assets.commands.services import open_services
from registry_resources.exceptions import ConfigurationError


@click.command("delete-job", short_help="Delete a job with all it made.")
@click.argument("key")
@click.argument("job", type=int)
@click.option("--yes", is_flag=True, help="Don't ask.")
def delete_job(key: str, job: int, *, yes: bool) -> None:
    """Delete the job JOB of the publication KEY: its crawl, temporary data, exports, and what is known of it.

    The active job, whose version readers see, and a running one are refused.
    """
    from registry_assets.process_manager import deletion  # noqa: PLC0415 - not before it is needed

    check_job(key, job)
    then = _consequence(key, job)
    if not yes:
        if then:
            click.echo(f"{key}: {then}", err=True)
        confirm(f"{key}: delete job {job}, with its crawl, its exports and all that is known of it?")
    with open_services() as services:
        deletion.delete_job(services, job)
    click.echo(f"{key}: job {job} is deleted.")
    if then and yes:  # else it was said before
        click.echo(f"{key}: {then}", err=True)


def _consequence(key: str, job: int) -> str:
    """What deleting a job changes about when the publication is due, or "" if it changes nothing that matters."""
    from registry_assets.process_manager import planning  # noqa: PLC0415 - not before it is needed
    from registry_resources.database import utcnow  # noqa: PLC0415

    today = utcnow().date()
    with open_database() as database, database.session(read_only=True) as session:
        (now,) = planning.standings(session, today, [key])
        (then,) = planning.standings(session, today, [key], without=job)
    if now.verdict.due or not then.verdict.due:
        return ""
    reason = then.verdict.reason.removeprefix("due: ")
    return (
        f"Without job {job} it is due at once ({reason}), and Dagster plans a new job. "
        f"`registry freeze {key}` keeps it from that."
    )


def check_job(key: str, job: int) -> None:
    """Make sure that a publication has a job.

    Raises:
        ConfigurationError: if there is no such publication, or no such job of it.
    """
    from sqlalchemy import select  # noqa: PLC0415 - not before it is needed

    from registry_resources.database import Job  # noqa: PLC0415

    with open_database() as database, database.session(read_only=True) as session:
        collection = find(session, key)
        jobs = session.scalars(select(Job.id).where(Job.collection_id == collection.id).order_by(Job.id)).all()
    if job not in jobs:
        has = f"Its jobs are {', '.join(map(str, jobs[-20:]))}" if jobs else "It has no jobs"
        raise ConfigurationError(f"{key}: there is no job {job} of this publication. {has}.")
