"""What one look of the watch does with each way in which runs and jobs are left behind (I4, ASK-02, ASK-05)."""

from __future__ import annotations

import datetime
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
from dagster import DagsterRunStatus as Status
from dagster._core.events import EngineEventData

from registry_assets import runs
from registry_assets.process_manager import lease, worker
from registry_assets.process_manager.recovery import Memory
from registry_assets.process_manager.services import Services
from registry_assets.sensors.watch import look, watch
from registry_resources.database import Collection, Job, Task, utcnow
from registry_resources.exceptions import RecoverableError
from registry_resources.settings import Settings
from tests.support.backends import COMPLETED, ScriptedProcess
from tests.support.registry import TestRegistry

ELSEWHERE = {"host": "another", "boot": "b", "namespace": "n", "pid": 1, "started": 1, "run": "RUN"}


class Crawls:
    """A collect backend that remembers which crawls were ended."""

    name = "remembering"

    def __init__(self) -> None:
        self.ended: list[str] = []

    def cancel(self, crawl: str) -> None:
        self.ended.append(crawl)
        if crawl == "stubborn":
            raise RecoverableError("it doesn't end")


class World:
    """A registry with a publication, and an observer of it whose clock goes as the test wants."""

    def __init__(self, registry: TestRegistry) -> None:
        self.registry = registry
        self.instance = registry.instance
        self.crawls = Crawls()
        self.services = Services(
            registry.settings,
            registry.database,
            self.crawls,  # type: ignore[arg-type]
            ScriptedProcess(COMPLETED),  # type: ignore[arg-type]
        )
        self.memory = Memory(time.time())
        registry.add("ruritania")

    def look(self, *, after: float = 0.0, in_one: bool = False) -> list[str]:
        """Look again after so many seconds, and every 30 s until then unless `in_one`. Returns all that was said."""
        said: list[str] = []
        steps = [after] if in_one or after <= 0 else [30.0] * int(after // 30) + [after % 30]
        for step in steps:
            self.memory = Memory.load(self.memory.dump(), self.memory.now + step)
            said += look(self.instance, self.services, self.memory)
        return said

    def run(self, status: Status, **options: Any) -> str:
        """A run of Dagster's in some status."""
        job = self.registry.defs.resolve_job_def("refresh")
        tags = {"dagster/partition": "ruritania", **options.pop("tags", {})}
        return self.instance.create_run_for_job(job, status=status, tags=tags, **options).run_id

    def job(self, run_id: str | None, holder: dict[str, Any] | None = None, *, begun: int = 1) -> int:
        """A job with `begun` tasks begun, the last of them running, and somebody at it."""
        with self.registry.database.session() as session:
            from registry_resources.database import Collection

            job = Job.plan(session.query(Collection).one(), run_id=run_id)
            session.add(job)
            if begun:
                job.initiate()
            for number, task in enumerate(job.tasks[:begun], 1):
                task.initiate()
                if number < begun:
                    task.complete(Task.Result.OK)
            if holder:
                job.context.update({lease.NUMBER: 3, lease.WORKER: {**holder, "run": run_id}})
            job.context["job_id"] = "ruritania-1-00000000"
            session.flush()
            return job.id

    def beat(self, job_id: int) -> None:
        with self.registry.database.session() as session:
            session.get_one(Job, job_id).tasks[0].heartbeat = utcnow()

    def status(self, run_id: str) -> Status:
        return self.instance.get_run_by_id(run_id).status

    def found(self, job_id: int) -> Job:
        return next(job for job in self.registry.jobs("ruritania") if job.id == job_id)


@pytest.fixture
def world(instance_folder: Path, registry_home: Path) -> Iterator[World]:
    retries = {"run_retries": {"enabled": True, "max_retries": 2, "retry_on_asset_or_op_failure": False}}
    with dg.instance_for_test(temp_dir=str(instance_folder), overrides=retries) as instance:
        made = World(TestRegistry(Settings.from_env(), instance))
        assert made.registry.settings.home == registry_home
        yield made
        made.registry.database.dispose()


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that works on something."""
    made = subprocess.Popen(["sleep", "600"])
    yield made
    made.kill()
    made.wait()


@pytest.fixture
def dead(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """A worker that was killed."""
    identity = worker.identity(process.pid)
    process.kill()
    process.wait()
    return identity


def test_a_run_whose_process_is_gone_fails_at_once_and_its_job_with_it(world: World, dead: dict[str, Any]) -> None:
    """I4: with the reason on the run, the task and the job; the crawl that went on without it is ended."""
    run_id = world.run(Status.STARTED)
    job_id = world.job(run_id, dead)
    (ended, failed) = world.look()
    assert "run " + run_id[:8] + " was ended. Its process" in ended
    assert failed.startswith(f"ruritania: job {job_id} failed. Its process {dead['pid']} on {dead['host']} is gone")
    assert world.status(run_id) == Status.FAILURE
    job = world.found(job_id)
    assert job.result == Job.Result.FAILED
    assert job.tasks[0].is_failed
    assert "is gone" in job.tasks[0].note
    assert world.crawls.ended == ["ruritania-1-00000000"]
    assert world.look() == []


def test_a_run_that_is_retried_keeps_its_job_open(
    world: World, dead: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The retry goes on with the task, so with its crawl; the dead one has lost its lease."""
    monkeypatch.setattr(runs, "can_be_retried", lambda _: True)
    run_id = world.run(Status.STARTED)
    job_id = world.job(run_id, dead)
    (said,) = world.look()
    assert "is retried" in said
    job = world.found(job_id)
    assert (job.status, job.tasks[0].status) == (Job.Status.RUNNING, Task.Status.RUNNING)
    assert "It is taken up again" in job.tasks[0].note
    assert job.context["lease"] == 4
    assert world.crawls.ended == []
    retry = world.run(
        Status.NOT_STARTED, root_run_id=run_id, parent_run_id=run_id, tags={"dagster/root_run_id": run_id}
    )
    assert world.look() == []
    world.instance.add_run_tags(retry, {"dagster/max_retries": "0"})
    world.instance.report_run_failed(world.instance.get_run_by_id(retry), "no luck")
    (last,) = world.look()
    assert f"job {job_id} failed" in last


def test_there_is_a_limit_to_retries(world: World, dead: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """REGISTRY_MAX_RETRIES is 2: the third run that dies is the last."""
    monkeypatch.setattr(runs, "can_be_retried", lambda _: True)
    first = world.run(Status.STARTED)
    job_id = world.job(first, dead)
    run_id = first
    for left in (2, 1, 0):
        said = world.look()
        assert ("is retried" in said[0]) == (left > 0), said
        if left:
            run_id = world.run(
                Status.STARTED, root_run_id=first, parent_run_id=run_id, tags={"dagster/root_run_id": first}
            )
            with world.registry.database.session() as session:
                job = session.get_one(Job, job_id)
                job.context[lease.WORKER] = {**dead, "run": run_id}
    assert world.found(job_id).result == Job.Result.FAILED


def test_a_worker_on_another_host_is_dead_after_two_minutes_without_a_beat(world: World) -> None:
    """By the observer's own clock, and only while it looked."""
    run_id = world.run(Status.STARTED)
    job_id = world.job(run_id, ELSEWHERE)
    assert world.look(after=119) == []
    world.beat(job_id)
    assert world.look(after=119) == []
    assert world.look(after=3600, in_one=True) == []  # everything was off for an hour: it may beat in a moment
    assert world.look(after=90) == []
    assert "has given no sign of life since" in world.look(after=60)[0]
    assert world.status(run_id) == Status.FAILURE


def test_a_live_process_is_left_alone(world: World, process: subprocess.Popen[bytes]) -> None:
    """However long its task takes, as long as it beats; between two steps it need not."""
    run_id = world.run(Status.STARTED)
    job_id = world.job(run_id, worker.identity(process.pid))
    for _ in range(12):
        world.beat(job_id)
        assert world.look(after=60) == []
    with world.registry.database.session() as session:
        job = session.get_one(Job, job_id)
        job.context[lease.WORKER] = {**job.context[lease.WORKER], "idle": True}
    assert world.look(after=1200) == []
    assert process.poll() is None


def test_a_process_that_stands_still_is_killed(world: World, process: subprocess.Popen[bytes]) -> None:
    """Ten minutes without a beat: it was stopped, or hangs where no thread of it gets on."""
    run_id = world.run(Status.STARTED)
    job_id = world.job(run_id, worker.identity(process.pid))
    assert world.look(after=570) == []
    assert "was killed: it has stood still since" in world.look(after=60)[0]
    assert process.wait(5) == -9
    assert world.status(run_id) == Status.FAILURE
    assert world.found(job_id).is_complete


def test_a_process_that_may_not_be_killed_keeps_no_other_from_being_ended(
    world: World, process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that root started on the command line. It is told at each look until somebody has killed it."""

    def refuse(*_: object) -> None:
        raise PermissionError

    stuck = world.run(Status.STARTED)
    world.job(stuck, worker.identity(process.pid))
    assert world.look(after=599) == []
    other = world.run(Status.STARTED)
    world.registry.add("borduria")
    with world.registry.database.session() as session:
        job = Job.plan(session.query(Collection).filter_by(key="borduria").one(), run_id=other)
        session.add(job)
        job.initiate()
        # One that had the same id before.
        job.context[lease.WORKER] = {**worker.identity(process.pid), "started": 1, "run": other}
    with monkeypatch.context() as patch:
        patch.setattr(worker.os, "kill", refuse)
        said = {sentence.partition(":")[0]: sentence for sentence in reversed(world.look(after=60))}
    assert said["borduria"].startswith(f"borduria: run {other[:8]} was ended.")
    assert said["ruritania"] == (
        f"ruritania: run {stuck[:8]} hangs: process {process.pid} on {socket.gethostname()} is another user's, so it "
        "can't be killed from here. Kill it by hand."
    )
    assert (world.status(stuck), world.status(other)) == (Status.STARTED, Status.FAILURE)
    assert process.poll() is None


def test_a_task_long_after_its_deadline_is_ended_though_it_beats(
    world: World, process: subprocess.Popen[bytes]
) -> None:
    """I4: its own process ends it at the deadline, unless that hangs."""
    run_id = world.run(Status.STARTED)
    job_id = world.job(run_id, worker.identity(process.pid))
    with world.registry.database.session() as session:
        start = utcnow() - datetime.timedelta(days=7, minutes=14)
        session.get_one(Job, job_id).tasks[0].start = start
    assert world.look() == []
    with world.registry.database.session() as session:
        session.get_one(Job, job_id).tasks[0].start = start - datetime.timedelta(minutes=2)
    assert "REGISTRY_TASK_DEADLINE" in world.look()[0]
    assert process.wait(5) == -9


def test_a_run_that_was_being_cancelled_ends_as_cancelled(world: World, dead: dict[str, Any]) -> None:
    """ASK-02: also if its process is gone, which Dagster's own termination can't reach."""
    run_id = world.run(Status.CANCELING)
    job_id = world.job(run_id, dead)
    world.look()
    assert world.status(run_id) == Status.CANCELED
    assert (world.found(job_id).result, world.found(job_id).note) == (Job.Result.CANCELLED, "Its run was cancelled")
    assert world.crawls.ended == ["ruritania-1-00000000"]


@pytest.mark.parametrize(
    ("status", "seconds"), [(Status.CANCELING, 30), (Status.STARTING, 120), (Status.STARTED, 300)]
)
def test_a_run_that_died_before_its_first_step_is_ended(world: World, status: Status, seconds: int) -> None:
    """A reboot in the seconds before the first beat: no job tells of its process."""
    run_id = world.run(status)
    assert world.look() == []
    assert world.look(after=seconds - 1) == []
    assert "no step of it has begun" in world.look(after=30)[0]
    assert world.status(run_id) == (Status.CANCELED if status == Status.CANCELING else Status.FAILURE)


def test_a_process_is_known_again_after_the_clock_was_set(
    world: World, process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Linux says of when a process began follows the clock, and a long cleanup has no job that tells of it."""
    run_id = world.run(Status.STARTED)
    run = world.instance.get_run_by_id(run_id)
    world.instance.report_engine_event("begun", run, EngineEventData(metadata={"pid": str(process.pid)}))
    assert world.look(after=600) == []
    began = psutil.Process(process.pid).create_time()
    with monkeypatch.context() as patch:
        patch.setattr(psutil.Process, "create_time", lambda _: began + 60)
        assert world.look(after=600) == []
        process.kill()
        process.wait()
        (said,) = world.look(after=30)
    assert f"Its process {process.pid} is not there" in said
    assert world.status(run_id) == Status.FAILURE


def test_a_job_whose_queued_run_was_cancelled_ends(world: World) -> None:
    """ASK-02: nothing had begun."""
    run_id = world.run(Status.CANCELED)
    job_id = world.job(run_id, begun=0)
    assert world.look() == [f"ruritania: job {job_id} cancelled. Its run was cancelled."]


def test_a_job_whose_run_waits_in_the_queue_is_left_alone(world: World) -> None:
    """For as long as that takes."""
    world.job(world.run(Status.NOT_STARTED), begun=0)
    assert world.look(after=7200) == []


def test_a_planned_job_for_which_no_run_is_made_ends_after_an_hour(world: World) -> None:
    """Meanwhile the sensor that planned it asks again at every tick."""
    job_id = world.job(None, begun=0)
    assert world.look(after=3590) == []
    assert world.look(after=60) == [f"ruritania: job {job_id} cancelled. No run was made for it within 60 minutes."]


def test_a_job_whose_run_was_deleted_ends(world: World) -> None:
    """Nobody else would end it."""
    job_id = world.job("00000000-0000-0000-0000-000000000000", begun=0)
    assert world.look() == [f"ruritania: job {job_id} cancelled. Its run was deleted."]


def test_a_job_of_which_a_run_did_only_a_part_ends_and_can_be_taken_up_again(world: World) -> None:
    """ASK-01: `collected` alone, then what follows in another run."""
    run_id = world.run(Status.SUCCESS, asset_selection={dg.AssetKey("collected")})
    job_id = world.job(run_id, begun=0)
    with world.registry.database.session() as session:
        job = session.get_one(Job, job_id)
        job.initiate()
        job.tasks[0].initiate()
        job.tasks[0].complete(Task.Result.OK)
    (said,) = world.look()
    assert said == f"ruritania: job {job_id} cancelled. Its run ended with work left: it selected only collected."


def test_a_crawl_that_does_not_end_is_told_of(world: World, dead: dict[str, Any]) -> None:
    """And keeps nothing else from being done."""
    job_id = world.job(world.run(Status.STARTED), dead)
    with world.registry.database.session() as session:
        job = session.get_one(Job, job_id)
        job.context["job_id"] = "stubborn"
    assert world.look()[-1] == "ruritania: the crawl stubborn could not be ended: it doesn't end"
    assert world.found(job_id).is_complete


def test_the_sensor_says_what_it_did_and_remembers_what_it_saw(world: World, dead: dict[str, Any]) -> None:
    """In Dagit, a tick without runs shows why."""
    resources = {"registry": world.registry.defs.get_repository_def().get_top_level_resources()["registry"]}
    context = dg.build_sensor_context(instance=world.instance, resources=resources)
    assert "Every run has its process" in watch(context).skip_message
    world.job(world.run(Status.STARTED), dead)
    assert "is gone" in watch(context).skip_message
    assert '"last"' in context.cursor
