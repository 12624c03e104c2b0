"""Which exports the cleanup pass deletes, and that readers' versions are never among them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from exporter.util import Export
from registry_assets.process_manager.cleanup import clean
from registry_assets.process_manager.services import Services
from registry_resources.collect.scrapy import ScrapyBackend
from registry_resources.database import Collection, Database, Job
from registry_resources.process.local import LocalProcess
from registry_resources.settings import Settings
from tests.support.leftovers import did, exists, make_job, of, point, write


@pytest.fixture
def services(settings: Settings, database: Database) -> Services:
    return Services(settings, database, ScrapyBackend(settings), LocalProcess(settings))


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
