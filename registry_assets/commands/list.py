"""`registry list`: the publications, and how each is doing.

Two queries, however many publications there are. Does not belong here: everything about one publication (`show`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from registry_assets.commands.common import json_option, open_database, print_json, print_table, shown, table

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@click.command("list", short_help="List the publications.")
@json_option
def list_(*, as_json: bool) -> None:
    """List the publications, with the state of their latest job."""
    with open_database() as database, database.session(read_only=True) as session:
        rows = publications(session)
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo("There are no publications. Write a catalogue file, and run `registry sync FILE`.", err=True)
        return
    view = table(
        "Key", "Title", "Country", "Frequency", "Frozen", "Public", "Active job", "Last retrieved", "Latest job"
    )
    for row in rows:
        latest = row["latest_job"]
        view.add_row(
            *(shown(row[name]) for name in ("key", "title", "country", "retrieval_frequency")),
            "yes" if row["frozen"] else "",
            "yes" if row["public"] else "",
            shown(row["active_job"]),
            shown(row["last_retrieved"]),
            f"#{latest['id']} {_outcome(latest)}" if latest else "",
        )
    print_table(view, ("Country", "Title", "Public", "Last retrieved"))


def _outcome(job: dict[str, Any]) -> str:
    # What is blocked waits for somebody to accept it: that is no failure like others.
    return "blocked" if job["blocked"] and job["result"] == "FAILED" else str(job["result"] or job["status"]).lower()


def publications(session: Session) -> list[dict[str, Any]]:
    """Give what the list shows, by key."""
    from sqlalchemy import select  # noqa: PLC0415 - not before it is needed

    from registry_resources.database import Collection, latest_jobs  # noqa: PLC0415

    latest = latest_jobs(session)
    rows = []
    for collection in session.scalars(select(Collection).order_by(Collection.key)):
        job = latest.get(collection.id)
        rows.append(
            {
                "key": collection.key,
                "title": collection.title,
                "country": collection.text("country"),
                "retrieval_frequency": collection.retrieval_frequency,
                "frozen": collection.frozen,
                "public": collection.public,
                "active_job": collection.active_job_id,
                "last_retrieved": collection.last_retrieved,
                "latest_job": {
                    "id": job.id,
                    "status": job.status,
                    "result": job.result,
                    "note": job.note,
                    "blocked": job.blocked,
                    "start": job.start,
                    "end": job.end,
                }
                if job
                else None,
            }
        )
    return rows
