"""What a cancelled job leaves: nothing but its row (ASK-02)."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from registry_assets.process_manager import driver
from registry_assets.process_manager.services import Services
from registry_resources.collect.scrapy import ScrapyBackend
from registry_resources.database import Database, Job, Task
from registry_resources.exceptions import RecoverableError
from registry_resources.process.backend import ProcessJob
from registry_resources.process.local import LocalProcess
from registry_resources.settings import Settings
from tests.support.backends import Listener
from tests.support.leftovers import Made, make_job


@pytest.fixture
def services(settings: Settings, database: Database) -> Services:
    return Services(settings, database, ScrapyBackend(settings), LocalProcess(settings))


def cancel_coverage(services: Services, made: Made, monkeypatch: pytest.MonkeyPatch) -> Job:
    """Terminate the run while coverage is measured."""

    def terminated(*_: Any) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(driver, "_attend", terminated)
    with services.database.session() as session:
        task = session.get_one(Job, made.id).task(Task.Type.COVERAGE)
    with pytest.raises(KeyboardInterrupt):
        driver.drive(task.id, services, Listener())
    with services.database.session(read_only=True) as session:
        return session.get_one(Job, made.id)


def test_a_cancelled_job_leaves_nothing_wherever_it_was(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """ASK-02: what was collected, compiled and exported before the run was terminated goes at once."""
    made = make_job(services, result=None, stages=3)
    assert made.everything == [True] * 4
    ended = cancel_coverage(services, made, monkeypatch)
    assert (ended.result, ended.archived) == (Job.Result.CANCELLED, True)
    assert [made.files.exists(), made.compiled.exists(), made.export.exists()] == [False] * 3


@pytest.mark.parametrize("why", [{"keep_all_data": True}, {"blocked": "It lost half."}])
def test_a_cancelled_job_whose_data_somebody_wants_to_look_at_keeps_them(
    services: Services, monkeypatch: pytest.MonkeyPatch, why: dict[str, Any]
) -> None:
    """RET-06, ASK-03: they are preserved, or its version was blocked before and waits for a judgement."""
    made = make_job(services, result=None, stages=3)
    with services.database.session() as session:
        for name, value in why.items():
            setattr(session.get_one(Job, made.id), name, value)
    ended = cancel_coverage(services, made, monkeypatch)
    assert (ended.result, ended.archived) == (Job.Result.CANCELLED, False)
    assert made.everything == [True] * 4


def test_a_published_job_of_which_a_stage_is_cancelled_keeps_everything(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I2: it stays succeeded, and readers have its version."""
    made = make_job(services, active=True)
    ended = cancel_coverage(services, made, monkeypatch)
    assert (ended.result, ended.archived) == (Job.Result.SUCCEEDED, False)
    assert made.everything == [True] * 4


def test_what_a_cancelled_job_can_not_delete_is_left_to_cleaning_up(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DEF-18: such as while Kingfisher Process is down. Until all of it is gone, it is not said to be."""
    made = make_job(services, result=None, stages=3)

    class Down(LocalProcess):
        def wipe(self, job: ProcessJob) -> None:
            raise RecoverableError("refused")

    ended = cancel_coverage(dataclasses.replace(services, process=Down(services.settings)), made, monkeypatch)
    assert (ended.result, ended.archived) == (Job.Result.CANCELLED, False)
    assert made.compiled.exists()
    assert not made.files.exists()
