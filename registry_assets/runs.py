"""What Dagster knows of runs: which go on, which are to be retried, and how one is ended whose process is gone.

Does not belong here: jobs (`process_manager`), or when a run is taken for dead (`process_manager.recovery`).
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence

import dagster as dg
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.storage.tags import (
    AUTO_RETRY_RUN_ID_TAG,
    MAX_RETRIES_TAG,
    RESUME_RETRY_TAG,
    RETRY_ON_ASSET_OR_OP_FAILURE_TAG,
    WILL_RETRY_TAG,
)

from registry_assets.partitions import IN_FLIGHT
from registry_assets.sensors.out_of_date import JOB_TAG

RETRY_DUE_WITHIN = datetime.timedelta(minutes=10)
"""Dagster makes the retry of a run within seconds of its end. If there is none after so long, none comes."""


def root(run: DagsterRun) -> str:
    """The id of the run that a run retries, or its own."""
    return run.root_run_id or run.run_id


def ancestors(instance: DagsterInstance, run: DagsterRun) -> tuple[str, ...]:
    """The ids of the run that a run retries, of the run that that one retries, and so on up to the root run."""
    found: list[str] = []
    parent = run.parent_run_id
    while parent and parent not in found:
        found.append(parent)
        earlier = instance.get_run_by_id(parent)
        parent = earlier.parent_run_id if earlier else run.root_run_id
    return tuple(found)


def planned_job(run: DagsterRun) -> int | None:
    """The id of the planned job that a run was asked for, or None."""
    value = run.tags.get(JOB_TAG, "")
    return int(value) if value.isdecimal() else None


def resumes(run: DagsterRun) -> bool:
    """Whether a run goes on from where the one that it retries has stopped."""
    return run.tags.get(RESUME_RETRY_TAG) == "true"


def families(instance: DagsterInstance, run_ids: Iterable[str]) -> Mapping[str, Sequence[DagsterRun]]:
    """Give the runs of these ids, each with all runs that retry it or that it retries, oldest first."""
    wanted = set(run_ids)
    if not wanted:
        return {}
    named = {run.run_id: run for run in instance.get_runs(dg.RunsFilter(run_ids=list(wanted)))}
    roots = {root(run) for run in named.values()} | wanted
    found = {run.run_id: run for run in instance.get_runs(dg.RunsFilter(run_ids=list(roots)))}
    retries = instance.get_runs(dg.RunsFilter(tags={"dagster/root_run_id": list(roots)}))
    found |= {run.run_id: run for run in reversed(retries)}
    by_root: dict[str, list[DagsterRun]] = {}
    for run in found.values():
        by_root.setdefault(root(run), []).append(run)
    return {run_id: by_root.get(root(named[run_id]) if run_id in named else run_id, []) for run_id in wanted}


def is_in_flight(run: DagsterRun) -> bool:
    """Whether a run is queued or said to go on."""
    return run.status in IN_FLIGHT


def any_goes_on(instance: DagsterInstance, family: Sequence[DagsterRun]) -> bool:
    """Whether one of a family's runs is in flight, or about to be: Dagster makes the retry of one that failed."""
    parents = {run.parent_run_id for run in family}
    return any(is_in_flight(run) or (run.run_id not in parents and _retry_is_coming(instance, run)) for run in family)


def _retry_is_coming(instance: DagsterInstance, run: DagsterRun) -> bool:
    if run.tags.get(WILL_RETRY_TAG) != "true" or run.tags.get(AUTO_RETRY_RUN_ID_TAG):
        return False
    record = instance.get_run_record_by_id(run.run_id)
    ended = datetime.datetime.fromtimestamp(record.end_time, datetime.UTC) if record and record.end_time else None
    return ended is not None and datetime.datetime.now(datetime.UTC) - ended < RETRY_DUE_WITHIN


def goes_on(instance: DagsterInstance, run_id: str, *, without: str | None = None) -> bool:
    """Whether a run, or one that retries it, is in flight or about to be.

    Args:
        instance: Dagster's instance.
        run_id: the run.
        without: a run that does not count, as it is the one that asks.
    """
    family = families(instance, [run_id]).get(run_id, [])
    asking = next((run for run in family if run.run_id == without), None)
    # The one that asks is the retry of another that was to come.
    others = [run for run in family if asking is None or run.run_id not in {without, asking.parent_run_id}]
    return any_goes_on(instance, others)


def free_slots(instance: DagsterInstance) -> None:
    """Give back the slots of pools that runs which have ended hold still, so that others need not wait for ever.

    Dagster's daemon does the same, but a run from the command line must not need a daemon.
    """
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits or not (holders := storage.get_concurrency_run_ids()):
        return
    going_on = {run.run_id for run in instance.get_runs(dg.RunsFilter(run_ids=list(holders))) if not run.is_finished}
    for run_id in holders - going_on:
        storage.free_concurrency_slots_for_run(run_id)


def limit_retries(instance: DagsterInstance, run: DagsterRun, retries: int) -> None:
    """Let a run be retried so often if it dies, also where Dagster's code server notices that before anybody else."""
    if run.tags.get(MAX_RETRIES_TAG) != str(retries):
        # A step that failed has given its reason, and is not done again, whatever the instance's settings are.
        tags = {MAX_RETRIES_TAG: str(retries), RETRY_ON_ASSET_OR_OP_FAILURE_TAG: "false"}
        instance.add_run_tags(run.run_id, tags)


def can_be_retried(run: DagsterRun) -> bool:
    """Whether Dagster can start a run anew: not one from the command line, of which it knows no code location."""
    return run.remote_job_origin is not None


def end_dead(instance: DagsterInstance, run: DagsterRun, reason: str, retries: int) -> bool:
    """Record that a run's process is gone: as cancelled if it was being cancelled, else as failed.

    Args:
        instance: Dagster's instance.
        run: the run.
        reason: why it is believed to be dead.
        retries: how often the run may be retried in all. Dagster does that, from the step that had not ended, and
            under the same root run. A run from the command line can't be retried.

    Returns:
        Whether Dagster retries it.
    """
    if run.status == DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, f"{reason}. It was being cancelled.")
        return False
    # The tag counts whatever the instance's settings are.
    instance.add_run_tags(run.run_id, {MAX_RETRIES_TAG: str(retries if can_be_retried(run) else 0)})
    tagged = instance.get_run_by_id(run.run_id)
    instance.report_run_failed(tagged or run, f"{reason}.")
    ended = instance.get_run_by_id(run.run_id)
    return ended is not None and ended.tags.get(WILL_RETRY_TAG) == "true"
