"""Which publications are due, asked of real databases, and planning their jobs."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable

import pytest
from sqlalchemy import event, insert, select

from registry_assets.process_manager import planning
from registry_assets.process_manager.rules.out_of_date import State
from registry_resources.database import JOB_TASKS_PLAN, Collection, Database, Job, Task
from registry_resources.database.choices import JobResult, JobStatus

TODAY = datetime.date(2026, 11, 24)
NOW = datetime.datetime(2026, 11, 24, 9, tzinfo=datetime.UTC)


@pytest.fixture
def database(url: str, connect: Callable[[str], Database]) -> Database:
    """A migrated database without publications."""
    return connect(url)


def add(database: Database, key: str, *jobs: Job, frequency="MONTHLY", **fields) -> None:
    with database.session() as session:
        collection = Collection(key=key, title=key, source_id="bulk", retrieval_frequency=frequency, **fields)
        session.add(collection)
        for job in jobs:
            job.collection = collection
            session.add(job)
            session.flush()  # one after the other, so that ids are in this order


def job(days: float | None, result: str = "SUCCEEDED", **fields) -> Job:
    """A job that began so many days ago; incomplete if its result is blank; that never began if there are no days."""
    start = None if days is None else NOW - datetime.timedelta(days=days)
    status = JobStatus.COMPLETED if result else JobStatus.PLANNED if start is None else JobStatus.RUNNING
    return Job(
        start=start,
        end=NOW if result else None,
        created=fields.pop("created", start or NOW),
        status=status,
        result=JobResult(result) if result else "",
        **fields,
    )


def states(database: Database, *keys: str) -> dict[str, str]:
    with database.session(read_only=True) as session:
        return {s.key: s.verdict.reason for s in planning.standings(session, TODAY, keys or None)}


def test_every_publication_has_a_standing(database):
    """JOB-05: from its frequency and jobs; ordered by key, whatever the order of the rows."""
    add(database, "zenda", job(400), job(29))
    add(database, "taiwan", job(400), frozen=True)
    add(database, "nigeria", job(400), job(3, ""))
    add(database, "moldova", job(18), frequency="MONTHLY")
    add(database, "ruritania")
    add(database, "graustark", job(8, "FAILED"), frequency="ANNUALLY")
    add(database, "costaguana", job(90, "FAILED"), job(54))
    add(database, "quirk", frequency="")
    add(database, "freedonia", job(900), frequency="NEVER")
    add(database, "sylvania", job(90), job(None, ""))
    assert states(database) == {
        "costaguana": "due: last began 2026-10-01, monthly",
        "freedonia": "no longer updated by the publisher",
        "graustark": "due: last began 2026-11-16, weekly after a job that failed",
        "moldova": "due in 12 days",
        "nigeria": "job 5 is running",
        "quirk": "no retrieval frequency",
        "ruritania": "due: never retrieved",
        "sylvania": "job 12 is planned",
        "taiwan": "frozen",
        "zenda": "due in 1 day",
    }
    assert list(states(database)) == sorted(states(database))
    assert states(database, "taiwan", "zenda", "nowhere") == {"taiwan": "frozen", "zenda": "due in 1 day"}


def test_an_older_job_that_is_not_complete_is_seen(database):
    """JOB-05: any incomplete job, also if a later one is the most recent, which is still named."""
    add(database, "ruritania", job(100, ""), job(50))
    with database.session(read_only=True) as session:
        (standing,) = planning.standings(session, TODAY)
    assert standing.verdict.reason == "job 1 is running since 2026-08-16, and due again"
    assert (standing.latest.id, standing.waiting_job, standing.verdict.overdue) == (2, None, True)


def test_a_job_that_ended_before_it_began_counts_from_when_it_was_planned(database):
    """It is the most recent one, but not for ever."""
    add(database, "ruritania", job(100), job(None, "CANCELLED", created=NOW - datetime.timedelta(days=7)))
    assert states(database)["ruritania"] == ("due: planned in vain 2026-11-17, weekly after a job that was cancelled")


def test_only_a_planned_job_without_a_run_waits_for_one(database):
    """What the sensor asks again for: neither a job whose run is queued, nor a running one."""
    add(database, "a", job(100), job(None, ""))
    add(database, "b", job(None, "", run_id="run-1"))
    add(database, "c", job(1, "", run_id="run-2"))
    add(database, "d", job(1))
    with database.session(read_only=True) as session:
        waiting = {s.key: s.waiting_job for s in planning.standings(session, TODAY)}
    assert waiting == {"a": 2, "b": None, "c": None, "d": None}


def test_planning_writes_a_planned_job_with_its_tasks(database):
    """JOB-04: in the order given, and nothing for what is not due."""
    add(database, "a", job(100))
    add(database, "b")
    add(database, "c", job(1))
    planned = planning.plan(database, ["b", "c", "nowhere", "a"], TODAY)
    assert planned.jobs == {"b": 3, "a": 4}
    assert planned.refused == ["c", "nowhere"]
    with database.session(read_only=True) as session:
        jobs = session.scalars(select(Job).where(Job.status == JobStatus.PLANNED).order_by(Job.id)).all()
        assert [(job.id, job.collection.key, job.run_id, job.start) for job in jobs] == [
            (3, "b", None, None),
            (4, "a", None, None),
        ]
        assert [[(task.type, task.order, task.status) for task in job.tasks] for job in jobs] == [
            [(kind, order, Task.Status.PLANNED) for order, kind in enumerate(JOB_TASKS_PLAN, 1)]
        ] * 2
    assert planning.plan(database, ["b", "c", "a"], TODAY).jobs == {}


def test_two_processes_plan_one_job_each_of_what_is_due(database):
    """JOB-20: the database refuses a second one, and the other process goes on with the rest."""
    keys = [f"p{number}" for number in range(20)]
    for key in keys:
        add(database, key)
    gate = threading.Barrier(4)
    found: list[planning.Planned] = []

    def work() -> None:
        gate.wait()
        found.append(planning.plan(database, keys, TODAY))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(key for planned in found for key in planned.jobs) == sorted(keys)
    assert all(sorted([*planned.jobs, *planned.refused]) == sorted(keys) for planned in found)
    with database.session(read_only=True) as session:
        assert len(session.scalars(select(Job)).all()) == len(keys)
        assert {s.verdict.state for s in planning.standings(session, TODAY)} == {State.BUSY}


def test_a_run_is_noted_once_and_never_for_two_jobs(database):
    """A job that has a run keeps it; a run that another job has is not taken from it."""
    add(database, "a", job(None, ""))
    add(database, "b", job(None, "", run_id="run-b"))
    add(database, "c", job(None, ""))
    assert planning.adopt(database, [(1, "run-a"), (2, "run-x"), (3, "run-b")]) == 1
    with database.session(read_only=True) as session:
        assert [job.run_id for job in session.scalars(select(Job).order_by(Job.id))] == ["run-a", "run-b", None]


def test_it_is_one_query_however_many_publications_there_are(database):
    """No query for each publication, nor for each job."""
    with database.session() as session:
        rows = [
            {"key": f"p{n}", "title": "P", "source_id": "bulk", "retrieval_frequency": "WEEKLY"} for n in range(300)
        ]
        session.execute(insert(Collection), rows)
        past = {"status": "COMPLETED", "result": "SUCCEEDED", "end": NOW}
        moments = [NOW - datetime.timedelta(days=days) for days in (3, 30, 60)]
        ids = session.scalars(select(Collection.id)).all()
        session.execute(
            insert(Job),
            [past | {"collection_id": id_, "start": start, "created": start} for id_ in ids for start in moments],
        )
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    with database.session(read_only=True) as session:
        found = planning.standings(session, TODAY)
    assert len([statement for statement in statements if statement.startswith("SELECT")]) == 1
    assert {standing.verdict.reason for standing in found} == {"due in 4 days"}
    assert len(found) == 300
