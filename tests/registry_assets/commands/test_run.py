"""`registry run`: what it says and refuses, and how it ends when it is broken off."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from registry_assets.cli import cli
from registry_assets.commands.run import selected
from registry_assets.commands.run_display import Display
from registry_assets.sensors.out_of_date import JOB_TAG
from registry_resources.database import Collection, Database, Job, Task
from registry_resources.exceptions import ConfigurationError
from registry_resources.settings import Settings
from tests.services.publisher import Answer, Publisher, release_package
from tests.support.daemon import ROOT, wait_for
from tests.support.registry import TestRegistry


@pytest.fixture
def run(registry: TestRegistry) -> Callable[..., Result]:
    """Runs the command, in this process, in a registry that has ruritania."""
    registry.add("ruritania")
    environment = {"DAGSTER_HOME": registry.instance.root_directory}
    return lambda *arguments: CliRunner().invoke(cli, ["run", *arguments], env=environment)


def test_an_unknown_key_is_told_before_anything_begins(run: Callable[..., Result]) -> None:
    """With what it may have been."""
    result = run("ruritanai")
    assert isinstance(result.exception, ConfigurationError)
    assert "ruritanai: the catalogue has no such publication. Did you mean ruritania?" in str(result.exception)
    assert "started" not in result.stderr


@pytest.mark.parametrize("select", ["nonsense(", "", "catalogue"])
def test_a_selection_of_nothing_is_refused_before_anything_begins(
    run: Callable[..., Result], registry: TestRegistry, select: str
) -> None:
    """An empty one may come from a variable that isn't set: it must not mean everything."""
    result = run("ruritania", "--select", select)
    assert result.exit_code == 2
    assert "The assets are collected, processed" in result.stderr
    assert "started" not in result.stderr
    assert registry.instance.get_runs_count() == 0


def test_everything_can_be_selected_without_a_warning(registry: TestRegistry) -> None:
    """Dagster warns of what it makes of a star itself; in tests, warnings are errors."""
    assert selected(registry.defs, "*") == selected(registry.defs, None)


def test_a_publication_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Whether or not the message names it; and what is not about it is not said to be."""
    with Display("moldova", as_json=True) as display:
        display.warning("moldova: it fails")
        display.warning("it is slow [/bold]")
        display.notice("nigeria: run 1 was ended.")
    assert capsys.readouterr().err.splitlines() == [
        "moldova: it fails",
        "moldova: it is slow [/bold]",
        "nigeria: run 1 was ended.",
    ]


@pytest.mark.parametrize("over", [True, False])
def test_a_queued_run_whose_job_another_run_took_ends_as_cancelled(registry: TestRegistry, *, over: bool) -> None:
    """It has nothing to do, which is no failure that anybody need look at."""
    registry.add("ruritania")
    with registry.database.session() as session:
        job = Job.plan(session.query(Collection).one(), run_id=None if over else "another")
        session.add(job)
    if over:
        first = registry.run("ruritania", "collected")
        assert registry.jobs("ruritania")[0].run_id == first.run_id
    result = registry.run("ruritania", tags={JOB_TAG: str(job.id)})
    run = registry.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.status == dg.DagsterRunStatus.CANCELED
    assert f"job {job.id}, which this run was asked for, is that of run" in registry.failure(result)
    assert len(registry.jobs("ruritania")) == 1


def test_ctrl_c_once_more_after_dagster_took_the_run_for_failed_cancels_it(
    run: Callable[..., Result], registry: TestRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between Dagster's last word and ours there is a moment: the second Ctrl-C may come then."""

    def interrupted(job: dg.JobDefinition, *, run_id: str, instance: dg.DagsterInstance, **_: object) -> None:
        begun = instance.create_run_for_job(job, run_id=run_id, status=dg.DagsterRunStatus.STARTED)
        instance.report_run_failed(begun, "Execution was interrupted unexpectedly.")
        raise KeyboardInterrupt

    monkeypatch.setattr(dg.JobDefinition, "execute_in_process", interrupted)
    result = run("ruritania", "--json")
    assert result.exit_code == 130
    assert json.loads(result.stdout)["cancelled"]
    (recorded,) = registry.instance.get_runs()
    assert recorded.status == dg.DagsterRunStatus.CANCELED


@pytest.mark.parametrize("late", [False, True])
def test_ctrl_c_twice_cancels_the_run_as_it_does_the_job(tmp_path: Path, *, late: bool) -> None:
    """DEF-06: whether the second one comes at once, or when the first one has ended the job."""
    (tmp_path / "dagster").mkdir()
    shutil.copy(ROOT / "deploy" / "local" / "dagster.yaml", tmp_path / "dagster")
    homes = {"REGISTRY_HOME": str(tmp_path / "home"), "DAGSTER_HOME": str(tmp_path / "dagster")}
    database = Database(Settings.from_env(homes).database_url)
    database.migrate()

    def job_is(status: str) -> bool:
        with database.session(read_only=True) as session:
            return session.query(Job).filter_by(status=status).count() == 1

    def collecting() -> bool:
        with database.session(read_only=True) as session:
            return session.query(Task).filter_by(status=Task.Status.RUNNING).count() == 1

    with Publisher() as publisher:
        url = publisher.add("/slow.json", Answer(json.dumps(release_package()).encode() + b" " * 9_000_000, pace=0.5))
        with database.session() as session:
            session.add(Collection(key="slow", title="Slow", source_id="bulk", spider_arguments={"urls": url}))
        with subprocess.Popen(
            [sys.executable, "-m", "registry_assets.cli", "run", "slow", "--json"],
            env={**os.environ, **homes, "REGISTRY_WORKERS": "1"},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                wait_for(collecting, 120)
                process.send_signal(signal.SIGINT)
                if late:
                    wait_for(lambda: job_is(Job.Status.COMPLETED), 60)
                else:
                    time.sleep(0.1)
                process.send_signal(signal.SIGINT)
                output, errors = process.communicate(timeout=120)
            finally:
                process.kill()
    # While Python itself ends, after all is done, a signal kills it: a shell says 130 of that too.
    assert process.returncode in {130, -signal.SIGINT}, errors
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster")) as instance:
        (run,) = instance.get_runs()
    assert run.status == dg.DagsterRunStatus.CANCELED, errors
    assert "Traceback" not in errors
    if output:
        assert json.loads(output)["cancelled"]
    with database.session(read_only=True) as session:
        assert session.query(Job).one().result == Job.Result.CANCELLED
    database.dispose()
