"""The cleanup pass, with real files and the real backends of this machine."""

from __future__ import annotations

import dataclasses
import datetime
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exporter.util import Export
from registry_assets.process_manager import deletion, holding, job_store, worker
from registry_assets.process_manager.cleanup import Action, Report, clean
from registry_assets.process_manager.services import Services
from registry_resources.collect.scrapy import ScrapyBackend
from registry_resources.database import Collection, Database, Job, Task, utcnow
from registry_resources.exceptions import LockFileError, RecoverableError
from registry_resources.process.backend import ProcessJob
from registry_resources.process.local import LocalProcess
from registry_resources.settings import Settings
from tests.support.leftovers import DAY, Made, exists, make_job, point, write


@pytest.fixture
def services(settings: Settings, database: Database) -> Services:
    return Services(settings, database, ScrapyBackend(settings), LocalProcess(settings))


class Unwilling(LocalProcess):
    """A process backend that can't delete for a while."""

    refusals = 1

    def wipe(self, job: ProcessJob) -> None:
        if self.refusals:
            self.refusals -= 1
            raise RecoverableError("Kingfisher Process can't be reached")
        super().wipe(job)


def of(report: Report, job: Made) -> list[Action]:
    return [action for action in report.actions if action.job == job.id]


def did(report: Report, job: Made) -> list[str]:
    return [action.action for action in of(report, job)]


def row(services: Services, made: Made) -> Job:
    with services.database.session(read_only=True) as session:
        return session.get_one(Job, made.id)


def change(services: Services, made: Made, **fields: object) -> None:
    with services.database.session() as session:
        job = session.get_one(Job, made.id)
        for name, value in fields.items():
            setattr(job, name, value)


def remember(services: Services, made: Made, **context: object) -> None:
    with services.database.session() as session:
        job = session.get_one(Job, made.id)
        job.context.update(context)


def age(path: Path, days: float) -> None:
    """Let a file or folder look as if nothing had changed in it for so long."""
    then = time.time() - days * 86400
    for found in [path, *path.rglob("*")]:
        os.utime(found, (then, then), follow_symlinks=False)


@pytest.fixture
def other_process() -> dict[str, object]:
    """Another process, alive, as it says who it is."""
    return worker.identity(os.getppid())


def test_temporary_data_of_an_ended_job_go_and_its_exports_and_log_stay(services: Services) -> None:
    """RET-05: of a success, at the next pass; and only once."""
    job = make_job(services, active=True)
    report = clean(services)
    assert did(report, job) == ["wipe"]
    assert report.freed >= 20_000
    assert job.everything == [True, False, False, True]
    assert (job.crawl / "crawl.log").read_text() == "it went well\n"
    assert row(services, job).archived
    again = clean(services)
    assert [(a.action, a.reason) for a in of(again, job)] == [("keep", "it is the active job")]
    assert again.freed == 0


def test_a_dry_run_says_the_same_and_changes_nothing(services: Services) -> None:
    """JOB-18, ASK-10: every job with its reason."""
    old, *_ = jobs = [make_job(services, days_ago=days) for days in (90, 60)]
    jobs.append(make_job(services, days_ago=30, active=True))
    dry = clean(services, dry_run=True)
    assert [job.everything for job in jobs] == [[True] * 4] * 3
    assert not any(row(services, job).archived for job in jobs)
    wet = clean(services)
    assert [dataclasses.astuple(a) for a in dry.actions] == [dataclasses.astuple(a) for a in wet.actions]
    assert did(wet, old) == ["delete"]
    assert all(action.reason for action in wet.actions)
    assert dry.summary == f"dry run, nothing was done: {wet.summary}"
    assert wet.summary.startswith("jobs deleted: 1; temporary data wiped: 2; exports deleted: 0; orphans deleted: 0; ")


def test_retention_deletes_a_job_with_everything_that_it_made(services: Services) -> None:
    """RET-03, RET-07: crawl with its log, collected files, compiled releases, every revision, rows."""
    old = make_job(services, days_ago=90)
    write(old.export.with_name(f"{old.id}.r2") / "full.jsonl.gz", "x")
    middle = make_job(services, days_ago=60)
    new = make_job(services, days_ago=30, active=True)
    report = clean(services)
    assert [did(report, job) for job in (old, middle, new)] == [["delete"], ["wipe"], ["wipe"]]
    assert old.everything == [False] * 4
    assert not old.export.with_name(f"{old.id}.r2").exists()
    assert [exists(services, job.id) for job in (old, middle, new)] == [False, True, True]
    assert not old.files.exists()
    assert middle.export.is_dir()


def test_a_version_with_many_more_ocids_stays_with_a_warning(services: Services) -> None:
    """RET-03: and the warning says how many."""
    old = make_job(services, days_ago=90, ocids=1101)
    make_job(services, days_ago=60, ocids=1000)
    make_job(services, days_ago=30, ocids=1000, active=True)
    clean(services)
    (action,) = of(clean(services), old)
    assert action.warning
    assert "1,101 ocids, against 1,000" in action.reason
    assert old.export.is_dir()


def test_preserved_data_stay_until_they_are_no_longer_to_be(services: Services) -> None:
    """RET-06."""
    job = make_job(services, active=True)
    change(services, job, keep_all_data=True)
    (action,) = of(clean(services), job)
    assert action.action == "keep"
    assert "preserved" in action.reason
    assert job.temporary == [True, True]
    change(services, job, keep_all_data=False)
    clean(services)
    assert job.temporary == [False, False]


def test_what_failed_stays_for_a_day_to_be_taken_up_again(services: Services) -> None:
    """ASK-01, RET-05: or until a newer job has begun, or at once if that is asked for."""
    first = make_job(services, days_ago=3, ended_days_ago=0.9, result=Job.Result.FAILED, stages=2)
    (action,) = of(clean(services), first)
    assert "as it may be taken up again" in action.reason
    assert first.temporary == [True, True]
    clean(services, now=utcnow() + 0.2 * DAY, dry_run=False)
    assert first.temporary == [False, False]
    second = make_job(services, days_ago=0, result=Job.Result.CANCELLED, stages=2)
    third = make_job(services, days_ago=0, result=Job.Result.FAILED, stages=2)
    clean(services)
    assert (second.temporary, third.temporary) == ([False, False], [True, True])
    clean(services, at_once=True)
    assert third.temporary == [False, False]


def test_a_running_job_is_not_touched(services: Services) -> None:
    """RET-04, I5."""
    job = make_job(services, days_ago=400, result=None, stages=2)
    assert did(clean(services, at_once=True), job) == ["keep"]
    assert job.everything == [True] * 4


def test_a_job_that_is_being_done_again_is_not_touched(services: Services) -> None:
    """I5: a successful job stays ended while one of its tasks runs again."""
    job = make_job(services, active=True)
    with services.database.session() as session:
        task = session.get_one(Job, job.id).task(Task.Type.PROCESS)
        job_store.begin_task(session, task.id)
    (action,) = of(clean(services), job)
    assert action.action == "keep"
    assert "process is being done again" in action.reason
    assert job.temporary == [True, True]


def test_a_job_whose_process_still_lives_is_not_touched(services: Services, other_process: dict[str, object]) -> None:
    """I5: Dagster may show a run as cancelled while its process goes on writing."""
    job = make_job(services, days_ago=2, result=Job.Result.CANCELLED)
    remember(services, job, worker=other_process)
    (action,) = of(clean(services), job)
    assert action.action == "keep"
    assert "has not ended yet" in action.reason
    assert job.temporary == [True, True]


def test_a_job_on_another_host_is_left_alone_until_it_has_been_quiet(services: Services) -> None:
    """I5: nobody can see that process from here."""
    elsewhere = {"host": "elsewhere", "pid": 1, "started": 0}
    lately = make_job(services, days_ago=1, ended_days_ago=0.001, active=True)
    long_ago = make_job(services, "graustark", days_ago=1, active=True)
    for job in (lately, long_ago):
        remember(services, job, worker=elsewhere)
    report = clean(services)
    assert (did(report, lately), did(report, long_ago)) == (["keep"], ["wipe"])


def test_a_job_cannot_be_taken_up_while_it_is_cleaned_up(services: Services, other_process: dict[str, object]) -> None:
    """I5: the message says so; a hold of a process that died is none."""
    job = make_job(services, active=True)
    with services.database.session() as session:
        task = session.get_one(Job, job.id).task(Task.Type.COLLECT)
    remember(services, job, **{holding.HOLD: {**other_process, "since": utcnow().isoformat()}})
    with services.database.session() as session, pytest.raises(LockFileError, match="job 1 is being cleaned up"):
        job_store.begin_task(session, task.id)
    identity = job_store.RunIdentity("run-9", "run-9", collects=False)
    with pytest.raises(LockFileError, match="job 1 is being cleaned up"):
        job_store.find_job(services.database, "ruritania", None, identity, job_store.Runs(lambda _: False, print))
    assert did(clean(services), job) == ["keep"]
    remember(services, job, **{holding.HOLD: {**other_process, "started": 1, "since": "2026-01-01"}})
    with services.database.session() as session:
        assert job_store.begin_task(session, task.id) is False


def test_a_hold_on_another_host_is_over_after_an_hour() -> None:
    """A host that is gone for good does not keep a job for ever."""
    hold = {"host": "elsewhere", "pid": 1, "started": 0}
    now = utcnow()
    assert holding.is_held({**hold, "since": (now - datetime.timedelta(minutes=59)).isoformat()})
    assert not holding.is_held({**hold, "since": (now - datetime.timedelta(minutes=61)).isoformat()})


def test_a_job_that_was_taken_up_again_is_cleaned_up_again(services: Services) -> None:
    """RET-05: what it makes then are temporary data too."""
    job = make_job(services, active=True)
    clean(services)
    with services.database.session() as session:
        task = session.get_one(Job, job.id).task(Task.Type.COLLECT)
        job_store.begin_task(session, task.id)
        job_store.end_task(session, task.id, Task.Result.OK)
    write(job.files / "0A1" / "data.json", "{}")
    assert did(clean(services), job) == ["wipe"]
    assert job.temporary == [False, False]


def test_a_passing_failure_is_told_and_mended_by_the_next_pass(services: Services) -> None:
    """RET-05, DEF-18: nothing is recorded as wiped before it is; other publications are cleaned up all the same."""
    unwilling = dataclasses.replace(services, process=Unwilling(services.settings))
    first, second = make_job(services, active=True), make_job(services, "graustark", active=True)
    report = clean(unwilling)
    (problem,) = report.problems
    assert problem.problem == "Kingfisher Process can't be reached"
    assert "could not be done: 1" in report.summary
    assert sorted([row(services, first).archived, row(services, second).archived]) == [False, True]
    assert not clean(unwilling).problems
    assert (first.temporary, second.temporary) == ([False, False], [False, False])


def test_a_folder_that_comes_back_is_not_recorded_as_wiped(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DEF-18: gone is what is gone, not what was asked to go."""
    job = make_job(services, active=True)
    monkeypatch.setattr(LocalProcess, "wipe", lambda *_: None)
    (problem,) = clean(services).problems
    assert "is still there" in problem.problem
    assert not row(services, job).archived
    monkeypatch.undo()
    clean(services)
    assert row(services, job).archived


def test_links_that_lead_out_of_the_roots_are_never_followed(services: Services, tmp_path: Path) -> None:
    """I5, DEF-11: whatever they stand in for: the store's folder, the job's folder, the publication's exports."""
    precious = tmp_path / "precious"
    write(precious / "keep.txt", "!")
    jobs = [make_job(services, key, days_ago=200, result=Job.Result.FAILED) for key in ("one", "two", "three")]
    for key in ("one", "two", "three"):
        make_job(services, key, days_ago=1, active=True)
    import shutil

    for job, path in zip(jobs, (jobs[0].files, jobs[1].compiled, jobs[2].export), strict=True):
        shutil.rmtree(path)
        path.symlink_to(precious)
        assert job.id
    folder = services.settings.exporter_dir / "four"
    outside = tmp_path / "outside"
    four = make_job(services, "four", days_ago=200, result=Job.Result.FAILED)
    make_job(services, "four", days_ago=1, active=True)
    folder.rename(outside)
    folder.symlink_to(outside)
    write(outside / "precious.txt", "!")
    report = clean(services)
    assert (precious / "keep.txt").read_text() == "!"
    assert (outside / "precious.txt").read_text() == "!"
    assert (outside / str(four.id) / "full.jsonl.gz").exists()
    assert all("symbolic link" in action.problem or "link" in action.problem for action in report.problems)
    assert len(report.problems) >= 3


def test_a_name_that_leads_elsewhere_deletes_nothing(services: Services, tmp_path: Path) -> None:
    """DEF-11: what a database says is no path until it has the strict form."""
    write(tmp_path / "home" / "precious" / "20260101_000000" / "keep.txt", "!")
    job = make_job(services, active=True)
    remember(services, job, directory="../precious/20260101_000000", job_id="")
    (problem,) = clean(services).problems
    assert "is not the folder of a crawl" in problem.problem
    assert (tmp_path / "home" / "precious" / "20260101_000000" / "keep.txt").exists()


def test_exports_that_were_never_published_go_once_a_newer_job_has_exported(services: Services) -> None:
    """A failed or blocked job's exports are kept for its administrator, but only one set of them."""
    active = make_job(services, days_ago=9, active=True)
    blocked = make_job(services, days_ago=6, result=Job.Result.FAILED)
    clean(services)
    assert blocked.export.is_dir()
    early = make_job(services, days_ago=3, result=Job.Result.FAILED, stages=1)
    clean(services)
    assert blocked.export.is_dir()
    late = make_job(services, days_ago=2, result=Job.Result.FAILED, stages=3)
    report = clean(services, at_once=True)
    assert did(report, blocked) == ["exports"]
    assert "were never published" in of(report, blocked)[0].reason
    assert not blocked.export.exists()
    assert [job.export.is_dir() for job in (active, late)] == [True, True]
    assert exists(services, blocked.id)
    assert exists(services, early.id)


def test_a_superseded_revision_goes_a_day_after_the_next_was_published(services: Services) -> None:
    """I1: a reader may be half way through it; and the one in the making stays."""
    job = make_job(services, active=True)
    second, third = job.export.with_name(f"{job.id}.r2"), job.export.with_name(f"{job.id}.r3")
    write(job.export / ".published", "")
    second.mkdir()
    os.link(job.export / "full.jsonl.gz", second / "full.jsonl.gz")
    write(third / "full.jsonl.gz", "in the making")
    point(services, "ruritania", job.id, second.name, days_ago=0.9)
    clean(services)
    assert job.export.is_dir()
    point(services, "ruritania", job.id, second.name, days_ago=1.1)
    (action,) = of(clean(services), job)
    assert (action.action, action.bytes) == ("exports", 0)  # its file is the other revision's too
    assert action.reason == "1: superseded by 1.r2; the job stays"
    assert [path.is_dir() for path in (job.export, second, third)] == [False, True, True]
    assert (second / "full.jsonl.gz").read_text() == "not really\n"


def test_exports_that_somebody_works_in_are_not_touched(services: Services) -> None:
    """I5: the export's own lock counts, whatever the database says."""
    job = make_job(services, days_ago=200, result=Job.Result.FAILED)
    make_job(services, days_ago=1, active=True)
    script = (
        "import sys, time\nfrom exporter.util import Export\n"
        "with Export('ruritania', sys.argv[2], root=sys.argv[1]).lock('flatten'):\n    print(flush=True)\n"
        "    time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(services.settings.exporter_dir), str(job.id)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        try:
            (problem,) = clean(services).problems
            assert "the same work is under way" in problem.problem
            assert (job.export / "full.jsonl.gz").exists()
            assert exists(services, job.id)
        finally:
            process.kill()
    assert not clean(services).problems
    assert not exists(services, job.id)


def test_a_damaged_pointer_stops_everything_for_that_publication(services: Services) -> None:
    """I1: nobody knows which version is published then."""
    jobs = [make_job(services, days_ago=days, active=days == 1) for days in (90, 60, 1)]
    write(services.settings.exporter_dir / "ruritania" / "latest.json", "{")
    (problem,) = clean(services).problems
    assert "no pointer to an export" in problem.problem
    assert [job.everything for job in jobs] == [[True] * 4] * 3


def test_the_pointer_protects_what_the_database_has_forgotten(services: Services) -> None:
    """I1: after the database was restored from before that job became the active one."""
    jobs = [make_job(services, days_ago=days, active=days == 60) for days in (90, 60, 30, 1)]
    with services.database.session() as session:
        session.query(Collection).one().active_job_id = jobs[3].id
    clean(services)
    assert [exists(services, job.id) for job in jobs] == [False, True, True, True]
    assert (jobs[1].export / "full.jsonl.gz").exists()


def test_only_the_publications_asked_for_are_cleaned_up(services: Services) -> None:
    one, two = make_job(services, "one", active=True), make_job(services, "two", active=True)
    clean(services, keys=["two"])
    assert (one.temporary, two.temporary) == ([True, True], [False, False])


@pytest.fixture
def orphaned(services: Services) -> Made:
    """The files of a job whose rows are gone, since a day and more; a newer job is there."""
    job = make_job(services, days_ago=10)
    make_job(services, days_ago=1, active=True)
    with services.database.session() as session:
        session.delete(session.get_one(Job, job.id))
    for path in (job.crawl, job.files, job.compiled, job.export):
        age(path, 1.1)
    return job


def test_what_a_deleted_job_left_is_found_and_deleted(services: Services, orphaned: Made) -> None:
    """ASK-10: its crawl with the files, its compiled releases, its exports."""
    write(services.settings.exporter_dir / "ruritania" / ".tmp-12-99999-abcd" / "half", "x")
    age(services.settings.exporter_dir / "ruritania" / ".tmp-12-99999-abcd", 2)
    report = clean(services)
    assert report.count("orphan") == 4
    assert not report.problems
    assert orphaned.everything == [False] * 4
    assert sorted(path.name for path in (services.settings.exporter_dir / "ruritania").iterdir()) == [
        "2",
        "latest.json",
    ]
    assert clean(services).count("orphan") == 0


@pytest.mark.parametrize("doubt", ["fresh", "unknown publication", "older database", "pointer"])
def test_what_may_be_needed_is_only_told(services: Services, orphaned: Made, doubt: str) -> None:
    """I5: changed lately, of a publication that isn't there, of a database that was restored, or published."""
    if doubt == "fresh":
        for path in (orphaned.crawl, orphaned.files, orphaned.compiled, orphaned.export):
            age(path, 0.9)
    with services.database.session() as session:
        if doubt == "unknown publication":
            session.query(Collection).one().active_job_id = None
            session.flush()
            session.delete(session.query(Collection).one())
        elif doubt == "older database":
            session.query(Collection).one().active_job_id = None
            session.flush()
            session.query(Job).delete()
    if doubt == "pointer":
        point(services, "ruritania", orphaned.id, str(orphaned.id))
        age(orphaned.export, 2)
    report = clean(services)
    assert orphaned.export.is_dir()
    if doubt == "pointer":
        assert any("names job 1, which the database lacks" in action.reason for action in report.actions)
        return
    assert orphaned.everything == [True] * 4
    assert any(action.warning for action in report.actions) == (doubt != "fresh")


def test_folders_of_others_in_the_roots_are_left_alone(services: Services) -> None:
    """I5: a file store may be shared with crawls by hand, a root of exports with other folders."""
    settings = services.settings
    make_job(services, active=True)
    strangers = [
        settings.files_store / "canada" / "20200101_000000" / "0A1" / "data.json",
        settings.exporter_dir / "ruritania" / "notes" / "a.txt",
        settings.exporter_dir / "ruritania" / "²" / "a.txt",
        settings.process_dir / "Other Name" / "12" / "a.txt",
        settings.crawls_dir / "mine" / "a.txt",
    ]
    for path in strangers:
        write(path, "!")
        age(path.parent, 400)
    clean(services)
    assert all(path.exists() for path in strangers)


def test_a_revision_of_an_export_is_told_from_a_folder_of_another_name(services: Services) -> None:
    """Only `12` and `12.r2` are ours."""
    job = make_job(services, days_ago=90)
    make_job(services, days_ago=60)
    make_job(services, active=True)
    write(job.export.with_name("1.bak") / "a.txt", "!")
    clean(services)
    assert not job.export.exists()
    assert job.export.with_name("1.bak").is_dir()
    assert Export("ruritania", "1", root=services.settings.exporter_dir).job == ("ruritania", "1")


def test_wiping_a_job_twice_is_wiping_it_once(services: Services) -> None:
    """I5."""
    job = make_job(services, active=True)
    deletion.wipe_job(services, job.id)
    deletion.wipe_job(services, job.id)
    assert job.everything == [True, False, False, True]
