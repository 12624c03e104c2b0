"""The database fails again and again while a publication is refreshed: the run waits, and goes on (I4)."""

from __future__ import annotations

import json
import os
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, select
from sqlalchemy.exc import OperationalError

from registry_assets.process_manager import outage
from registry_resources.database import Collection
from registry_resources.database.choices import JobResult
from tests.services.publisher import release_package
from tests.support.registry import TestRegistry, read_jsonl


class Outages:
    """Breaks off the registry's database: statements, and commits both before and after they have taken effect."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.seen: Counter[str] = Counter()
        self._until_next = self.chance.randint(1, 40)
        self._lock = threading.Lock()

    def _is_next(self, connection: Any) -> bool:
        if not str(connection.engine.url).endswith("registry.sqlite3"):
            return False  # Dagster's own
        with self._lock:
            self._until_next -= 1
            if self._until_next:
                return False
            self._until_next = self.chance.randint(1, 40)
            return True

    def _fail(self, what: str) -> None:
        self.seen[what] += 1
        raise OperationalError(what, {}, Exception("server closed the connection unexpectedly"))

    def _statement(self, connection: Any, *_: Any) -> None:
        if self._is_next(connection):
            self._fail("statement")

    def _commit(self, connection: Any) -> None:
        if self._is_next(connection):
            if self.chance.random() < 0.5:
                connection.connection.dbapi_connection.commit()
                self._fail("after a commit")
            self._fail("before a commit")

    @contextmanager
    def happening(self) -> Iterator[None]:
        event.listen(Engine, "before_cursor_execute", self._statement)
        event.listen(Engine, "commit", self._commit)
        try:
            yield
        finally:
            event.remove(Engine, "before_cursor_execute", self._statement)
            event.remove(Engine, "commit", self._commit)


@pytest.mark.parametrize("seed", range(2 * int(os.environ.get("REGISTRY_CRASH_ROUNDS", "1"))))
def test_a_publication_is_refreshed_through_a_database_that_fails_again_and_again(
    registry: TestRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Whatever statement or commit is broken off, also a commit that has taken effect: once, and rightly (I3, I4)."""
    monkeypatch.setattr(outage, "PAUSES", (0.01,))
    (tmp_path / "data.json").write_text(json.dumps(release_package(1, 40)))
    registry.add("ruritania", arguments={"urls": str(tmp_path / "data.json")})
    outages = Outages(seed)
    with outages.happening():
        for _ in range(2):
            result = registry.run("ruritania")
            errors = [data.error for step in result.get_step_failure_events() if (data := step.step_failure_data)]
            assert result.success, (errors, outages.seen)
    jobs = registry.jobs("ruritania")
    assert [job.result for job in jobs] == [JobResult.SUCCEEDED] * 2
    assert all(task.is_successful for job in jobs for task in job.tasks)
    assert registry.latest("ruritania").job == str(jobs[-1].id) == str(jobs[-1].collection.active_job_id)
    assert len(read_jsonl(registry.published("ruritania") / "full.jsonl.gz")) == 40
    with registry.database.session(read_only=True) as session:
        assert len(session.scalars(select(Collection.history)).one()) == 2
    assert len(outages.seen) == 3, outages.seen
