"""Driving a task to its end, whatever happens on the way."""

from __future__ import annotations

import dataclasses
import datetime
import time
from typing import Any

import pytest

from registry_assets.process_manager import driver, lease
from registry_assets.process_manager.driver import Pace, TaskFailedError, drive
from registry_assets.process_manager.services import Services
from registry_resources.database import Database, Job, Task, utcnow
from registry_resources.exceptions import RecoverableError
from registry_resources.process.backend import ProcessJob
from tests.support.backends import COMPLETED, RUNNING, WAITING, Listener, ScriptedProcess, failed

NO_WAIT = Pace(sleep=lambda _: None)


def process_task(database: Database, job_id: int) -> Task:
    with database.session() as session:
        task = session.get_one(Job, job_id).task(Task.Type.PROCESS)
        assert task.notes is not None
        return task


def job(database: Database, job_id: int) -> Job:
    with database.session() as session:
        return session.get_one(Job, job_id)


def drive_process(services: Services, job_id: int, *script: Any, **changes: Any) -> tuple[ScriptedProcess, Listener]:
    process, listener = ScriptedProcess(*script), Listener()
    with_process = dataclasses.replace(services, process=process, **changes)
    drive(process_task(services.database, job_id).id, with_process, listener, NO_WAIT)
    return process, listener


def test_a_task_that_completes_is_recorded_with_its_metadata_and_notes(services: Services, collected_job: int) -> None:
    """JOB-12, PRO-04, PRO-08: the next task can start; what the backend found is on the job and the task."""
    drive_process(services, collected_job, RUNNING, RUNNING, COMPLETED)
    task = process_task(services.database, collected_job)
    assert (task.status, task.result, task.note) == (Task.Status.COMPLETED, Task.Result.OK, "")
    assert task.end is not None
    assert [(note.level, note.note) for note in task.notes] == [("WARNING", "two of something")]
    assert job(services.database, collected_job).ocid_prefix == "ocds-a1b2c3"
    assert job(services.database, collected_job).status == Job.Status.RUNNING


def test_notes_are_not_repeated_when_a_task_is(services: Services, collected_job: int) -> None:
    """COL-14, PRO-08."""
    drive_process(services, collected_job, COMPLETED)
    drive_process(services, collected_job, COMPLETED)
    assert len(process_task(services.database, collected_job).notes) == 1


def test_an_expected_failure_ends_the_task_and_the_job_with_its_reason(services: Services, collected_job: int) -> None:
    """JOB-11: a reason that is returned is recorded, and later tasks stay planned."""
    with pytest.raises(TaskFailedError, match="ruritania: process of job 1 failed: Collection is empty"):
        drive_process(services, collected_job, RUNNING, failed("Collection is empty"))
    task = process_task(services.database, collected_job)
    assert (task.status, task.result, task.note) == (Task.Status.COMPLETED, Task.Result.FAILED, "Collection is empty")
    ended = job(services.database, collected_job)
    assert (ended.status, ended.result, ended.note) == (
        Job.Status.COMPLETED,
        Job.Result.FAILED,
        "process: Collection is empty",
    )
    with services.database.session() as session:
        later = session.get_one(Job, collected_job).task(Task.Type.EXPORTER)
    assert later.status == Task.Status.PLANNED


def test_an_unexpected_exception_fails_the_task_and_tidies_up(services: Services, collected_job: int) -> None:
    """JOB-14."""
    process = ScriptedProcess(RUNNING, OSError(28, "No space left on device"))
    with pytest.raises(TaskFailedError, match="No space left on device"):
        drive(
            process_task(services.database, collected_job).id,
            dataclasses.replace(services, process=process),
            Listener(),
            NO_WAIT,
        )
    assert process.calls == ["wipe", "start", "cancel", "wipe"]
    assert "No space left" in job(services.database, collected_job).note


def test_a_passing_failure_is_tried_again_and_leaves_no_trace(services: Services, collected_job: int) -> None:
    """JOB-10, JOB-13: the note is there meanwhile, and goes once the service answers again."""
    _, listener = drive_process(services, collected_job, RecoverableError("refused"), RUNNING, COMPLETED)
    assert listener.lines[0] == "warning: refused (trying again)"
    task = process_task(services.database, collected_job)
    assert (task.result, task.note) == (Task.Result.OK, "")


def test_a_passing_failure_that_does_not_pass_ends_at_the_deadline(services: Services, collected_job: int) -> None:
    """I4, DEF-13: nothing is retried for ever; the reason names the setting and the last obstacle."""
    settings = dataclasses.replace(services.settings, task_deadline=0.0)
    with pytest.raises(TaskFailedError, match=r"REGISTRY_TASK_DEADLINE.*: refused"):
        drive_process(services, collected_job, RecoverableError("refused"), settings=settings)
    assert job(services.database, collected_job).result == Job.Result.FAILED


def test_an_interrupt_cancels_the_work_and_the_job(services: Services, collected_job: int) -> None:
    """ASK-02: terminating the run is how a job is cancelled."""
    process = ScriptedProcess(RUNNING, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        drive(
            process_task(services.database, collected_job).id,
            dataclasses.replace(services, process=process),
            Listener(),
            NO_WAIT,
        )
    assert process.calls[-3:] == ["cancel", "wipe", "wipe"]
    ended = job(services.database, collected_job)
    assert (ended.result, ended.note) == (Job.Result.CANCELLED, "Cancelled during process")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_process_that_tidies_up_for_long_gives_signs_of_life(
    services: Services, collected_job: int, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """Deleting millions of files takes longer than a worker may stand still before it is killed."""
    monkeypatch.setattr(driver, "HEARTBEAT", 0.02)
    seen = []

    class Slow(ScriptedProcess):
        def cancel(self, job: ProcessJob) -> None:
            super().cancel(job)
            time.sleep(0.1)  # lest the beats of the work itself count
            before = process_task(services.database, collected_job).heartbeat
            deadline = time.monotonic() + 20
            while not seen and time.monotonic() < deadline:
                if process_task(services.database, collected_job).heartbeat != before:
                    seen.append("a sign of life")
                time.sleep(0.02)

    slow = dataclasses.replace(services, process=Slow(RUNNING, error()))  # type: ignore[arg-type]
    with pytest.raises((KeyboardInterrupt, TaskFailedError)):
        drive(process_task(services.database, collected_job).id, slow, Listener(), NO_WAIT)
    assert seen


def test_an_attempt_that_never_ended_is_taken_up_and_not_begun_anew(services: Services, collected_job: int) -> None:
    """JOB-09: what a killed worker has started goes on."""
    with services.database.session() as session:
        session.get_one(Job, collected_job).task(Task.Type.PROCESS).initiate()
    process, listener = drive_process(services, collected_job, RUNNING, COMPLETED)
    assert process.calls == ["start"]
    assert "never ended" in listener.lines[0]
    assert process_task(services.database, collected_job).attempts == 2


def test_a_worker_that_dies_again_and_again_ends_as_a_failure(services: Services, collected_job: int) -> None:
    """I4: three starts, then a reason."""
    process = ScriptedProcess(WAITING)
    with pytest.raises(TaskFailedError, match="died 3 times"):
        drive(
            process_task(services.database, collected_job).id,
            dataclasses.replace(services, process=process),
            Listener(),
            NO_WAIT,
        )
    assert process.calls.count("start") == 3


def test_a_failed_job_can_be_taken_up_again(services: Services, collected_job: int) -> None:
    """ASK-01: materialising an asset again restarts that task."""
    with pytest.raises(TaskFailedError):
        drive_process(services, collected_job, failed("no luck"))
    drive_process(services, collected_job, COMPLETED)
    taken_up = job(services.database, collected_job)
    assert (taken_up.status, taken_up.result, taken_up.note) == (Job.Status.RUNNING, "", "")


def test_a_job_that_had_succeeded_stays_so_when_a_task_of_it_fails_later(
    services: Services, collected_job: int
) -> None:
    """I2: its version is published, and stays."""
    with services.database.session() as session:
        succeeded = session.get_one(Job, collected_job)
        for task in succeeded.tasks[1:]:
            task.initiate()
            task.complete(Task.Result.OK)
        succeeded.complete(Job.Result.SUCCEEDED)
    with pytest.raises(TaskFailedError):
        drive_process(services, collected_job, failed("no luck"))
    assert job(services.database, collected_job).result == Job.Result.SUCCEEDED


def test_progress_is_logged_at_growing_intervals_only() -> None:
    """The event log grows by about 3 KB a line: a day of polling must not fill it."""
    from registry_assets.process_manager.progress import ThrottledLog

    log = ThrottledLog(first=1, factor=2, longest=3600)
    admitted = [second for second in range(24 * 3600) if log.admits(str(second), second)]
    assert admitted[:5] == [0, 1, 3, 7, 15]
    assert len(admitted) < 40


def test_a_task_that_is_taken_up_again_ends_at_the_deadline_of_its_first_start(
    services: Services, collected_job: int
) -> None:
    """I4: however often its process dies, a task is over after 7 days."""
    with services.database.session() as session:
        session.get_one(Job, collected_job).task(Task.Type.PROCESS).initiate(utcnow() - datetime.timedelta(days=8))
    with pytest.raises(TaskFailedError, match="REGISTRY_TASK_DEADLINE"):
        drive_process(services, collected_job, RUNNING)


def test_what_had_succeeded_just_before_its_process_died_is_not_done_again(
    services: Services, collected_job: int
) -> None:
    """The retry of a run goes on from there; a run that is made by hand does it again."""
    drive_process(services, collected_job, COMPLETED)
    with services.database.session() as session:
        job = session.get_one(Job, collected_job)
        held = lease.take(
            session, job.collection, job, "run-2", lease.Runs(lambda _: False, lambda *_: None), resumes=True
        )
    process, listener = drive_process(services, collected_job, COMPLETED, lease=held)
    assert process.calls == []
    assert "nothing is left to do" in listener.lines[0]
    process, _ = drive_process(services, collected_job, COMPLETED, lease=dataclasses.replace(held, resumes=False))
    assert process.calls == ["wipe", "start"]
