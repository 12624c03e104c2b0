"""The schedules: housekeeping that Dagster does by itself.

Belongs here: when housekeeping is done, and what its runs show. Does not belong here: what is deleted
(`process_manager.cleanup`, `pruning`), or refreshing publications, which the out-of-date sensor asks for.
"""

import dagster as dg
from sqlalchemy import func, select

from registry_assets import metadata as md
from registry_assets.assets.step import Registry
from registry_assets.jobs import FIRST
from registry_assets.partitions import IN_FLIGHT
from registry_assets.process_manager import cleanup as cleaning
from registry_assets.pruning import prune
from registry_resources.database import Database, Job

CLEANUP, PRUNING = "cleanup", "prune_dagster"

MAX_LINES = 20
"""How many problems are logged. All are counted, and the table shows as many as fit."""


@dg.op(name="clean_up", description="Wipes temporary data of ended jobs, applies retention, deletes orphans.")
def clean_up(context: dg.OpExecutionContext, registry: dg.ResourceParam[Registry]) -> None:
    """Do the cleanup pass, and show every decision that changed something or needs somebody."""
    with registry.services() as services:
        report = cleaning.clean(services)
    context.log.info(report.summary)
    for item in report.problems[:MAX_LINES]:
        context.log.warning("%s: job %s: %s failed: %s", item.publication, item.job or "?", item.action, item.problem)
    kept = [item for item in report.actions if item.action == "keep"]
    context.add_output_metadata(
        {
            "freed": md.size(report.freed),
            "bytes": report.freed,
            "jobs deleted": report.count("delete"),
            "jobs wiped": report.count("wipe"),
            "exports deleted": report.count("exports"),
            "orphans deleted": report.count("orphan"),
            "jobs kept": len(kept),
            "done": _table([item for item in report.actions if item.action != "keep"]),
            "to look at": _table([item for item in kept if item.warning]),
        }
    )


@dg.op(name="prune", description="Forgets old runs, but none that holds a latest materialisation or check result.")
def prune_runs(context: dg.OpExecutionContext, registry: dg.ResourceParam[Registry]) -> None:
    """Prune Dagster's own records."""
    with registry.services() as services:
        settings, needed = services.settings, newest_runs(services.database)
    pruned = prune(
        context.instance,
        keep_days=settings.dagster_keep_days,
        needed=needed,
        housekeeping=(CLEANUP, PRUNING),
    )
    context.log.info(pruned.summary)
    context.add_output_metadata(
        {
            "freed": md.size(pruned.bytes),
            "bytes": pruned.bytes,
            "runs forgotten": pruned.runs,
            "old runs kept": pruned.kept,
        }
    )


@dg.job(name=CLEANUP, tags=FIRST, description="Deletes what jobs no longer need: `registry cleanup` does the same.")
def cleanup() -> None:
    """One step."""
    clean_up()


@dg.job(name=PRUNING, tags=FIRST, description="Bounds Dagster's own event log and run records.")
def prune_dagster() -> None:
    """One step."""
    prune_runs()


@dg.schedule(
    job=cleanup,
    cron_schedule="17 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every hour: wipes temporary data of ended jobs, applies retention, deletes orphans.",
)
def hourly_cleanup(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Ask for a cleanup, unless one is under way."""
    return _unless_under_way(context, CLEANUP)


@dg.schedule(
    job=prune_dagster,
    cron_schedule="43 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night (03:43 UTC): forgets old runs, and keeps the latest of every asset and partition.",
)
def nightly_pruning(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Ask for a pruning, unless one is under way."""
    return _unless_under_way(context, PRUNING)


def _unless_under_way(context: dg.ScheduleEvaluationContext, job: str) -> dg.RunRequest | dg.SkipReason:
    """Where all places are taken for days, an hourly run would queue up again and again."""
    if context.instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=IN_FLIGHT)):
        return dg.SkipReason("The one before is still waiting or running.")
    return dg.RunRequest()


def newest_runs(database: Database) -> set[str]:
    """Return the runs of each publication's newest job, which tell why it is not running."""
    newest = select(func.max(Job.id)).group_by(Job.collection_id)
    with database.session(read_only=True) as session:
        runs = session.scalars(select(Job.run_id).where(Job.id.in_(newest) | (Job.status != Job.Status.COMPLETED)))
        return {run_id for run_id in runs if run_id}


def _table(actions: list[cleaning.Action]) -> dg.TableMetadataValue | dg.TextMetadataValue:
    rows: list[md.Row] = [
        {
            "publication": item.publication,
            "job": str(item.job or ""),
            "action": item.action,
            "reason": item.problem or item.reason,
            "freed": md.size(item.bytes),
        }
        for item in actions
    ]
    return md.table(rows, dict.fromkeys(("publication", "job", "action", "reason", "freed"), "string"))


JOBS = [cleanup, prune_dagster]
SCHEDULES = [hourly_cleanup, nightly_pruning]
