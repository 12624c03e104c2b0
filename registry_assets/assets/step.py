"""What the assets have in common: finding the job that a step works on, driving its task, and telling failures.

Does not belong here: what any one asset shows (its own module), or the job logic (`process_manager`).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import joinedload

from registry_assets import checks, runs
from registry_assets import metadata as md
from registry_assets.assets.export_view import ExportView
from registry_assets.process_manager import exports, job_store
from registry_assets.process_manager.driver import TaskFailedError, drive, heartbeat, uninterrupted, wipe_unfinished
from registry_assets.process_manager.findings import of_task
from registry_assets.process_manager.lease import Runs
from registry_assets.process_manager.outage import through_outages
from registry_assets.process_manager.progress import Reporter
from registry_assets.process_manager.publishing import RefusedError, judge_task
from registry_assets.process_manager.rules.plausibility import Finding
from registry_assets.process_manager.services import Services
from registry_assets.reporting import ReportingResource
from registry_resources.dagster_resources import CollectResource, DatabaseResource, ProcessResource, SettingsResource
from registry_resources.database import Database, Job, Task, TaskNote
from registry_resources.database.choices import TaskType
from registry_resources.exceptions import ConfigurationError, DataRegistryError
from registry_resources.redaction import redact
from registry_resources.settings import Settings

GROUP = "registry"
NOTE_LENGTH = 400
OWNERS = ["team:registry"]

OPENING = 60.0
"""For how many seconds a step waits for a database that can't be reached, before it says so."""

Event = dg.MaterializeResult[Any] | dg.AssetCheckResult
"""What a step tells Dagster."""


@dataclass(frozen=True)
class Registry:
    """The job logic, with everything it works with: what each asset's step is handed, as a resource."""

    settings: SettingsResource
    database: DatabaseResource
    collect: CollectResource
    process: ProcessResource
    reporting: ReportingResource

    @contextmanager
    def services(self, *, patience: float = 0.0) -> Iterator[Services]:
        """Open the database and the backends for one step, waiting for a database that can't be reached for now."""
        settings = self.settings.read()
        database = self._open(settings, patience)
        try:
            yield Services(settings, database, self.collect.backend(settings), self.process.backend(settings))
        finally:
            database.dispose()

    def _open(self, settings: Settings, patience: float) -> Database:
        refusals: list[ConfigurationError] = []

        def attempt() -> Database:
            try:
                return self.database.open(settings)
            except ConfigurationError as e:
                if not isinstance(e.__cause__, DBAPIError):
                    raise
                refusals.append(e)
                raise e.__cause__ from e

        try:
            return through_outages(attempt, patience=patience)
        except DBAPIError:
            if refusals:
                raise refusals[-1] from None
            raise


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
    work: Callable[[Services, int], list[Finding]] | None = None,
) -> Iterator[Event]:
    """Do the work of one step, check it, and describe it.

    Args:
        context: the step's.
        registry: the job logic.
        stage: the task to drive, or None for `work`.
        describe: makes the materialisation of what was done.
        work: what to do instead of driving a task, given the job's id. Returns what the checks found.

    Yields:
        The materialisation, then the checks' results; if a check or the task fails, only those that tell why.

    Raises:
        dagster.Failure: with the reason, which names the publication, the job, the cause and the remedy. Never retried
            by Dagster's own policy: the job logic has waited as long as that may help.
    """
    key, asset = context.partition_key, context.asset_key.to_user_string()
    judged: list[dg.AssetCheckResult] = []
    try:
        with registry.services(patience=OPENING) as services:
            runs.limit_retries(context.instance, context.run, services.settings.max_retries)
            found = through_outages(
                lambda: job_store.find_job(services.database, key, stage, _identity(context), _runs(context))
            )
            with _holding(replace(services, lease=found.lease)) as holder:
                job_id, reporter = found.job_id, registry.reporting.reporter(context.log)
                if found.superseded:
                    with heartbeat(holder):  # deleting takes a while
                        wipe_unfinished(found.superseded, services, reporter)
                try:
                    if work:
                        # Broken off in the middle, the files would say one thing and the database another.
                        with heartbeat(holder), uninterrupted():
                            findings = work(holder, job_id)
                    else:
                        findings = _drive(holder, job_id, stage, reporter)
                except (RefusedError, TaskFailedError) as e:
                    job = through_outages(lambda: _load(services, job_id))
                    judged += checks.results(asset, _findings(e, holder, job, stage), job)
                    raise
                done = Done(through_outages(lambda: _load(services, job_id)), holder)
                judged += checks.results(asset, findings, done.job)
                result = describe(done)
    except (TaskFailedError, DataRegistryError) as e:
        message = redact(str(e))
        if isinstance(e, job_store.NothingLeftError):
            # Dagster ends such a run as cancelled, which alarms nobody, with the step's failure as the reason.
            context.instance.report_run_canceling(context.run, message)
        yield from judged
        raise dg.Failure(
            description=message if key in message else f"{key}: {message}",
            metadata={"publication": key, **_links(registry, context)},
            allow_retries=False,
        ) from None
    yield result
    yield from judged


def _drive(services: Services, job_id: int, stage: TaskType | None, reporter: Reporter) -> list[Finding]:
    task = through_outages(lambda: _task(services, job_id, stage))
    drive(task.id, services, reporter)
    with heartbeat(services):  # reading every file takes a while
        return through_outages(lambda: judge_task(services, job_id, task.type))


def _task(services: Services, job_id: int, stage: TaskType | None) -> Task:
    with services.database.session(read_only=True) as session:
        return session.get_one(Job, job_id).task(stage)  # type: ignore[arg-type]


def _findings(error: Exception, services: Services, job: Job, stage: TaskType | None) -> list[Finding]:
    if isinstance(error, RefusedError):
        return error.findings
    return of_task(services, job, stage) if stage else []


@contextmanager
def _holding(services: Services) -> Iterator[Services]:
    """Let others know, once the step has ended, that nobody is at work on the job until the run's next step."""
    try:
        yield services
    finally:
        if services.lease:
            with suppress(Exception):  # lost, or the database is away: neither may hide how the step ended
                services.lease.rest(services.database)


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
            job = job_store.job_of_run(session, *_identity(context).line)
            log = job.context.get("scrapy_log") if job else None
            if job is None:
                return {}
            return {"job": str(job.id), **({"crawl log": dg.MetadataValue.path(str(log))} if log else {})}
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
    return job_store.RunIdentity(
        context.run.run_id,
        runs.root(context.run),
        collects=collects,
        planned=runs.planned_job(context.run),
        resumes=runs.resumes(context.run),
        retried=runs.ancestors(context.instance, context.run),
    )


def _runs(context: dg.AssetExecutionContext) -> Runs:
    instance = context.instance

    def alive(run_id: str) -> bool:
        return runs.goes_on(instance, run_id, without=context.run.run_id)

    def bury(run_id: str, reason: str) -> None:
        # Dagster itself does not notice that a worker is gone.
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            runs.end_dead(instance, run, reason, retries=0)

    return Runs(alive, bury)
