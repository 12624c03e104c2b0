"""A process that executes runs in processes of their own, which are killed when it is told.

It imports everything once and then forks, so that dozens of deaths take a minute. It reads requests from standard
input, a JSON object a line, and answers in kind.

Request: `home` (of the registry, with a folder `dagster` beside it), `select` (assets), and `retry_of` (a run's id) to
go on with a run that died. `delay`: seconds from the run's start until SIGKILL. Answer: `run_id`, `success` (None if
killed), `seconds`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

from registry_assets.definitions import build_defs

KEY = "ruritania"


def execute(request: dict[str, Any], started: int) -> bool:
    """Execute one run, as the process of a run does. Says its id once it begins."""
    instance = dg.DagsterInstance.from_config(str(Path(request["home"]) / "dagster"))
    job = build_defs().resolve_job_def("refresh")
    assets = {dg.AssetKey(name) for name in request["select"]}
    tags = {"dagster/partition": KEY}
    ids: dict[str, Any] = {}
    if retried := request.get("retry_of"):
        parent = instance.get_run_by_id(retried)
        root = parent.root_run_id or retried
        ids = {"root_run_id": root, "parent_run_id": retried}
        tags |= {"dagster/root_run_id": root, "dagster/parent_run_id": retried, "dagster/is_resume_retry": "true"}
    run = instance.create_run_for_job(job.get_subset(asset_selection=assets), asset_selection=assets, tags=tags, **ids)
    os.write(started, run.run_id.encode())
    result = execute_run(InMemoryJob(job.get_subset(asset_selection=assets)), run, instance, raise_on_error=False)
    return bool(result.success)


def in_child(request: dict[str, Any], started: int, answer: int) -> None:
    """Be the process of a run."""
    os.environ.update(request["environ"])
    quiet = os.open(Path(request["home"]) / "runs.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    os.write(answer, b"1" if execute(request, started) else b"0")
    os._exit(0)


def main() -> None:
    """Answer requests until standard input ends."""
    for text in sys.stdin:
        request = json.loads(text)
        (started, starting), (answer, answering) = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            os.close(started)
            os.close(answer)
            try:
                in_child(request, starting, answering)
            finally:
                os._exit(1)
        os.close(starting)
        os.close(answering)
        run_id = os.read(started, 100).decode()
        begun = time.monotonic()
        if request.get("delay") is not None:
            # Killed at its moment, unless it ends before.
            select.select([answer], [], [], request["delay"])
            os.kill(child, signal.SIGKILL)
        said = os.read(answer, 1)
        os.waitpid(child, 0)
        os.close(started)
        os.close(answer)
        result = {"run_id": run_id, "success": bool(int(said)) if said else None, "seconds": time.monotonic() - begun}
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
