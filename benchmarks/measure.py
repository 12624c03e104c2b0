"""Measuring a command: time, memory of all its processes, and disk.

Belongs here: running and watching. Does not belong here: what is run.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

MEMORY_EVERY = 0.05  # seconds
DISK_EVERY = 0.25


@dataclass(frozen=True)
class Measure:
    """What a command took.

    Attributes:
        wall: seconds.
        cpu: seconds of all its processes.
        memory: the most resident bytes of all its processes at one moment; pages that they share count in each.
        disk: the most bytes below a folder at one moment, beyond what was there before.
        kept: bytes below the folder afterwards, beyond what was there before.
    """

    wall: float
    cpu: float
    memory: int
    disk: int
    kept: int


def size_of(folder: Path) -> int:
    """Return the bytes below a folder. Hard links count once each; files may vanish meanwhile."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(path, name).lstat().st_size
    return total


def _resident(process: psutil.Process) -> int:
    total = 0
    with contextlib.suppress(psutil.Error):
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += each.memory_info().rss
    return total


def run(command: Sequence[str | Path], folder: Path) -> Measure:
    """Run a command to its end, watching the processes and the folder that it writes to.

    Raises:
        RuntimeError: if it fails, with what it said.
    """
    before, usage = size_of(folder), resource.getrusage(resource.RUSAGE_CHILDREN)
    peaks = {"memory": 0, "disk": before}
    done = threading.Event()
    start = time.monotonic()
    child = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    process = psutil.Process(child.pid)

    def watch_memory() -> None:
        while not done.wait(MEMORY_EVERY):
            peaks["memory"] = max(peaks["memory"], _resident(process))

    def watch_disk() -> None:
        while not done.wait(DISK_EVERY):
            peaks["disk"] = max(peaks["disk"], size_of(folder))

    watchers = [threading.Thread(target=watch_memory), threading.Thread(target=watch_disk)]
    for watcher in watchers:
        watcher.start()
    try:
        _, errors = child.communicate()
        wall = time.monotonic() - start
    finally:
        done.set()
        for watcher in watchers:
            watcher.join()
    if child.returncode:
        raise RuntimeError(f"{command}: exit code {child.returncode}: {errors.decode()[-500:]}")
    after, used = size_of(folder), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - usage.ru_utime - usage.ru_stime
    return Measure(wall, cpu, peaks["memory"], max(peaks["disk"], after) - before, after - before)
