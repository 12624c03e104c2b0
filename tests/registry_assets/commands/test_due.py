"""`registry due`: what is due, and planning it."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from registry_assets.cli import cli
from registry_assets.process_manager import planning
from registry_resources.database import Collection, Database, Job, utcnow
from registry_resources.exceptions import ConfigurationError


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """Four publications: one due since it was never retrieved, one since 24 days, one later, and one frozen."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("REGISTRY_HOME", str(tmp_path))
    database = Database(f"sqlite:///{tmp_path / 'registry.sqlite3'}")
    database.migrate()
    with database.session() as session:
        for key, days in {"armenia": 18, "moldova": 54, "nigeria": None, "taiwan": 99}.items():
            collection = Collection(
                key=key, title=key, source_id="bulk", retrieval_frequency="MONTHLY", frozen=key == "taiwan"
            )
            session.add(collection)
            if days is not None:
                start = utcnow() - datetime.timedelta(days=days)
                session.add(Job(collection=collection, start=start, end=start, status="COMPLETED", result="SUCCEEDED"))
            session.flush()
    yield database
    database.dispose()


@pytest.fixture
def run(database: Database) -> Callable[..., Result]:
    """Runs a command that should succeed, in this process."""

    def run_(*arguments: str) -> Result:
        result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result

    return run_


def planned(database: Database) -> list[str]:
    with database.session(read_only=True) as session:
        return [job.collection.key for job in session.query(Job).filter_by(status="PLANNED").order_by(Job.id)]


def test_a_dry_run_says_it_and_changes_nothing(run, database):
    """The longest due first; each with the reason that the sensor gives."""
    result = run("due", "--dry-run")
    rows = [line.split() for line in result.stdout.splitlines() if "MONTHLY" in line]
    assert [row[0] for row in rows] == ["nigeria", "moldova", "armenia", "taiwan"]
    began = (utcnow() - datetime.timedelta(days=54)).date()
    assert "due: never retrieved" in result.stdout
    assert f"due: last began {began}, monthly" in result.stdout
    assert "due in 12 days" in result.stdout
    assert "frozen" in result.stdout
    assert "Planned now" in result.stdout
    assert "job " not in result.stdout.replace("Planned now", "")
    assert planned(database) == []


def test_it_plans_what_is_due_and_nothing_twice(run, database):
    """The longest due first. The sensor asks for the runs."""
    result = run("due")
    assert "job 4" in result.stdout
    assert "job 5" in result.stdout
    assert "Jobs planned: 2." in result.stderr
    assert planned(database) == ["nigeria", "moldova"]
    again = run("due")
    assert "job 4 is planned" in again.stdout
    assert "planned" not in again.stderr
    assert planned(database) == ["nigeria", "moldova"]


def test_keys_limit_it(run, database):
    """What isn't named is neither shown nor planned."""
    result = run("due", "moldova", "taiwan", "--json")
    rows = json.loads(result.stdout)
    assert [(row["key"], row["state"], row["due"], row["planned_job"]) for row in rows] == [
        ("moldova", "due", True, 4),
        ("taiwan", "frozen", False, None),
    ]
    assert planned(database) == ["moldova"]


def test_json_has_what_a_program_needs(run, database):
    """Dates in ISO 8601, and null where there is none."""
    rows = {row["key"]: row for row in json.loads(run("due", "--dry-run", "--json").stdout)}
    today = utcnow().date()
    assert rows["nigeria"] == {
        "key": "nigeria",
        "state": "due",
        "due": True,
        "reason": "due: never retrieved",
        "due_on": None,
        "overdue": False,
        "retrieval_frequency": "MONTHLY",
        "frozen": False,
        "last_job": None,
        "last_began": None,
        "planned_job": None,
    }
    assert rows["armenia"]["due_on"] == (today + datetime.timedelta(days=12)).isoformat()
    assert rows["armenia"]["last_job"] == 1
    assert rows["armenia"]["last_began"].startswith((today - datetime.timedelta(days=18)).isoformat())
    assert rows["taiwan"]["due_on"] is None


def test_an_unknown_key_is_an_error_that_helps(database):
    """And nothing is planned."""
    result = CliRunner().invoke(cli, ["due", "moldavia", "nigeria"])
    assert isinstance(result.exception, ConfigurationError)
    assert "moldavia: the catalogue has no such publication. Did you mean moldova?" in str(result.exception)
    assert planned(database) == []


def test_a_job_that_runs_though_its_publication_is_due_again_is_warned_of(run, database):
    """JOB-05, on standard error."""
    with database.session() as session:
        job = session.get(Job, 2)
        job.status, job.result, job.end = "RUNNING", "", None
    result = run("due", "--dry-run")
    assert "Warning: moldova: job 2 is running since" in result.stderr


def test_it_plans_no_more_at_once_than_get_their_runs_in_time(run, database, monkeypatch):
    """A planned job without a run is given up after an hour; the sensor plans the rest in its turn."""
    monkeypatch.setattr(planning, "AT_ONCE", 1)
    assert "Due as well: 1. Dagster plans their jobs in their turn." in run("due").stderr
    assert planned(database) == ["nigeria"]


def test_without_publications_it_says_what_to_do(run, database):
    """And succeeds."""
    with database.session() as session:
        for model in (Job, Collection):
            for row in session.query(model):
                session.delete(row)
            session.flush()
    assert "There are no publications" in run("due").stderr
