"""The cleanup pass, with real files and the real backends of this machine."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from registry_assets.process_manager import deletion
from registry_assets.process_manager.cleanup import clean
from registry_assets.process_manager.services import Services
from registry_resources.collect.scrapy import ScrapyBackend
from registry_resources.database import Database, Job, utcnow
from registry_resources.exceptions import RecoverableError
from registry_resources.process.backend import ProcessJob
from registry_resources.process.local import LocalProcess
from registry_resources.settings import Settings
from tests.support.leftovers import DAY, change, did, exists, make_job, of, remember, row, write


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


@pytest.mark.parametrize("job", ["", "twelve"])
def test_a_publication_that_cant_be_looked_at_keeps_no_other_from_being_cleaned_up(
    services: Services, job: str
) -> None:
    """JOB-21: `latest.json` can't be read, or names what no registry ever published."""
    odd, well = (make_job(services, key, active=True) for key in ("borduria", "ruritania"))
    pointer = odd.export.with_name("latest.json")
    text = pointer.read_text().replace(f'"{odd.id}"', f'"{job}"', 1)
    pointer.unlink()
    if job:
        write(pointer, text)
    else:
        pointer.mkdir()
    report = clean(services)
    assert did(report, well) == ["wipe"]
    (problem,) = report.problems
    assert (problem.publication, problem.action, problem.warning) == ("borduria", "keep", True)
    assert odd.everything == [True] * 4


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


def test_only_the_publications_asked_for_are_cleaned_up(services: Services) -> None:
    one, two = make_job(services, "one", active=True), make_job(services, "two", active=True)
    clean(services, keys=["two"])
    assert (one.temporary, two.temporary) == ([True, True], [False, False])


def test_wiping_a_job_twice_is_wiping_it_once(services: Services) -> None:
    """I5."""
    job = make_job(services, active=True)
    deletion.wipe_job(services, job.id)
    deletion.wipe_job(services, job.id)
    assert job.everything == [True, False, False, True]
