"""Publishing: what is let through, what is written down, and what a process that dies in between leaves."""

from __future__ import annotations

import datetime
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter import publish
from exporter.util import Export
from exporter.verify import verify
from registry_assets.process_manager import cleanup, document, publishing
from registry_assets.process_manager.publishing import BlockedError, BrokenError, accept, mend, publish_job
from registry_assets.process_manager.services import Services
from registry_resources.database import Collection, Database, Job, Task, utcnow
from registry_resources.exceptions import UnexpectedError
from registry_resources.settings import Settings
from tests.support import postgresql as servers
from tests.support.backends import COMPLETED, NoCollect, ScriptedProcess
from tests.support.versions import YEARS, add_version, make_export

HALF = {2023: 30, 2024: 20}


def collection(services: Services) -> Collection:
    with services.database.session(read_only=True) as session:
        found = session.query(Collection).one()
        assert found.active_job_id is None or found.active_job
        assert found.history is not None
        return found


def job(services: Services, number: int) -> Job:
    with services.database.session(read_only=True) as session:
        found = session.get_one(Job, number)
        assert found.tasks
        return found


def change(services: Services, number: int, **fields: object) -> None:
    with services.database.session() as session:
        for name, value in fields.items():
            setattr(session.get_one(Job, number), name, value)


def pointer(services: Services) -> publish.Pointer | None:
    return publish.read_latest(services.settings.exporter_dir, "ruritania")


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


def test_half_a_version_is_blocked_and_kept_and_the_published_one_stays(services: Services) -> None:
    """ASK-03, DEF-06, JOB-19: the job has failed, says why, and its files are there for somebody to look at."""
    first = add_version(services, "ruritania")
    publish_job(services, first)
    before = pointer(services)
    second = add_version(services, "ruritania", HALF)
    with pytest.raises(BlockedError) as caught:
        publish_job(services, second)
    message = str(caught.value)
    assert message.startswith(
        f"ruritania: job {second} is blocked, and job {first}'s version stays published: 50 ocids"
    )
    assert f"registry accept ruritania {second} --reason" in message
    blocked = job(services, second)
    assert (blocked.status, blocked.result) == (Job.Status.COMPLETED, Job.Result.FAILED)
    assert blocked.is_blocked
    assert blocked.blocked.startswith("50 ocids, where the published version has 100: 50% fewer")
    assert blocked.note == f"Blocked: {blocked.blocked}"
    assert pointer(services) == before
    found = collection(services)
    assert found.active_job_id == first
    assert list(found.history) == [str(first)]
    assert (services.settings.exporter_dir / "ruritania" / str(second) / "full.jsonl.gz").is_file()
    with pytest.raises(BlockedError):  # and again
        publish_job(services, second)


def test_a_blocked_version_is_published_once_somebody_has_accepted_it(services: Services) -> None:
    """ASK-03: by name, with the reason and the time; what is as small after that is no loss."""
    publish_job(services, add_version(services, "ruritania"))
    second = add_version(services, "ruritania", HALF)
    with pytest.raises(BlockedError):
        publish_job(services, second)
    earliest = utcnow()
    accept(services.database, "ruritania", second, by="rudolf", reason="The duchy left")
    assert not job(services, second).is_blocked
    publish_job(services, second)
    accepted = job(services, second)
    assert accepted.accepted_at is not None
    assert earliest <= accepted.accepted_at <= utcnow()
    assert (accepted.accepted_by, accepted.accepted_reason) == ("rudolf", "The duchy left")
    assert (accepted.result, accepted.note, accepted.is_blocked) == (Job.Result.SUCCEEDED, "", False)
    assert accepted.blocked, "what it was blocked for is kept with who accepted it"
    found = collection(services)
    assert found.active_job_id == second
    assert [found.history[number]["overridden"] for number in sorted(found.history)] == [False, True]
    third = add_version(services, "ruritania", HALF)
    publish_job(services, third)
    assert collection(services).active_job_id == third


def test_an_acceptance_is_of_what_was_compiled_before_it(services: Services) -> None:
    """What is compiled anew is another version."""
    publish_job(services, add_version(services, "ruritania"))
    second = add_version(services, "ruritania", HALF)
    with pytest.raises(BlockedError):
        publish_job(services, second)
    accept(services.database, "ruritania", second, by="rudolf", reason="so be it")
    with services.database.session() as session:
        task = session.get_one(Job, second).task(Task.Type.PROCESS)
        task.initiate()
        task.complete(Task.Result.OK)
    with pytest.raises(BlockedError):
        publish_job(services, second)
    again = job(services, second)
    assert again.is_blocked
    assert (again.accepted_at, again.accepted_by, again.accepted_reason) == (None, "", "")


def test_a_version_that_is_whole_after_all_is_no_longer_blocked(services: Services) -> None:
    """As when its exporter is run again after the cause was mended."""
    first = add_version(services, "ruritania")
    publish_job(services, first)
    second = add_version(services, "ruritania", HALF)
    with pytest.raises(BlockedError):
        publish_job(services, second)
    change(services, second, context={"process_counts": {"ocids": 100, "compiled_releases": 100}})
    make_export(publish.writable(services.settings.exporter_dir, "ruritania", second), YEARS)
    publish_job(services, second)
    assert job(services, second).blocked == ""


@pytest.mark.parametrize(
    ("arrange", "says"),
    [
        (lambda services, second: accept(services.database, "ruritania", 99, by="r", reason="x"), "it has no job 99"),
        (lambda services, second: accept(services.database, "zenda", second, by="r", reason="x"), "it has no job"),
        (lambda services, second: accept(services.database, "ruritania", 1, by="r", reason="x"), "it isn't blocked"),
        (
            lambda services, second: [
                accept(services.database, "ruritania", second, by="rudolf", reason="x") for _ in range(2)
            ],
            "rudolf has accepted it already",
        ),
    ],
)
def test_only_what_is_blocked_can_be_accepted(
    services: Services, arrange: Callable[[Services, int], object], says: str
) -> None:
    """With a message that tells why not."""
    publish_job(services, add_version(services, "ruritania"))
    second = add_version(services, "ruritania", HALF)
    with pytest.raises(BlockedError):
        publish_job(services, second)
    with pytest.raises(UnexpectedError, match=says):
        arrange(services, second)


def test_a_blocked_version_is_not_accepted_once_there_is_a_later_one(services: Services) -> None:
    """Readers would go back in time, or the later one would be published for it."""
    publish_job(services, add_version(services, "ruritania"))
    blocked = []
    for _ in range(2):
        blocked.append(add_version(services, "ruritania", HALF))
        with pytest.raises(BlockedError):
            publish_job(services, blocked[-1])
    second, third = blocked
    with pytest.raises(UnexpectedError, match=f"the later job {third} is blocked too"):
        accept(services.database, "ruritania", second, by="r", reason="x")
    fourth = add_version(services, "ruritania")
    publish_job(services, fourth)
    with pytest.raises(UnexpectedError, match=f"the later job {fourth} is published"):
        accept(services.database, "ruritania", third, by="r", reason="x")


def test_merge_errors_block_a_version_too(services: Services) -> None:
    """More than half of the ocids: also where Dagster's checks were passed by."""
    number = add_version(services, "ruritania")
    change(services, number, context={"process_counts": {"ocids": 201, "compiled_releases": 100}})
    with pytest.raises(BlockedError, match=r"101 of 201 ocids could not be merged: 50\.25%"):
        publish_job(services, number)
    assert pointer(services) is None
    accept(services.database, "ruritania", number, by="rudolf", reason="known")
    publish_job(services, number)
    assert collection(services).active_job_id == number


def test_nobody_can_accept_an_export_that_is_not_whole(services: Services) -> None:
    """I1, I3: releases that were lost on the way to the export are no matter of opinion."""
    number = add_version(services, "ruritania")
    change(services, number, context={"process_counts": {"ocids": 101, "compiled_releases": 101}})
    with pytest.raises(BrokenError, match=r"101 releases were compiled, and 100 are in full\.jsonl\.gz"):
        publish_job(services, number)
    assert not job(services, number).is_blocked
    assert pointer(services) is None


def test_a_version_of_before_there_was_a_history_is_compared_with_too(services: Services) -> None:
    """By its row: its ocids by its coverage, its counts and its dates."""
    first = add_version(services, "ruritania")
    publish_job(services, first)
    with services.database.session() as session:
        session.query(Collection).one().history = {}
    change(services, first, coverage={"/ocid": 100})
    with pytest.raises(BlockedError, match="50 ocids, where the published version has 100"):
        publish_job(services, add_version(services, "ruritania", HALF))


def test_what_versions_held_outlives_their_jobs(services: Services) -> None:
    """Retention deletes jobs (RET-03); what is usual has to be known all the same. Twelve are remembered."""
    numbers = []
    for i in range(3):
        numbers.append(add_version(services, "ruritania", {2024: 100 + i}))
        publish_job(services, numbers[-1])
    with services.database.session() as session:
        session.delete(session.get_one(Job, numbers[0]))
    history = collection(services).history
    assert [history[str(number)]["profile"]["ocids"] for number in numbers] == [100, 101, 102]
    assert history[str(numbers[0])]["profile"]["years"] == {"2024": 100}
    with services.database.session() as session:
        found = session.query(Collection).one()
        found.history = {str(900 + i): history[str(numbers[2])] for i in range(12)}
    fourth = add_version(services, "ruritania", {2024: 103})
    publish_job(services, fourth)
    assert len(collection(services).history) == 12


class Died(BaseException):
    """What no code handles."""


def test_a_process_that_dies_after_the_pointer_moved_is_mended(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JOB-16: the database says what readers see, at the next look; and publishing again changes nothing else."""
    first = add_version(services, "ruritania")
    publish_job(services, first)
    assert mend(services) == []
    second = add_version(services, "ruritania")
    original = publish.publish

    def die(target: Export, *, job: int) -> None:
        original(target, job=job)
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(publishing.publish, "publish", die)
        with pytest.raises(Died):
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


def test_the_history_is_written_with_the_job(database: Database, services: Services) -> None:
    """Each revision changes the publication's row, for those who watch it."""
    first = add_version(services, "ruritania")
    publish_job(services, first)
    before = collection(services)
    publish.writable(services.settings.exporter_dir, "ruritania", first)  # forks the published directory
    publish_job(services, first)
    after = collection(services)
    assert after.history[str(first)]["directory"] == f"{first}.r2"
    assert after.modified > before.modified


def test_cleaning_up_keeps_what_somebody_may_still_accept(services: Services) -> None:
    """Until a later version is published, or blocked too: then that is the one to look at."""
    publish_job(services, add_version(services, "ruritania"))
    second = add_version(services, "ruritania", HALF)
    with pytest.raises(BlockedError):
        publish_job(services, second)
    third = add_version(services, "ruritania")
    with services.database.session() as session:
        later = session.get_one(Job, third)
        later.task(Task.Type.FLATTENER).complete(Task.Result.FAILED, "no")
        later.complete(Job.Result.FAILED, "no")
    assert second not in without_exports(services)
    with services.database.session() as session:
        session.get_one(Job, third).task(Task.Type.FLATTENER).complete(Task.Result.OK)
    publish_job(services, third)
    assert second in without_exports(services)


def without_exports(services: Services) -> set[int | None]:
    """The jobs whose exports cleaning up would delete."""
    report = cleanup.clean(services, keys=["ruritania"], dry_run=True)
    return {action.job for action in report.actions if action.action == "exports"}


def test_on_postgresql_it_is_the_same(settings: Settings, postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
        original = publish.publish

        def die(target: Export, *, job: int) -> None:
            original(target, job=job)
            raise Died

        with monkeypatch.context() as patch:
            patch.setattr(publishing.publish, "publish", die)
            with pytest.raises(Died):
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
