"""The partitions, one for each publication, and how they follow the catalogue.

Does not belong here: when the catalogue is looked at (`sensors`), or what is in it (`registry_resources.database`).
"""

from __future__ import annotations

from dataclasses import dataclass

import dagster as dg
from dagster import DagsterInstance
from sqlalchemy import select

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


@dataclass(frozen=True)
class PartitionChanges:
    """What following the catalogue changed, as keys in alphabetical order.

    Attributes:
        added: publications that have a partition now.
        removed: publications that are no longer in the catalogue, so their partition went.
        kept: such publications whose partition stays for now, because a run of it is queued or active.
    """

    added: list[str]
    removed: list[str]
    kept: list[str]


def sync_partitions(instance: DagsterInstance, database: Database) -> PartitionChanges:
    """Give each publication in the catalogue a partition, and take it from those that are gone.

    A failed read of the catalogue raises: it is never taken for an empty catalogue. A partition is not removed while a
    run of it is queued or active, since that run would fail.
    """
    with database.session(read_only=True) as session:
        wanted = set(session.scalars(select(Collection.key)))
    present = set(instance.get_dynamic_partitions(NAME))
    added = sorted(wanted - present)
    if added:
        instance.add_dynamic_partitions(NAME, added)
    removed, kept = [], []
    for key in sorted(present - wanted):
        runs = dg.RunsFilter(tags={"dagster/partition": key}, statuses=IN_FLIGHT)
        if instance.get_runs_count(runs):
            kept.append(key)
        else:
            instance.delete_dynamic_partition(NAME, key)
            removed.append(key)
    return PartitionChanges(added, removed, kept)
