"""Versions that are blocked, who may accept them, and what they are compared with (ASK-03, DEF-06)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from exporter import publish
from registry_assets.process_manager import cleanup
from registry_assets.process_manager.publishing import BlockedError, BrokenError, accept, publish_job
from registry_assets.process_manager.services import Services
from registry_resources.database import Collection, Database, Job, Task, utcnow
from registry_resources.exceptions import UnexpectedError
from tests.support.versions import (
    HALF,
    YEARS,
    add_version,
    change,
    collection,
    job,
    make_export,
    pointer,
)


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
