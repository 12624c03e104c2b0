"""Publishing: what is let through, what is written down, and what a process that dies in between leaves."""

from __future__ import annotations

import datetime
import json
import threading
import time
from pathlib import Path

import pytest

from exporter import publish
from exporter.util import Export
from exporter.verify import verify
from registry_assets.process_manager import document, publishing
from registry_assets.process_manager.publishing import BlockedError, accept, mend, publish_job
from registry_assets.process_manager.services import Services
from registry_resources.database import Collection, Database, Job, Task
from registry_resources.exceptions import UnexpectedError
from registry_resources.settings import Settings
from tests.support import postgresql as servers
from tests.support.backends import COMPLETED, NoCollect, ScriptedProcess
from tests.support.versions import (
    HALF,
    Died,
    add_version,
    change,
    collection,
    dying_after_the_pointer_moved,
    job,
    pointer,
)


def test_a_published_job_is_the_active_one(services: Services) -> None:
    """JOB-16, CAT-11, CAT-13, CAT-14: in one transaction; the day retrieved is the one on which collecting ended."""
    number = add_version(services, "ruritania")
    change(services, number, publication_policy="https://example.com/policy", license="https://example.com/open")
    with services.database.session() as session:
        task = session.get_one(Job, number).task(Task.Type.COLLECT)
        task.start = datetime.datetime(2026, 3, 31, 20, tzinfo=datetime.UTC)
        task.end = datetime.datetime(2026, 4, 1, 0, 0, tzinfo=datetime.UTC)
    published = publish_job(services, number)
    found = collection(services)
    assert (found.active_job_id, found.last_retrieved) == (number, datetime.date(2026, 4, 1))
    assert found.publication_policy == "https://example.com/policy"
    assert job(services, number).result == Job.Result.SUCCEEDED
    assert published.pointer == pointer(services)
    assert published.pointer.job == str(number)
    assert {finding.check for finding in published.findings if finding.blocks} == set()


def test_a_policy_that_was_chosen_stays(services: Services) -> None:
    """CAT-11: only an empty one is filled."""
    with services.database.session() as session:
        session.query(Collection).one().publication_policy = "https://example.com/chosen"
    number = add_version(services, "ruritania")
    change(services, number, publication_policy="https://example.com/policy")
    publish_job(services, number)
    assert collection(services).publication_policy == "https://example.com/chosen"


@pytest.mark.parametrize("undone", list(Task.Type))
def test_a_job_with_a_task_that_has_not_succeeded_is_not_published(services: Services, undone: Task.Type) -> None:
    """I3: whatever Dagster thinks."""
    first = add_version(services, "ruritania")
    publish_job(services, first)
    number = add_version(services, "ruritania")
    with services.database.session() as session:
        session.get_one(Job, number).task(undone).complete(Task.Result.FAILED, "no")
    with pytest.raises(UnexpectedError, match=f"before {undone} has succeeded"):
        publish_job(services, number)
    assert job(services, number).result == Job.Result.FAILED
    found = pointer(services)
    assert found is not None
    assert found.job == str(first) == str(collection(services).active_job_id)


def test_an_older_job_is_not_published_over_a_newer_one(services: Services) -> None:
    """As when its failed run goes on after another has refreshed the publication: readers keep what is new."""
    older = add_version(services, "ruritania")
    with services.database.session() as session:
        session.get_one(Job, older).complete(Job.Result.FAILED, "no luck")
    newer = add_version(services, "ruritania")
    publish_job(services, newer)
    before = pointer(services)
    with services.database.session() as session:
        session.get_one(Job, older).initiate()
    with pytest.raises(UnexpectedError, match=f"job {older} can't be published, since the later job {newer} is"):
        publish_job(services, older)
    assert pointer(services) == before
    assert collection(services).active_job_id == newer
    assert job(services, older).result == Job.Result.FAILED


def test_a_process_that_dies_after_the_pointer_moved_is_mended(services: Services) -> None:
    """JOB-16: the database says what readers see, at the next look; and publishing again changes nothing else."""
    first = add_version(services, "ruritania")
    publish_job(services, first)
    assert mend(services) == []
    second = add_version(services, "ruritania")
    with dying_after_the_pointer_moved():
        publish_job(services, second)
    moved = pointer(services)
    assert moved is not None
    assert moved.job == str(second)
    assert collection(services).active_job_id == first
    assert not job(services, second).is_complete
    # What the watch does to a job whose worker is gone.
    with services.database.session() as session:
        session.get_one(Job, second).complete(Job.Result.FAILED, "Its process is gone")
    assert mend(services) == [f"ruritania: job {second} was published, and its process died before it could say so."]
    assert mend(services) == []
    assert pointer(services) == moved
    found = collection(services)
    assert (found.active_job_id, sorted(found.history, key=int)) == (second, [str(first), str(second)])
    assert job(services, second).result == Job.Result.SUCCEEDED
    publish_job(services, second)
    assert pointer(services) == moved


def test_a_process_that_dies_before_the_pointer_moves_has_published_nothing(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction is not committed, so both still say the version before."""
    first = add_version(services, "ruritania")
    publish_job(services, first)
    second = add_version(services, "ruritania")

    def die(_: Export, *, job: int) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(publishing.publish, "publish", die)
        with pytest.raises(Died):
            publish_job(services, second)
    assert mend(services) == []
    assert collection(services).active_job_id == first
    publish_job(services, second)
    assert collection(services).active_job_id == second


def test_a_publication_that_cant_be_mended_is_told_and_keeps_no_other_from_it(services: Services) -> None:
    """As when somebody deleted a file of the version that its process could not write down. Sensors go on."""
    with services.database.session() as session:
        session.add(Collection(key="borduria", title="Borduria", source_id="bulk"))
    for key in ("borduria", "ruritania"):
        with dying_after_the_pointer_moved():
            publish_job(services, add_version(services, key))
    (services.settings.exporter_dir / "borduria" / "1" / "coverage.json").unlink()
    broken, mended = mend(services)
    assert broken.startswith("borduria: the database can't be told that job 1 was published: ")
    assert mended == "ruritania: job 2 was published, and its process died before it could say so."


def test_a_pointer_that_is_damaged_is_told_and_left_alone(services: Services) -> None:
    """Nobody knows what it said."""
    publish_job(services, add_version(services, "ruritania"))
    path = services.settings.exporter_dir / "ruritania" / "latest.json"
    path.write_text("{")
    (sentence,) = mend(services)
    assert str(path) in sentence
    assert path.read_text() == "{"


def test_a_reader_sees_one_whole_version_while_others_are_published(services: Services) -> None:
    """I1, I2: whichever the pointer names, every file matches the manifest that it names."""
    root = services.settings.exporter_dir
    publish_job(services, add_version(services, "ruritania"))
    done, faults, seen = threading.Event(), [], set()

    def poll() -> None:
        while not done.is_set():
            found = publish.read_latest(root, "ruritania")
            if found is None:
                faults.append("no pointer")
                continue
            seen.add(found.directory)
            _, wrong = verify(Export("ruritania", found.directory, root=root), workers=1)
            faults.extend(wrong)

    reader = threading.Thread(target=poll)
    reader.start()
    try:
        for years in ({2023: 61, 2024: 40}, HALF, {2023: 62, 2024: 41}, {2022: 5, 2023: 62, 2024: 41}):
            number = add_version(services, "ruritania", years)
            if years == HALF:
                with pytest.raises(BlockedError):
                    publish_job(services, number)
            else:
                publish_job(services, number)
            time.sleep(0.1)
    finally:
        done.set()
        reader.join()
    assert faults == []
    assert len(seen) > 1
    assert "3" not in seen, "the blocked version was published"


def test_the_manifest_of_a_published_version_never_changes_by_publishing_again(services: Services) -> None:
    """I2."""
    first = add_version(services, "ruritania")
    publish_job(services, first)
    folder: Path = services.settings.exporter_dir / "ruritania" / str(first)
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    assert json.loads(before["manifest.json"][0])["job"] == {"key": "ruritania", "id": str(first)}
    publish_job(services, first)
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()} == before


def test_on_postgresql_it_is_the_same(settings: Settings, postgresql: str) -> None:
    """Blocked, accepted, published, and mended after a death between pointer and commit."""
    servers.create_database(postgresql, "publishing")
    database = Database(servers.database_url(postgresql, "publishing"))
    try:
        database.migrate()
        with database.session() as session:
            session.add(Collection(key="ruritania", title="Ruritania", source_id="bulk", public=True))
        services = Services(settings, database, NoCollect(), ScriptedProcess(COMPLETED))  # type: ignore[arg-type]
        publish_job(services, add_version(services, "ruritania"))
        second = add_version(services, "ruritania", HALF)
        with pytest.raises(BlockedError):
            publish_job(services, second)
        accept(database, "ruritania", second, by="rudolf", reason="so be it")
        publish_job(services, second)
        third = add_version(services, "ruritania", HALF)
        with dying_after_the_pointer_moved():
            publish_job(services, third)
        with database.session(read_only=True) as session:
            before = document.state(session)
        assert len(mend(services)) == 1
        assert collection(services).active_job_id == third
        with database.session(read_only=True) as session:
            assert document.state(session) != before
        (publication,) = document.write(services).document.publications
        assert publication.version is not None
        assert (publication.version.job, publication.version.ocids) == (third, 50)
    finally:
        database.dispose()
