"""The sensor that asks for runs of what is due, on Dagster's own instance."""

from __future__ import annotations

import datetime
import time
import uuid
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import insert, select, update

from registry_assets.partitions import NAME
from registry_assets.process_manager import planning
from registry_assets.sensors import out_of_date as module
from registry_assets.sensors.out_of_date import JOB_TAG, REASON_LENGTH, REQUESTS_PER_TICK, out_of_date
from registry_resources.dagster_resources import DatabaseResource, SettingsResource
from registry_resources.database import Collection, Job, utcnow
from registry_resources.exceptions import ConfigurationError
from tests.support.postgresql import database_url, execute
from tests.support.registry import TestRegistry


class Ticks:
    """Ticks of the sensor, each with the cursor that the one before left."""

    def __init__(self, registry: TestRegistry) -> None:
        self.registry = registry
        self.cursor: str | None = None

    def __call__(self) -> dg.SensorResult:
        context = dg.build_sensor_context(
            instance=self.registry.instance,
            cursor=self.cursor,
            resources={"settings": SettingsResource(), "database": DatabaseResource()},
        )
        with context:
            result = out_of_date(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        return result

    def asked(self) -> list[str]:
        """The publications whose runs one tick asks for."""
        return [str(request.partition_key) for request in self().run_requests or ()]

    def reason(self) -> str:
        """Why a tick asks for nothing."""
        result = self()
        assert not result.run_requests
        assert result.skip_reason
        return str(result.skip_reason.skip_message)

    def make_runs(
        self, result: dg.SensorResult, status: dg.DagsterRunStatus = dg.DagsterRunStatus.NOT_STARTED
    ) -> list[str]:
        """Make the runs that were asked for, as far as Dagster's daemon would write down anything of them."""
        made = []
        for request in result.run_requests or ():
            tags = {**request.tags, "dagster/run_key": request.run_key, "dagster/partition": request.partition_key}
            run = dg.DagsterRun(job_name="refresh", run_id=str(uuid.uuid4()), tags=tags, status=status)
            made.append(self.registry.instance.add_run(run).run_id)
        return made


def key_of(job: Job) -> str:
    """The key of the run of a planned job: another one for each job there ever was."""
    return f"job-{job.id}-{job.created:%Y%m%dT%H%M%S}"


@pytest.fixture
def tick(registry: TestRegistry) -> Ticks:
    return Ticks(registry)


@pytest.fixture
def add(registry: TestRegistry) -> Callable[..., None]:
    """Adds a publication whose last job, if it had one, succeeded so many days ago."""

    def add_(key: str, days: float | None = None, **fields: Any) -> None:
        fields = {"retrieval_frequency": "MONTHLY", **fields}
        with registry.database.session() as session:
            session.add(Collection(key=key, title=key, source_id="bulk", **fields))
            session.flush()
            if days is not None:
                start = utcnow() - datetime.timedelta(days=days)
                collection = session.scalars(select(Collection).where(Collection.key == key)).one()
                session.add(Job(collection=collection, start=start, end=start, status="COMPLETED", result="SUCCEEDED"))

    return add_


def test_the_planned_job_is_there_before_its_run_is_asked_for(registry, tick, add):
    """The run key and a tag hold the job's id, so that asking again makes no second run."""
    add("ruritania", 31)
    result = tick()
    (job,) = registry.jobs("ruritania")[1:]
    assert (job.status, job.run_id, len(job.tasks)) == (Job.Status.PLANNED, None, 5)
    (request,) = result.run_requests
    assert (request.run_key, request.partition_key) == (key_of(job), "ruritania")
    assert request.tags == {"registry/job": str(job.id)}
    assert result.skip_reason is None
    assert registry.instance.get_dynamic_partitions(NAME) == ["ruritania"]


def test_a_crash_between_the_two_is_mended_by_the_next_tick(registry, tick, add):
    """Nobody made the run: it is asked for again, with the same key, until there is one. No second job is planned."""
    add("ruritania", 31)
    first, second = tick(), tick()
    expected = [key_of(registry.jobs("ruritania")[-1])]
    assert [r.run_key for r in first.run_requests] == [r.run_key for r in second.run_requests] == expected
    (run_id,) = tick.make_runs(second)
    assert tick.reason() == "ruritania: job 2 is planned"
    assert len(registry.jobs("ruritania")) == 2
    # And the job is linked to its run as long as that waits in the queue.
    assert registry.jobs("ruritania")[-1].run_id == run_id


def test_a_run_that_was_deleted_before_its_job_knew_it_is_asked_for_again(registry, tick, add):
    """Only a run that is there counts."""
    add("ruritania", 31)
    (run_id,) = tick.make_runs(tick())
    registry.instance.delete_run(run_id)
    assert [request.run_key for request in tick().run_requests] == [key_of(registry.jobs("ruritania")[-1])]


def test_a_job_with_the_id_of_one_that_a_restored_database_has_forgotten_gets_a_run_of_its_own(registry, tick, add):
    """Dagster remembers the other one's run, and its key: the job would never begin, or be ended with that run."""
    add("ruritania", 31)
    result = tick()
    (old,) = tick.make_runs(result, dg.DagsterRunStatus.SUCCESS)
    with registry.database.session() as session:
        earlier = utcnow() - datetime.timedelta(days=1)
        session.execute(update(Job).where(Job.run_id.is_(None), Job.status == "PLANNED").values(created=earlier))
    (request,) = tick().run_requests
    assert request.run_key != result.run_requests[0].run_key
    assert registry.jobs("ruritania")[-1].run_id is None
    (run_id,) = tick.make_runs(tick())
    tick()
    assert registry.jobs("ruritania")[-1].run_id == run_id != old


def test_a_run_that_was_cancelled_in_the_queue_is_not_asked_for_again(registry, tick, add):
    """Who terminates a waiting run means it: the job is that run's, and is ended with it."""
    add("ruritania", 31)
    (run_id,) = tick.make_runs(tick(), dg.DagsterRunStatus.CANCELED)
    assert tick.reason() == "ruritania: job 2 is planned"
    assert registry.jobs("ruritania")[-1].run_id == run_id


def test_reasons_can_be_read(tick, add, registry):
    """What is being worked on comes first, then what is due next, and then the rest by name."""
    assert tick.reason() == "There are no publications. Write a catalogue file, and run `registry sync FILE`."
    add("taiwan", 400, frozen=True)
    add("moldova", 18)
    add("armenia", 29)
    add("zambia", retrieval_frequency="")
    add("honduras", 3000, retrieval_frequency="NEVER")
    add("nigeria", 3)
    with registry.database.session() as session:
        job = session.scalars(select(Job).join(Job.collection).where(Collection.key == "nigeria")).one()
        job.status, job.result, job.end, number = Job.Status.RUNNING, "", None, job.id
    assert tick.reason() == (
        f"nigeria: job {number} is running; armenia: due in 1 day; moldova: due in 12 days; taiwan: frozen; "
        "honduras: no longer updated by the publisher; zambia: no retrieval frequency"
    )


def test_a_job_that_is_due_again_while_it_runs_is_named_before_all(registry, tick, add):
    """JOB-05 warns of it."""
    for number in range(200):
        add(f"p{number:03}", 3)
    add("zambia", 50)
    with registry.database.session() as session:
        job = session.scalars(select(Job).join(Job.collection).where(Collection.key == "zambia")).one()
        job.status, job.result, job.end = Job.Status.RUNNING, "", None
    reason = tick.reason()
    assert reason.startswith("zambia: job 201 is running since ")
    assert len(reason) <= REASON_LENGTH
    shown = reason.count(": ")
    assert reason.endswith(f"; … and {201 - shown} more not due")


def test_a_tick_asks_for_the_longest_due_first_and_not_for_more_than_it_may(registry, tick, add):
    """So that none waits for ever: those that were never retrieved, then by the day on which they were due."""
    total = REQUESTS_PER_TICK * 2 + 3
    for number in range(total - 2):
        add(f"p{number:02}", 40 + number)
    add("new_b")
    add("new_a")
    expected = ["new_a", "new_b", *(f"p{number:02}" for number in reversed(range(total - 2)))]
    asked = []
    for count in (REQUESTS_PER_TICK, REQUESTS_PER_TICK, 3):
        result = tick()
        assert len(result.run_requests) == count
        tick.make_runs(result)
        asked += [request.partition_key for request in result.run_requests]
    assert asked == expected
    assert "is planned" in tick.reason()


def test_runs_that_cannot_be_made_keep_no_others_from_it(tick, add):
    """Half of a tick is for new ones; and those without a run get their turn one after the other."""
    for number in range(100):
        add(f"p{number:02}", 40)
    half = REQUESTS_PER_TICK // 2
    seen: list[str] = tick.asked()
    for _ in range(4):
        keys = tick.asked()
        assert len(keys) == REQUESTS_PER_TICK
        assert len([key for key in keys if key not in seen]) >= half
        seen += [key for key in keys if key not in seen]
    again: list[str] = []
    for _ in range(len(seen)):
        again += [key for key in tick.asked() if key in seen]
        if set(again) >= set(seen):
            break
    assert set(again) >= set(seen)


def test_a_cursor_that_makes_no_sense_is_no_error(tick, add):
    """Such as one that somebody set by hand in Dagit."""
    add("ruritania", 31)
    tick()
    for cursor in ("nonsense", "[1]", '{"last_asked": null}', ""):
        tick.cursor = cursor
        assert tick.asked() == ["ruritania"]


def test_another_process_that_was_quicker_is_no_error(registry, tick, add, monkeypatch):
    """Two daemons, or the command line: one job, and one run of it."""
    add("ruritania", 31)
    add("zenda", 32)
    plan = planning.plan

    def late(database, keys, today):
        plan(database, ["ruritania"], today)
        return plan(database, keys, today)

    monkeypatch.setattr(planning, "plan", late)
    assert tick.asked() == ["zenda"]
    monkeypatch.undo()
    assert [job.status for job in registry.jobs("ruritania")] == [Job.Status.COMPLETED, Job.Status.PLANNED]


def test_a_failed_read_is_an_error_and_no_empty_catalogue(registry, tick, add, monkeypatch):
    """No partition is deleted, and nothing is planned."""
    add("ruritania")
    registry.add("zenda")
    missing = registry.settings.home / "elsewhere.sqlite3"
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{missing}")
    with pytest.raises(ConfigurationError, match="There is no database"):
        tick()
    assert registry.instance.get_dynamic_partitions(NAME) == ["ruritania", "zenda"]
    assert registry.jobs("ruritania") == []


def test_a_partition_stays_while_a_run_of_it_is_in_flight(registry, tick, add):
    """It goes with the first tick after."""
    add("ruritania", 31)
    (run_id,) = tick.make_runs(tick())
    with registry.database.session() as session:
        session.execute(update(Collection).values(key="renamed"))
    tick()
    assert set(registry.instance.get_dynamic_partitions(NAME)) == {"renamed", "ruritania"}
    registry.instance.report_run_canceled(registry.instance.get_run_by_id(run_id))
    tick()
    assert registry.instance.get_dynamic_partitions(NAME) == ["renamed"]


def test_the_day_changes_at_midnight_in_utc(tick, add, monkeypatch):
    """JOB-05: whatever the time zone of the machine."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        midnight = datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC)
        start = datetime.datetime(2026, 10, 25, 23, 59, tzinfo=datetime.UTC)
        add("ruritania", (utcnow() - start).total_seconds() / 86400)
        monkeypatch.setattr(module, "utcnow", lambda: midnight - datetime.timedelta(seconds=1))
        assert tick.reason() == "ruritania: due in 1 day"
        monkeypatch.setattr(module, "utcnow", lambda: midnight)
        assert tick.asked() == ["ruritania"]
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_a_tick_over_5000_publications_of_which_500_are_due_takes_less_than_5_seconds(
    dialect, tmp_path, monkeypatch, request
):
    """In this process' own time, since the machine may be busy. It writes what it asks for."""
    monkeypatch.setenv("REGISTRY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    if dialect == "postgresql":
        server = request.getfixturevalue("postgresql")
        execute(server, "CREATE DATABASE tick TEMPLATE empty")
        monkeypatch.setenv("DATABASE_URL", database_url(server, "tick"))
    from registry_resources.settings import Settings

    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        registry = TestRegistry(Settings.from_env(), instance)
        now = utcnow()
        with registry.database.session() as session:
            rows = [
                {"key": f"p{n:04}", "title": "P", "source_id": "bulk", "retrieval_frequency": "MONTHLY"}
                for n in range(5_000)
            ]
            session.execute(insert(Collection), rows)
            past = {"status": "COMPLETED", "result": "SUCCEEDED"}
            jobs = []
            for place, id_ in enumerate(session.scalars(select(Collection.id).order_by(Collection.id))):
                for age in (31 if place % 10 == 0 else 3, 70, 100):
                    moment = now - datetime.timedelta(days=age)
                    jobs.append(past | {"collection_id": id_, "start": moment, "created": moment, "end": moment})
            session.execute(insert(Job), jobs)
        ticks = Ticks(registry)
        ticks()  # which gives 5,000 publications their partitions, once
        began = time.process_time()
        result = ticks()
        assert time.process_time() - began < 5
        assert len(result.run_requests) == REQUESTS_PER_TICK
        with registry.database.session(read_only=True) as session:
            standings = planning.standings(session, now.date())
        assert (
            sum(standing.verdict.due for standing in standings)
            + len(session.scalars(select(Job).where(Job.status == Job.Status.PLANNED)).all())
            == 500
        )
        registry.database.dispose()


def test_the_tag_is_what_a_run_looks_for():
    """It is part of what is stored with runs: changing it would orphan those in the queue."""
    assert JOB_TAG == "registry/job"
