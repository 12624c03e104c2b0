"""Deleting jobs and removing publications: files first, rows last, and a retry mends whatever a kill leaves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from exporter.publish import read_latest
from registry_assets.process_manager import deletion, disk, holding, worker
from registry_assets.process_manager.cleanup import clean
from registry_assets.process_manager.services import Services
from registry_resources.collect.scrapy import ScrapyBackend
from registry_resources.database import Collection, Database, Job, TaskNote, utcnow
from registry_resources.exceptions import ConfigurationError, LockFileError, RecoverableError
from registry_resources.process.local import LocalProcess
from registry_resources.settings import Settings
from tests.support import killing
from tests.support import postgresql as servers
from tests.support.leftovers import exists, make_job, point, write


@pytest.fixture
def services(settings: Settings, database: Database) -> Services:
    return Services(settings, database, ScrapyBackend(settings), LocalProcess(settings))


def test_a_job_goes_with_its_crawl_its_data_its_exports_and_its_rows(services: Services) -> None:
    """RET-07: of the others nothing goes."""
    job, other = make_job(services, days_ago=2, result=Job.Result.FAILED), make_job(services, active=True)
    earlier = services.settings.crawls_dir / f"ruritania-{job.id}-ffffffff"
    write(earlier / "crawl.log", "an earlier crawl of the same job")
    neighbours = [services.settings.crawls_dir / name for name in ("ruritania-10-ffffffff", "ruritania_x-1-ffffffff")]
    for path in neighbours:
        write(path / "crawl.log", "!")
    with services.database.session() as session:
        note = TaskNote(task_id=session.get_one(Job, job.id).tasks[0].id, level="INFO", note="x", data={})
        session.add(note)
    deletion.delete_job(services, job.id)
    assert (job.everything, earlier.exists()) == ([False] * 4, False)
    assert (other.everything, [path.exists() for path in neighbours]) == ([True] * 4, [True, True])
    with services.database.session() as session:
        assert (session.query(Job).count(), session.query(TaskNote).count()) == (1, 0)
    with pytest.raises(ConfigurationError, match=r"There is no job 1\."):
        deletion.delete_job(services, job.id)


def test_the_active_job_and_the_published_one_cannot_be_deleted(services: Services) -> None:
    """CAT-13: by us with what to do instead, by the database whatever asks."""
    pointed, active = make_job(services, days_ago=2), make_job(services, active=True)
    point(services, "ruritania", pointed.id, str(pointed.id))
    for job in (pointed, active):
        with pytest.raises(ConfigurationError, match=r"ruritania: job . is the active job.*registry remove ruritania"):
            deletion.delete_job(services, job.id)
        assert job.everything == [True] * 4
    with pytest.raises(IntegrityError), services.database.session() as session:
        session.query(Job).filter_by(id=active.id).delete()


def test_a_running_job_cannot_be_deleted(services: Services) -> None:
    """I5."""
    job = make_job(services, result=None, stages=2)
    with pytest.raises(LockFileError, match="job 1 is left alone, as it is running"):
        deletion.delete_job(services, job.id)
    assert job.everything == [True] * 4


def test_a_crawl_that_still_runs_is_ended_first(services: Services) -> None:
    """COL-15, RET-07: its process holds a lock on a file of the crawl's folder as long as it lives."""
    job = make_job(services, days_ago=1, result=Job.Result.CANCELLED)
    script = (
        "import fcntl, os, signal, sys, time\n"
        "lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\nfcntl.flock(lock, fcntl.LOCK_EX)\n"
        "open(sys.argv[2], 'w').write('{\"pid\": %d}' % os.getpid())\nprint(flush=True)\ntime.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(job.crawl / "lock"), str(job.crawl / "process.json"), job.crawl.name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout
        process.stdout.readline()
        try:
            deletion.delete_job(services, job.id)
            process.wait(10)  # its lock is free, so it has ended, however hard that was
        finally:
            process.kill()
    assert job.everything == [False] * 4


def test_removing_a_publication_takes_what_readers_see_last(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CAT-21: if something can't be deleted, the published version is still there, and a retry goes on from there."""
    jobs = [make_job(services, days_ago=3), make_job(services, days_ago=2, result=Job.Result.FAILED)]
    active, other = make_job(services, active=True), make_job(services, "graustark", active=True)

    def refuse(*_: object) -> None:
        raise RecoverableError("not now")

    monkeypatch.setattr(LocalProcess, "wipe", refuse)
    with pytest.raises(RecoverableError, match="not now"):
        deletion.remove_publication(services, "ruritania")
    assert active.export.is_dir()
    assert read_latest(services.settings.exporter_dir, "ruritania")
    with services.database.session() as session:
        assert session.query(Collection).filter_by(key="ruritania").one().frozen
    monkeypatch.undo()
    deletion.remove_publication(services, "ruritania")
    assert [job.everything for job in (*jobs, active)] == [[False] * 4] * 3
    assert not (services.settings.exporter_dir / "ruritania").exists()
    assert other.everything == [True] * 4
    with services.database.session() as session:
        assert [item.key for item in session.query(Collection)] == ["graustark"]
    with pytest.raises(ConfigurationError, match="the catalogue has no such publication"):
        deletion.remove_publication(services, "ruritania")


def test_the_published_version_can_be_left_to_its_readers(services: Services) -> None:
    """With its pointer; nothing else stays, and cleanup tells of it and leaves it."""
    old, active = make_job(services, days_ago=3), make_job(services, active=True)
    deletion.remove_publication(services, "ruritania", keep_exports=True)
    assert old.everything == [False] * 4
    assert active.everything == [False, False, False, True]
    assert read_latest(services.settings.exporter_dir, "ruritania")
    (action,) = clean(services).actions
    assert (action.action, action.warning) == ("keep", True)
    assert "the catalogue has no such publication" in action.reason


def test_a_publication_with_a_running_job_is_not_removed_but_frozen(services: Services) -> None:
    """I5: nothing new begins meanwhile."""
    active, running = make_job(services, active=True), make_job(services, result=None, stages=1)
    with pytest.raises(LockFileError, match=r"ruritania: job 2 is running. Terminate its run"):
        deletion.remove_publication(services, "ruritania")
    assert [job.everything for job in (active, running)] == [[True] * 4] * 2
    with services.database.session() as session:
        assert session.query(Collection).one().frozen


def test_a_job_that_is_begun_while_its_publication_is_removed_is_not_lost(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleting files takes a while, and Dagit can start a frozen publication: its worker needs the row."""
    make_job(services, active=True)
    begun = []

    def begin(*_: object) -> bool:
        begun.append(make_job(services, result=None, stages=1))
        return False

    with monkeypatch.context() as patch:
        patch.setattr(deletion.withdraw, "remove_folder", begin)
        with pytest.raises(LockFileError, match=r"ruritania: job 2 was begun meanwhile. Terminate its run"):
            deletion.remove_publication(services, "ruritania")
    assert exists(services, begun[0].id)
    assert begun[0].everything == [True] * 4
    with services.database.session() as session:
        session.get_one(Job, begun[0].id).complete(Job.Result.CANCELLED)
    deletion.remove_publication(services, "ruritania")
    assert begun[0].everything == [False] * 4


@pytest.mark.parametrize(("what", "step"), [("job", 1), ("publication", 5)])
def test_a_kill_anywhere_in_between_is_mended_by_a_plain_retry(tmp_path: Path, what: str, step: int) -> None:
    """I5: before every operation (or every fifth) on a file; the other job's version stays whole, or goes last."""
    killing.prepare(tmp_path / "template")
    for moment in range(1, 200, step):
        home = tmp_path / f"home-{moment}"
        shutil.copytree(tmp_path / "template", home)
        code = killing.killed_at(moment, what, home)
        with killing.opened(home) as services:
            job, active = (killing.made(services, number) for number in (1, 2))
            if code != 0:
                assert code == -signal.SIGKILL
                # As long as there are files, there is a row to find them by.
                assert exists(services, 1) or job.everything == [False] * 4
                pointed = read_latest(services.settings.exporter_dir, "ruritania")
                assert pointed is None or (active.export / "full.jsonl.gz").exists()
                killing.work(services, what)
            assert job.everything == [False] * 4
            assert not job.export.with_name("1.r2").exists()
            assert active.export.exists() == (what == "job")
            left = [path.name for path in services.settings.exporter_dir.rglob("*")]
            assert not [name for name in left if name.startswith(".tmp-")]
        if code == 0:
            break
    assert moment > 10


def test_on_postgresql_a_job_is_held_wiped_and_deleted_as_well(postgresql: str, settings: Settings) -> None:
    """RET-03, RET-05, RET-07: the same on the other database, whose rows are locked one by one."""
    servers.create_database(postgresql, "cleanup")
    database = Database(servers.database_url(postgresql, "cleanup"))
    database.migrate()
    try:
        services = Services(settings, database, ScrapyBackend(settings), LocalProcess(settings))
        old, second = make_job(services, days_ago=90), make_job(services, days_ago=60)
        active = make_job(services, days_ago=30, active=True)
        report = clean(services)
        assert sorted((item.action, item.job) for item in report.actions) == [("delete", 1), ("wipe", 2), ("wipe", 3)]
        assert not report.problems
        assert "4 ocids, against 4 of the active job 3" in report.actions[-1].reason
        assert [job.everything for job in (old, second, active)] == [[False] * 4, *[[True, False, False, True]] * 2]
        with services.database.session() as session:
            held = session.get_one(Job, active.id)
            held.context[holding.HOLD] = {**worker.identity(os.getppid()), "since": utcnow().isoformat()}
        with pytest.raises(LockFileError, match="cleans it up already"):
            deletion.wipe_job(services, active.id)
    finally:
        database.dispose()


def test_space_is_counted_once_and_only_if_it_is_freed(tmp_path: Path) -> None:
    """Files that revisions share are freed with the last of their names; sizes are the file system's."""
    write(tmp_path / "a" / "file", "x" * 10_000)
    (tmp_path / "b").mkdir()
    os.link(tmp_path / "a" / "file", tmp_path / "b" / "file")
    (tmp_path / "b" / "link").symlink_to(tmp_path / "a")
    size = (tmp_path / "a" / "file").stat().st_blocks * 512
    assert disk.freeable([tmp_path / "a"]) == 0
    assert disk.freeable([tmp_path / "a", tmp_path / "b"]) == size
    assert disk.freeable([tmp_path / "nothing"]) == 0
    assert [disk.readable(n) for n in (0, 999, 1000, 1_500_000, 2_000_000_000, 145e12)] == [
        "0 bytes",
        "999 bytes",
        "1 kB",
        "1.5 MB",
        "2.0 GB",
        "145.0 TB",
    ]
