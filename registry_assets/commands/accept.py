"""`registry accept`: publishes a version that was blocked, on somebody's word (ASK-03).

Does not belong here: what an acceptance is (`process_manager.publishing`), or how a run goes (`run.py`).
"""

from __future__ import annotations

import getpass
import os
import sys
from typing import TYPE_CHECKING

import click

from registry_assets.commands.common import open_database, print_json
from registry_resources.exceptions import UnexpectedError

if TYPE_CHECKING:
    from registry_resources.database import Database

AFTER = {"exporter": "exported", "coverage": "coverage", "flattener": "flattened"}
"""What is materialised before publishing, if it was not: the version may have been blocked early."""


@click.command(short_help="Publish a version that was blocked.")
@click.argument("key")
@click.argument("job", type=click.IntRange(min=1))
@click.option("--reason", required=True, help="Why it is right. Kept with the job.")
@click.option("--by", metavar="NAME", help="Who says so, if other than the user who runs the command.")
@click.option(
    "--no-publish", is_flag=True, help="Only record it. Materialise `published` later, in Dagit for example."
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def accept(key: str, job: int, *, reason: str, by: str | None, no_publish: bool, as_json: bool) -> None:
    """Accept the blocked version of the publication KEY that is job JOB's, and publish it.

    `registry show KEY` tells why it was blocked. Who accepted it, when and why is recorded, and shown with the job.
    """
    if not reason.strip():
        raise click.BadParameter("Say why, for those who ask later.", param_hint="--reason")
    name = (by or user()).strip()
    with open_database() as database:
        select = _record(database, key, job, name, reason.strip())
    if no_publish:
        recorded = {"publication": key, "job": job, "accepted_by": name, "published": False}
        if as_json:
            print_json(recorded)
        else:
            click.echo(f"{key}: {name} accepted job {job}. Publish it with `registry run {key} --select {select}`.")
        return
    from registry_assets.commands.run import INTERRUPTED, execute  # noqa: PLC0415 (it takes seconds)
    from registry_assets.commands.run_display import Display  # noqa: PLC0415

    with Display(key, as_json=as_json) as display:
        outcome = execute(key, select, display)
    if as_json:
        print_json({**outcome, "job": job, "accepted_by": name}, indent=None)
    else:
        display.conclude(outcome)
    sys.exit(0 if outcome["success"] else INTERRUPTED if outcome["cancelled"] else 1)


def user() -> str:
    """The name of whoever runs this: behind `sudo`, of whoever asked for that."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        return f"user {os.getuid()}"


def _record(database: Database, key: str, job_id: int, by: str, reason: str) -> str:
    """Record the acceptance. Returns what is left to materialise."""
    from registry_assets.process_manager.publishing import accept as record  # noqa: PLC0415
    from registry_resources.database import Job  # noqa: PLC0415

    record(database, key, job_id, by=by, reason=reason)
    with database.session(read_only=True) as session:
        job = session.get(Job, job_id)
        if job is None:
            raise UnexpectedError(f"{key}: job {job_id} was deleted meanwhile. Nothing was published.")
        undone = [AFTER[task.type] for task in job.tasks if task.type in AFTER and not task.is_successful]
    return ",".join([*undone, "published"])
