"""The sensor that tells people what changed, on Dagster's own instance, with real runs, mail and webhooks."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner
from sqlalchemy import update

from registry_assets.commands.check import run_checks
from registry_assets.commands.notify_test import notify_test
from registry_assets.sensors.notifications import notify
from registry_resources.dagster_resources import DatabaseResource, SettingsResource
from registry_resources.database import Database, Job, Notice, utcnow
from registry_resources.exceptions import ConfigurationError
from registry_resources.settings import MAIL_VARIABLES
from tests.services.hook import PATH, Hook
from tests.services.mailbox import Mailbox
from tests.support.registry import TestRegistry

LONG_AGO = datetime.timedelta(hours=1)


@pytest.fixture(autouse=True)
def _no_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*MAIL_VARIABLES, "REGISTRY_WEBHOOK_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    with Mailbox(login=("robot", "canary-of-a-mailbox")) as server:
        monkeypatch.setenv("REGISTRY_SMTP_URL", server.url)
        monkeypatch.setenv("REGISTRY_MAIL_FROM", "registry@example.org")
        monkeypatch.setenv("REGISTRY_MAIL_TO", "a@example.org")
        yield server


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    with Hook() as server:
        monkeypatch.setenv("REGISTRY_WEBHOOK_URL", server.url)
        yield server


def tick(registry: TestRegistry, cursor: str | None = None) -> str:
    """What a tick says, once all that happened so far happened an hour ago."""
    with registry.database.session() as session:
        for job in session.query(Job).filter(Job.status == Job.Status.COMPLETED):
            session.execute(update(Job).where(Job.id == job.id).values(end=job.end and job.end - LONG_AGO))
    context = dg.build_sensor_context(
        instance=registry.instance,
        cursor=cursor,
        resources={"settings": SettingsResource(), "database": DatabaseResource()},
    )
    with context:
        result = notify(context)
    assert isinstance(result, dg.SkipReason)
    assert bool(context.cursor != cursor) == result.skip_message.startswith("ruritania ")
    return str(result.skip_message)


def test_a_failed_run_is_mailed_and_posted_once_and_so_is_its_recovery(
    registry: TestRegistry, tmp_path: Path, mailbox: Mailbox, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    """ASK-12: with a link to the run; and always in the process' log."""
    source = tmp_path / "releases.jsonl"
    registry.add("ruritania", arguments={"urls": str(source)})
    result = registry.run("ruritania")
    assert not result.success
    with caplog.at_level(logging.WARNING, logger="registry_assets.sensors.notifications"):
        said = tick(registry)
    assert said == "ruritania failed; e-mail: taken; webhook: taken (200)"
    assert [record.getMessage() for record in caplog.records if record.getMessage().startswith("ruritania failed: ")]
    (mail,) = mailbox.messages
    assert mail["Subject"] == "Registry: ruritania failed"
    assert f"http://127.0.0.1:3000/runs/{result.run_id}" in mail.get_content()
    assert str(registry.jobs("ruritania")[0].note).split()[0] in mail.get_content()
    assert hook.posts[0].body["events"][0]["url"] == f"http://127.0.0.1:3000/runs/{result.run_id}"
    assert tick(registry) == "Nothing has changed since people were told."

    source.write_text('{"ocid": "ocds-213czf-1", "id": "1", "date": "2021-01-01T00:00:00Z", "tag": ["tender"]}\n')
    assert registry.run("ruritania").success
    assert tick(registry) == "ruritania recovered; e-mail: taken; webhook: taken (200)"
    assert mailbox.messages[1]["Subject"] == "Registry: ruritania recovered"
    assert len(hook.posts) == 2


def test_without_a_way_it_is_in_the_log_and_waits_nowhere(
    registry: TestRegistry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """ASK-12: to the log always. Ten minutes after something was told, the next may be."""
    registry.add("ruritania", arguments={"urls": str(tmp_path / "nothing.json")})
    registry.run("ruritania")
    told = utcnow() - datetime.timedelta(minutes=9)
    until = f"{told + datetime.timedelta(minutes=10):%H:%M}"
    assert tick(registry, told.isoformat()) == f"What changes until {until} UTC is told together then."
    assert not any(record.getMessage().startswith("ruritania failed: ") for record in caplog.records)
    earlier = (told - datetime.timedelta(minutes=1)).isoformat()
    assert tick(registry, earlier) == "ruritania failed"
    assert any(record.getMessage().startswith("ruritania failed: collect: ") for record in caplog.records)
    with registry.database.session(read_only=True) as session:
        assert session.query(Notice).count() == 0


def test_a_way_that_does_not_work_keeps_no_other_from_working(
    registry: TestRegistry, tmp_path: Path, mailbox: Mailbox, hook: Hook
) -> None:
    """And a tick, like `registry check`, says what waits and why, without secrets."""
    mailbox.login = ("robot", "another")
    registry.add("ruritania", arguments={"urls": str(tmp_path / "nothing.json")})
    registry.run("ruritania")
    said = tick(registry)
    assert "ruritania failed; e-mail: The mail server localhost" in said
    assert "took no message: 535 no, robot with *** is unknown. Check the user and password" in said
    assert "(next try at " in said
    assert said.endswith("; webhook: taken (200)")
    assert len(hook.posts) == 1
    (outcome,) = [outcome for outcome in run_checks() if outcome.check == "notifications"]
    assert outcome.status == "warning"
    assert outcome.detail.startswith("1 wait for e-mail: The mail server")
    assert "canary" not in said + outcome.detail


def test_the_test_message_is_sent_by_each_way_and_the_answers_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mailbox: Mailbox, hook: Hook
) -> None:
    """With exit code 1 if one did not take it."""
    monkeypatch.setenv("REGISTRY_HOME", str(tmp_path))
    done = CliRunner().invoke(notify_test)
    assert done.exit_code == 0
    assert done.output == (
        f"e-mail to a@example.org through localhost:{mailbox.port} without TLS: taken\n"
        f"webhook to {hook.url.removesuffix(PATH)}: taken (200)\n"
    )
    assert mailbox.messages[0]["Subject"] == "Registry: a test"
    hook.fault = 404
    failed = CliRunner().invoke(notify_test)
    assert failed.exit_code == 1
    assert "took no message: it answered 404 Not Found" in failed.output
    as_json = CliRunner().invoke(notify_test, "--json")
    assert as_json.exit_code == 1
    assert '"sent": true' in as_json.output
    assert "canary" not in done.output + failed.output + as_json.output


def test_without_a_way_there_is_nothing_to_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to set."""
    monkeypatch.setenv("REGISTRY_HOME", str(tmp_path))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    error = CliRunner().invoke(notify_test).exception
    assert isinstance(error, ConfigurationError)
    assert "Set REGISTRY_SMTP_URL, REGISTRY_MAIL_FROM and REGISTRY_MAIL_TO, or REGISTRY_WEBHOOK_URL" in str(error)
    database = Database(f"sqlite:///{tmp_path}/registry.sqlite3")
    database.migrate()
    database.dispose()
    (outcome,) = [outcome for outcome in run_checks() if outcome.check == "notifications"]
    assert outcome == ("notifications", "ok", "to the log; nowhere else")
