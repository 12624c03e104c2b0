"""Housekeeping by the command line and by Dagster, on a whole registry that has collected and published for real."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from exporter.util import Export
from exporter.verify import verify
from registry_assets import schedules
from registry_assets.cli import cli
from registry_assets.process_manager.services import Services
from registry_resources.collect.scrapy import ScrapyBackend
from registry_resources.database import Collection, Job, utcnow
from registry_resources.process.local import LocalProcess
from tests.services.publisher import Publisher, release_package
from tests.support.leftovers import DAY, exists, make_job
from tests.support.registry import TestRegistry


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher() as server:
        yield server


@pytest.fixture
def services(registry: TestRegistry) -> Services:
    settings = registry.settings
    return Services(settings, registry.database, ScrapyBackend(settings), LocalProcess(settings))


@pytest.fixture
def command(registry: TestRegistry) -> Callable[..., Result]:
    """Runs a command in this process, with what it says on both outputs."""

    def run(*arguments: object, code: int = 0, answer: str | None = None) -> Result:
        result = CliRunner().invoke(cli, [str(a) for a in arguments], input=answer, catch_exceptions=True)
        assert result.exit_code == code, (result.output, result.exception)
        return result

    return run


def housekeeping(registry: TestRegistry, job: str, op: str) -> dict[str, object]:
    """Run it as the schedule does, and return what its page shows."""
    result = registry.defs.resolve_job_def(job).execute_in_process(instance=registry.instance)
    (output,) = [e for e in result.filter_events(lambda e: e.event_type_value == "STEP_OUTPUT") if e.step_key == op]
    return {name: getattr(value, "value", value) for name, value in output.event_specific_data.metadata.items()}


def test_a_published_version_is_whole_after_its_job_was_cleaned_up(
    registry: TestRegistry, publisher: Publisher, command: Callable[..., Result]
) -> None:
    """RET-05, I1: what was collected and compiled goes; and collecting again makes the job's tasks work again."""
    registry.add("ruritania", arguments={"urls": publisher.add("/a.json", json.dumps(release_package(1, 4)).encode())})
    assert registry.run("ruritania").success
    settings = registry.settings
    assert list(settings.files_store.glob("ruritania/*/*/*.json"))
    shown = housekeeping(registry, "cleanup", "clean_up")
    assert (shown["jobs wiped"], shown["jobs deleted"]) == (1, 0)
    assert int(str(shown["bytes"])) > 0
    assert not list(settings.files_store.glob("ruritania/*"))
    assert not (settings.process_dir / "ruritania").exists()
    assert verify(Export.at(registry.published("ruritania")))[1] == []
    assert housekeeping(registry, "cleanup", "clean_up")["jobs wiped"] == 0
    refused = registry.run("ruritania", "processed")
    assert "job 1 collected and compiled was wiped" in registry.failure(refused)
    assert "Materialise `collected`" in registry.failure(refused)
    again = registry.run("ruritania", "flattened", "published")
    assert again.success, registry.failure(again)
    assert registry.published("ruritania").name == "1.r2"
    assert registry.run("ruritania").success
    report = json.loads(command("cleanup", "--json").stdout)
    done = [(action["job"], action["action"]) for action in report["actions"] if action["action"] != "keep"]
    assert done == [(2, "wipe")]
    assert verify(Export.at(registry.published("ruritania")))[1] == []


def test_cleanup_says_what_it_does_and_why(
    registry: TestRegistry, services: Services, command: Callable[..., Result]
) -> None:
    """RET-08, ASK-10: a table of every job with its reason; dry it changes nothing."""
    jobs = [make_job(services, days_ago=days) for days in (90, 60)]
    jobs.append(make_job(services, days_ago=30, active=True))
    dry = command("cleanup", "--dry-run")
    assert "it is superseded: it has 4 ocids, against 4 of the active job 3" in dry.stdout
    assert "Dry run, nothing was done: jobs deleted: 1; temporary data wiped: 2;" in dry.stderr
    assert [job.everything for job in jobs] == [[True] * 4] * 3
    wet = command("cleanup", "ruritania")
    assert wet.stdout == dry.stdout
    assert "Jobs deleted: 1;" in wet.stderr
    assert not exists(services, jobs[0].id)
    assert "no such publication" in str(command("cleanup", "freedonia", code=1).exception)


def test_cleanup_ends_with_an_error_code_if_something_could_not_be_done(
    registry: TestRegistry, services: Services, command: Callable[..., Result], tmp_path: Path
) -> None:
    """RET-05: with the publication, the job and the cause."""
    job = make_job(services, active=True)
    job.compiled.rename(tmp_path / "elsewhere")
    job.compiled.symlink_to(tmp_path / "elsewhere")
    result = command("cleanup", code=1)
    assert "It could not be done" in result.stdout
    assert "symbolic link" in result.stdout
    assert "could not be done: 1" in result.stderr


def test_a_job_is_deleted_by_hand_after_asking(
    registry: TestRegistry, services: Services, command: Callable[..., Result]
) -> None:
    """RET-07, CAT-13."""
    failed, active = make_job(services, result=Job.Result.FAILED), make_job(services, active=True)
    command("delete-job", "ruritania", failed.id, answer="n\n", code=1)
    assert exists(services, failed.id)
    assert "job 1 is deleted" in command("delete-job", "ruritania", failed.id, answer="y\n").stdout
    assert failed.everything == [False] * 4
    assert "is the active job" in str(command("delete-job", "ruritania", active.id, "--yes", code=1).exception)
    unknown = str(command("delete-job", "ruritania", 99, "--yes", code=1).exception)
    assert unknown == "ruritania: there is no job 99 of this publication. Its jobs are 2."


def test_data_are_preserved_and_no_longer(
    registry: TestRegistry, services: Services, command: Callable[..., Result]
) -> None:
    """RET-06."""
    job = make_job(services, active=True)
    assert "are kept until" in command("keep", "ruritania", job.id).stdout
    command("cleanup")
    assert job.temporary == [True, True]
    assert "go at the next cleanup" in command("keep", "ruritania", job.id, "--no-keep").stdout
    command("cleanup")
    assert job.temporary == [False, False]
    assert "were wiped before" in command("keep", "ruritania", job.id).stdout


def test_removing_a_publication_says_that_public_data_will_vanish(
    registry: TestRegistry, services: Services, command: Callable[..., Result]
) -> None:
    """CAT-21."""
    job = make_job(services, active=True)
    asked = command("remove", "ruritania", answer="n\n", code=1)
    assert "PUBLIC DATA WILL VANISH" in asked.stdout
    assert job.everything == [True] * 4
    assert "stay where they are" in command("remove", "ruritania", "--keep-exports", answer="n\n", code=1).stdout
    assert "ruritania is removed" in command("remove", "ruritania", "--yes").stdout
    assert job.everything == [False] * 4
    with registry.database.session() as session:
        assert session.query(Collection).count() == 0


@pytest.mark.parametrize(("schedule", "job"), [("hourly_cleanup", "cleanup"), ("nightly_pruning", "prune_dagster")])
def test_housekeeping_runs_by_itself_but_never_twice_at_once(registry: TestRegistry, schedule: str, job: str) -> None:
    """When all places are taken for days, hourly runs must not pile up."""
    found = {item.name: item for item in schedules.SCHEDULES}[schedule]
    assert found.default_status == dg.DefaultScheduleStatus.RUNNING
    assert found.job_name == job
    tick = found.evaluate_tick(dg.build_schedule_context(registry.instance))
    assert tick.run_requests is not None
    assert len(tick.run_requests) == 1
    registry.instance.create_run_for_job(registry.defs.resolve_job_def(job), status=dg.DagsterRunStatus.STARTED)
    tick = found.evaluate_tick(dg.build_schedule_context(registry.instance))
    assert not tick.run_requests
    assert tick.skip_message == "The one before is still waiting or running."


def test_pruning_keeps_the_run_of_each_publications_newest_job(registry: TestRegistry, services: Services) -> None:
    """It tells why a publication is not running; and what is not finished has its run too."""
    jobs = [make_job(services, key, days_ago=days) for key in ("one", "two") for days in (3, 2)]
    running = make_job(services, "two", days_ago=1, result=None)
    latest = make_job(services, "three", days_ago=0)
    with registry.database.session() as session:
        for job in (*jobs, running, latest):
            session.get_one(Job, job.id).run_id = f"run-{job.id}"
    assert schedules.newest_runs(registry.database) == {"run-2", "run-5", "run-6"}


def test_the_nightly_run_prunes_what_dagster_remembers(
    registry: TestRegistry, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event log is bounded: 40 days on, only the latest of the publication and the night's own run are left."""
    registry.add("ruritania", arguments={"urls": publisher.add("/a.json", json.dumps(release_package(1, 4)).encode())})
    runs = [registry.run("ruritania", "collected").run_id for _ in range(2)]
    assert housekeeping(registry, "prune_dagster", "prune")["runs forgotten"] == 0
    monkeypatch.setattr(schedules, "prune", functools.partial(schedules.prune, now=utcnow() + 40 * DAY))
    shown = housekeeping(registry, "prune_dagster", "prune")
    assert (shown["runs forgotten"], shown["old runs kept"]) == (2, 1)
    left = {run.run_id for run in registry.instance.get_runs()}
    assert (runs[0] in left, runs[1] in left, len(left)) == (False, True, 2)
    assert registry.instance.get_materialized_partitions(dg.AssetKey("collected")) == {"ruritania"}
