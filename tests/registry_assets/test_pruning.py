"""What Dagster remembers: bounded, and never the latest of anything."""

import datetime
import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from registry_assets.partitions import NAME, PUBLICATIONS
from registry_assets.pruning import Pruned, prune
from tests.support import postgresql as servers

KEYS = ["costaguana", "ruritania"]
NUMBERS = itertools.count()

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # partitioned checks are a preview in this version of Dagster
    PLAUSIBLE = dg.AssetCheckSpec("plausible", asset="one", partitions_def=PUBLICATIONS)


@dg.asset(
    partitions_def=PUBLICATIONS,
    check_specs=[PLAUSIBLE],
)
def one(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
    print("printed by", context.partition_key)  # noqa: T201
    return dg.MaterializeResult(metadata={"run": context.run.run_id}, check_results=[dg.AssetCheckResult(passed=True)])


@dg.asset(partitions_def=PUBLICATIONS, deps=[one])
def two(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
    if context.run.tags.get("fails"):
        raise dg.Failure(description="no luck", allow_retries=False)
    return dg.MaterializeResult(metadata={"run": context.run.run_id})


@dg.asset
def document(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(metadata={"run": context.run.run_id})


@dg.op
def tidy_op() -> None:
    pass


@dg.job(name="tidy", resource_defs={"io_manager": dg.mem_io_manager})
def tidy() -> None:
    tidy_op()


DEFS = dg.Definitions(assets=[one, two, document], jobs=[tidy], executor=dg.in_process_executor)


@pytest.fixture(params=["sqlite", "postgresql"])
def instance(request: pytest.FixtureRequest, instance_folder: Path) -> Iterator[dg.DagsterInstance]:
    overrides: dict[str, Any] = {}
    if request.param == "postgresql":
        server, name = request.getfixturevalue("postgresql"), f"dagster_{next(NUMBERS)}"
        servers.create_database(server, name)
        url = servers.database_url(server, name).replace("postgresql:", "postgresql+psycopg2:", 1)
        overrides = {"storage": {"postgres": {"postgres_url": url}}}
    with dg.instance_for_test(overrides=overrides, temp_dir=str(instance_folder)) as instance:
        instance.add_dynamic_partitions(NAME, KEYS)
        yield instance


def run(instance: dg.DagsterInstance, key: str | None, *assets: str, **tags: str) -> str:
    graph = DEFS.resolve_implicit_global_asset_job_def()
    result = graph.execute_in_process(
        instance=instance,
        partition_key=key,
        asset_selection=[dg.AssetKey(name) for name in assets],
        raise_on_error=False,
        tags=tags,
    )
    return result.run_id


def later(days: float) -> datetime.datetime:
    """So many days from now: then what was done just now is as old."""
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)


def runs(instance: dg.DagsterInstance) -> set[str]:
    return {found.run_id for found in instance.get_runs()}


def latest(instance: dg.DagsterInstance, asset: str, key: str | None) -> str | None:
    """The run that says in its metadata that it made the latest materialisation."""
    filters = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[key] if key else None)
    records = instance.fetch_materializations(filters, limit=1).records
    found = records[0].asset_materialization if records else None
    return str(found.metadata["run"].value) if found else None


def checks(instance: dg.DagsterInstance) -> list[tuple[str, str]]:
    """The runs of the check results that are remembered, with the results."""
    key = dg.AssetCheckKey(dg.AssetKey("one"), "plausible")
    records = instance.event_log_storage.get_asset_check_execution_history(key, limit=100)
    return [(record.run_id, record.status.value) for record in records]


def test_the_latest_of_every_asset_and_partition_stays_and_the_rest_goes(instance: dg.DagsterInstance) -> None:
    """The asset pages show the same as before; the numbers say what went."""
    first = run(instance, "ruritania", "one", "two")
    second = run(instance, "ruritania", "two")
    third = run(instance, "costaguana", "one", "two")
    fourth = run(instance, "costaguana", "one", "two")
    fifth, sixth = run(instance, None, "document"), run(instance, None, "document")
    failed = run(instance, "ruritania", "two", fails="yes")
    assert prune(instance, keep_days=30, now=later(29)) == Pruned(0, 0, 0)
    pruned = prune(instance, keep_days=30, now=later(31))
    assert (pruned.runs, pruned.kept) == (3, 4)
    assert runs(instance) == {first, second, fourth, sixth}
    assert (latest(instance, "one", "ruritania"), latest(instance, "two", "ruritania")) == (first, second)
    assert (latest(instance, "one", "costaguana"), latest(instance, "two", "costaguana")) == (fourth, fourth)
    assert latest(instance, "document", None) == sixth
    assert instance.get_materialized_partitions(dg.AssetKey("two")) == set(KEYS)
    assert sorted(checks(instance)) == sorted([(first, "SUCCEEDED"), (fourth, "SUCCEEDED")])
    assert len({first, second, third, fourth, fifth, sixth, failed}) == 7
    assert prune(instance, keep_days=30, now=later(31)).runs == 0


def test_nothing_is_left_of_a_run_that_went(instance: dg.DagsterInstance) -> None:
    """Its record, tags, events, check results, database file, and what it printed."""
    gone, stays = run(instance, "ruritania", "one"), run(instance, "ruritania", "one")
    root = Path(instance.root_directory)
    assert any(gone in str(path) for path in root.rglob("*"))
    prune(instance, keep_days=30, now=later(31))
    assert not [path for path in root.rglob("*") if gone in str(path)]
    assert [path for path in root.rglob("*") if stays in str(path)]
    assert instance.get_run_by_id(gone) is None
    assert [run_id for run_id, _ in checks(instance)] == [stays]
    assert instance.get_run_tags(["dagster/partition"]) == [("dagster/partition", {"ruritania"})]
    from dagster._core.storage.runs.schema import RunTagsTable

    from registry_assets import pruning

    events, records = pruning._storages(instance)
    with records.connect() as connection:
        assert set(connection.scalars(pruning.select(RunTagsTable.c.run_id))) == {stays}
    with events.index_connection() as connection:
        left = set(connection.scalars(pruning.select(pruning.SqlEventLogStorageTable.c.run_id)))
    assert gone not in left


def test_partitions_that_are_gone_keep_nothing(instance: dg.DagsterInstance) -> None:
    """A publication that was removed needs no history."""
    gone, stays = run(instance, "ruritania", "one"), run(instance, "costaguana", "one")
    instance.delete_dynamic_partition(NAME, "ruritania")
    prune(instance, keep_days=30, now=later(31))
    assert (gone in runs(instance), stays in runs(instance)) == (False, True)


def test_runs_that_are_needed_or_under_way_stay_whatever_their_age(instance: dg.DagsterInstance) -> None:
    """The newest job's run tells why a publication is not running; one under way is nobody's to delete."""
    needed, unneeded = (run(instance, "ruritania", "two", fails="yes") for _ in range(2))
    under_way = dg.DagsterInstance.create_run_for_job(
        instance, DEFS.resolve_job_def("tidy"), status=dg.DagsterRunStatus.STARTED
    )
    prune(instance, keep_days=1, now=later(400), needed={needed})
    assert runs(instance) == {needed, under_way.run_id}
    assert unneeded not in runs(instance)


def test_the_first_run_stays_as_long_as_one_that_retries_it(instance: dg.DagsterInstance) -> None:
    """Dagit can't show a run without the first of its group."""
    root = run(instance, "ruritania", "two", fails="yes")
    again = run(instance, "ruritania", "two", **{"dagster/root_run_id": root, "dagster/parent_run_id": root})
    prune(instance, keep_days=30, now=later(31))
    assert runs(instance) == {root, again}
    run(instance, "ruritania", "two")
    prune(instance, keep_days=30, now=later(31))
    assert not runs(instance) & {root, again}


def test_housekeeping_is_remembered_for_three_days_only(instance: dg.DagsterInstance) -> None:
    """It runs every hour."""
    tidied = DEFS.resolve_job_def("tidy").execute_in_process(instance=instance).run_id
    failed = run(instance, "ruritania", "two", fails="yes")
    assert prune(instance, keep_days=30, housekeeping=["tidy"], now=later(2)).runs == 0
    prune(instance, keep_days=30, housekeeping=["tidy"], now=later(4))
    assert (tidied in runs(instance), failed in runs(instance)) == (False, True)


def test_a_kill_in_between_is_mended_by_the_next_time(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run's record goes last."""
    gone = [run(instance, "ruritania", "one") for _ in range(2)]
    stays = run(instance, "ruritania", "one")
    from registry_assets import pruning

    storage = type(pruning._storages(instance)[1])

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(storage, "delete_run", die)
    with pytest.raises(KeyboardInterrupt):
        prune(instance, keep_days=30, now=later(31))
    assert set(gone) <= runs(instance)
    monkeypatch.undo()
    assert prune(instance, keep_days=30, now=later(31)).runs == 2
    assert runs(instance) == {stays}


def test_a_run_that_cant_be_deleted_keeps_no_other_from_being_forgotten(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when root started it, and what it printed is root's. It is told, and tried again the next time."""
    stuck, old, new = (run(instance, "ruritania", "one", "two") for _ in range(3))
    delete = instance.compute_log_manager.delete_logs

    def refuse(prefix: list[str]) -> None:
        if prefix == [stuck]:
            raise PermissionError(13, "Permission denied", "/root/printed")
        delete(prefix=prefix)

    with monkeypatch.context() as patch:
        patch.setattr(instance.compute_log_manager, "delete_logs", refuse)
        pruned = prune(instance, keep_days=30, now=later(31))
    assert (pruned.runs, pruned.kept, runs(instance)) == (1, 2, {stuck, new})
    said = f"runs that could not be forgotten: 1, such as {stuck} (/root/printed: Permission denied)"
    assert pruned.summary.endswith(said)
    assert prune(instance, keep_days=30, now=later(31)).runs == 1
    assert old not in runs(instance)
    assert runs(instance) == {new}


def test_sqlite_gives_the_space_back(instance_folder: Path) -> None:
    """SQLite's files don't shrink by themselves."""
    with dg.instance_for_test(temp_dir=str(instance_folder)) as instance:
        instance.add_dynamic_partitions(NAME, KEYS)
        for _ in range(3):
            instance.report_runless_asset_event(dg.AssetMaterialization("big", metadata={"text": "x" * 1000}))
        old = run(instance, "ruritania", "one")
        index = Path(instance.root_directory) / "history" / "runs" / "index.db"
        import sqlite3

        with sqlite3.connect(index) as connection:
            connection.execute(
                "INSERT INTO event_logs (run_id, event, dagster_event_type) "
                "SELECT ?, ?, 'STEP_SUCCESS' FROM event_logs",
                (old, "x" * 6_000_000),
            )
        connection.close()
        before = index.stat().st_size
        run(instance, "ruritania", "one")
        pruned = prune(instance, keep_days=30, now=later(31))
        assert pruned.problem == ""
        assert pruned.bytes > 12_000_000
        assert index.stat().st_size < before / 10
