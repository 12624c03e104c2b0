"""What is on the disk without a job, and what merely looks so."""

from __future__ import annotations

import pytest

from registry_assets.process_manager.cleanup import clean
from registry_assets.process_manager.services import Services
from registry_resources.collect.scrapy import ScrapyBackend
from registry_resources.database import Collection, Database, Job
from registry_resources.process.local import LocalProcess
from registry_resources.settings import Settings
from tests.support.leftovers import Made, age, make_job, point, write


@pytest.fixture
def services(settings: Settings, database: Database) -> Services:
    return Services(settings, database, ScrapyBackend(settings), LocalProcess(settings))


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
