"""Whatever dies or fails, and when: what is published is whole, a retry gives the same bytes, nothing is left.

Processes are killed at random moments (seeded) and at each of their file operations, and each file operation is made
to fail; those of workers too. What native libraries write is out of reach of that: there a limit of the size of files
makes writing fail. REGISTRY_CRASH_ROUNDS (default 1) multiplies the random moments, as `make crash` does.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from exporter import publish, verify
from exporter.util import Export

KEY = "bridges"
ROUNDS = int(os.environ.get("REGISTRY_CRASH_ROUNDS", "1"))
MOMENTS = {"export": 60, "coverage": 50, "flatten": 25, "publish": 50, "revise": 25}  # 210 a round
STAGES = ("export", "coverage", "flatten", "publish")
ALL_STAGES = (*STAGES, "revise", "remove")
FAULTS = (errno.ENOSPC, errno.EIO, errno.EMFILE)
SIDE_BY_SIDE = 2


class Runner:
    """A process that runs stages in processes of their own, and a folder to do it in."""

    def __init__(self, folder: Path) -> None:
        self.work = folder
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("crashing.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )

    def ask(self, stage: str, **fault: float) -> dict[str, Any]:
        """Run a stage with a fault, and return how it ended."""
        self._process.stdin.write(json.dumps({"stage": stage, "root": str(self.work), **fault}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def succeed(self, stage: str, **options: float) -> dict[str, Any]:
        """Run a stage without a fault."""
        answer = self.ask(stage, **options)
        assert [answer[name] for name in ("error", "unexpected", "signal")] == [None] * 3, (stage, answer)
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class Campaign:
    """Runners side by side, what the exports are before and after each stage, and which states were looked into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runners = [Runner(folder / f"work-{number}") for number in range(SIDE_BY_SIDE)]
        self.before: dict[str, Path] = {}
        self.after: dict[str, dict[str, bytes]] = {}
        self.seconds: dict[str, float] = {}
        self.operations: dict[str, int] = {}
        self._seen: set[tuple[str, str]] = set()
        self._lock = Lock()

    def prepare(self) -> None:
        """Publish job 12 once, without faults, as job 11's version and job 10 beside it; keep each state."""
        runner = self.runners[0]
        work = runner.work
        for stage in STAGES:
            runner.succeed(stage)
        shutil.move(work / KEY / "12", work / KEY / "11")
        manifest = work / KEY / "11" / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"id": "12"', '"id": "11"'))
        (work / KEY / "11" / ".published").unlink()
        publish.publish(Export(KEY, 11, root=work), job=11)
        for stage in ALL_STAGES:
            if stage == "remove":
                shutil.copytree(work / KEY / "11", work / KEY / "10")
            self.before[stage] = self.folder / f"before-{stage}"
            shutil.copytree(work, self.before[stage])
            self.operations[stage] = runner.succeed(stage)["operations"]
            self.after[stage] = tree(work)
            shutil.rmtree(work)
            shutil.copytree(self.before[stage], work)
            self.seconds[stage] = runner.succeed(stage, real=True)["seconds"]
            assert tree(work) == self.after[stage]  # two new processes make the same as one that was forked
        shutil.rmtree(work)

    def attempt_all(self, stage: str, faults: Iterable[dict[str, float]]) -> list[dict[str, Any]]:
        """Run a stage with each of these faults, side by side, and return how they ended."""
        waiting = iter(list(faults))

        def serve(runner: Runner) -> list[dict[str, Any]]:
            answers = []
            while True:
                with self._lock:
                    fault = next(waiting, None)
                if fault is None:
                    return answers
                answers.append(self._attempt(runner, stage, fault))

        with ThreadPoolExecutor(len(self.runners)) as threads:
            return [answer for answers in threads.map(serve, self.runners) for answer in answers]

    def _attempt(self, runner: Runner, stage: str, fault: dict[str, float]) -> dict[str, Any]:
        """Run a stage with a fault on a copy, check what readers see, retry, and check what there is then."""
        work = runner.work
        shutil.copytree(self.before[stage], work)
        try:
            answer = runner.ask(stage, **fault)
            assert answer["unexpected"] is None, (stage, fault, answer)
            state = (stage, digest(work))
            with self._lock:
                known = state in self._seen
            if not known:  # what readers see and what a retry does depend on nothing but what is there
                check_readers(work, stage)
                runner.succeed(stage)
                check_readers(work, stage)
                self._check_result(work, stage, fault)
                with self._lock:
                    self._seen.add(state)
        finally:
            shutil.rmtree(work)
        return answer

    def _check_result(self, work: Path, stage: str, fault: dict[str, float]) -> None:
        found, expected = tree(work), self.after[stage]
        if stage == "revise":  # where the first try got as far as to publish, the second makes another revision
            assert not [name for name in found if ".lock" in name or ".tmp-" in name], (stage, fault)
            prefix = f"{KEY}/{publish.read_latest(work, KEY).directory}/"
            found = {name.removeprefix(prefix): data for name, data in found.items() if name.startswith(prefix)}
            prefix = f"{KEY}/12.r2/"
            expected = {name.removeprefix(prefix): data for name, data in expected.items() if name.startswith(prefix)}
        assert found == expected, (stage, fault)

    def close(self) -> None:
        """End the processes."""
        for runner in self.runners:
            runner.close()


def tree(root: Path) -> dict[str, bytes]:
    """Return all that is below a folder; of pointers all but the time, which alone may differ."""
    found = {str(path.relative_to(root)): b"" if path.is_dir() else path.read_bytes() for path in root.rglob("*")}
    for name, data in found.items():
        if name.endswith("latest.json"):
            pointer = json.loads(data)
            found[name] = json.dumps({**pointer, "published_at": None}).encode()
    return found


def digest(root: Path) -> str:
    """Return what is below a folder, but for what differs each time: who held a lock, and random parts of names."""
    found = hashlib.sha256()
    for name, data in sorted(tree(root).items()):
        what = re.sub(r"-[0-9]+-[0-9a-f]{8}", "", name)
        found.update(
            f"{what} {'' if name.endswith('.lock') and data else hashlib.sha256(data).hexdigest()}\n".encode()
        )
    return found.hexdigest()


def check_readers(root: Path, stage: str) -> None:
    """I1, I2: the pointer names a whole version, and the one published before is as it was."""
    pointer = publish.read_latest(root, KEY)
    allowed = {"publish": {"11", "12"}, "revise": {"12", "12.r2", "12.r3"}, "remove": {"12.r2"}}.get(stage, {"11"})
    assert pointer.directory in allowed
    for name in {pointer.directory, "11"}:
        assert verify.verify(Export(KEY, name, root=root))[1] == []


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    """One for all tests of this module."""
    made = Campaign(tmp_path_factory.mktemp("crash"))
    try:
        made.prepare()
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("stage", MOMENTS)
def test_killed_at_any_moment(campaign: Campaign, stage: str) -> None:
    """SIGKILL after a random time, within what the stage takes undisturbed."""
    rng = random.Random(f"moments of {stage}")
    moments = [{"delay": rng.uniform(0, campaign.seconds[stage])} for _ in range(MOMENTS[stage] * ROUNDS)]
    answers = campaign.attempt_all(stage, moments)
    killed = sum(answer["signal"] == signal.SIGKILL for answer in answers)
    assert killed > len(moments) // 5  # in others it was done before


@pytest.mark.parametrize("stage", ALL_STAGES)
def test_killed_at_every_file_operation(campaign: Campaign, stage: str) -> None:
    """SIGKILL of a stage and its workers just before the N-th operation, for every N."""
    numbers = range(1, campaign.operations[stage] + 1)
    answers = campaign.attempt_all(stage, ({"kill": number} for number in numbers))
    killed = sum(answer["signal"] == signal.SIGKILL for answer in answers)
    assert killed >= 0.95 * len(numbers)  # with threads there may be a few operations less than the first time


@pytest.mark.parametrize("stage", ALL_STAGES)
def test_every_file_operation_fails_once(campaign: Campaign, stage: str) -> None:
    """ENOSPC, EIO and EMFILE, for every N: a failure is an expected exception, or the work is done in spite of it."""
    numbers = range(1, campaign.operations[stage] + 1)
    faults = [{"fail": number, "errno": fault} for number in numbers for fault in FAULTS]
    answers = campaign.attempt_all(stage, faults)
    assert {answer["signal"] for answer in answers} == {None}
    failed = Counter(answer["name"] for answer in answers if answer["error"] is not None)
    assert failed.total() > len(faults) // 3
