"""Whether somebody works on a job, and that cleaning up keeps off it, and others off it meanwhile."""

from __future__ import annotations

import datetime
import os

import pytest

from registry_assets.process_manager import holding, job_store, worker
from registry_assets.process_manager.cleanup import clean
from registry_assets.process_manager.services import Services
from registry_resources.collect.scrapy import ScrapyBackend
from registry_resources.database import Database, Job, Task, utcnow
from registry_resources.exceptions import LockFileError
from registry_resources.process.local import LocalProcess
from registry_resources.settings import Settings
from tests.support.leftovers import did, make_job, of, remember, write


@pytest.fixture
def services(settings: Settings, database: Database) -> Services:
    return Services(settings, database, ScrapyBackend(settings), LocalProcess(settings))


@pytest.fixture
def other_process() -> dict[str, object]:
    """Another process, alive, as it says who it is."""
    return worker.identity(os.getppid())


def test_a_running_job_is_not_touched(services: Services) -> None:
    """RET-04, I5."""
    job = make_job(services, days_ago=400, result=None, stages=2)
    assert did(clean(services, at_once=True), job) == ["keep"]
    assert job.everything == [True] * 4


def test_a_job_that_is_being_done_again_is_not_touched(services: Services) -> None:
    """I5: a successful job stays ended while one of its tasks runs again."""
    job = make_job(services, active=True)
    with services.database.session() as session:
        task = session.get_one(Job, job.id).task(Task.Type.PROCESS)
        job_store.begin_task(session, task.id)
    (action,) = of(clean(services), job)
    assert action.action == "keep"
    assert "process is being done again" in action.reason
    assert job.temporary == [True, True]


def test_a_job_whose_process_still_lives_is_not_touched(services: Services, other_process: dict[str, object]) -> None:
    """I5: Dagster may show a run as cancelled while its process goes on writing."""
    job = make_job(services, days_ago=2, result=Job.Result.CANCELLED)
    remember(services, job, worker=other_process)
    (action,) = of(clean(services), job)
    assert action.action == "keep"
    assert "has not ended yet" in action.reason
    assert job.temporary == [True, True]


def test_a_job_on_another_host_is_left_alone_until_it_has_been_quiet(services: Services) -> None:
    """I5: nobody can see that process from here."""
    elsewhere = {"host": "elsewhere", "pid": 1, "started": 0}
    lately = make_job(services, days_ago=1, ended_days_ago=0.001, active=True)
    long_ago = make_job(services, "graustark", days_ago=1, active=True)
    for job in (lately, long_ago):
        remember(services, job, worker=elsewhere)
    report = clean(services)
    assert (did(report, lately), did(report, long_ago)) == (["keep"], ["wipe"])


def test_a_job_cannot_be_taken_up_while_it_is_cleaned_up(services: Services, other_process: dict[str, object]) -> None:
    """I5: the message says so; a hold of a process that died is none."""
    job = make_job(services, active=True)
    with services.database.session() as session:
        task = session.get_one(Job, job.id).task(Task.Type.COLLECT)
    remember(services, job, **{holding.HOLD: {**other_process, "since": utcnow().isoformat()}})
    with services.database.session() as session, pytest.raises(LockFileError, match="job 1 is being cleaned up"):
        job_store.begin_task(session, task.id)
    identity = job_store.RunIdentity("run-9", "run-9", collects=False)
    with pytest.raises(LockFileError, match="job 1 is being cleaned up"):
        job_store.find_job(services.database, "ruritania", None, identity, job_store.Runs(lambda _: False, print))
    assert did(clean(services), job) == ["keep"]
    remember(services, job, **{holding.HOLD: {**other_process, "started": 1, "since": "2026-01-01"}})
    with services.database.session() as session:
        assert job_store.begin_task(session, task.id) is False


def test_a_hold_on_another_host_is_over_after_an_hour() -> None:
    """A host that is gone for good does not keep a job for ever."""
    hold = {"host": "elsewhere", "pid": 1, "started": 0}
    now = utcnow()
    assert holding.is_held({**hold, "since": (now - datetime.timedelta(minutes=59)).isoformat()})
    assert not holding.is_held({**hold, "since": (now - datetime.timedelta(minutes=61)).isoformat()})


def test_a_job_that_was_taken_up_again_is_cleaned_up_again(services: Services) -> None:
    """RET-05: what it makes then are temporary data too."""
    job = make_job(services, active=True)
    clean(services)
    with services.database.session() as session:
        task = session.get_one(Job, job.id).task(Task.Type.COLLECT)
        job_store.begin_task(session, task.id)
        job_store.end_task(session, task.id, Task.Result.OK)
    write(job.files / "0A1" / "data.json", "{}")
    assert did(clean(services), job) == ["wipe"]
    assert job.temporary == [False, False]
