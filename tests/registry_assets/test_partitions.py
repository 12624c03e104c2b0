"""Partitions follow the catalogue, and never at the cost of a run or a backfill."""

from __future__ import annotations

import threading
import uuid

import dagster as dg
import pytest
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from sqlalchemy import delete, insert

from registry_assets.partitions import NAME, sync_partitions
from registry_assets.pools import CRAWLS
from registry_resources.database import Collection


def rows(*keys):
    return [{"key": key, "title": key, "source_id": "bulk"} for key in keys]


def change(registry, *keys):
    """Make these the publications of the catalogue, and follow it."""
    with registry.database.session() as session:
        session.execute(delete(Collection))
        session.execute(insert(Collection), rows(*keys))
    return sync_partitions(registry.instance, registry.database)


def add_run(registry, key, status):
    run = dg.DagsterRun(job_name="refresh", run_id=str(uuid.uuid4()), tags={"dagster/partition": key}, status=status)
    return registry.instance.add_run(run)


def test_partitions_are_added_and_removed(registry):
    """What changed is told, in alphabetical order."""
    changes = change(registry, "zenda", "ruritania")
    assert (changes.added, changes.removed, changes.kept) == (["ruritania", "zenda"], [], [])
    changes = change(registry, "zenda", "graustark")
    assert (changes.added, changes.removed, changes.kept) == (["graustark"], ["ruritania"], [])
    assert sorted(registry.instance.get_dynamic_partitions(NAME)) == ["graustark", "zenda"]


@pytest.mark.parametrize(
    ("status", "stays"),
    [
        (dg.DagsterRunStatus.NOT_STARTED, True),
        (dg.DagsterRunStatus.STARTED, True),
        (dg.DagsterRunStatus.CANCELING, True),
        (dg.DagsterRunStatus.SUCCESS, False),
        (dg.DagsterRunStatus.FAILURE, False),
        (dg.DagsterRunStatus.CANCELED, False),
    ],
)
def test_a_partition_stays_while_a_run_of_it_is_in_flight(registry, status, stays):
    """That run would fail otherwise. Others go."""
    change(registry, "ruritania", "zenda", "graustark")
    add_run(registry, "ruritania", status)
    add_run(registry, "zenda", dg.DagsterRunStatus.SUCCESS)
    changes = change(registry, "graustark")
    assert changes.kept == (["ruritania"] if stays else [])
    assert sorted(registry.instance.get_dynamic_partitions(NAME)) == ["graustark", *changes.kept]


@pytest.mark.parametrize(
    ("status", "stays"),
    [
        (BulkActionStatus.REQUESTED, True),
        (BulkActionStatus.CANCELING, True),
        (BulkActionStatus.COMPLETED_SUCCESS, False),
        (BulkActionStatus.CANCELED, False),
    ],
)
def test_a_partition_stays_while_a_backfill_goes_on(registry, status, stays):
    """Whose runs are made little by little."""
    change(registry, "ruritania", "zenda")
    target = {AssetKeyPartitionKey(dg.AssetKey("coverage"), "ruritania")}
    graph = registry.defs.resolve_asset_graph()
    backfill = PartitionBackfill.from_asset_graph_subset(
        backfill_id="abcdefgh",
        backfill_timestamp=0.0,
        tags={},
        dynamic_partitions_store=registry.instance,
        asset_graph_subset=AssetGraphSubset.from_asset_partition_set(target, graph),
        title=None,
        description=None,
        run_config=None,
    )
    registry.instance.add_backfill(backfill)
    registry.instance.update_backfill(backfill.with_status(status))
    assert change(registry, "zenda").kept == (["ruritania"] if stays else [])


def test_several_may_follow_the_catalogue_at_once(registry):
    """Two sensors and `registry sync`, all on the first look: each partition is added once, and nobody fails."""
    with registry.database.session() as session:
        session.execute(insert(Collection), rows(*(f"p{number}" for number in range(300))))
    gate, failures = threading.Barrier(4), []

    def work():
        gate.wait()
        try:
            sync_partitions(registry.instance, registry.database)
        except Exception as e:  # noqa: BLE001 (whatever it is, the test shows it)
            failures.append(e)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(registry.instance.get_dynamic_partitions(NAME)) == 300


@pytest.fixture
def limits(tmp_path):
    """The limits of the pools of an instance whose default limit is 2, as a function; and that instance."""
    two = {"concurrency": {"pools": {"default_limit": 2}}}
    with dg.instance_for_test(temp_dir=str(tmp_path), overrides=two) as made:
        yield lambda: {pool.name: pool.limit for pool in made.event_log_storage.get_pool_limits()}, made


def test_the_pool_of_crawls_has_its_limit_before_there_is_any_run(registry, limits):
    """Dagster would let all runs pass that are queued when it first looks."""
    found, instance = limits
    assert found() == {}
    sync_partitions(instance, registry.database)
    assert found() == {CRAWLS: 2}


def test_a_limit_that_an_administrator_has_set_stays(registry, limits):
    """Whatever the default is."""
    found, instance = limits
    instance.event_log_storage.set_concurrency_slots(CRAWLS, 7)
    sync_partitions(instance, registry.database)
    assert found() == {CRAWLS: 7}
