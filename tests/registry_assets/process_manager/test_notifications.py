"""What changed is told once and never lost, asked of real databases and sent to real servers."""

from __future__ import annotations

import datetime
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import event, insert, select

from registry_assets.process_manager import notifications, outbox
from registry_assets.process_manager.outbox import Sending
from registry_resources.database import Collection, Database, Job, Notice, Task, Trouble
from registry_resources.database.choices import JobResult, JobStatus
from registry_resources.notify import Webhook
from tests.services.hook import Hook

NOW = datetime.datetime(2026, 11, 24, 9, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)
DAGIT = "http://127.0.0.1:3000"


@pytest.fixture
def database(url: str, connect: Callable[[str], Database]) -> Database:
    """A migrated database without publications."""
    return connect(url)


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        yield server


def add(database: Database, key: str, **fields: object) -> None:
    with database.session() as session:
        session.add(Collection(key=key, title=key.title(), source_id="bulk", **fields))


def end(database: Database, key: str, result: JobResult, note: str = "", ago: datetime.timedelta = 10 * MINUTE) -> int:
    """A new job of the publication ends, so long ago."""
    with database.session() as session:
        job = Job.plan(session.scalars(select(Collection).where(Collection.key == key)).one())
        session.add(job)
        job.initiate(NOW - ago)
        session.flush()
        job.run_id = f"run-{job.id}"
        for task in job.tasks:
            task.initiate(NOW - ago)
            task.complete(Task.Result.OK, at=NOW - ago)
        job.complete(result, note, NOW - ago)
        return job.id


def fail(database: Database, key: str, note: str = "collect: HTTP 403") -> int:
    return end(database, key, JobResult.FAILED, note)


def record(database: Database, *ways: str, now: datetime.datetime = NOW, log: list[str] | None = None) -> list[str]:
    """What is told: keys and kinds."""
    lines: list[str] = [] if log is None else log
    news = notifications.record(database, ways, DAGIT, lines.append, now)
    return [f"{item.key} {item.event.kind}" for item in news]


def notices(database: Database) -> list[Notice]:
    with database.session(read_only=True) as session:
        return list(session.scalars(select(Notice).order_by(Notice.id)))


def troubles(database: Database) -> int:
    with database.session(read_only=True) as session:
        return len(session.scalars(select(Trouble)).all())


def deliver(database: Database, hook: Hook, now: datetime.datetime, timeout: float = 5) -> list[Sending]:
    return outbox.deliver(database, {"webhook": Webhook(hook.url, timeout)}, lambda: now)


def test_what_changed_is_told_once_in_the_log_and_by_each_way(database: Database) -> None:
    """ASK-12: the first failure, and the recovery. What is well, or was never collected, is not told of."""
    for key in ("moldova", "nigeria", "peru", "chile"):
        add(database, key)
    end(database, "nigeria", JobResult.SUCCEEDED)
    end(database, "peru", JobResult.CANCELLED, "Cancelled during collect")
    job = fail(database, "moldova")
    log: list[str] = []
    assert record(database, "e-mail", "webhook", log=log) == ["moldova failed"]
    (line,) = log
    assert line == (
        f"moldova failed: collect: HTTP 403 (job {job}, since 2026-11-24 08:50 UTC). `registry show moldova` tells "
        "more. `registry run moldova` tries again now, not only when it is due."
    )
    assert [notice.channel for notice in notices(database)] == ["e-mail", "webhook"]
    assert len({notice.number for notice in notices(database)}) == 2
    assert notices(database)[0].events[0]["url"] == f"{DAGIT}/runs/run-{job}"
    assert record(database, "e-mail") == []
    fail(database, "moldova", "collect: HTTP 403")
    assert record(database, "e-mail") == []
    end(database, "moldova", JobResult.SUCCEEDED)
    assert record(database, "e-mail") == ["moldova recovered"]
    assert record(database, "e-mail") == []
    assert len(notices(database)) == 3
    assert troubles(database) == 0


def test_a_blocked_version_is_told_until_it_is_accepted_and_published(database: Database) -> None:
    """ASK-03. Between the two, nothing is: somebody is at it."""
    add(database, "moldova")
    job_id = fail(database, "moldova", "publishing: half is missing")

    def change(**values: object) -> None:
        with database.session() as session:
            job = session.get_one(Job, job_id)
            for name, value in values.items():
                setattr(job, name, value)

    change(blocked="half is missing")
    assert record(database, "webhook") == ["moldova blocked"]
    assert f"registry accept moldova {job_id} --reason" in notices(database)[0].text
    change(accepted_at=NOW - MINUTE, accepted_by="ana", accepted_reason="they closed an office")
    assert record(database) == []
    change(result=JobResult.SUCCEEDED)
    assert record(database) == ["moldova recovered"]


def test_freezing_is_proposed_after_three_failures_unless_it_is_frozen(database: Database) -> None:
    """ASK-12, CAT-15."""
    add(database, "moldova")
    add(database, "peru", frozen=True)
    for _ in range(3):
        fail(database, "moldova")
        fail(database, "peru")
    assert record(database) == ["moldova failed", "moldova freeze", "peru failed"]
    assert record(database) == []


def test_what_was_deleted_is_told_of_no_more(database: Database) -> None:
    """Neither a deleted job nor a deleted publication is a recovery, or an error."""
    add(database, "moldova")
    end(database, "moldova", JobResult.SUCCEEDED)
    job_id = fail(database, "moldova")
    assert record(database) == ["moldova failed"]
    with database.session() as session:
        session.delete(session.get_one(Job, job_id))
    assert record(database) == []
    assert troubles(database) == 1
    with database.session() as session:
        session.delete(session.scalars(select(Collection)).one())
    assert record(database) == []
    assert troubles(database) == 0


def test_a_hundred_and_fifty_failures_are_one_message(database: Database, hook: Hook) -> None:
    """A full disk is told once, not 150 times."""
    with database.session() as session:
        for n in range(150):
            job = Job.plan(Collection(key=f"publication_{n:03}", title="T", source_id="bulk"))
            session.add(job)
            job.initiate(NOW - 20 * MINUTE)
            job.complete(JobResult.FAILED, f"exporter: No space left: {n} MB free", NOW - 10 * MINUTE)
    assert len(record(database, "webhook")) == 150
    assert deliver(database, hook, NOW) == [Sending("webhook", sent=True, detail="taken (200)")]
    (post,) = hook.posts
    assert post.body["subject"] == "Registry: 150 failed"
    assert post.body["text"].startswith("150 publications failed (in these or similar words): exporter: No space left")
    assert len(post.body["events"]) == 150
    assert notices(database) == []


@pytest.mark.parametrize("fault", [500, 404, "hang", "drop"])
def test_what_cannot_be_sent_is_sent_later_and_once(database: Database, hook: Hook, fault: int | str) -> None:
    """Tried again after 1, 2, 4 … minutes; other news meanwhile waits its turn; in the end each arrived once."""
    add(database, "moldova")
    fail(database, "moldova")
    record(database, "webhook")
    hook.fault = fault
    patience = 0.5 if fault == "hang" else 30
    (sending,) = deliver(database, hook, NOW, timeout=patience)
    assert not sending.sent
    assert sending.detail.endswith("(next try at 09:01:00 UTC)")
    assert deliver(database, hook, NOW + MINUTE - datetime.timedelta(seconds=1), timeout=patience) == []
    (sending,) = deliver(database, hook, NOW + MINUTE, timeout=patience)
    assert sending.detail.endswith("(next try at 09:03:00 UTC)")
    end(database, "moldova", JobResult.SUCCEEDED)
    record(database, "webhook", now=NOW + 3 * MINUTE)
    deliver(database, hook, NOW + 3 * MINUTE, timeout=patience)
    with database.session(read_only=True) as session:
        ((way, count, error),) = outbox.waiting(session)
    assert (way, count) == ("webhook", 2)
    assert "took no message" in error
    hook.fault = ""
    for minutes in range(4, 20):
        deliver(database, hook, NOW + minutes * MINUTE)
    assert sorted(post.body["subject"] for post in hook.posts) == [
        "Registry: moldova failed",
        "Registry: moldova recovered",
    ]
    assert notices(database) == []


def test_a_message_that_arrived_without_an_answer_comes_again_with_its_number(database: Database, hook: Hook) -> None:
    """At least once: whoever gets it twice can tell."""
    add(database, "moldova")
    fail(database, "moldova")
    record(database, "webhook")
    hook.fault = "hang-after"
    deliver(database, hook, NOW, timeout=1)
    hook.fault = ""
    deliver(database, hook, NOW + MINUTE)
    assert len(hook.posts) == 2
    assert len({post.headers["Idempotency-Key"] for post in hook.posts}) == 1


def test_one_message_that_is_refused_for_ever_keeps_no_other_from_being_sent(database: Database, hook: Hook) -> None:
    """And it is given up after a week, which is told."""
    add(database, "moldova")
    fail(database, "moldova")
    record(database, "webhook")
    hook.fault = 400
    sendings: list[Sending] = []
    with database.session(read_only=True) as session:
        created = session.scalars(select(Notice.created)).one()
    for quarters in range(4 * 7 + 1):
        sendings += deliver(database, hook, created + datetime.timedelta(hours=6 * quarters, minutes=1))
        if quarters == 10:
            end(database, "moldova", JobResult.SUCCEEDED)
            record(database, "webhook")
            hook.fault = ""
            with database.session(read_only=True) as session:
                latest = session.scalars(select(Notice.created).order_by(Notice.id.desc())).first()
            assert latest is not None
            sendings += deliver(database, hook, latest)
            hook.fault = 400
    assert [post.body["subject"] for post in hook.posts] == ["Registry: moldova recovered"]
    assert sendings[-1].detail == (
        "given up after 7 days: Registry: moldova failed: The webhook at "
        f"{hook.url.rpartition('/services')[0]} took no message: it answered 400 Bad Request"
    )
    assert notices(database) == []
    assert [sending.sent for sending in sendings].count(True) == 1
    assert hook.asked == len(sendings) == 4 * 7 + 2


def test_what_waits_for_a_way_that_is_not_configured_waits_a_week(database: Database, hook: Hook) -> None:
    """The setting may be missing by mistake, or be another process's."""
    add(database, "moldova")
    fail(database, "moldova")
    record(database, "e-mail")
    (notice,) = notices(database)
    assert deliver(database, hook, notice.created + datetime.timedelta(days=7)) == []
    (sending,) = deliver(database, hook, notice.created + datetime.timedelta(days=7, seconds=1))
    assert "given up after 7 days: Registry: moldova failed: it is not configured any more" in sending.detail
    assert notices(database) == []


def test_a_process_that_is_killed_while_it_sends_loses_nothing(url: str, database: Database, hook: Hook) -> None:
    """Others leave its message alone for five minutes, and send it then."""
    add(database, "moldova")
    fail(database, "moldova")
    record(database, "webhook")
    hook.fault = "hang-after"
    code = (
        "import sys, datetime\n"
        "from registry_assets.process_manager import outbox\n"
        "from registry_resources.database import Database\n"
        "from registry_resources.notify import Webhook\n"
        "now = datetime.datetime.fromisoformat(sys.argv[3])\n"
        "outbox.deliver(Database(sys.argv[1]), {'webhook': Webhook(sys.argv[2])}, lambda: now)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, url, hook.url, NOW.isoformat()])
    deadline = time.monotonic() + 120
    while not hook.posts and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    hook.fault = ""
    assert deliver(database, hook, NOW + 5 * MINUTE - datetime.timedelta(seconds=1)) == []
    assert deliver(database, hook, NOW + 5 * MINUTE) == [Sending("webhook", sent=True, detail="taken (200)")]
    assert len(hook.posts) == 2
    assert len({post.headers["Idempotency-Key"] for post in hook.posts}) == 1


def test_two_daemons_tell_each_thing_once(url: str, database: Database, hook: Hook) -> None:
    """However many look at once: the database lets one of them tell, and one of them send."""
    keys = [f"publication_{n:02}" for n in range(20)]
    for key in keys:
        add(database, key)
    told: list[str] = []

    def look(started: threading.Barrier) -> None:
        own = Database(url)
        try:
            started.wait()
            for _ in range(3):
                told.extend(record(own, "webhook"))
                deliver(own, hook, NOW)
        finally:
            own.dispose()

    for round_, result in enumerate((JobResult.FAILED, JobResult.SUCCEEDED, JobResult.FAILED)):
        for key in keys:
            end(database, key, result, "collect: HTTP 403")
        barrier = threading.Barrier(6)
        threads = [threading.Thread(target=look, args=(barrier,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        record(database, "webhook")
        deliver(database, hook, NOW)
        kind = "failed" if result == JobResult.FAILED else "recovered"
        assert sorted(told) == [f"{key} {kind}" for key in keys], f"round {round_}"
        events = [f"{item['publication']} {item['kind']}" for post in hook.posts for item in post.body["events"]]
        assert sorted(events) == sorted(told)
        told.clear()
        hook.posts.clear()
    assert notices(database) == []


def test_a_tick_over_five_thousand_publications_takes_seconds(database: Database) -> None:
    """500 of them fail, each with a job before; the next tick has nothing to tell, and writes nothing."""
    with database.session() as session:
        session.execute(
            insert(Collection), [{"key": f"p{n:05}", "title": "T", "source_id": "bulk"} for n in range(5_000)]
        )
        ids = session.scalars(select(Collection.id).order_by(Collection.id)).all()
        jobs = [
            {
                "collection_id": id_,
                "status": JobStatus.COMPLETED,
                "result": JobResult.FAILED if number == 1 and id_ % 10 == 0 else JobResult.SUCCEEDED,
                "start": NOW - datetime.timedelta(days=40 - number),
                "end": NOW - datetime.timedelta(days=40 - number),
                "note": "collect: HTTP 403",
            }
            for number in range(2)
            for id_ in ids
        ]
        session.execute(insert(Job), jobs)
    start = time.monotonic()
    assert len(record(database, "webhook")) == 500
    assert time.monotonic() - start < 30
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda _, __, statement, *___: statements.append(statement))
    start = time.monotonic()
    assert record(database, "webhook") == []
    assert time.monotonic() - start < 15
    assert len([statement for statement in statements if statement.startswith("SELECT")]) == 2
    assert not [statement for statement in statements if statement.startswith(("INSERT", "UPDATE", "DELETE"))]
    assert len(notices(database)) == 1


def test_the_wait_doubles_up_to_an_hour() -> None:
    minutes = [int(outbox.wait(attempts) / MINUTE) for attempts in range(1, 10)]
    assert minutes == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert outbox.wait(100_000) == 60 * MINUTE
