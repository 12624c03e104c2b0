"""Whatever dies or fails, and when: what is published is whole, a retry gives the same bytes, nothing is left.

Processes are killed at random moments (seeded) and at each of their file operations, and each file operation is made
to fail. REGISTRY_CRASH_ROUNDS (default 1) multiplies the random moments, as `make crash` does.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter import publish, verify
from exporter.util import Export

KEY = "bridges"
ROUNDS = int(os.environ.get("REGISTRY_CRASH_ROUNDS", "1"))
MOMENTS = {"export": 60, "coverage": 50, "flatten": 25, "publish": 50, "revise": 25}  # 210 a round
STAGES = ("export", "coverage", "flatten", "publish")


class Campaign:
    """A process that runs stages in processes of their own, and what the exports are before and after each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("crashing.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        self.before: dict[str, Path] = {}
        self.after: dict[str, dict[str, bytes]] = {}
        self.seconds: dict[str, float] = {}
        self.operations: dict[str, int] = {}

    def prepare(self) -> None:
        """Publish job 12 once, without faults, as job 11's version and job 10 beside it; keep each state."""
        work = self.folder / "work"
        for stage in STAGES:
            self._expect_success(stage, work)
        shutil.move(work / KEY / "12", work / KEY / "11")
        manifest = work / KEY / "11" / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"id": "12"', '"id": "11"'))
        (work / KEY / "11" / ".published").unlink()
        publish.publish(Export(KEY, 11, root=work), job=11)
        shutil.copytree(work / KEY / "11", work / KEY / "10")
        for stage in (*STAGES, "revise", "remove"):
            self.before[stage] = self.folder / f"before-{stage}"
            shutil.copytree(work, self.before[stage])
            answer = self._expect_success(stage, work)
            self.seconds[stage], self.operations[stage] = answer["seconds"], answer["operations"]
            self.after[stage] = tree(work)
        shutil.rmtree(work)

    def _expect_success(self, stage: str, root: Path) -> dict[str, Any]:
        answer = self.ask(stage, root)
        assert [answer[name] for name in ("error", "unexpected", "signal")] == [None] * 3, (stage, answer)
        return answer

    def ask(self, stage: str, root: Path, **fault: float) -> dict[str, Any]:
        """Run a stage with a fault, and return how it ended."""
        self._process.stdin.write(json.dumps({"stage": stage, "root": str(root), **fault}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def attempt(self, stage: str, **fault: float) -> dict[str, Any]:
        """Run a stage with a fault on a copy, check what readers see, retry, and check what there is then."""
        work = self.folder / "work"
        shutil.copytree(self.before[stage], work)
        try:
            answer = self.ask(stage, work, **fault)
            assert answer["unexpected"] is None, (stage, fault, answer)
            check_readers(work, stage)
            self._expect_success(stage, work)
            check_readers(work, stage)
            self._check_result(work, stage, fault)
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
        """End the process."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def tree(root: Path) -> dict[str, bytes]:
    """Return all that is below a folder; of pointers all but the time, which alone may differ."""
    found = {str(path.relative_to(root)): b"" if path.is_dir() else path.read_bytes() for path in root.rglob("*")}
    for name, data in found.items():
        if name.endswith("latest.json"):
            pointer = json.loads(data)
            found[name] = json.dumps({**pointer, "published_at": None}).encode()
    return found


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
    killed = 0
    for _ in range(MOMENTS[stage] * ROUNDS):
        answer = campaign.attempt(stage, delay=rng.uniform(0, campaign.seconds[stage]))
        killed += answer["signal"] == signal.SIGKILL
    assert killed > MOMENTS[stage] * ROUNDS // 5  # in others it was done before


def numbers(campaign: Campaign, stage: str) -> list[int]:
    """The operations to be tried: every one, or of long stages every few, and all of them in a longer campaign."""
    step = max(1, {"flatten": 20, "coverage": 3, "revise": 5}.get(stage, 1) // ROUNDS)
    return list(range(1, campaign.operations[stage] + 1, step))


@pytest.mark.parametrize("stage", ["export", "coverage", "flatten", "publish", "revise", "remove"])
def test_killed_at_every_file_operation(campaign: Campaign, stage: str) -> None:
    """SIGKILL just before the N-th operation."""
    tried = numbers(campaign, stage)
    killed = sum(campaign.attempt(stage, kill=number)["signal"] == signal.SIGKILL for number in tried)
    assert killed >= 0.9 * len(
        tried
    )  # with threads and workers there may be a few operations less than the first time


@pytest.mark.parametrize("stage", ["export", "coverage", "flatten", "publish", "revise", "remove"])
def test_every_file_operation_fails_once(campaign: Campaign, stage: str) -> None:
    """ENOSPC, EIO and EMFILE: a failure is an expected exception, or the work is done in spite of it."""
    faults = (errno.ENOSPC, errno.EIO, errno.EMFILE)
    tried, failed = numbers(campaign, stage), 0
    for index, number in enumerate(tried):
        answer = campaign.attempt(stage, fail=number, errno=faults[index % 3])
        assert answer["signal"] is None
        failed += answer["error"] is not None
        for fault in faults if ROUNDS > 1 else ():
            campaign.attempt(stage, fail=number, errno=fault)
    assert failed > len(tried) // 3
