"""`registry backfill`: materialises assets of many publications, a run each, which wait for their turn in the queue.

Does not belong here: one publication at once, in this terminal (`run`), or what a run does (`registry_assets.assets`).
"""

from __future__ import annotations

import time
from typing import Any

import click

from registry_assets.commands.common import json_option, print_json
from registry_resources.exceptions import ConfigurationError


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
    `collected` is selected is anything crawled.
    """
    from dagster._core.execution.backfill import PartitionBackfill  # noqa: PLC0415 - importing Dagster takes seconds
    from dagster._core.utils import make_new_backfill_id  # noqa: PLC0415

    from registry_assets.commands.run import open_instance, selected  # noqa: PLC0415
    from registry_assets.definitions import build_defs  # noqa: PLC0415
    from registry_assets.partitions import NAME, sync_partitions  # noqa: PLC0415
    from registry_resources.dagster_resources import DatabaseResource, SettingsResource  # noqa: PLC0415

    if bool(keys) == everything:
        raise click.UsageError("Name the publications, or say --all.")
    database = DatabaseResource().open(SettingsResource().read())
    try:
        with open_instance() as instance:
            sync_partitions(instance, database)
            present = sorted(instance.get_dynamic_partitions(NAME))
            chosen = present if everything else list(dict.fromkeys(keys))
            _check(chosen, present)
            defs = build_defs()
            names = selected(defs, select)
            if not dry_run and "collected" in names and not yes:
                click.confirm(f"This crawls {_publications(len(chosen))} anew. Go on?", abort=True, err=True)
            outcome: dict[str, Any] = {"backfill": None, "publications": chosen, "assets": names}
            if not dry_run:
                graph = defs.resolve_asset_graph()
                request = PartitionBackfill.from_asset_partitions(
                    backfill_id=make_new_backfill_id(),
                    asset_graph=graph,
                    partition_names=chosen,
                    asset_selection=[key for key in graph.get_all_asset_keys() if key.to_user_string() in names],
                    backfill_timestamp=time.time(),
                    tags={},
                    dynamic_partitions_store=instance,
                    all_partitions=False,
                    title=f"{', '.join(names)} of {_publications(len(chosen))}",
                    description="Asked for on the command line.",
                    run_config=None,
                )
                instance.add_backfill(request)
                outcome["backfill"] = request.backfill_id
    finally:
        database.dispose()
    if as_json:
        print_json(outcome)
        return
    what = f"{', '.join(names)} of {_publications(len(chosen))}"
    if dry_run:
        click.echo(f"Dry run, nothing was asked for: {what}: {', '.join(chosen)}.")
    else:
        click.echo(f"Backfill {outcome['backfill']}: {what}. Dagster's daemon makes the runs.")


def _publications(number: int) -> str:
    return f"{number:,} publication{'' if number == 1 else 's'}"


def _check(chosen: list[str], present: list[str]) -> None:
    if unknown := [key for key in chosen if key not in present]:
        raise ConfigurationError(
            f"{', '.join(unknown)}: the catalogue has no such publication. `registry list` shows those it has."
        )
    if not chosen:
        raise ConfigurationError("There are no publications. Write a catalogue file, and run `registry sync FILE`.")
