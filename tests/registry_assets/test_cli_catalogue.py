"""The `registry` command: the catalogue, the database and the set-up."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner, Result
from dagster._daemon.types import DaemonHeartbeat
from sqlalchemy import event, insert

from registry_assets import cli as module
from registry_assets.cli import cli
from registry_assets.commands import list as list_command
from registry_resources.catalogue import load
from registry_resources.database import Collection, Database, Job, Task, TaskNote, collection_by_key
from registry_resources.exceptions import ConfigurationError

CATALOGUE = """
settings_bundles:
  - {name: slow, settings: {CF_CLEARANCE: canary-1, TOKEN: env:RURITANIA_TOKEN}}
publications:
  - {key: ruritania, title: Gazette, country: Ruritania, source_id: bulk, retrieval_frequency: MONTHLY, public: true}
  - {key: zenda, title: Castle, source_id: bulk, settings_bundle: slow}
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry's home, where there is nothing yet."""
    for name in ("DATABASE_URL", "EXPORTER_DIR", "KINGFISHER_COLLECT_FILES_STORE", "KINGFISHER_COLLECT_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("SCRAPYD_URL", "SCRAPYD_PROJECT", "KINGFISHER_PROCESS_URL", "KINGFISHER_PROCESS_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("REGISTRY_HOME", str(tmp_path / "home"))
    (tmp_path / "catalogue.yaml").write_text(CATALOGUE)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def run() -> Callable[..., Result]:
    """Runs a command that should succeed, in this process."""

    def run_(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result

    return run_


@pytest.fixture
def synced(run: Callable[..., Result], home: Path):
    """The database that the catalogue makes."""
    run("sync", "catalogue.yaml")
    database = Database(f"sqlite:///{home}/registry.sqlite3")
    yield database
    database.dispose()


def process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as people do."""
    return subprocess.run(
        [sys.executable, "-m", "registry_assets.cli", *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(module.__file__).parents[1]), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [["list"], ["show", "ruritania"], ["freeze", "ruritania"], ["unfreeze", "x"], ["export-catalogue", "-"]],
)
def test_reading_without_a_database_says_so_and_makes_none(run, home: Path, arguments):
    """With the remedy."""
    with pytest.raises(ConfigurationError, match=r"There is no database at .* Run `registry sync FILE`"):
        run(*arguments)
    assert not home.exists()


def test_a_dry_run_shows_what_would_change_and_changes_nothing(run, home: Path):
    """JOB-18, also before there is a database."""
    result = run("sync", "catalogue.yaml", "--dry-run")
    assert "+ publication ruritania" in result.stdout
    assert "Dry run, nothing was changed: 3 added, 0 changed, 0 unchanged." in result.stdout
    assert not home.exists()


def test_synchronising_makes_the_database_and_shows_what_changed(run, synced: Database):
    """And again, that nothing did. Secrets are warned of, not shown (I6)."""
    result = run("sync", "catalogue.yaml")
    assert result.stdout == "0 added, 0 changed, 3 unchanged.\n"
    assert "settings bundle slow holds CF_CLEARANCE in plain text" in result.stderr
    Path("catalogue.yaml").write_text(CATALOGUE.replace("MONTHLY", "WEEKLY").replace("canary-1", "canary-2"))
    result = run("sync", "catalogue.yaml")
    assert result.stdout.splitlines() == [
        "~ settings bundle slow",
        "    CF_CLEARANCE: (hidden) → (hidden)",
        "~ publication ruritania",
        "    retrieval_frequency: MONTHLY → WEEKLY",
        "0 added, 2 changed, 1 unchanged.",
    ]
    assert "canary" not in result.output


def test_a_spider_or_an_argument_that_is_not_there_is_told_when_synchronising(run, tmp_path: Path):
    """With file, line and remedy; no error, since the file may be meant for another machine. Frozen ones may rest."""
    path = tmp_path / "spiders.yaml"
    path.write_text(
        "publications:\n"
        "  - {key: a, title: A, source_id: bulkk}\n"
        "  - {key: b, title: B, source_id: bulk, spider_arguments: {url: /x.json}}\n"
        "  - {key: c, title: C, source_id: gone, frozen: true}\n"
        "  - {key: d, title: D, source_id: bulk, spider_arguments: {urls: /x.json}}\n"
    )
    warnings = run("sync", "--dry-run", str(path)).stderr.splitlines()
    assert len(warnings) == 2
    assert f"{path}:2: publication a can't be collected: There is no spider 'bulkk'. There are: bulk" in warnings[0]
    assert f"{path}:3: publication b can't be collected: The spider bulk has no argument 'url'" in warnings[1]


def test_what_is_only_in_the_database_is_told(run, synced: Database):
    """It is kept."""
    Path("catalogue.yaml").write_text("publications: [{key: zenda, title: Castle, source_id: bulk}]")
    result = run("sync", "catalogue.yaml", "--json")
    told = json.loads(result.stdout)
    assert told["kept"] == {"publication": ["ruritania"], "settings bundle": ["slow"]}
    assert told["changes"][0]["fields"] == {"settings_bundle": {"old": "slow", "new": None}}
    assert (told["dry_run"], told["partitions"]) == (False, None)


def test_the_list_shows_how_each_publication_is_doing(run, synced: Database):
    """Key, title, country, frequency, frozen, public, active job, last retrieved, latest job."""
    job_id = add_job(synced)
    rows = json.loads(run("list", "--json").stdout)
    assert [row["key"] for row in rows] == ["ruritania", "zenda"]
    assert rows[0]["latest_job"]["result"] == "SUCCEEDED"
    assert (rows[0]["active_job"], rows[0]["last_retrieved"], rows[0]["public"]) == (job_id, "2024-03-01", True)
    assert rows[1]["latest_job"] is None
    line = next(line for line in run("list").stdout.splitlines() if "ruritania" in line)
    assert line.split() == [
        *("ruritania", "Gazette", "Ruritania", "MONTHLY", "yes", str(job_id), "2024-03-01", f"#{job_id}", "succeeded"),
    ]


def test_an_empty_list_says_how_to_fill_it(run):
    """On standard error, as it is no result."""
    run("migrate")
    result = run("list")
    assert result.stdout == ""
    assert "registry sync FILE" in result.stderr
    assert json.loads(run("list", "--json").stdout) == []


def test_a_publication_is_shown_with_its_jobs_tasks_and_notes(run, synced: Database):
    """Notes beyond the first twenty are counted (I8). What publishers write can't steer the terminal."""
    job_id = add_job(synced, notes=23, note="evil \x1b[2J \u202e https://u:canary@example.com")
    text = run("show", "ruritania").stdout
    assert f"Job {job_id} succeeded" in text
    assert "  run: http://127.0.0.1:3000/runs/r1\n" in text
    assert "collect: … and 3 more notes" in text
    assert "evil \ufffd[2J \ufffd https://u:***@example.com" in text
    shown = json.loads(run("show", "ruritania", "--json").stdout)
    assert (shown["jobs_total"], len(shown["jobs"]), shown["jobs"][0]["id"]) == (1, 1, job_id)
    task = shown["jobs"][0]["tasks"][0]
    assert (task["type"], task["result"], task["notes_total"], len(task["notes"])) == ("collect", "OK", 23, 20)
    assert "canary" not in json.dumps(shown)
    assert json.loads(run("show", "ruritania", "--json", "--jobs", "0").stdout)["jobs"] == []


def test_a_blocked_job_is_shown_with_what_accepts_it(run, synced: Database):
    """ASK-03; no longer once a later version is published, when it would be refused."""
    first = add_job(synced)
    with synced.session() as session:
        job = session.get_one(Job, first)
        job.result, job.blocked, job.note = Job.Result.FAILED, "It lost half.", "Blocked: It lost half."
    assert f"publish it: registry accept ruritania {first} --reason TEXT\n" in run("show", "ruritania").stdout
    assert json.loads(run("show", "ruritania", "--json").stdout)["jobs"][0]["acceptable"] is True
    add_job(synced)
    assert "registry accept" not in run("show", "ruritania").stdout


def test_settings_are_shown_without_their_values(run, synced: Database):
    """DEF-12."""
    shown = json.loads(run("show", "zenda", "--json").stdout)
    assert shown["settings"] == {"CF_CLEARANCE": "(hidden)", "TOKEN": "env:RURITANIA_TOKEN"}
    assert "canary" not in run("show", "zenda").stdout


def test_an_unknown_publication_is_told_with_what_it_may_have_been(run, synced: Database):
    """Or how to see those there are."""
    with pytest.raises(ConfigurationError, match=r"ruritanai: .* no such publication\. Did you mean ruritania\?"):
        run("show", "ruritanai")
    with pytest.raises(ConfigurationError, match="`registry list` shows"):
        run("freeze", "qqq")


def test_freezing_survives_a_synchronisation(run, synced: Database):
    """CAT-15; unless the file says otherwise."""

    def frozen() -> bool:
        with synced.session(read_only=True) as session:
            collection = collection_by_key(session, "ruritania")
            assert collection is not None
            return collection.frozen

    assert run("freeze", "ruritania").stdout == "ruritania is frozen: no new jobs are scheduled.\n"
    assert "It was so already." in run("freeze", "ruritania").stdout
    run("sync", "catalogue.yaml")
    assert frozen()
    run("unfreeze", "ruritania")
    assert not frozen()


def test_the_exported_catalogue_synchronised_changes_nothing(run, synced: Database):
    """The file is its owner's only, as it may hold secrets."""
    run("export-catalogue", "out.yaml")
    assert Path("out.yaml").stat().st_mode & 0o777 == 0o600
    assert Path("out.yaml").read_text() == run("export-catalogue", "-").stdout
    assert len(load(Path("out.yaml")).publications) == 2
    assert run("sync", "out.yaml").stdout == "0 added, 0 changed, 3 unchanged.\n"
    with pytest.raises(ConfigurationError, match=r"none/out\.yaml can't be written: .*\. Give the path"):
        run("export-catalogue", "none/out.yaml")
    with pytest.raises(ConfigurationError, match="can't be written: Not a directory"):
        run("export-catalogue", "out.yaml/out.yaml")
    assert {path.name for path in Path().iterdir()} == {"catalogue.yaml", "home", "out.yaml"}


def test_migrating_says_from_where_to_where(run):
    """And again, that it was there."""
    assert run("migrate").stdout == "The database is at version 0003 now (before: none).\n"
    assert run("migrate").stdout == "The database is at version 0003 already.\n"
    assert json.loads(run("migrate", "--json").stdout) == {"before": "0003", "after": "0003"}


def test_the_check_finds_nothing_wrong_with_what_works(run, synced: Database, monkeypatch: pytest.MonkeyPatch):
    """Without DAGSTER_HOME there is a warning only."""
    monkeypatch.setenv("RURITANIA_TOKEN", "canary-token")
    outcomes = {item["check"]: item["status"] for item in json.loads(run("check", "--json").stdout)}
    assert outcomes == {
        "settings": "ok",
        "database": "ok",
        "settings bundles": "ok",
        "spiders": "warning",
        "REGISTRY_HOME": "ok",
        "EXPORTER_DIR": "ok",
        "file store": "ok",
        "notifications": "ok",
        "DAGSTER_HOME": "warning",
    }
    assert "canary" not in run("check").stdout


def test_the_check_tells_everything_that_is_wrong(run, synced: Database, home: Path, monkeypatch: pytest.MonkeyPatch):
    """Each with its remedy, and with exit code 1."""
    (home / "file").touch()
    monkeypatch.setenv("EXPORTER_DIR", str(home / "file" / "exports"))
    monkeypatch.setenv("DAGSTER_HOME", "relative")
    failed = {
        item["check"]: item["detail"]
        for item in json.loads(run("check", "--json", code=1).stdout)
        if item["status"] == "failed"
    }
    assert set(failed) == {"settings bundles", "EXPORTER_DIR", "DAGSTER_HOME"}
    assert "slow refers to RURITANIA_TOKEN, which the environment doesn't have" in failed["settings bundles"]
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{home}/other.sqlite3")
    assert "There is no database" in run("check", code=1).stdout
    assert not (home / "other.sqlite3").exists()
    monkeypatch.setenv("REGISTRY_WORKERS", "many")
    assert "REGISTRY_WORKERS is 'many'" in run("check", code=1).stdout


def test_the_check_tells_whether_the_daemon_runs(run, synced: Database, home: Path, monkeypatch: pytest.MonkeyPatch):
    """Without it nothing is done by itself, and nobody would notice for a week."""
    dagster_home = home / "dagster"
    dagster_home.mkdir(parents=True)
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home))
    monkeypatch.setenv("RURITANIA_TOKEN", "canary-2")

    def checked() -> dict[str, dict[str, str]]:
        return {found["check"]: found for found in json.loads(run("check", "--json").stdout)}

    assert checked()["dagster.yaml"]["status"] == "warning"
    (dagster_home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    assert "its daemon is not running: nothing is done by itself" in checked()["Dagster"]["detail"]
    with dg.DagsterInstance.get() as instance:
        for kind in instance.get_required_daemon_types():
            for age in (3600, 10):
                instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - age, kind, kind, []))
    assert checked()["Dagster"]["status"] == "ok"


def test_five_thousand_publications_are_listed_with_two_queries(run, synced: Database):
    """However many there are; and quickly."""
    now = datetime.datetime.now(datetime.UTC)
    with synced.session() as session:
        rows = [{"key": f"p{n}", "title": "T", "source_id": "bulk"} for n in range(5000)]
        ids = list(session.scalars(insert(Collection).returning(Collection.id), rows))
        for start in (now, now - datetime.timedelta(days=1)):
            values = {"status": "COMPLETED", "result": "FAILED", "start": start, "end": now}
            session.execute(insert(Job), [{"collection_id": key, **values} for key in ids])
    statements: list[str] = []
    event.listen(
        synced.engine,
        "before_cursor_execute",
        lambda *arguments: statements.append(arguments[2]) if arguments[2].startswith("SELECT") else None,
    )
    with synced.session(read_only=True) as session:
        found = list_command.publications(session)
    assert len(found) == 5002
    assert sum(row["latest_job"] is not None for row in found) == 5000
    assert len(statements) == 2


def test_errors_are_one_line_on_standard_error_with_exit_code_1(synced: Database):
    """And usage errors have exit code 2."""
    result = process("show", "qqq")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: qqq: the catalogue has no such publication.")
    assert len(result.stderr.splitlines()) == 1
    assert process("bogus").returncode == 2
    assert process("show").returncode == 2


def test_errors_of_a_catalogue_file_are_one_line_each(synced: Database):
    """As editors read them."""
    Path("bad.yaml").write_text("publications:\n- {key: A, title: T, source_id: b}\n- {key: c, source_id: b}\n")
    result = process("sync", "bad.yaml")
    assert result.returncode == 1
    assert [line.partition(" ")[0] for line in result.stderr.splitlines()] == ["bad.yaml:2:", "bad.yaml:3:", "Error:"]


def test_a_database_that_cannot_be_reached_is_one_line_without_its_password():
    """I6."""
    result = process("list", DATABASE_URL="postgresql://user:canary@127.0.0.1:1/none")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "can't be reached" in result.stderr
    assert "canary" not in result.stderr


def test_a_file_that_is_no_database_is_one_line(home: Path):
    """Such as another program's file."""
    home.mkdir()
    (home / "registry.sqlite3").write_text("not a database" * 100)
    result = process("list")
    assert result.returncode == 1
    assert result.stderr == (
        f"Error: The database sqlite:///{home}/registry.sqlite3 can't be read: file is not a database. "
        "The file is damaged. Restore it from a backup (docs/production.md).\n"
    )


def test_partitions_follow_the_catalogue_where_there_is_dagster(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What was added is told."""
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    assert "Partitions added: ruritania, zenda." in run("sync", "catalogue.yaml").stdout
    assert "Partitions" not in run("sync", "catalogue.yaml").stdout


def add_job(database: Database, notes: int = 0, note: str = "") -> int:
    """Give ruritania an active job."""
    with database.session() as session:
        collection = collection_by_key(session, "ruritania")
        assert collection is not None
        job = Job.plan(collection, run_id=f"r{session.query(Job).count() + 1}")
        session.add(job)
        job.initiate()
        for task in job.tasks:
            task.initiate()
            task.complete(Task.Result.OK)
        job.complete(Job.Result.SUCCEEDED)
        job.tasks[0].notes = [TaskNote(level=TaskNote.Level.WARNING, note=note) for _ in range(notes)]
        session.flush()
        collection.active_job = job
        collection.last_retrieved = datetime.date(2024, 3, 1)
    return job.id
