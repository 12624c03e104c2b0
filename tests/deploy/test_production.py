"""The registry as it runs in production: PostgreSQL; the code server, the daemon and the webserver as processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
import requests
import yaml
from sqlalchemy import select

from registry_resources.database import Collection, Database, Job
from tests.services.publisher import Answer, Publisher
from tests.support.ports import free_port
from tests.support.postgresql import create_database, database_url

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PUBLICATIONS = 6
AT_ONCE = 2
"""The limit of the pool of crawls, in `dagster.yaml`."""
RELEASE = {
    "ocid": "ocds-213czf-1",
    "id": "1",
    "date": "2024-05-06T00:00:00Z",
    "tag": ["tender"],
    "initiationType": "tender",
}


class Production:
    """The services of one home, started as their units start them."""

    def __init__(self, home: Path, server: str) -> None:
        name = f"production_{uuid.uuid4().hex[:8]}"
        for part in ("registry", "dagster"):
            create_database(server, f"{name}_{part}")
        self.code_port, self.web_port = free_port(), free_port()
        self.log = home / "services.log"
        self.environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("REGISTRY_", "KINGFISHER_"))},
            "REGISTRY_HOME": str(home),
            "DAGSTER_HOME": str(home / "dagster"),
            "DATABASE_URL": database_url(server, f"{name}_registry"),
            "DAGSTER_DATABASE_URL": "postgresql+psycopg2"
            + database_url(server, f"{name}_dagster").removeprefix("postgresql"),
            "REGISTRY_CODE_HOST": "127.0.0.1",
            "REGISTRY_CODE_PORT": str(self.code_port),
            "EXPORTER_DIR": str(home / "exports"),
        }
        (home / "dagster").mkdir(parents=True)
        (home / "dagster" / "dagster.yaml").write_bytes((DEPLOY / "postgres" / "dagster.yaml").read_bytes())
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, service: str) -> subprocess.Popen[bytes]:
        """Start a service with the command of its systemd unit, here instead of in /opt."""
        unit = (DEPLOY / "systemd" / f"registry-{service}.service").read_text()
        (command,) = [line.removeprefix("ExecStart=") for line in unit.splitlines() if line.startswith("ExecStart=")]
        for name, value in self.environ.items():
            command = command.replace(f"${{{name}}}", value)
        command = command.replace("--port 3000", f"--port {self.web_port}")
        program, *arguments = command.split()
        arguments = [argument.replace("/opt/registry", str(ROOT)) for argument in arguments]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [str(Path(sys.executable).with_name(Path(program).name)), *arguments],
                cwd=ROOT,
                env=self.environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def command(self, *arguments: str) -> str:
        """Run one of the registry's commands."""
        return subprocess.run(
            [sys.executable, "-m", "registry_assets.cli", *arguments],
            cwd=ROOT,
            env=self.environ,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def graphql(self, query: str) -> Any:
        """Ask Dagit."""
        url = f"http://127.0.0.1:{self.web_port}/graphql"
        return requests.post(url, json={"query": query}, timeout=120).json()["data"]

    def processes(self) -> list[psutil.Process]:
        """Everything that runs for this home."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("REGISTRY_HOME") == self.environ["REGISTRY_HOME"]:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def workers(self) -> int:
        """How many processes there are for runs."""
        count = 0
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                count += "multiprocessing.spawn" in " ".join(process.cmdline())
        return count

    def stop(self) -> None:
        for process in self.started:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 20
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.2)
        for process in left:
            process.kill()
        for started in self.started:
            started.wait()


def wait_for(condition: Callable[[], bool], what: str, production: Production, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: {production.log.read_text()[-5000:]}"
        time.sleep(0.5)


@pytest.fixture
def production(tmp_path: Path, postgresql: str) -> Iterator[Production]:
    production = Production(tmp_path / "home", postgresql)
    yield production
    production.stop()


def test_publications_that_are_due_wait_in_the_queue_and_survive_a_restart_of_the_code_server(
    production: Production, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting runs are rows, no processes; a restart interrupts no run; everything due ends published."""
    gate = threading.Event()
    with Publisher() as publisher:
        keys = [f"p{number}" for number in range(PUBLICATIONS)]
        body = json.dumps({"releases": [RELEASE], "uri": "", "version": "1.1"}).encode()
        for key in keys:
            publisher.add(f"/{key}.json", Answer(body=body, gate=gate))
        catalogue = tmp_path / "catalogue.yaml"
        catalogue.write_text(
            yaml.safe_dump(
                {
                    "publications": [
                        {
                            "key": key,
                            "title": key.upper(),
                            "source_id": "bulk",
                            "retrieval_frequency": "MONTHLY",
                            "public": True,
                            "spider_arguments": {"urls": publisher.url(f"/{key}.json")},
                        }
                        for key in keys
                    ]
                }
            )
        )
        production.command("sync", str(catalogue))
        code = production.start("code")
        production.start("daemon")
        production.start("webserver")
        for name, value in production.environ.items():
            monkeypatch.setenv(name, value)
        with dg.DagsterInstance.get() as instance:

            def statuses() -> Counter[str]:
                refreshing = dg.RunsFilter(job_name="refresh")
                return Counter(run.status.value for run in instance.get_runs(refreshing))

            try:
                wait_for(
                    lambda: (
                        statuses() == {"STARTED": AT_ONCE, "QUEUED": PUBLICATIONS - AT_ONCE}
                        and sum(request.endswith(".json") for request in publisher.requests) == AT_ONCE
                    ),
                    "two runs at once, four in the queue",
                    production,
                )
                # The run that writes the catalogue document has a process for a moment, too.
                wait_for(lambda: production.workers() == AT_ONCE, "no process for a run that waits", production)
                code.send_signal(signal.SIGTERM)
                code.wait(60)
                assert statuses() == {"STARTED": AT_ONCE, "QUEUED": PUBLICATIONS - AT_ONCE}
                production.start("code")
            finally:
                gate.set()
            wait_for(lambda: statuses() == {"SUCCESS": PUBLICATIONS}, "all succeed", production)
        wait_for(lambda: bool(production.graphql("{ version }")), "Dagit answers", production)
        assert (
            len(production.graphql("{ runsOrError { ... on Runs { results { id } } } }")["runsOrError"]["results"])
            >= 6
        )
    database = Database(production.environ["DATABASE_URL"])
    with database.session(read_only=True) as session:
        assert Counter(session.scalars(select(Job.result))) == {Job.Result.SUCCEEDED: PUBLICATIONS}
        assert all(collection.active_job_id for collection in session.scalars(select(Collection)))
    database.dispose()
    exports = Path(production.environ["EXPORTER_DIR"])
    assert [key for key in keys if (exports / key / "latest.json").is_file()] == keys


def test_the_check_finds_production_in_order(production: Production) -> None:
    """Before anything is started."""
    production.command("migrate")
    outcomes = {found["check"]: found["status"] for found in json.loads(production.command("check", "--json"))}
    assert "failed" not in outcomes.values(), outcomes
