"""The sensor that looks after runs whose process is gone, and jobs that nobody works on.

Belongs here: what one look does, in what order, and what it says. Does not belong here: how a job is freed
(`process_manager.recovery`), or how Dagster is told (`registry_assets.runs`).

Dagster does not notice that a worker is gone: after a reboot a run stays STARTED for ever, and keeps its publication
and its place among the runs that may go on at once. That goes for every run, those of backfills and of Dagit too.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import dagster as dg
import psutil
from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus

from registry_assets import runs
from registry_assets.assets.step import Registry
from registry_assets.partitions import IN_FLIGHT
from registry_assets.process_manager import publishing, recovery, worker
from registry_assets.process_manager.recovery import Memory, OpenJob
from registry_assets.process_manager.services import Services
from registry_resources.database import Job, utcnow
from registry_resources.database.choices import JobResult
from registry_resources.exceptions import DataRegistryError, UnexpectedError
from registry_resources.redaction import redact

SILENT_FOR = 120.0
"""Seconds without a beat after which a worker that can't be looked up from here is dead. Workers beat every 15."""

UNKNOWN_FOR = 300.0
"""The same for a run whose process has not come to its first step, and for one between two steps."""

STUCK_FOR = 600.0
"""Seconds without a beat after which a process that is still there is killed; also after its run has ended."""

RUNLESS_FOR = 3600.0
"""Seconds after which a planned job is over, if no run was made for it: the sensor that asks for it runs every 30."""

BUDGET = 30.0
"""Seconds that a look may spend on ending crawls. Dagster stops a sensor after 60. Cleaning up does the rest."""

WAITING = (DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED)
"""Runs that have no process yet."""

PATIENCE = {DagsterRunStatus.CANCELING: 30.0, DagsterRunStatus.STARTING: SILENT_FOR}
"""Seconds after which a run that has no step yet, and no process here, is dead: less where less can be lost."""

REASON_LENGTH = 2_000


@dg.sensor(
    name="watch",
    description=(
        "Looks after what died: ends runs whose process is gone (killed, or the machine was started anew), lets "
        "Dagster retry them from the step that had not ended, and ends jobs that nobody works on, so that nothing "
        "stays stuck. Says what it did."
    ),
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def watch(context: dg.SensorEvaluationContext, registry: dg.ResourceParam[Registry]) -> dg.SkipReason:
    """Look once. Starts no runs itself."""
    memory = Memory.load(context.cursor, time.time())
    with registry.services() as services:
        said = look(context.instance, services, memory)
    context.update_cursor(memory.dump())
    for sentence in said:
        context.log.warning(sentence)
    text = " ".join(said) or "Every run has its process, and every job its run."
    return dg.SkipReason(text if len(text) <= REASON_LENGTH else f"{text[:REASON_LENGTH]}…")


def look(instance: DagsterInstance, services: Services, memory: Memory) -> list[str]:
    """Look at every run in flight and every open job once, and see to those that died.

    It may be interrupted anywhere, and be done by two at once: the next look finds what is left.

    Args:
        instance: Dagster's instance.
        services: what the job logic works with.
        memory: what the last look has remembered.

    Returns:
        What was done, a sentence each.
    """
    said: list[str] = []
    begun = [run for run in instance.get_runs(dg.RunsFilter(statuses=IN_FLIGHT)) if run.status not in WAITING]
    jobs = _jobs(services, begun)
    by_run = {str(job.worker["run"]): job for job in jobs if job.worker and not job.worker.get("gone")}
    reasons: dict[int, str] = {}
    for run in begun:
        job = by_run.get(run.run_id)
        key = job.key if job else run.tags.get("dagster/partition", run.job_name)
        try:
            reason = _why_dead(instance, services, run, job, memory)
        except UnexpectedError as e:
            said.append(f"{key}: run {run.run_id[:8]} hangs: {e}.")
            continue
        if reason is None:
            continue
        retried = runs.end_dead(instance, run, reason, services.settings.max_retries)
        said.append(f"{key}: run {run.run_id[:8]} was ended{', and is retried' if retried else ''}. {reason}.")
        if job:
            reasons[job.id] = reason
    said += _see_to(instance, services, _jobs(services, begun), reasons, memory)
    runs.free_slots(instance)
    return said


def _jobs(services: Services, begun: Sequence[DagsterRun]) -> list[OpenJob]:
    with services.database.session(read_only=True) as session:
        return recovery.open_jobs(session, [run.run_id for run in begun])


def _why_dead(
    instance: DagsterInstance, services: Services, run: DagsterRun, job: OpenJob | None, memory: Memory
) -> str | None:
    """Say why a run's process is believed to be gone, or None if it isn't."""
    if job is None or job.worker is None:
        pid, is_here = _process(instance, run, memory)
        silent = memory.unchanged(f"run {run.run_id}", run.status.value)
        if is_here or silent < PATIENCE.get(run.status, UNKNOWN_FOR):
            return None
        return f"Its process{f' {pid}' if pid else ''} is not there, and no step of it has begun for {silent:.0f} s"
    who = f"process {job.worker.get('pid')} on {job.worker.get('host')}"
    silent = memory.unchanged(f"job {job.id}", f"{job.lease} {job.beat.isoformat()} {job.is_idle}")
    gone = job.worker_is_gone
    if gone:
        return f"Its {who} is gone; its last sign of life was at {job.beat:%Y-%m-%d %H:%M:%S} UTC"
    if gone is None:
        if silent >= (UNKNOWN_FOR if job.is_idle else SILENT_FOR):
            return f"Its {who} has given no sign of life since {job.beat:%Y-%m-%d %H:%M:%S} UTC"
        return None
    hangs = job.overdue(services.settings, utcnow())
    if hangs is None and not job.is_idle and silent >= STUCK_FOR:
        hangs = f"it has stood still since {job.beat:%Y-%m-%d %H:%M:%S} UTC"
    if hangs is None:
        return None
    worker.kill(job.worker)
    return f"Its {who} was killed: {hangs}"


def _process(instance: DagsterInstance, run: DagsterRun, memory: Memory) -> tuple[int | None, bool]:
    """The id of the process that a run's log names, and whether that process is here, and is not a later one.

    Times tell that once. From then on it is known by its start in clock ticks, which no change of the clock moves.
    """
    pid, is_here = _process_by_time(instance, run)
    if pid is not None and (who := worker.identity(pid))["started"] is not None:
        name, look = f"process {run.run_id}", f"{who['boot']} {who['namespace']} {pid} {who['started']}"
        is_here = is_here or memory.seen.get(name, ("", 0.0))[0] == look
        if is_here:
            memory.unchanged(name, look)
    return pid, is_here


def _process_by_time(instance: DagsterInstance, run: DagsterRun) -> tuple[int | None, bool]:
    events = instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT)
    for event in events:
        data = event.dagster_event.engine_event_data.metadata if event.dagster_event else {}
        pid = getattr(data.get("pid"), "value", None)
        if pid is not None and str(pid).isdecimal():
            try:
                return int(pid), psutil.Process(int(pid)).create_time() <= event.timestamp + 1
            except psutil.Error:
                return int(pid), False
    return None, False


def _see_to(
    instance: DagsterInstance, services: Services, jobs: Sequence[OpenJob], reasons: dict[int, str], memory: Memory
) -> list[str]:
    """Free the jobs that nobody works on: for their retry if one comes, else they have ended."""
    said: list[str] = []
    ended: list[OpenJob] = []
    families = runs.families(instance, [run_id for job in jobs for run_id in job.runs])
    for job in jobs:
        family = [run for run_id in reversed(job.runs) for run in families.get(run_id, [])]
        gone = job.worker_is_gone or job.id in reasons
        if runs.any_goes_on(instance, family):
            if job.id in reasons:
                recovery.await_retry(services.database, job, reasons[job.id])
            continue
        try:
            if not gone and job.worker and not job.is_idle and not _is_left(job, memory):
                continue
        except UnexpectedError as e:
            said.append(f"{job.key}: job {job.id} hangs: {e}.")
            continue
        how = _how_it_ended(job, family, reasons.get(job.id), memory)
        if how is not None and recovery.end(services.database, job, *how):
            ended.append(job)
            said.append(f"{job.key}: job {job.id} {how[0].label.lower()}. {how[1]}.")
    return said + _tidy_up(services, ended)


def _is_left(job: OpenJob, memory: Memory) -> bool:
    """Whether a worker whose run has ended, but which is or may be there still, is taken for dead."""
    silent = memory.unchanged(f"left {job.id}", f"{job.lease} {job.beat.isoformat()}")
    if job.worker_is_gone is None:
        return silent >= SILENT_FOR
    if silent >= STUCK_FOR and job.worker:
        worker.kill(job.worker)
        return True
    return False


def _how_it_ended(
    job: OpenJob, family: Sequence[DagsterRun], reason: str | None, memory: Memory
) -> tuple[JobResult, str] | None:
    """Say how a job ended of which no run goes on, or None if it is to be waited for."""
    if not family and job.run_id is None:
        waited = memory.unchanged(f"planned {job.id}", job.status)
        if waited < RUNLESS_FOR:
            return None
        return Job.Result.CANCELLED, f"No run was made for it within {RUNLESS_FOR / 60:.0f} minutes"
    if not family:
        return Job.Result.CANCELLED, "Its run was deleted"
    last = family[-1]
    if last.status == DagsterRunStatus.CANCELED:
        return Job.Result.CANCELLED, "Its run was cancelled"
    if last.status == DagsterRunStatus.SUCCESS:
        selected = ", ".join(sorted(key.to_user_string() for key in last.asset_selection or ()))
        return Job.Result.CANCELLED, f"Its run ended with work left: it selected only {selected or 'a part'}"
    return Job.Result.FAILED, reason or f"Its run {last.run_id} failed before it could say why here; see it in Dagit"


def _tidy_up(services: Services, ended: Sequence[OpenJob]) -> list[str]:
    """End the crawls of jobs that have ended, and finish what was published. Deleting is the cleanup's."""
    said: list[str] = []
    deadline = time.monotonic() + BUDGET
    for job in ended:
        if job.crawl and time.monotonic() < deadline:
            try:
                services.collect.cancel(job.crawl)
            except DataRegistryError as e:
                said.append(f"{job.key}: the crawl {job.crawl} could not be ended: {redact(str(e))}")
    if any(job.all_done for job in ended):
        said += publishing.mend(services)
    return said
