"""The collect task with the Scrapyd backend: what becomes of jobs, whatever becomes of the crawl."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry_assets.process_manager import deletion
from registry_assets.process_manager.driver import Pace, TaskFailedError, drive
from registry_assets.process_manager.services import Services
from registry_assets.process_manager.util import TaskManager, get_task_manager
from registry_resources.database import Collection, Database, Job, Task
from registry_resources.process.backend import ProcessJob
from tests.services.scripted_scrapyd import Fault, ScriptedScrapyd
from tests.support.backends import COMPLETED, Listener, ScriptedProcess
from tests.support.scrapyd import CREATED, HEALTHY, START, make, settings_for

RUNNING_LOG = (START + CREATED).encode()


@pytest.fixture
def scrapyd() -> Iterator[ScriptedScrapyd]:
    with ScriptedScrapyd(user="someone", password="canary-pass") as server:
        yield server


@pytest.fixture
def services(scrapyd: ScriptedScrapyd, tmp_path: Path, database: Database) -> Services:
    settings = settings_for(tmp_path, scrapyd.url)
    with database.session() as session:
        session.query(Collection).one().source_id = "acme"
    return Services(settings, database, make(settings), ScriptedProcess(COMPLETED))


@pytest.fixture
def job_id(services: Services) -> int:
    with services.database.session() as session:
        job = Job.plan(session.query(Collection).one(), run_id="run-1")
        session.add(job)
        session.flush()
        return job.id


def the_task(services: Services, job_id: int) -> Task:
    with services.database.session() as session:
        task = session.get_one(Job, job_id).task(Task.Type.COLLECT)
        _ = task.job.collection.settings_bundle, task.notes
        return task


def context(services: Services, job_id: int) -> dict[str, Any]:
    with services.database.session() as session:
        return dict(session.get_one(Job, job_id).context)


def manager(services: Services, job_id: int, *, resume: bool = False) -> TaskManager:
    """A task manager of another process: nothing is remembered but what is written down."""
    anew = dataclasses.replace(services, collect=make(services.settings))
    return get_task_manager(the_task(services, job_id), anew, resume=resume)


class Script:
    """Lets Scrapyd's state change between the polls of a driven task."""

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)

    def __call__(self, _: float) -> None:
        if self.steps:
            self.steps.pop(0)()


def run(services: Services, job_id: int, *steps: Any) -> Listener:
    listener = Listener()
    drive(the_task(services, job_id).id, services, listener, Pace(0, 0, sleep=Script(*steps)))
    return listener


def test_a_crawl_that_is_accepted_leaves_in_the_context_what_others_need(
    services: Services, scrapyd: ScriptedScrapyd, job_id: int
) -> None:
    """JOB-22, COL-03: the collection's id, the data version, the folder, and a link to the log without secrets."""

    def finish() -> None:
        scrapyd.state, scrapyd.log = "finished", HEALTHY

    run(services, job_id, finish)
    found = context(services, job_id)
    assert found["process_id"] == 7
    assert found["data_version"] == "2026-01-02 03:04:06"
    assert found["directory"] == "acme/20260102_030406"
    assert found["scrapy_log"].endswith(f"/logs/kingfisher/acme/{found['job_id']}.log")
    assert found["scrapyd"].startswith("finished (start 2026-01-02 03:04:05")
    assert "canary" not in json.dumps(found)
    assert scrapyd.asked("schedule.json")[0]["jobid"] == [found["job_id"]]


def test_what_is_needed_to_wipe_is_written_down_while_the_crawl_runs(
    services: Services, scrapyd: ScriptedScrapyd, job_id: int
) -> None:
    """Whenever the process is killed, the folder is known."""
    task = manager(services, job_id)
    task.run()
    scrapyd.state, scrapyd.log = "running", RUNNING_LOG
    assert task.get_status() == (Task.Status.RUNNING, None)
    assert context(services, job_id)["directory"] == "acme/20260102_030406"
    assert context(services, job_id)["process_id"] == 7


def test_a_lost_crawl_fails_the_job_and_is_not_started_again(
    services: Services, scrapyd: ScriptedScrapyd, job_id: int
) -> None:
    """ASK-04: with the reason, and the new try is the scheduler's."""
    with pytest.raises(TaskFailedError, match=r"Scrapyd doesn't know the crawl .* it was restarted"):
        run(services, job_id, lambda: setattr(scrapyd, "state", None))
    assert len(scrapyd.asked("schedule.json")) == 1
    with services.database.session() as session:
        job = session.get_one(Job, job_id)
        assert job.result == Job.Result.FAILED
        assert "it was restarted" in job.note


def test_a_crawl_that_is_given_up_is_cancelled(services: Services, scrapyd: ScriptedScrapyd, job_id: int) -> None:
    """A crawl without a log still runs: it would run beside the next one."""
    collect = make(services.settings, log=-1)
    with pytest.raises(TaskFailedError, match="no log has been written"):
        run(dataclasses.replace(services, collect=collect), job_id, lambda: setattr(scrapyd, "state", "running"))
    assert (scrapyd.interrupts, scrapyd.state) == (1, "finished")


def test_a_run_that_was_killed_finds_its_crawl_again(
    services: Services, scrapyd: ScriptedScrapyd, job_id: int
) -> None:
    """JOB-09: wherever it was killed, one crawl was asked for."""
    scrapyd.fault("schedule.json", Fault(reset=True, act=True))
    first = manager(services, job_id)
    with pytest.raises(Exception, match="broke off"):
        first.run()
    manager(services, job_id, resume=True).run()
    scrapyd.state, scrapyd.log = "running", RUNNING_LOG
    again = manager(services, job_id, resume=True)
    again.run()
    assert again.get_status() == (Task.Status.RUNNING, None)
    assert len(scrapyd.asked("schedule.json")) == 1


def test_a_task_that_is_run_again_after_its_end_gets_a_new_crawl(
    services: Services, scrapyd: ScriptedScrapyd, job_id: int
) -> None:
    """ASK-01: what the one before wrote goes, and its id is never used again."""

    def finish() -> None:
        scrapyd.state, scrapyd.log = "finished", HEALTHY

    run(services, job_id, finish)
    folder = services.settings.files_store / "acme" / "20260102_030406"
    folder.mkdir(parents=True)
    scrapyd.log = None
    run(services, job_id, finish)
    first, second = (form["jobid"] for form in scrapyd.asked("schedule.json"))
    assert first != second
    assert not folder.exists()


def test_pending_for_ever_ends_at_the_deadline_which_says_so(
    services: Services, scrapyd: ScriptedScrapyd, job_id: int
) -> None:
    """I4: the crawl is taken out of the queue."""
    settings = dataclasses.replace(services.settings, task_deadlines={"collect": 0.0})
    with pytest.raises(TaskFailedError, match=r"REGISTRY_COLLECT_DEADLINE\): pending: Scrapyd has it in its queue"):
        run(dataclasses.replace(services, settings=settings), job_id)
    assert scrapyd.state is None
    assert scrapyd.interrupts == 0


def test_a_terminated_run_interrupts_the_crawl_once(services: Services, scrapyd: ScriptedScrapyd, job_id: int) -> None:
    """ASK-02: the crawl ends in an orderly way, its files go, and the job ends as cancelled."""
    folder = services.settings.files_store / "acme" / "20260102_030406"
    folder.mkdir(parents=True)

    def begin() -> None:
        scrapyd.state, scrapyd.log = "running", RUNNING_LOG

    def terminate() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(services, job_id, begin, terminate)
    manager(services, job_id).wipe()
    assert (scrapyd.interrupts, scrapyd.state) == (1, "finished")
    assert not folder.exists()
    with services.database.session() as session:
        assert session.get_one(Job, job_id).result == Job.Result.CANCELLED


class Remembering(ScriptedProcess):
    """Remembers of which collections it was asked to delete."""

    def __init__(self) -> None:
        super().__init__(COMPLETED)
        self.deleted: list[Any] = []

    def wipe(self, job: ProcessJob) -> None:
        self.deleted.append(job.context.get("process_id"))


@pytest.mark.parametrize("seen", [True, False])
def test_a_crawl_that_ended_before_anybody_looked_tells_what_it_made(
    seen: bool, services: Services, scrapyd: ScriptedScrapyd, job_id: int
) -> None:
    """PRO-10, RET-05: between two looks is up to a minute, in which a crawl makes its collection and is ended."""
    services = dataclasses.replace(services, process=Remembering())
    folder = services.settings.files_store / "acme" / "20260102_030406"
    folder.mkdir(parents=True)

    def terminate() -> None:
        scrapyd.state = "running"
        scrapyd.log = RUNNING_LOG if seen else None
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(services, job_id, terminate)
    assert scrapyd.state == "finished"
    assert services.process.deleted == [7 if seen else None]  # type: ignore[attr-defined]
    scrapyd.log = RUNNING_LOG  # which has been written by now, if it wasn't then
    cleaner = dataclasses.replace(services, collect=make(services.settings))
    deletion.wipe_job(cleaner, job_id)
    assert services.process.deleted[1:] == [7]  # type: ignore[attr-defined]
    assert not folder.exists()
    assert context(services, job_id)["process_id"] == 7


def test_terminating_a_run_deletes_the_collection_even_if_the_crawl_takes_long_to_end(
    services: Services, scrapyd: ScriptedScrapyd, job_id: int
) -> None:
    """ASK-02. Observed of Kingfisher Process: what a crawl still sends to a collection that is gone is passed over."""
    services = dataclasses.replace(services, process=Remembering())
    scrapyd.ends_after = 99

    def begin() -> None:
        scrapyd.state, scrapyd.log = "running", RUNNING_LOG

    def terminate() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(services, job_id, begin, terminate)
    assert scrapyd.state == "running"
    assert services.process.deleted == [7]  # type: ignore[attr-defined]


def test_a_folder_that_two_crawls_share_stays_until_the_other_job_has_ended(
    services: Services, scrapyd: ScriptedScrapyd, job_id: int
) -> None:
    """Observed of Kingfisher Collect: it is named after the second in which the crawl started."""
    task = manager(services, job_id)
    task.run()
    scrapyd.state, scrapyd.log = "finished", HEALTHY
    task.get_status()
    folder = services.settings.files_store / "acme" / "20260102_030406"
    folder.mkdir(parents=True)
    with services.database.session() as session:
        other = Collection(key="other", title="Other", source_id="acme")
        session.add(other)
        its_job = Job.plan(other, run_id="run-2")
        its_job.context["directory"] = "acme/20260102_030406"
        session.add(its_job)
        its_job.initiate()
        session.flush()
        other_id = its_job.id
    manager(services, job_id).wipe()
    assert folder.is_dir()
    with services.database.session() as session:
        session.get_one(Job, other_id).complete(Job.Result.FAILED, "over")
    manager(services, job_id).wipe()
    assert not folder.exists()


def test_files_that_are_somewhere_else_are_told_of(services: Services, scrapyd: ScriptedScrapyd, job_id: int) -> None:
    """I8: a file store that is not the one where Scrapyd's crawls write would never be emptied."""

    def finish() -> None:
        scrapyd.state, scrapyd.log = "finished", HEALTHY

    lines = run(services, job_id, finish).lines
    assert any("Set KINGFISHER_COLLECT_FILES_STORE to the folder" in line for line in lines)


def test_a_service_is_asked_less_often_than_this_machine(services: Services, job_id: int) -> None:
    """The interval grows from 1 to 60 seconds."""
    assert manager(services, job_id).poll == (1.0, 60.0)
