"""The sensor that asks for a run of each publication that is due.

Belongs here: how much one tick does, in what order, and what it says. Does not belong here: when a publication is due
(`process_manager.rules.out_of_date`), or the query and the rows (`process_manager.planning`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import dagster as dg
from dagster import DagsterInstance

from registry_assets.jobs import refresh
from registry_assets.partitions import NAME, sync_partitions
from registry_assets.process_manager import planning
from registry_assets.process_manager.planning import Standing
from registry_assets.process_manager.rules.out_of_date import State
from registry_resources.dagster_resources import DatabaseResource, SettingsResource
from registry_resources.database import Database, utcnow

JOB_TAG = "registry/job"
"""The tag of a run that says for which planned job it was asked."""

REQUESTS_PER_TICK = 10
"""How many runs one tick asks for. Dagster makes them one after the other, in 0.2 (PostgreSQL) to 2.4 s (SQLite, on a
busy machine) each, and other sensors wait meanwhile; the tick itself takes under 1 s with 5,000 publications."""

REASON_LENGTH = 1_000
"""How long the reason of a tick is at most, in characters: Dagster keeps one for every tick."""


@dg.sensor(
    name="out_of_date",
    job=refresh,
    description=(
        "Plans a job, and asks for its run, for each publication that is due: never retrieved, or retrieved as long "
        "ago as its retrieval frequency says (7, 14, 30, 180 or 365 days), or 7 days ago if that job did not succeed. "
        f"The longest due come first, {REQUESTS_PER_TICK} at each tick. A tick without runs says why."
    ),
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def out_of_date(
    context: dg.SensorEvaluationContext, settings: SettingsResource, database: DatabaseResource
) -> dg.SensorResult:
    """Plan jobs of publications that are due, and ask for runs of all planned jobs that have none."""
    opened = database.open(settings.read())
    try:
        return _tick(context, opened)
    finally:
        opened.dispose()


def _tick(context: dg.SensorEvaluationContext, database: Database) -> dg.SensorResult:
    sync_partitions(context.instance, database)
    today = utcnow().date()
    with database.session(read_only=True) as session:
        standings = planning.standings(session, today)
    partitions = set(context.instance.get_dynamic_partitions(NAME))
    standings = [standing for standing in standings if standing.key in partitions]

    waiting = _without_run(context.instance, database, {s.waiting_job: s.key for s in standings if s.waiting_job})
    due = sorted((s for s in standings if s.verdict.due), key=lambda s: s.urgency)
    # Neither of the two keeps the other from half of the tick.
    fresh = min(len(due), max(REQUESTS_PER_TICK - len(waiting), REQUESTS_PER_TICK // 2))
    asked = _in_turn(waiting, context.cursor)[: REQUESTS_PER_TICK - fresh]
    planned = planning.plan(database, [s.key for s in due[:fresh]], today)
    if refused := planned.refused:
        context.log.info("Not due any more, or another process planned their job: %s", ", ".join(refused))
    requests = _requests(database, [*asked, *((id_, key) for key, id_ in planned.jobs.items())])
    if requests and (left := len(due) - fresh + len(waiting) - len(asked)):
        context.log.info("%d more wait for the next ticks", left)
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else summary(standings),
        cursor=json.dumps({"last_asked": asked[-1][0]}) if asked else context.cursor,
    )


def _requests(database: Database, jobs: Sequence[tuple[int, str]]) -> list[dg.RunRequest]:
    """Ask for the runs of these jobs, given with their publications' keys."""
    with database.session(read_only=True) as session:
        run_keys = planning.run_keys(session, [job_id for job_id, _ in jobs])
    # The run key makes asking again harmless: Dagster makes no second run of the same key.
    return [
        dg.RunRequest(run_key=run_keys[job_id], partition_key=key, tags={JOB_TAG: str(job_id)})
        for job_id, key in jobs
        if job_id in run_keys
    ]


def _without_run(instance: DagsterInstance, database: Database, waiting: dict[int, str]) -> list[tuple[int, str]]:
    """Note the runs that there are of these planned jobs, and return the jobs, with their keys, that have none.

    A job whose run waits in the queue is so linked to it from the next tick on, not only once it begins.
    """
    if not waiting:
        return []
    runs = instance.get_runs(dg.RunsFilter(tags={JOB_TAG: [str(job_id) for job_id in waiting]}))
    with database.session(read_only=True) as session:
        run_keys = planning.run_keys(session, waiting)
    found = {
        job_id: run.root_run_id or run.run_id
        for run in runs
        if run.tags.get("dagster/run_key") == run_keys.get(job_id := int(run.tags[JOB_TAG]))
    }
    if found:
        planning.adopt(database, found.items())
    return sorted((job_id, key) for job_id, key in waiting.items() if job_id not in found)


def _in_turn(waiting: list[tuple[int, str]], cursor: str | None) -> list[tuple[int, str]]:
    """Go on after the last job that was asked for, so that runs which can't be made don't keep others from it."""
    last = _last_asked(cursor)
    return [job for job in waiting if job[0] > last] + [job for job in waiting if job[0] <= last]


def _last_asked(cursor: str | None) -> int:
    try:
        return int(json.loads(cursor or "{}").get("last_asked", 0))
    except (ValueError, TypeError, AttributeError):
        return 0


def summary(standings: Sequence[Standing]) -> str:
    """Say in one line why nothing is due: what is being worked on first, then what is due next, then the rest."""
    if not standings:
        return "There are no publications. Write a catalogue file, and run `registry sync FILE`."
    order = {State.BUSY: 0, State.LATER: 1, State.FROZEN: 2, State.UNSCHEDULED: 3}
    ordered = sorted(standings, key=lambda s: (not s.verdict.overdue, order.get(s.verdict.state, 1), s.urgency))
    texts: list[str] = []
    room = REASON_LENGTH - len("; … and 1,000,000 more not due")
    for standing in ordered:
        text = f"{standing.key}: {standing.verdict.reason}"
        room -= len(text) + len("; ")
        if room < 0:
            break
        texts.append(text)
    more = len(ordered) - len(texts)
    return "; ".join([*texts, *([f"… and {more:,} more not due"] if more else [])])
