"""A registry that runs by itself: Dagster's own daemon, its webserver, and nobody who looks.

Everything happens once, in the fixture `week`; each test looks at one side of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import requests
from dagster._core.execution.backfill import BulkActionStatus

from exporter.util import Export
from exporter.verify import verify
from registry_assets.process_manager import planning
from registry_resources.database import Job, utcnow
from registry_resources.settings import Settings
from tests.services.publisher import Publisher, release_package
from tests.support.daemon import ROOT, Daemon, wait_for
from tests.support.ports import free_port
from tests.support.registry import TestRegistry

REFRESH = ["collected", "coverage", "exported", "flattened", "processed", "published"]

LAUNCH = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""


@dataclass
class Week:
    """What happened.

    Attributes:
        registry: the registry, whose database and instance can be asked.
        requests: how often each publication's source had been asked for, before the backfills and after.
        runs: the ids of the runs that there were after the first part, then those of each backfill.
        flattened: what the command line printed of its backfill of one asset of all publications.
        outcome: what it printed of its backfill of everything of one publication.
    """

    registry: TestRegistry
    requests: list[Counter[str]] = field(default_factory=list)
    runs: list[list[dg.RunRecord]] = field(default_factory=list)
    flattened: dict[str, Any] = field(default_factory=dict)
    outcome: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Week]:
    """Two publications that were never retrieved are retrieved; then backfilled, in three ways at once."""
    daemon = Daemon(tmp_path_factory.mktemp("by_itself"))
    with Publisher() as publisher, dg.DagsterInstance.from_config(str(daemon.dagster_home)) as instance:
        registry = TestRegistry(Settings.from_env({"REGISTRY_HOME": daemon.environ["REGISTRY_HOME"]}), instance)
        for number, key in enumerate(("ruritania", "zenda")):
            url = publisher.add(f"/{key}.json", json.dumps(release_package(1 + 5 * number, 5)).encode())
            registry.add(key, arguments={"urls": url}, retrieval_frequency="MONTHLY")
        registry.add("taiwan", frozen=True, retrieval_frequency="MONTHLY")
        week = Week(registry)
        # As if a process had been killed after it had planned a job, and before it could ask for its run.
        planning.plan(registry.database, ["zenda"], utcnow().date())
        try:
            daemon.start()
            wait_for(lambda: all(_succeeded(registry, key, 1) for key in ("ruritania", "zenda")), 600)
            wait_for(lambda: not _in_flight(instance), 60)
            week.requests.append(Counter(publisher.requests))
            week.runs.append([r for r in instance.get_run_records() if "dagster/partition" in r.dagster_run.tags])

            coverage = _launch_in_dagit(daemon, "coverage", ["ruritania", "zenda"])
            week.flattened = _launch(daemon, "--all", "--select", "flattened")
            week.outcome = _launch(daemon, "ruritania", "--select", "*", "--yes")
            for backfill in (coverage, week.flattened["backfill"], week.outcome["backfill"]):
                wait_for(lambda backfill=backfill: _ended(instance, backfill), 600)
                tags = {"dagster/backfill": backfill}
                week.runs.append(list(instance.get_run_records(dg.RunsFilter(tags=tags))))
            week.requests.append(Counter(publisher.requests))
        finally:
            daemon.kill()
        yield week
        registry.database.dispose()


def _succeeded(registry: TestRegistry, key: str, number: int) -> bool:
    jobs = registry.jobs(key)
    assert not [job for job in jobs if job.is_unsuccessful], [job.note for job in jobs]
    return len([job for job in jobs if job.is_successful]) == number


def _in_flight(instance: dg.DagsterInstance) -> int:
    statuses = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    return instance.get_runs_count(dg.RunsFilter(statuses=statuses))


def _ended(instance: dg.DagsterInstance, backfill_id: str) -> bool:
    backfill = instance.get_backfill(backfill_id)
    assert backfill
    assert backfill.status not in {BulkActionStatus.FAILED, BulkActionStatus.COMPLETED_FAILED}, backfill.error
    return backfill.status in {BulkActionStatus.COMPLETED_SUCCESS, BulkActionStatus.COMPLETED}


def _launch(daemon: Daemon, *arguments: str) -> dict[str, Any]:
    """Ask for a backfill on the command line."""
    command = [str(Path(sys.executable).with_name("registry")), "backfill", *arguments, "--json"]
    done = subprocess.run(command, env=dict(daemon.environ), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _launch_in_dagit(daemon: Daemon, asset: str, partitions: Sequence[str]) -> str:
    """Ask for a backfill as Dagit's page does, through its webserver."""
    port = free_port()
    program = str(Path(sys.executable).with_name("dagster-webserver"))
    with (daemon.log.parent / "webserver.log").open("wb") as log:
        server = subprocess.Popen(
            [program, "-w", str(ROOT / "workspace.yaml"), "-h", "127.0.0.1", "-p", str(port)],
            env=dict(daemon.environ),
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(lambda: _answers(f"{address}/server_info"), 120)
        params = {"assetSelection": [{"path": [asset]}], "partitionNames": list(partitions)}
        body = {"query": LAUNCH, "variables": {"params": params}}
        answer = requests.post(f"{address}/graphql", json=body, timeout=60).json()
        assert answer["data"]["launchPartitionBackfill"]["__typename"] == "LaunchBackfillSuccess", answer
        return str(answer["data"]["launchPartitionBackfill"]["backfillId"])
    finally:
        server.terminate()
        server.wait(120)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def _partitions(records: Sequence[dg.RunRecord]) -> list[str]:
    return sorted(record.dagster_run.tags["dagster/partition"] for record in records)


def _selection(record: dg.RunRecord) -> list[str]:
    return sorted(key.to_user_string() for key in record.dagster_run.asset_selection or ())


def test_what_is_due_is_retrieved_without_anybody(week):
    """One run and one job each, from the source to a published version; nothing of the frozen one."""
    assert _partitions(week.runs[0]) == ["ruritania", "zenda"]
    for record in week.runs[0]:
        run = record.dagster_run
        job = week.registry.jobs(run.tags["dagster/partition"])[0]
        assert run.job_name == "refresh"
        assert run.tags["dagster/run_key"] == f"job-{job.id}-{job.created:%Y%m%dT%H%M%S}"
        assert run.tags["registry/job"] == str(job.id)
        assert job.run_id == run.run_id
    for key in ("ruritania", "zenda"):
        assert verify(Export.at(week.registry.published(key)))[1] == []
    assert week.registry.jobs("taiwan") == []
    assert week.requests[0] == {"/ruritania.json": 1, "/zenda.json": 1}


def test_a_planned_job_that_a_crash_left_without_a_run_got_it(week):
    """The very job, not a second one."""
    (job,) = week.registry.jobs("zenda")
    assert job.result == Job.Result.SUCCEEDED


def test_one_asset_over_all_partitions_crawls_nothing(week):
    """From Dagit and from the command line: those partitions that were chosen, and only that asset."""
    for records, asset, keys in (
        (week.runs[1], "coverage", ["ruritania", "zenda"]),
        (week.runs[2], "flattened", ["ruritania", "zenda"]),
    ):
        assert _partitions(records) == keys
        assert {tuple(_selection(record)) for record in records} == {(asset,)}
    assert week.flattened["skipped"] == ["taiwan"]
    assert week.requests[1]["/zenda.json"] == 1
    (job,) = week.registry.jobs("zenda")
    assert [(task.type, task.attempts) for task in job.tasks] == [
        ("collect", 1),
        ("process", 1),
        ("exporter", 1),
        ("coverage", 2),
        ("flattener", 2),
    ]


def test_everything_over_some_partitions_starts_a_job_for_each(week):
    """And for no other."""
    assert week.outcome["publications"] == ["ruritania"]
    (record,) = week.runs[3]
    assert _partitions([record]) == ["ruritania"]
    assert _selection(record) == REFRESH
    assert record.dagster_run.status == dg.DagsterRunStatus.SUCCESS
    first, second = week.registry.jobs("ruritania")
    assert (first.result, second.result) == (Job.Result.SUCCEEDED, Job.Result.SUCCEEDED)
    assert second.run_id == record.dagster_run.run_id
    assert week.requests[1] == {"/ruritania.json": 2, "/zenda.json": 1}


def test_no_two_runs_of_a_publication_went_on_at_once(week):
    """Of the three backfills, two want zenda and three want ruritania at the same moment: the others waited."""
    records = [record for part in week.runs for record in part]
    assert len(records) == 7
    for key in ("ruritania", "zenda"):
        mine = [record for record in records if record.dagster_run.tags["dagster/partition"] == key]
        spans = sorted((record.start_time, record.end_time) for record in mine)
        assert all(before[1] <= after[0] for before, after in pairwise(spans)), spans


def test_no_more_runs_went_on_at_once_than_may(week):
    """`max_concurrent_runs` in dagster.yaml."""
    records = [record for part in week.runs for record in part if record.start_time]
    moments = sorted([(r.start_time, 1) for r in records] + [(r.end_time, -1) for r in records])
    going, most = 0, 0
    for _, step in moments:
        going += step
        most = max(most, going)
    assert 1 <= most <= 4


def test_afterwards_nothing_is_due_and_the_sensor_says_why(week):
    """The page of the sensor, in words."""
    instance = week.registry.instance
    (state,) = [state for state in instance.all_instigator_state() if state.instigator_name == "out_of_date"]
    ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=50)
    assert {tick.status.value for tick in ticks} <= {"SUCCESS", "SKIPPED", "STARTED"}
    reasons = [tick.skip_reason for tick in ticks if tick.skip_reason]
    assert "taiwan: frozen" in reasons[0]
    assert sum(len(tick.run_ids) for tick in ticks) == 2
