"""The partitions, one for each publication, and how they follow the catalogue.

Does not belong here: when the catalogue is looked at (`sensors`), or what is in it (`registry_resources.database`).
"""

from __future__ import annotations

from dataclasses import dataclass

import dagster as dg
from dagster import DagsterInstance
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from registry_assets.pools import open_pools
from registry_resources.database import Collection, Database

NAME = "publication"

PUBLICATIONS = dg.DynamicPartitionsDefinition(name=NAME)

IN_FLIGHT = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

BACKFILL_IN_FLIGHT = (BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING)


@dataclass(frozen=True)
class PartitionChanges:
    """What following the catalogue changed, as keys in alphabetical order.

    Attributes:
        added: publications that have a partition now.
        removed: publications that are no longer in the catalogue, so their partition went.
        kept: such publications whose partition stays for now, because a run of it is queued or active, or a
            backfill goes on.
    """

    added: list[str]
    removed: list[str]
    kept: list[str]


def sync_partitions(instance: DagsterInstance, database: Database) -> PartitionChanges:
    """Give each publication in the catalogue a partition, and take it from those that are gone.

    A failed read of the catalogue raises: it is never taken for an empty catalogue. A partition is not removed while a
    run of it is queued or active, since that run would fail, or while a backfill goes on.

    Without partitions there are no runs, so what has to be there before the first of them is made here too.
    """
    open_pools(instance)
    with database.session(read_only=True) as session:
        wanted = set(session.scalars(select(Collection.key)))
    present = set(instance.get_dynamic_partitions(NAME))
    added = sorted(wanted - present)
    if added:
        _add(instance, added)
    removed, kept = [], []
    gone = sorted(present - wanted)
    busy = _in_flight(instance, gone)
    for key in gone:
        if key in busy:
            kept.append(key)
        else:
            instance.delete_dynamic_partition(NAME, key)
            removed.append(key)
    return PartitionChanges(added, removed, kept)


def _add(instance: DagsterInstance, keys: list[str]) -> None:
    try:
        instance.add_dynamic_partitions(NAME, keys)
    except IntegrityError:
        # Another process added some of them at the same moment.
        instance.add_dynamic_partitions(NAME, keys)


def _in_flight(instance: DagsterInstance, keys: list[str]) -> set[str]:
    """Those of these partitions of which a run is queued or active, or is yet to be made by a backfill."""
    if not keys:
        return set()
    runs = instance.get_runs(dg.RunsFilter(tags={"dagster/partition": keys}, statuses=IN_FLIGHT))
    busy = {run.tags["dagster/partition"] for run in runs}
    # A backfill makes its runs little by little, and fails as a whole if one of its partitions is gone.
    if instance.get_backfills(BulkActionsFilter(statuses=list(BACKFILL_IN_FLIGHT)), limit=1):
        busy.update(keys)
    return busy
