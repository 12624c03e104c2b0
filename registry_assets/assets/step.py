"""What the assets have in common: finding the job that a step works on, driving its task, and telling failures.

Does not belong here: what any one asset shows (its own module), or the job logic (`process_manager`).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import dagster as dg
from sqlalchemy.orm import joinedload

from registry_assets import metadata as md
from registry_assets.assets.export_view import ExportView
from registry_assets.process_manager import exports, job_store
from registry_assets.process_manager.driver import TaskFailedError, drive, wipe_unfinished
from registry_assets.process_manager.services import Services
from registry_assets.reporting import ReportingResource
from registry_resources.dagster_resources import CollectResource, DatabaseResource, ProcessResource, SettingsResource
from registry_resources.database import Job, Task, TaskNote
from registry_resources.database.choices import TaskType
from registry_resources.exceptions import DataRegistryError
from registry_resources.redaction import redact

GROUP = "registry"
NOTE_LENGTH = 400
OWNERS = ["team:registry"]

T = TypeVar("T")


@dataclass(frozen=True)
class Registry:
    """The job logic, with everything it works with: what each asset's step is handed, as a resource."""

    settings: SettingsResource
    database: DatabaseResource
    collect: CollectResource
    process: ProcessResource
    reporting: ReportingResource

    @contextmanager
    def services(self) -> Iterator[Services]:
        """Open the database and the backends for one step."""
        settings = self.settings.read()
        database = self.database.open(settings)
        try:
            yield Services(settings, database, self.collect.backend(settings), self.process.backend(settings))
        finally:
            database.dispose()


@dataclass(frozen=True)
class Done:
    """A step whose work is done: the job, with its tasks, their notes and its publication loaded."""

    job: Job
    services: Services

    @property
    def key(self) -> str:
        """The publication's key."""
        return self.job.collection.key


def perform(
    context: dg.AssetExecutionContext,
    registry: Registry,
    stage: TaskType | None,
    describe: Callable[[Done], dg.MaterializeResult[Any]],
    work: Callable[[Services, int], T] | None = None,
) -> dg.MaterializeResult[Any]:
    """Do the work of one step, and describe it.

    Args:
        context: the step's.
        registry: the job logic.
        stage: the task to drive, or None for `work`.
        describe: makes the materialisation of what was done.
        work: what to do instead of driving a task, given the job's id.

    Raises:
        dagster.Failure: with the reason, which names the publication, the job, the cause and the remedy. Never retried
            by Dagster's own policy: the job logic has waited as long as that may help.
    """
    key = context.partition_key
    try:
        with registry.services() as services:
            found = job_store.find_job(services.database, key, stage, _identity(context), _runs(context))
            job_id, reporter = found.job_id, registry.reporting.reporter(context.log)
            if found.superseded:
                wipe_unfinished(found.superseded, services, reporter)
            if work:
                work(services, job_id)
            else:
                with services.database.session(read_only=True) as session:
                    task_id = session.get_one(Job, job_id).task(stage).id  # type: ignore[arg-type]
                drive(task_id, services, reporter)
            return describe(Done(_load(services, job_id), services))
    except (TaskFailedError, DataRegistryError) as e:
        message = redact(str(e))
        raise dg.Failure(
            description=message if key in message else f"{key}: {message}",
            metadata={"publication": key, **_links(registry, context)},
            allow_retries=False,
        ) from None


def export_of(done: Done) -> ExportView:
    """What the manifest of the job's latest revision says."""
    return ExportView(exports.current(done.services, done.job))


def version(job: Job, stage: TaskType) -> dg.DataVersion:
    """A version of what a task made: what follows it is out of date once it has run again (DEF-05)."""
    end = job.task(stage).end
    return dg.DataVersion(f"{job.id}-{end.isoformat() if end else ''}")


def notes_table(done: Done, stage: TaskType) -> dg.TableMetadataValue | dg.TextMetadataValue:
    """A task's notes, most serious first."""
    order = list(TaskNote.Level)
    notes = sorted(done.job.task(stage).notes, key=lambda note: order.index(note.level))
    rows: list[md.Row] = [
        {
            "level": note.level.label,
            "note": _with_example(note),
            "count": int(note.data.get("count") or note.data.get("total") or 1),
        }
        for note in notes
    ]
    return md.table(rows, {"level": "string", "note": "string", "count": "int"})


def _with_example(note: TaskNote) -> str:
    """A note's text, cut to what a table can show, with one example if it only says how many there are."""
    examples = note.data.get("examples") or []
    example = str(examples[0]) if examples else ""
    text = note.note if not example or example[:80] in note.note else f"{note.note}, such as: {example}"
    return text if len(text) <= NOTE_LENGTH else f"{text[:NOTE_LENGTH]}…"


def _links(registry: Registry, context: dg.AssetExecutionContext) -> Mapping[str, Any]:
    """What helps to find out more about a failed task."""
    try:
        with registry.services() as services, services.database.session(read_only=True) as session:
            job = job_store.job_of_run(session, context.run.root_run_id or context.run.run_id, context.run.run_id)
            log = job.context.get("scrapy_log") if job else None
            if job is None:
                return {}
            return {"job": job.id, **({"crawl log": dg.MetadataValue.path(str(log))} if log else {})}
    except DataRegistryError:
        return {}


def _load(services: Services, job_id: int) -> Job:
    with services.database.session(read_only=True) as session:
        return session.get_one(
            Job,
            job_id,
            options=[joinedload(Job.collection), joinedload(Job.tasks).joinedload(Task.notes)],
        )


def _identity(context: dg.AssetExecutionContext) -> job_store.RunIdentity:
    # The step's own selection is not the run's; and an empty one of the run means all of the job.
    selection = context.run.asset_selection
    collects = not selection or dg.AssetKey("collected") in selection
    return job_store.RunIdentity(context.run.run_id, context.run.root_run_id or context.run.run_id, collects=collects)


def _runs(context: dg.AssetExecutionContext) -> job_store.Runs:
    def alive(run_id: str) -> bool:
        run = context.instance.get_run_by_id(run_id)
        return run is not None and not run.is_finished

    def bury(run_id: str, reason: str) -> None:
        # Dagster itself does not notice that a worker is gone.
        if run := context.instance.get_run_by_id(run_id):
            context.instance.report_run_failed(run, f"{reason}.")

    return job_store.Runs(alive, bury)
