"""One worker a publication, and one that was given up writes nothing any more (DEF-01, DEF-02)."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from registry_assets.process_manager import driver, lease, worker
from registry_assets.process_manager.driver import Pace, drive
from registry_assets.process_manager.job_store import RunIdentity, find_job
from registry_assets.process_manager.lease import Lease, LeaseLostError, Runs
from registry_assets.process_manager.outage import through_outages
from registry_assets.process_manager.recovery import Memory, open_jobs
from registry_assets.process_manager.services import Services
from registry_assets.process_manager.util import get_task_manager
from registry_resources.database import Collection, Database, Job, Task
from registry_resources.exceptions import LockFileError
from tests.support.backends import COMPLETED, RUNNING, Listener, ScriptedProcess
from tests.support.postgresql import create_database, database_url

ROOT = Path(__file__).parents[3]
NONE_ALIVE = Runs(lambda _: False, lambda *_: None)
ALL_ALIVE = Runs(lambda _: True, lambda *_: None)


@pytest.fixture(params=["sqlite", "postgresql"])
def shared_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database that other processes can open, with one publication."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'shared.sqlite3'}"
    else:
        server = request.getfixturevalue("postgresql")
        name = f"lease_{time.monotonic_ns()}"
        create_database(server, name)
        url = database_url(server, name)
    database = Database(url)
    database.migrate()
    with database.session() as session:
        session.add(Collection(key="ruritania", title="Ruritania", source_id="bulk"))
    yield database
    database.dispose()


def claim(database: Database, planned: int = 0, count: int = 8) -> list[str]:
    """Let processes look for the publication's job at the same moment, and return what each found."""
    url = database.engine.url.render_as_string(hide_password=False)
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.claims", url, "ruritania", str(planned), str(count)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    return done.stdout.splitlines()


def test_of_eight_processes_that_start_a_job_at_once_one_does(shared_database: Database) -> None:
    """JOB-20, DEF-01: the others are told who has it. None of the runs knows of the others."""
    answers = claim(shared_database)
    assert len([answer for answer in answers if answer == "job 1"]) == 1, answers
    assert all("ruritania: job 1 " in answer for answer in answers if answer != "job 1"), answers
    with shared_database.session(read_only=True) as session:
        assert session.query(Job).count() == 1


def test_of_eight_processes_that_were_asked_for_one_planned_job_one_takes_it(shared_database: Database) -> None:
    """As when two daemons have asked for a run of the same job."""
    with shared_database.session() as session:
        session.add(Job.plan(session.query(Collection).one()))
    answers = claim(shared_database, planned=1)
    assert len([answer for answer in answers if answer == "job 1"]) == 1, answers
    assert all("job 1, which this run was asked for, is that of run" in a for a in answers if a != "job 1"), answers
    with shared_database.session(read_only=True) as session:
        assert session.query(Job).one().run_id in {f"run-{n}" for n in range(8)}


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """Another process."""
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def hold(database: Database, job_id: int, **holder: object) -> None:
    """Let somebody else have the lease."""
    with database.session() as session:
        job = session.get_one(Job, job_id)
        job.context.update({lease.NUMBER: 7, lease.WORKER: holder})


def test_a_run_between_two_steps_keeps_its_publication(
    database: Database, collected_job: int, other: subprocess.Popen[bytes]
) -> None:
    """JOB-20: as long as that run goes on, and its process is there."""
    hold(database, collected_job, **worker.identity(other.pid), run="run-1", idle=True)
    asks = RunIdentity("run-2", "run-2", collects=False)
    with pytest.raises(LockFileError, match=rf"job {collected_job} is being worked on by run run-1"):
        find_job(database, "ruritania", Task.Type.PROCESS, asks, ALL_ALIVE)
    found = find_job(database, "ruritania", Task.Type.PROCESS, asks, NONE_ALIVE)
    assert found.lease == Lease(collected_job, 8)


def test_a_job_that_succeeded_is_not_redone_while_another_is_worked_on(
    database: Database, collected_job: int, other: subprocess.Popen[bytes]
) -> None:
    """One job a publication at a time, whatever it is that is done to it."""
    with database.session() as session:
        done = session.get_one(Job, collected_job)
        for task in done.tasks[1:]:
            task.initiate()
            task.complete(Task.Result.OK)
        done.complete(Job.Result.SUCCEEDED)
        later = Job.plan(done.collection, run_id="run-9")
        session.add(later)
        later.initiate()
        session.flush()
        later_id = later.id
    hold(database, later_id, **worker.identity(other.pid), run="run-9")
    asks = RunIdentity("run-2", "run-2", collects=False)
    with pytest.raises(LockFileError, match=rf"job {later_id} is being worked on by run run-9"):
        find_job(database, "ruritania", Task.Type.FLATTENER, asks, ALL_ALIVE)


def taken(database: Database, job_id: int, run_id: str = "run-1") -> Lease:
    with database.session() as session:
        job = session.get_one(Job, job_id)
        return lease.take(session, job.collection, job, run_id, NONE_ALIVE)


def test_the_steps_of_one_run_share_a_lease_and_another_run_gets_a_new_one(
    database: Database, collected_job: int
) -> None:
    """The number grows only when the lease changes hands."""
    first = taken(database, collected_job)
    first.rest(database)
    assert taken(database, collected_job) == first
    assert taken(database, collected_job, "run-2").number == first.number + 1


def test_a_worker_that_was_given_up_writes_nothing_any_more(services: Services, collected_job: int) -> None:
    """DEF-01: neither results, nor context, nor notes, nor an end, nor signs of life; and it deletes nothing."""
    held = taken(services.database, collected_job)
    process = ScriptedProcess(RUNNING, COMPLETED)
    mine = dataclasses.replace(services, lease=held, process=process)

    def withdrawn(_: float) -> None:
        with services.database.session() as session:
            lease.withdraw(session, collected_job)

    with services.database.session() as session:
        task_id = session.get_one(Job, collected_job).task(Task.Type.PROCESS).id
    with pytest.raises(LeaseLostError, match=f"Job {collected_job} was taken from this process"):
        drive(task_id, mine, Listener(), Pace(sleep=withdrawn))
    assert process.calls == ["wipe", "start"]  # as it began; nothing after
    with services.database.session() as session:
        job = session.get_one(Job, collected_job)
        task = job.task(Task.Type.PROCESS)
        assert (job.status, task.status, task.notes) == (Job.Status.RUNNING, Task.Status.RUNNING, [])
        assert job.ocid_prefix == ""
        session.expunge_all()
        task = session.get_one(Task, task_id)
        assert task.job.collection is not None
    manager = get_task_manager(task, mine)
    for write in (
        lambda: manager.remember(files=1),
        lambda: manager.replace_notes([]),
        lambda: held.beat(services.database, task_id),
        lambda: held.rest(services.database),
    ):
        with pytest.raises(LeaseLostError):
            write()


def test_a_worker_that_only_waits_notices_that_it_was_given_up(
    services: Services, collected_job: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its heartbeat tells it."""
    monkeypatch.setattr(driver, "HEARTBEAT", 0.05)
    held = taken(services.database, collected_job)
    with driver.heartbeat(dataclasses.replace(services, lease=held)) as lost:
        time.sleep(0.2)
        assert not lost.is_set()
        with services.database.session() as session:
            lease.withdraw(session, collected_job)
        assert lost.wait(5)


def test_a_lease_that_changed_hands_meanwhile_is_not_withdrawn(database: Database, collected_job: int) -> None:
    """What was decided of one worker must not strike the next one."""
    old = taken(database, collected_job)
    taken(database, collected_job, "run-2")
    with database.session() as session:
        assert lease.withdraw(session, collected_job, old.number) is None


def test_a_database_that_is_away_is_waited_for() -> None:
    """As while PostgreSQL is started anew; but not for ever, and not after an error of another kind."""
    calls = []

    def attempt() -> str:
        calls.append(1)
        if len(calls) < 3:
            with create_engine(
                "postgresql+psycopg2://127.0.0.1:9/nowhere", connect_args={"connect_timeout": 1}
            ).connect():
                pass
        return "there"

    assert through_outages(attempt) == "there"
    assert len(calls) == 3


def test_a_processes_identity_tells_it_from_a_later_one_of_the_same_id(other: subprocess.Popen[bytes]) -> None:
    """Ids are given again, and a machine may have been started anew since."""
    identity = worker.identity(other.pid)
    assert worker.is_gone(identity) is False
    assert worker.is_gone({**identity, "started": identity["started"] - 1}) is True
    assert worker.is_gone({**identity, "boot": "another"}) is True
    assert worker.is_gone({**identity, "host": "another"}) is None
    assert worker.is_gone({**identity, "namespace": "another"}) is None
    other.kill()
    threading.Event().wait(0.2)
    assert worker.is_gone(identity) is True  # though nobody has waited for it


def test_a_finished_job_that_a_run_works_on_again_is_found_by_that_run(shared_database: Database) -> None:
    """As when `published` alone is materialised: no task of it runs."""
    with shared_database.session() as session:
        collection = session.query(Collection).one()
        for number in (1, 2):
            job = Job.plan(collection, run_id=f"run-{number}")
            session.add(job)
            job.complete(Job.Result.CANCELLED)
            session.flush()
        job.context.update({lease.NUMBER: 1, lease.WORKER: {**worker.identity(), "run": "run-9"}})
    with shared_database.session(read_only=True) as session:
        assert open_jobs(session) == []
        (found,) = open_jobs(session, ["run-8", "run-9"])
    assert (found.id, found.runs) == (2, ["run-9", "run-2"])


def test_an_observer_counts_only_while_it_looks() -> None:
    """Neither a change, nor a night in which everything was off, counts as silence; nor what can't be read."""
    memory = Memory(1_000.0)
    assert memory.unchanged("job 1", "a") == 0
    for now, look, silent in ((1_100.0, "a", 100), (1_300.0, "a", 300), (1_400.0, "b", 0), (1_500.0, "b", 100)):
        memory = Memory.load(memory.dump(), now)
        assert memory.unchanged("job 1", look) == silent
    memory = Memory.load(memory.dump(), 1_500.0 + 301)
    assert memory.unchanged("job 1", "b") == 0
    memory = Memory.load(memory.dump(), 1_700.0)  # the clock was put back
    assert memory.unchanged("job 1", "b") == 0
    assert Memory.load("{", 5.0).unchanged("job 1", "b") == 0
