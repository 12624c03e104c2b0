"""`registry backfill`: materialises assets of many publications, a run each, which wait for their turn in the queue.

Does not belong here: one publication at once, in this terminal (`run`), or what a run does (`registry_assets.assets`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from registry_assets.commands.common import confirm, json_option, print_json
from registry_assets.commands.run import ASSETS
from registry_resources.exceptions import ConfigurationError

if TYPE_CHECKING:
    from dagster import DagsterInstance
    from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
    from dagster._core.execution.backfill import PartitionBackfill

    from registry_resources.database import Database


@click.command(short_help="Materialise assets of many publications.")
@click.argument("keys", metavar="[KEY]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All publications.")
@click.option(
    "--select",
    metavar="ASSETS",
    required=True,
    help="Which assets, such as `flattened`, `flattened+` (with what follows) or `*` (all, from a new crawl on).",
)
@click.option("--dry-run", is_flag=True, help="Only say what it would do.")
@click.option("--yes", is_flag=True, help="Don't ask before publications are crawled anew.")
@json_option
def backfill(keys: tuple[str, ...], *, everything: bool, select: str, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Materialise assets of each publication KEY, or of all, as a backfill in Dagit does.

    Each publication gets a run of its own. Dagster's daemon makes them, and starts no more at once than dagster.yaml
    allows; Dagit shows how far they are. Each works on the publication's latest job that has come far enough: only if
    `collected` is selected is anything crawled, and then --all leaves out the frozen ones. Publications without such a
    job are skipped.
    """
    from registry_assets.commands.run import open_instance, selected  # noqa: PLC0415 - importing Dagster takes seconds
    from registry_assets.definitions import build_defs  # noqa: PLC0415
    from registry_assets.partitions import NAME, sync_partitions  # noqa: PLC0415
    from registry_resources.dagster_resources import DatabaseResource, SettingsResource  # noqa: PLC0415

    if bool(keys) == everything:
        raise click.UsageError("Name the publications, or say --all.")
    defs = build_defs()
    names = selected(defs, select)
    database = DatabaseResource().open(SettingsResource().read())
    try:
        with open_instance() as instance:
            sync_partitions(instance, database)
            present = sorted(instance.get_dynamic_partitions(NAME))
            chosen = present if everything else list(dict.fromkeys(keys))
            _check(chosen, present)
            chosen, skipped = _able(database, chosen, names)
            frozen = _frozen(database, chosen) if everything and "collected" in names else []
            chosen = [key for key in chosen if key not in frozen]
            if not as_json:
                _tell(skipped, frozen)
            if chosen and not dry_run and "collected" in names and not yes:
                confirm(f"This crawls {_publications(len(chosen))} anew. Go on?")
            outcome: dict[str, Any] = {
                "backfill": None,
                "publications": chosen,
                "assets": names,
                "skipped": skipped,
                "frozen": frozen,
            }
            if chosen and not dry_run:
                request = _request(instance, defs.resolve_asset_graph(), chosen, names)
                instance.add_backfill(request)
                outcome["backfill"] = request.backfill_id
    finally:
        database.dispose()
    if as_json:
        print_json(outcome)
        return
    what = f"{', '.join(names)} of {_publications(len(chosen))}"
    if not chosen:
        click.echo("Nothing to do.")
    elif dry_run:
        click.echo(f"Dry run, nothing was asked for: {what}: {', '.join(chosen)}.")
    else:
        click.echo(f"Backfill {outcome['backfill']}: {what}. Dagster's daemon makes the runs.")


def _request(instance: DagsterInstance, graph: AssetGraph, keys: list[str], assets: list[str]) -> PartitionBackfill:
    import dagster as dg  # noqa: PLC0415 - importing Dagster takes seconds
    from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset  # noqa: PLC0415
    from dagster._core.definitions.events import AssetKeyPartitionKey  # noqa: PLC0415
    from dagster._core.execution.backfill import PartitionBackfill  # noqa: PLC0415
    from dagster._core.utils import make_new_backfill_id  # noqa: PLC0415

    target = {AssetKeyPartitionKey(dg.AssetKey(name), key) for name in assets for key in keys}
    request: PartitionBackfill = PartitionBackfill.from_asset_graph_subset(
        backfill_id=make_new_backfill_id(),
        backfill_timestamp=time.time(),
        tags={},
        dynamic_partitions_store=instance,
        asset_graph_subset=AssetGraphSubset.from_asset_partition_set(target, graph),
        title=f"{', '.join(assets)} of {_publications(len(keys))}",
        description="Asked for on the command line.",
        run_config=None,
    )
    return request


def _able(database: Database, keys: list[str], assets: list[str]) -> tuple[list[str], list[str]]:
    """Tell the publications of which these assets can be materialised from those whose runs could only fail."""
    from registry_assets.process_manager import planning  # noqa: PLC0415 - not before it is needed
    from registry_assets.process_manager.job_store import BEFORE  # noqa: PLC0415
    from registry_resources.database import JOB_TASKS_PLAN  # noqa: PLC0415

    stages = dict(zip(ASSETS, JOB_TASKS_PLAN, strict=False))
    needed = {task for name in assets for task in (BEFORE[stages[name]] if name in stages else JOB_TASKS_PLAN)}
    with database.session(read_only=True) as session:
        able = planning.far_enough(session, needed - {stages[name] for name in assets if name in stages})
    return [key for key in keys if key in able], [key for key in keys if key not in able]


def _frozen(database: Database, keys: list[str]) -> list[str]:
    """Tell which of these are frozen: somebody doesn't want them to be crawled, unless they are named."""
    from sqlalchemy import select  # noqa: PLC0415 - not before it is needed

    from registry_resources.database import Collection  # noqa: PLC0415

    with database.session(read_only=True) as session:
        frozen = set(session.scalars(select(Collection.key).where(Collection.frozen)))
    return [key for key in keys if key in frozen]


def _tell(skipped: list[str], frozen: list[str]) -> None:
    """Say what is left out, before anything is asked."""
    if skipped:
        click.echo(f"Skipped, since no job of theirs has come so far: {', '.join(skipped)}.", err=True)
    if frozen:
        click.echo(
            f"Left out, since they are frozen: {', '.join(frozen)}. Name them to crawl them all the same.", err=True
        )


def _publications(number: int) -> str:
    return f"{number:,} publication{'' if number == 1 else 's'}"


def _check(chosen: list[str], present: list[str]) -> None:
    if unknown := [key for key in chosen if key not in present]:
        raise ConfigurationError(
            f"{', '.join(unknown)}: the catalogue has no such publication. `registry list` shows those it has."
        )
    if not chosen:
        raise ConfigurationError("There are no publications. Write a catalogue file, and run `registry sync FILE`.")
