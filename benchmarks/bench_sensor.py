"""Measure what the sensor of due publications costs in Dagster's own daemon: the ticks, with making their runs.

    bench_sensor.py                  5,000 publications of 10 jobs each, 500 of them due, on SQLite and on PostgreSQL
    bench_sensor.py --seconds 300    for longer than the first ticks

Nothing is launched, so that runs take no time from the daemon: what is asked for waits in the queue. Belongs here: the
registry that is measured, and the daemon. Does not belong here: what a tick does (`registry_assets.sensors`).
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import psutil
import psycopg2
import yaml
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus
from sqlalchemy import insert, select

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT)]

from bench_exporter import machine  # noqa: E402
from bench_kingfisher import server  # noqa: E402

from registry_assets.partitions import sync_partitions  # noqa: E402
from registry_resources.database import Collection, Database, Job, utcnow  # noqa: E402
from registry_resources.settings import Settings  # noqa: E402

PUBLICATIONS = 5_000
JOBS = 10
DUE = 500


def fill(database: Database) -> None:
    """Make the publications and their jobs. Of the due ones, the last job is a month and a day old."""
    now = utcnow()
    with database.session() as session:
        rows = [
            {"key": f"p{number:04}", "title": f"P {number}", "source_id": "bulk", "retrieval_frequency": "MONTHLY"}
            for number in range(PUBLICATIONS)
        ]
        session.execute(insert(Collection), rows)
        jobs = []
        for place, id_ in enumerate(session.scalars(select(Collection.id).order_by(Collection.id))):
            newest = 31 if place < DUE else 3
            for age in range(newest, newest + JOBS * 30, 30):
                moment = now - dt.timedelta(days=age)
                jobs.append(
                    {
                        "collection_id": id_,
                        "start": moment,
                        "created": moment,
                        "end": moment,
                        "status": "COMPLETED",
                        "result": "SUCCEEDED",
                    }
                )
        session.execute(insert(Job), jobs)


def prepare(folder: Path, url: str | None) -> dict[str, str]:
    """Make a registry, and return the environment that it is run with."""
    home = folder / "dagster"
    home.mkdir(parents=True)
    configuration = yaml.safe_load((ROOT / "deploy" / "local" / "dagster.yaml").read_text())
    configuration["concurrency"]["runs"]["max_concurrent_runs"] = 0
    environ = {"REGISTRY_HOME": str(folder), "DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "1"}
    if url:
        connection = psycopg2.connect(url)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE registry")
            cursor.execute("CREATE DATABASE dagster")
        connection.close()
        registry, dagster = (url.replace("/postgres?", f"/{name}?") for name in ("registry", "dagster"))
        configuration["storage"] = {
            "postgres": {"postgres_url": dagster.replace("postgresql:", "postgresql+psycopg2:")}
        }
        environ["DATABASE_URL"] = registry
    (home / "dagster.yaml").write_text(yaml.safe_dump(configuration))
    os.environ.pop("DATABASE_URL", None)
    os.environ.update(environ)
    database = Database(Settings.from_env().database_url)
    database.migrate()
    fill(database)
    with dg.DagsterInstance.get() as instance:
        sync_partitions(instance, database)
    database.dispose()
    return environ


def ticks_of(instance: dg.DagsterInstance) -> list[InstigatorTick]:
    """Give the ended ticks of the sensor, oldest first."""
    for state in instance.all_instigator_state():
        if state.instigator_name == "out_of_date":
            found = instance.get_ticks(state.instigator_origin_id, state.selector_id)
            return [tick for tick in reversed(found) if tick.status != TickStatus.STARTED]
    return []


def measure(folder: Path, url: str | None, seconds: float) -> list[str]:
    """Let the daemon tick, and return rows of a table."""
    environ = prepare(folder, url)
    with (folder / "daemon.log").open("wb") as log:
        daemon = subprocess.Popen(
            [Path(sys.executable).with_name("dagster-daemon"), "run", "-w", str(ROOT / "workspace.yaml")],
            cwd=ROOT,
            env={**os.environ, **environ},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            time.sleep(seconds)
            with dg.DagsterInstance.get() as instance:
                ticks = ticks_of(instance)
                queued = instance.get_runs_count()
        finally:
            children = psutil.Process(daemon.pid).children(recursive=True)
            daemon.send_signal(signal.SIGINT)
            daemon.wait(60)
            for child in psutil.wait_procs(children, 20)[1]:
                child.kill()
    asked = sum(len(tick.run_ids) for tick in ticks)
    if not ticks or asked == 0 or any(tick.error for tick in ticks):
        raise SystemExit(f"The sensor did not do its work: {(folder / 'daemon.log').read_text()[-3000:]}")
    took = [f"{tick.end_timestamp - tick.timestamp:.1f}" for tick in ticks if tick.end_timestamp]
    kind = "PostgreSQL" if url else "SQLite"
    return [f"| {kind} | {len(ticks)} | {', '.join(took)} | {asked} | {queued} |"]


def main() -> None:
    """Measure on both databases, and print a table."""
    parser = argparse.ArgumentParser(description="Measure the sensor in Dagster's daemon.")
    parser.add_argument("--seconds", type=float, default=150.0, help="how long the daemon runs, on each database")
    seconds = parser.parse_args().seconds
    rows = []
    before = machine()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        rows += measure(folder / "one", None, seconds)
        rows += measure(folder / "two", stack.enter_context(server(folder)), seconds)
    head = "| Database | Ticks | Seconds of each | Asked for | In the queue |\n|---|--:|---|--:|--:|"
    sys.stdout.write("\n".join([before, "", head, *rows, ""]))


if __name__ == "__main__":
    main()
