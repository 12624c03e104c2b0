"""`registry delete-job`, `remove` and `backfill` where they ask, are declined, refuse or fail."""

from __future__ import annotations

import signal
from collections.abc import Callable

import click
import pytest
from click.testing import CliRunner, Result

from registry_assets.cli import cli
from registry_assets.commands.common import DeclinedError, confirm
from registry_assets.process_manager import deletion
from registry_assets.process_manager.services import Services
from registry_resources.collect.scrapy import ScrapyBackend
from registry_resources.database import Collection, Job
from registry_resources.exceptions import LockFileError, RecoverableError
from registry_resources.process.local import LocalProcess
from tests.support.leftovers import exists, make_job
from tests.support.registry import TestRegistry


@pytest.fixture
def services(registry: TestRegistry) -> Services:
    settings = registry.settings
    return Services(settings, registry.database, ScrapyBackend(settings), LocalProcess(settings))


@pytest.fixture
def command(registry: TestRegistry) -> Callable[..., Result]:
    """Runs a command in this process."""
    return lambda *arguments, answer=None: CliRunner().invoke(cli, [str(a) for a in arguments], input=answer)


def test_a_no_is_no_interruption(services: Services, command: Callable[..., Result]) -> None:
    """Exit code 1, and what became of it."""
    job = make_job(services, result=Job.Result.FAILED)
    result = command("delete-job", "ruritania", job.id, answer="n\n")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "Nothing was changed."
    nobody = command("remove", "ruritania", answer="")
    assert nobody.exit_code == 1
    assert nobody.stderr.splitlines()[-1] == ("Nothing was changed, since nobody answered. Say --yes to not be asked.")
    assert exists(services, job.id)


def test_ctrl_c_at_a_question_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no answer: the command line ends with its exit code for interruptions."""

    def interrupt(*_: object, **__: object) -> str:
        raise KeyboardInterrupt(signal.SIGINT)

    monkeypatch.setattr("click.termui.visible_prompt_func", interrupt)
    with pytest.raises(click.Abort):
        confirm("Go on?")
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "n")
    with pytest.raises(DeclinedError):
        confirm("Go on?")


def test_deleting_the_only_job_says_that_the_publication_is_due_then(
    registry: TestRegistry, services: Services, command: Callable[..., Result]
) -> None:
    """JOB-05 counts jobs that are there: one that failed keeps it from being due for a week."""
    job = make_job(services, days_ago=1, result=Job.Result.FAILED)
    with registry.database.session() as session:
        session.query(Collection).one().retrieval_frequency = "MONTHLY"
    said = "Without job 1 it is due at once (never retrieved), and Dagster plans a new job."
    asked = command("delete-job", "ruritania", job.id, answer="n\n")
    assert said in asked.stderr
    assert "`registry freeze ruritania` keeps it from that." in asked.stderr
    another = make_job(services, days_ago=2, result=Job.Result.FAILED)
    assert "due at once" not in command("delete-job", "ruritania", another.id, "--yes").stderr
    assert said in command("delete-job", "ruritania", job.id, "--yes").stderr


@pytest.mark.parametrize("before", [False, True])
def test_a_removal_that_is_refused_or_fails_says_how_to_go_on_with_the_publication(
    registry: TestRegistry,
    services: Services,
    command: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    *,
    before: bool,
) -> None:
    """It froze it; unless it was frozen before."""
    job = make_job(services, result=None)
    with registry.database.session() as session:
        session.query(Collection).one().frozen = before
    refused = command("remove", "ruritania", "--yes")
    assert isinstance(refused.exception, LockFileError)
    assert ("`registry unfreeze ruritania`" in str(refused.exception)) is not before
    with registry.database.session() as session:
        session.get_one(Job, job.id).complete(Job.Result.FAILED)

    def fail(*_: object) -> None:
        raise RecoverableError("Scrapyd can't be reached.")

    with monkeypatch.context() as patch, registry.database.session() as session:
        session.query(Collection).one().frozen = before
        session.commit()
        patch.setattr(deletion, "delete_job", fail)
        failed = command("remove", "ruritania", "--yes")
    assert isinstance(failed.exception, RecoverableError)
    assert ("ruritania is frozen now" in str(failed.exception)) is not before
    assert "ruritania is removed" in command("remove", "ruritania", "--yes").stdout


def test_a_removal_that_did_not_begin_froze_nothing(
    services: Services, command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And then nothing is said of it."""
    make_job(services)

    def fail(*_: object, **__: object) -> None:
        raise RecoverableError("Scrapyd can't be reached.")

    monkeypatch.setattr(deletion, "remove_publication", fail)
    assert str(command("remove", "ruritania", "--yes").exception) == "Scrapyd can't be reached."
