"""Processes that look for the job of a publication at the same moment, as runs do; for tests of who gets it.

It imports everything once and then forks. Prints what each found, a line each: `job N`, or the error.
"""

from __future__ import annotations

import os
import signal
import sys

from registry_assets.process_manager.job_store import RunIdentity, find_job
from registry_assets.process_manager.lease import Runs
from registry_resources.database import Database, Task
from registry_resources.exceptions import DataRegistryError


def claim(url: str, key: str, run: RunIdentity, go: int) -> str:
    """Look for the job, once the others are ready too."""
    database = Database(url)
    with database.session(read_only=True):
        pass
    os.read(go, 1)  # ends for all of them at once
    try:
        found = find_job(database, key, Task.Type.COLLECT, run, Runs(lambda _: True, lambda *_: None))
    except DataRegistryError as error:
        return f"{type(error).__name__}: {error}"
    return f"job {found.job_id}"


def main(url: str, key: str, planned: str, count: str) -> None:
    """Fork, let them all go, and keep each alive until all have answered: the dead hold nothing."""
    go, going = os.pipe()
    children, answers = [], []
    for number in range(int(count)):
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(going)
            run = RunIdentity(f"run-{number}", f"run-{number}", collects=True, planned=int(planned) or None)
            try:
                os.write(write_end, claim(url, key, run, go).encode())
            except BaseException as error:  # noqa: BLE001 (the test shows it)
                os.write(write_end, repr(error).encode())
            os.close(write_end)
            signal.pause()
        os.close(write_end)
        children.append(child)
        answers.append(read_end)
    os.close(going)
    try:
        for read_end in answers:
            with os.fdopen(read_end) as file:
                print(file.read(), flush=True)  # noqa: T201
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
