"""Weeks in the life of a registry: everything fresh, nothing stuck, nothing torn, and no folder that grows.

REGISTRY_SOAK gives the number of publications and of days (default `3 35`); `make soak` runs 150 for 60 days.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_registry_that_is_left_alone_for_weeks_keeps_everything_fresh_and_whole(tmp_path: Path) -> None:
    """I1 to I5, I8: some crawls fail, some processes are killed, and a reader follows every pointer all the while."""
    publications, days = os.environ.get("REGISTRY_SOAK", "3 35").split()
    folder = tmp_path / "soak"
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.soaking", str(folder), publications, days, "1"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout)
    if path := os.environ.get("REGISTRY_SOAK_REPORT"):
        Path(path).write_text(done.stdout)
    log = (folder / "runs.log").read_text()[-3000:]
    assert report["troubles"] == [], log
    assert report["torn"] == []
    assert report["versions read"] > 10 * int(publications)
    assert report["with a published version"] == int(publications), log
    assert report["seen"]["cleanups that could not do something"] == 0
    # Of each publication: what is published, the one before it, and what failed and may be looked at still.
    assert report["exports"] <= 2 * int(publications) + report["jobs"].get("FAILED", 0)
    assert report["run records"] < 2 * report["seen"]["runs"]
    if int(days) >= 60:
        assert report["seen"]["runs forgotten"] > 0
        sizes = report["bytes of exports, day by day"]
        assert sizes[-1] < 1.5 * sizes[len(sizes) // 2]
