"""`registry show`: everything about one publication.

Does not belong here: how a publication is looked for or changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from registry_assets.commands.common import (
    console,
    find,
    json_option,
    open_database,
    print_json,
    print_table,
    shown,
    table,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from registry_resources.database import Collection, Job, Task

NOTES = 20
"""How many notes of a task are shown. The rest is counted."""
JOB_FIELDS = (
    "run_id",
    "start",
    "end",
    "note",
    "blocked",
    "accepted_at",
    "accepted_by",
    "accepted_reason",
    "archived",
    "keep_all_data",
    "date_from",
    "date_to",
    "ocid_prefix",
    "license",
    "publication_policy",
)


@click.command(short_help="Show everything about a publication.")
@click.argument("key")
@click.option("--jobs", default=5, show_default=True, type=click.IntRange(min=0), help="How many jobs to show.")
@json_option
def show(key: str, *, jobs: int, as_json: bool) -> None:
    """Show everything about the publication KEY: its fields, and its latest jobs with their tasks and notes."""
    from registry_resources.settings import Settings  # noqa: PLC0415 - not before it is needed

    with open_database() as database, database.session(read_only=True) as session:
        found = publication(session, find(session, key), jobs)
    settings = Settings.from_env()
    for job in found["jobs"]:
        job["run_url"] = settings.run_url(job["run_id"])
    if as_json:
        print_json(found)
    else:
        _print(found)


def publication(session: Session, collection: Collection, jobs: int) -> dict[str, Any]:
    """Give everything about a publication, and its latest jobs, the newest first."""
    from sqlalchemy import func, select  # noqa: PLC0415 - not before it is needed

    from registry_resources.catalogue.fields import collection_values  # noqa: PLC0415
    from registry_resources.catalogue.settings import shown as shown_setting  # noqa: PLC0415
    from registry_resources.database import Job, recent_jobs  # noqa: PLC0415

    bundle = collection.settings_bundle
    return {
        **collection_values(collection),
        "settings": {setting.key: shown_setting(setting.key, setting.value) for setting in bundle.settings}
        if bundle
        else {},
        "active_job": collection.active_job_id,
        "last_retrieved": collection.last_retrieved,
        "created": collection.created,
        "modified": collection.modified,
        "jobs_total": session.scalar(select(func.count(Job.id)).where(Job.collection_id == collection.id)),
        "jobs": [_job(session, job) for job in recent_jobs(session, collection, jobs)],
    }


def _job(session: Session, job: Job) -> dict[str, Any]:
    from registry_assets.process_manager.publishing import is_acceptable  # noqa: PLC0415 - not before it is needed

    return {
        "id": job.id,
        "status": job.status,
        "result": job.result,
        **{name: getattr(job, name) for name in JOB_FIELDS},
        "acceptable": is_acceptable(session, job),
        "counts": {name: getattr(job, name) for name in job.COUNTS},
        "context": dict(job.context),
        "tasks": [_task(session, task) for task in job.tasks],
    }


def _task(session: Session, task: Task) -> dict[str, Any]:
    from sqlalchemy import func, select  # noqa: PLC0415 - not before it is needed

    from registry_resources.database import TaskNote  # noqa: PLC0415

    total = session.scalar(select(func.count(TaskNote.id)).where(TaskNote.task_id == task.id))
    notes = session.scalars(select(TaskNote).where(TaskNote.task_id == task.id).order_by(TaskNote.id).limit(NOTES))
    return {
        "type": task.type,
        "status": task.status,
        "result": task.result,
        "start": task.start,
        "end": task.end,
        "attempts": task.attempts,
        "note": task.note,
        "notes_total": total,
        "notes": [{"level": note.level, "note": note.note, "data": dict(note.data)} for note in notes],
    }


def _print(found: dict[str, Any]) -> None:
    fields = table("Field", "Value", title=f"Publication {found['key']}")
    for name, value in found.items():
        if name not in {"jobs", "jobs_total"} and value not in (None, "", {}):
            fields.add_row(name, shown(value))
    print_table(fields)
    hidden = found["jobs_total"] - len(found["jobs"])
    for job in found["jobs"]:
        _print_job(found["key"], job)
    if not found["jobs_total"]:
        click.echo(f"It has no jobs yet. `registry run {found['key']}` makes one.")
    elif hidden:
        click.echo(f"… and {hidden} earlier jobs. Show more with --jobs.")


def _print_job(key: str, job: dict[str, Any]) -> None:
    outcome = (job["result"] or job["status"]).lower()
    reason = f": {shown(job['note'])}" if job["note"] else ""
    tasks = table("Task", "Status", "Start", "End", "Attempts", "Note", title=f"Job {job['id']} {outcome}{reason}")
    for task in job["tasks"]:
        tasks.add_row(
            str(task["type"]),
            (task["result"] or task["status"]).lower(),
            shown(task["start"]),
            shown(task["end"]),
            str(task["attempts"]),
            shown(task["note"]),
        )
    print_table(tasks, ("End", "Attempts"))
    out = console()
    if job["run_url"]:
        out.print(f"  run: {shown(job['run_url'])}", soft_wrap=True)
    if job["accepted_at"]:
        who, when = shown(job["accepted_by"]), f"{job['accepted_at']:%Y-%m-%d %H:%M} UTC"
        out.print(f"  blocked ({shown(job['blocked'])})")
        out.print(f"  accepted by {who} on {when}: {shown(job['accepted_reason'])}")
    if job["acceptable"]:
        command = f"registry accept {key} {job['id']} --reason TEXT"
        out.print(f"  It is kept from readers. If it is right, publish it: {command}", soft_wrap=True)
    for task in job["tasks"]:
        for note in task["notes"]:
            out.print(f"  {task['type']}: {note['level'].lower()}: {shown(note['note'])}")
        if (more := task["notes_total"] - len(task["notes"])) > 0:
            out.print(f"  {task['type']}: … and {more} more notes")
