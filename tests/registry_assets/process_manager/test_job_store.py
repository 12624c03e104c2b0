"""Which job a run works on."""

from __future__ import annotations

import datetime
import subprocess
from collections.abc import Iterator

import pytest
from sqlalchemy import update

from registry_assets.process_manager import worker
from registry_assets.process_manager.job_store import (
    Found,
    RunIdentity,
    begin_task,
    end_job,
    end_task,
    find_job,
)
from registry_assets.process_manager.lease import Runs
from registry_resources.database import Database, Job, Task, utcnow
from registry_resources.exceptions import ConfigurationError, LockFileError, UnexpectedError

BURIED: list[str] = []


def run(run_id: str = "run-2", root: str | None = None, *, collects: bool = True) -> RunIdentity:
    return RunIdentity(run_id, root or run_id, collects=collects)


def find(database: Database, stage: Task.Type | None, identity: RunIdentity, *, alive: bool = False) -> int:  # type: ignore[valid-type]
    return found(database, stage, identity, alive=alive).job_id


def found(database: Database, stage: Task.Type | None, identity: RunIdentity, *, alive: bool = False) -> Found:  # type: ignore[valid-type]
    return find_job(
        database, "ruritania", stage, identity, Runs(lambda _: alive, lambda run_id, _: BURIED.append(run_id))
    )


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """Another process."""
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def worked_on_by(database: Database, job_id: int, process: subprocess.Popen[bytes]) -> int:
    """Let a process work on the job's second task. Returns the task's id."""
    with database.session() as session:
        job = session.get_one(Job, job_id)
        task_id = job.task(Task.Type.PROCESS).id
        begin_task(session, task_id)
        job.context["worker"] = worker.identity(process.pid)
    return task_id


def succeed(database: Database, job_id: int) -> None:
    with database.session() as session:
        job = session.get_one(Job, job_id)
        for task in job.tasks[1:]:
            task.initiate()
            task.complete(Task.Result.OK)
        job.complete(Job.Result.SUCCEEDED)


def fail(database: Database, job_id: int) -> None:
    with database.session() as session:
        session.get_one(Job, job_id).complete(Job.Result.FAILED, "no luck")


def test_collecting_starts_a_job_with_a_task_for_each_stage(database: Database) -> None:
    """JOB-03, JOB-04: keyed by the root run's id."""
    job_id = find(database, Task.Type.COLLECT, run("run-9"))
    with database.session() as session:
        job = session.get_one(Job, job_id)
        assert job.run_id == "run-9"
        assert [task.type for task in job.tasks] == ["collect", "process", "exporter", "coverage", "flattener"]


def test_later_steps_of_the_run_work_on_its_job(database: Database) -> None:
    """One run, one job."""
    job_id = find(database, Task.Type.COLLECT, run())
    assert find(database, Task.Type.PROCESS, run()) == job_id
    assert find(database, None, run()) == job_id


def test_a_retry_of_a_run_works_on_the_same_job(database: Database) -> None:
    """A job is a run with its retries."""
    job_id = find(database, Task.Type.COLLECT, run("run-1"))
    assert find(database, Task.Type.COLLECT, run("run-2", "run-1")) == job_id
    assert find(database, Task.Type.PROCESS, run("run-2", "run-1", collects=False)) == job_id


def test_executing_a_whole_run_again_after_it_collected_starts_a_new_job(
    database: Database, collected_job: int
) -> None:
    """The job of the first run may be published: it is not crawled over."""
    succeed(database, collected_job)
    again = run("run-2", "run-1")
    job_id = find(database, Task.Type.COLLECT, again)
    assert job_id != collected_job
    assert find(database, Task.Type.PROCESS, again) == job_id


@pytest.mark.parametrize("stage", [Task.Type.COLLECT, Task.Type.PROCESS, None])
def test_a_retry_of_a_run_that_was_executed_again_as_a_whole_works_on_that_ones_job(
    database: Database,
    collected_job: int,
    stage: Task.Type | None,  # type: ignore[valid-type]
) -> None:
    """All three have one root run: what its job published must not be made anew, nor published over a newer one."""
    succeed(database, collected_job)
    job_id = find(database, Task.Type.COLLECT, run("run-2", "run-1"))
    retry = RunIdentity("run-3", "run-1", collects=True, resumes=True, retried=("run-2", "run-1"))
    assert find(database, stage, retry) == job_id
    again = RunIdentity("run-4", "run-1", collects=True, resumes=True, retried=("run-3", "run-2", "run-1"))
    assert find(database, stage, again) == job_id


@pytest.mark.parametrize("resumes", [True, False])
def test_a_run_that_is_executed_again_after_a_later_job_was_published_leaves_its_old_job_alone(
    database: Database, collected_job: int, *, resumes: bool
) -> None:
    """It collects anew into a job of its own, or does its task again on the published job: never with older data."""
    with database.session() as session:
        old = session.get_one(Job, collected_job)
        old.tasks[0].complete(Task.Result.FAILED, "no luck")
        old.complete(Job.Result.FAILED, "no luck")
        newer = Job.plan(old.collection, run_id="run-2")
        session.add(newer)
        session.flush()
        newer_id = newer.id
        newer.initiate()
        newer.tasks[0].initiate()
        newer.tasks[0].complete(Task.Result.OK)
    succeed(database, newer_id)
    with database.session() as session:
        newer = session.get_one(Job, newer_id)
        newer.collection.active_job = newer
    again = RunIdentity("run-3", "run-1", collects=True, resumes=resumes, retried=("run-1",))
    assert find(database, Task.Type.FLATTENER, again) == newer_id
    started = find(database, Task.Type.COLLECT, again)
    assert started not in {collected_job, newer_id}
    assert find(database, Task.Type.PROCESS, again) == started


def test_a_second_run_is_refused_while_another_works_on_the_publication(
    database: Database, collected_job: int
) -> None:
    """JOB-20: with the other job, its run, and what to do."""
    with pytest.raises(
        LockFileError, match=rf"ruritania: job {collected_job} is running \(run run-1, last sign of life"
    ):
        find(database, Task.Type.COLLECT, run(), alive=True)


def test_a_job_whose_run_has_ended_does_not_block_the_next_one(database: Database, collected_job: int) -> None:
    """I4: it ends as cancelled, and says why."""
    new = find(database, Task.Type.COLLECT, run())
    assert new != collected_job
    with database.session() as session:
        old = session.get_one(Job, collected_job)
        assert (old.result, old.note.partition(":")[0]) == (Job.Result.CANCELLED, "Superseded")


def test_a_job_whose_process_was_killed_is_given_up_two_minutes_after_its_last_sign_of_life(
    database: Database, collected_job: int
) -> None:
    """I4, ASK-05: Dagster takes a run whose worker was killed for running, for ever."""
    last = utcnow() - datetime.timedelta(seconds=121)
    with database.session() as session:
        job = session.get_one(Job, collected_job)
        session.execute(update(Job).values(created=last, start=last))
        session.execute(update(Task).values(start=last, end=last, heartbeat=last))
        session.expire(job)
    BURIED.clear()
    new = find(database, Task.Type.COLLECT, run(), alive=True)
    assert new != collected_job
    assert BURIED == ["run-1"]
    with database.session() as session:
        old = session.get_one(Job, collected_job)
        assert (old.result, old.note.partition(":")[0]) == (Job.Result.CANCELLED, "Its process is gone")


def test_a_job_whose_process_was_killed_on_this_machine_is_given_up_at_once(
    database: Database, collected_job: int, child: subprocess.Popen[bytes]
) -> None:
    """I4: with the task that it was at, whose half-done work is to be wiped."""
    task_id = worked_on_by(database, collected_job, child)
    with pytest.raises(LockFileError, match=rf"ruritania: job {collected_job} is running"):
        find(database, Task.Type.COLLECT, run(), alive=True)
    child.kill()
    child.wait()
    BURIED.clear()
    new = found(database, Task.Type.COLLECT, run(), alive=True)
    assert (new.superseded, BURIED) == (collected_job, ["run-1"])
    with database.session() as session:
        old, task = session.get_one(Job, collected_job), session.get_one(Task, task_id)
        assert old.result == Job.Result.CANCELLED
        assert task.is_failed
        assert "Its process is gone" in task.note


def test_a_job_that_another_run_took_up_is_not_superseded_because_its_first_run_has_ended(
    database: Database, collected_job: int, child: subprocess.Popen[bytes]
) -> None:
    """A single task may be run again by another run, which is at it still."""
    worked_on_by(database, collected_job, child)
    with pytest.raises(LockFileError, match=rf"ruritania: job {collected_job} is running"):
        find(database, Task.Type.COLLECT, run(), alive=False)


def test_a_task_that_another_process_works_on_is_refused(
    database: Database, collected_job: int, child: subprocess.Popen[bytes]
) -> None:
    """Two runs of one stage: the second changes nothing of the first's."""
    task_id = worked_on_by(database, collected_job, child)
    with (
        database.session() as session,
        pytest.raises(LockFileError, match=rf"another run works on process of job {collected_job}"),
    ):
        begin_task(session, task_id)
    child.kill()
    child.wait()
    with database.session() as session:
        assert begin_task(session, task_id) is True


def test_a_task_alone_is_run_on_the_latest_job_that_has_come_far_enough(
    database: Database, collected_job: int
) -> None:
    """ASK-01: a later job that failed to collect is passed over, and no new job is started."""
    succeed(database, collected_job)
    later = find(database, Task.Type.COLLECT, run("run-7"))
    fail(database, later)
    assert find(database, Task.Type.FLATTENER, run(collects=False)) == collected_job
    assert find(database, None, run(collects=False)) == collected_job


def test_flattening_does_not_wait_for_coverage(database: Database, collected_job: int) -> None:
    """As the lineage shows it."""
    with database.session() as session:
        job = session.get_one(Job, collected_job)
        for kind in (Task.Type.PROCESS, Task.Type.EXPORTER):
            job.task(kind).initiate()
            job.task(kind).complete(Task.Result.OK)
    assert find(database, Task.Type.FLATTENER, run(collects=False)) == collected_job


def test_a_job_of_which_a_task_failed_stays_failed_when_a_task_beside_it_succeeds(
    database: Database, collected_job: int
) -> None:
    """I4: in one run, flattening goes on after coverage has failed."""
    with database.session() as session:
        job = session.get_one(Job, collected_job)
        for kind in (Task.Type.PROCESS, Task.Type.EXPORTER):
            job.task(kind).initiate()
            job.task(kind).complete(Task.Result.OK)
        coverage, flattener = job.task(Task.Type.COVERAGE).id, job.task(Task.Type.FLATTENER).id
    for task_id, result in ((coverage, Task.Result.FAILED), (flattener, Task.Result.OK)):
        with database.session() as session:
            begin_task(session, task_id)
        with database.session() as session:
            end_task(session, task_id, result, "no luck" if result == Task.Result.FAILED else "")
            if result == Task.Result.FAILED:
                end_job(session, collected_job, Job.Result.FAILED, "coverage: no luck")
    with database.session() as session:
        job = session.get_one(Job, collected_job)
        assert (job.result, job.note) == (Job.Result.FAILED, "coverage: no luck")
        assert job.task(Task.Type.COVERAGE).is_failed


def test_a_task_that_no_job_has_reached_says_what_to_materialise(database: Database, collected_job: int) -> None:
    """The message names the publication, the cause and the remedy."""
    with pytest.raises(UnexpectedError, match=r"ruritania: no job has come as far as flattener.*Materialise"):
        find(database, Task.Type.FLATTENER, run(collects=False))


def test_an_unknown_publication_says_how_to_add_it(database: Database) -> None:
    """A partition may outlive the catalogue's entry for a moment."""
    with pytest.raises(ConfigurationError, match="nowhere: the catalogue has no such publication"):
        find_job(database, "nowhere", Task.Type.COLLECT, run(), Runs(lambda _: False, lambda *_: None))
