"""Dagster's daemon as it runs in production, for tests: with its code server and the runs it starts.

Does not belong here: what a test expects of it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]


class Daemon:
    """The daemon on a home of its own, with `deploy/local/dagster.yaml`.

    Args:
        home: a folder for Dagster and the registry.
        environ: further environment variables.
    """

    def __init__(self, home: Path, **environ: str) -> None:
        self.dagster_home = home / "dagster"
        self.dagster_home.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "deploy" / "local" / "dagster.yaml", self.dagster_home)
        self.environ: Mapping[str, str] = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV_"))},
            "DAGSTER_HOME": str(self.dagster_home),
            "REGISTRY_HOME": str(home / "registry"),
            "REGISTRY_WORKERS": "1",
            **environ,
        }
        self.log = home / "daemon.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it. It finds what is there, whatever became of the one before."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-w", str(ROOT / "workspace.yaml")],
                env=dict(self.environ),
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def processes(self) -> list[psutil.Process]:
        """Every process that belongs to it, also those that outlive it: known by their environment."""
        mine = f"{self.dagster_home}"
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid != os.getpid() and process.environ().get("DAGSTER_HOME") == mine:
                    found.append(process)
        return found

    def kill(self, which: Callable[[psutil.Process], bool] = lambda _: True) -> int:
        """Kill processes at once, all by default, as a machine that loses its power does. Returns how many."""
        victims = [process for process in self.processes if which(process)]
        for process in victims:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        if self._process and any(process.pid == self._process.pid for process in victims):
            self._process.wait()
        psutil.wait_procs(victims, timeout=60)
        return len(victims)


def wait_for(what: Callable[[], Any], seconds: float, interval: float = 0.5) -> Any:
    """Wait until something is true, and return it.

    Raises:
        AssertionError: if it isn't in time.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(interval)
    raise AssertionError(f"not within {seconds:g} s")
