"""Runs are killed at random moments (seeded): no job is stuck, none runs twice, readers see whole versions (I1 to I5).

A run's process is killed with SIGKILL. The watch then looks, and the run is retried from the step that had not ended,
as Dagster's daemon does, or made again by hand. REGISTRY_CRASH_ROUNDS (default 1) multiplies the moments, as `make
crash` does.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from exporter.publish import read_latest
from exporter.util import Export
from exporter.verify import verify
from registry_assets import runs
from registry_assets.process_manager.recovery import Memory
from registry_assets.process_manager.services import Services
from registry_assets.sensors.watch import look
from registry_resources.collect.scrapy import ScrapyBackend
from registry_resources.database import Collection, Database, Job, Task
from registry_resources.process.local import LocalProcess
from registry_resources.settings import Settings
from tests.services.publisher import release_package

ROOT = Path(__file__).parents[2]
KEY = "ruritania"
ROUNDS = int(os.environ.get("REGISTRY_CRASH_ROUNDS", "1"))
STAGES = ("collected", "processed", "exported", "coverage", "flattened", "published")
MOMENTS = {"collected": 4, "processed": 7, "exported": 13, "coverage": 6, "flattened": 5, "published": 15}
"""How many moments of each stage: 50, and 2 of whole runs. Short stages are killed more often, as that is quick."""


class Campaign:
    """A registry whose publication has a published version, job 1, and a second job at every stage."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "work"
        self.sources = folder / "sources"
        self.sources.mkdir()
        for number in range(5):
            (self.sources / f"{number}.json").write_text(json.dumps(release_package(1 + 20 * number, 20)))
        self.environ = {"REGISTRY_HOME": str(self.home), "REGISTRY_WORKERS": "1", "DAGSTER_DISABLE_TELEMETRY": "1"}
        self.seconds: dict[str, float] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.crashing_runs"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **self.environ},
        )

    def ask(self, *assets: str, **options: Any) -> dict[str, Any]:
        """Execute a run of these assets, and return how it ended."""
        request = {"home": str(self.home), "environ": self.environ, "select": assets, **options}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    @contextlib.contextmanager
    def opened(self) -> Iterator[tuple[dg.DagsterInstance, Services]]:
        """Dagster's instance, and what the job logic works with."""
        settings = Settings.from_env(self.environ)
        database = Database(settings.database_url)
        try:
            with dg.DagsterInstance.from_config(str(self.home / "dagster")) as instance:
                yield instance, Services(settings, database, ScrapyBackend(settings), LocalProcess(settings))
        finally:
            database.dispose()

    def prepare(self) -> None:
        """Publish job 1, and keep the registry as it is before each stage of job 2."""
        (self.home / "dagster").mkdir(parents=True)
        shutil.copy(ROOT / "deploy" / "local" / "dagster.yaml", self.home / "dagster")
        with self.opened() as (instance, services):
            services.database.migrate()
            with services.database.session() as session:
                arguments = {"urls": str(self.sources / "*.json")}
                session.add(Collection(key=KEY, title=KEY, source_id="bulk", spider_arguments=arguments))
            instance.add_dynamic_partitions("publication", [KEY])
        answer = self.ask(*STAGES)
        assert answer["success"], self.log()
        for stage in STAGES:
            shutil.copytree(self.home, self.folder / f"before-{stage}")
            answer = self.ask(stage)
            assert answer["success"], self.log()
            self.seconds[stage] = answer["seconds"]
        self.seconds["whole"] = sum(self.seconds.values()) / 2  # each of these started a run of its own

    def log(self) -> str:
        """The end of what runs have said."""
        return (self.home / "runs.log").read_text()[-3000:]

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("REGISTRY_HOME") == str(self.home):
                    process.kill()

    def attempt(self, *assets: str, delay: float, retried: bool) -> bool:
        """Kill a run, look after it, let it be done again, and check everything. Returns whether it was killed."""
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.copytree(self.folder / f"before-{assets[0]}", self.home)
        before = self.ask(*assets, delay=delay)
        self._check_readers()
        if before["success"] is not None:
            return False
        with self.opened() as (instance, services):
            memory = Memory(time.time())
            run = instance.get_run_by_id(before["run_id"])
            if run.status == dg.DagsterRunStatus.NOT_STARTED:
                instance.report_run_failed(run, "Dagster itself gives up runs that were not launched.")
            # A run that had not begun its first step is given up once it was looked at for five minutes.
            for _ in range(12):
                said = look(instance, services, memory)
                self._check_readers()
                status = instance.get_run_by_id(before["run_id"]).status
                if status in {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS}:
                    break
                memory = Memory.load(memory.dump(), memory.now + 30)
            assert status in {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS}, said
            self._check_freed(services, retried=retried and status == dg.DagsterRunStatus.FAILURE)
        if status == dg.DagsterRunStatus.FAILURE:
            again = self.ask(*assets, **({"retry_of": before["run_id"]} if retried else {}))
            assert again["success"], self.log()
        with self.opened() as (instance, services):
            look(instance, services, Memory(time.time()))
            self._check_end(services, assets, retried=retried)
        self._check_readers()
        assert not self._left_processes()
        return True

    def _check_readers(self) -> None:
        """I1, I3: the pointer names a whole version."""
        pointer = read_latest(self.home / "exports", KEY)
        assert pointer.job in {"1", "2", "3"}  # 3 if a whole run is done again by hand
        assert verify(Export(KEY, pointer.directory, root=self.home / "exports"))[1] == []

    def _check_freed(self, services: Services, *, retried: bool) -> None:
        """I4: the job waits for its retry, or it has ended; and nobody holds it."""
        with services.database.session(read_only=True) as session:
            for job in session.query(Job).where(Job.id > 1):
                assert (job.context.get("worker") or {}).get("gone", True), job.context
                if not retried:
                    assert job.is_complete, (job.status, job.context)
                    assert all(task.status != Task.Status.RUNNING for task in job.tasks)

    def _check_end(self, services: Services, assets: tuple[str, ...], *, retried: bool) -> None:
        """I4: every job has ended in one of three ways, and what was asked for is there once."""
        with services.database.session(read_only=True) as session:
            jobs = session.query(Job).order_by(Job.id).all()
            assert all(job.is_complete for job in jobs), [(job.id, job.status, job.note) for job in jobs]
            assert all(task.status != Task.Status.RUNNING for job in jobs for task in job.tasks)
            last = jobs[-1]
            if "published" in assets:
                assert last.result == Job.Result.SUCCEEDED, last.note
                assert last.collection.active_job_id == last.id
                assert read_latest(self.home / "exports", KEY).job == str(last.id)
            if retried:
                # The retry goes on with the same job, and with the same crawl.
                assert [job.id for job in jobs] == [1, 2]
                assert len(list((self.home / "crawls").glob(f"{KEY}-2-*"))) == 1
                assert max(task.attempts for task in last.tasks) <= 2

    def _left_processes(self) -> list[str]:
        """Commands that still work on this registry; not Dagster's own, which copy a run's output to the terminal.

        A watcher ends them about a second later; if the run is killed before it has started, they are left behind.
        """
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                mine = process.environ().get("REGISTRY_HOME") == str(self.home) and process.pid != self._process.pid
                command = " ".join(process.cmdline())
                if mine and process.name() != "tail" and "watch_orphans" not in command:
                    found.append(command)
        return found


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    """One for all tests of this module."""
    made = Campaign(tmp_path_factory.mktemp("runs"))
    try:
        made.prepare()
        yield made
    finally:
        made.close()


@pytest.fixture(autouse=True)
def _as_if_dagster_had_started_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of this campaign have no code location, but are retried as if they had."""
    monkeypatch.setattr(runs, "can_be_retried", lambda run: run.tags.get("dagster/partition") == KEY and RETRY["on"])


RETRY = {"on": True}


def kill_at_moments(campaign: Campaign, name: str, assets: tuple[str, ...], moments: int) -> None:
    rng = random.Random(f"moments of {name}")
    killed = 0
    for number in range(moments * ROUNDS):
        RETRY["on"] = number % 2 == 0
        delay = rng.uniform(0, campaign.seconds[name])
        killed += campaign.attempt(*assets, delay=delay, retried=RETRY["on"])
    assert killed > moments * ROUNDS // 5  # the others had ended before


@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_any_moment_of_a_stage(campaign: Campaign, stage: str) -> None:
    """By turns retried, and ended for good and then done again by hand."""
    kill_at_moments(campaign, stage, (stage,), MOMENTS[stage])


def test_killed_at_any_moment_of_a_whole_run(campaign: Campaign) -> None:
    """The same for a run from the crawl to the publication."""
    kill_at_moments(campaign, "whole", STAGES, 2)
