"""`registry run` where another one was killed, and no daemon looks after what it left."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import psutil

from registry_resources.database import Collection, Database, Job, Task
from registry_resources.settings import Settings
from tests.services.publisher import Answer, Publisher, release_package
from tests.support.daemon import ROOT, wait_for

COMMAND = [sys.executable, "-m", "registry_assets.cli", "run"]


def test_runs_that_were_killed_keep_no_place_from_the_next_one(tmp_path: Path) -> None:
    """I4: two crawls may go on at once, and two whose processes are gone are none."""
    (tmp_path / "dagster").mkdir()
    shutil.copy(ROOT / "deploy" / "local" / "dagster.yaml", tmp_path / "dagster")
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster")) as instance:
        assert instance.get_runs_count() == 0  # makes its database: two processes that do so at once break it
    homes = {"REGISTRY_HOME": str(tmp_path / "home"), "DAGSTER_HOME": str(tmp_path / "dagster")}
    database = Database(Settings.from_env(homes).database_url)
    database.migrate()
    environ = {**os.environ, **homes, "REGISTRY_WORKERS": "1"}
    with Publisher() as publisher:
        slow = publisher.add("/slow.json", Answer(json.dumps(release_package()).encode() + b" " * 9_000_000, pace=0.5))
        good = publisher.add("/good.json", json.dumps(release_package()).encode())
        with database.session() as session:
            for key, url in (("slow_one", slow), ("slow_two", slow), ("good", good)):
                arguments = {"urls": url}
                session.add(Collection(key=key, title=key, source_id="bulk", spider_arguments=arguments))

        def collecting() -> bool:
            with database.session(read_only=True) as session:
                return session.query(Task).filter_by(status=Task.Status.RUNNING).count() == 2

        killed = [
            subprocess.Popen([*COMMAND, key], env=environ, cwd=ROOT, stderr=subprocess.DEVNULL)
            for key in ("slow_one", "slow_two")
        ]
        try:
            wait_for(collecting, 120)
        finally:
            for process in killed:
                process.kill()
                process.wait()
        options = {"env": environ, "cwd": ROOT, "capture_output": True, "text": True, "timeout": 240}
        done = subprocess.run([*COMMAND, "good", "--json"], check=False, **options)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert json.loads(done.stdout)["success"]
    assert "slow_one: job" in done.stderr
    with database.session(read_only=True) as session:
        jobs = {job.collection.key: job for job in session.query(Job)}
        assert {key: job.result for key, job in jobs.items()} == {
            "slow_one": Job.Result.FAILED,
            "slow_two": Job.Result.FAILED,
            "good": Job.Result.SUCCEEDED,
        }
        assert "is gone" in jobs["slow_one"].note
    database.dispose()
    crawls = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("REGISTRY_HOME") == homes["REGISTRY_HOME"]:
                crawls.append(process.cmdline())
    assert crawls == []
