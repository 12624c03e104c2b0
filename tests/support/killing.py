"""Deleting a job or a publication in a process that is killed before its N-th operation on a file.

The processes are forked from one that has imported everything: a new interpreter each would take most of the time.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from registry_assets.process_manager import deletion
from registry_assets.process_manager.services import Services
from registry_resources.collect.scrapy import ScrapyBackend
from registry_resources.database import Database, Job
from registry_resources.process.local import LocalProcess
from registry_resources.settings import Settings
from tests.support.leftovers import Made, make_job, write


@contextmanager
def opened(home: Path) -> Iterator[Services]:
    """A registry in a folder."""
    settings = Settings.from_env({"REGISTRY_HOME": str(home), "REGISTRY_WORKERS": "1"})
    database = Database(settings.database_url)
    try:
        yield Services(settings, database, ScrapyBackend(settings), LocalProcess(settings))
    finally:
        database.dispose()


def prepare(home: Path) -> None:
    """Make a registry with a failed job (1), which has two revisions of exports, and an active one (2)."""
    with opened(home) as services:
        services.database.migrate()
        failed = make_job(services, days_ago=2, result=Job.Result.FAILED)
        write(failed.export.with_name("1.r2") / "parquet" / "part-0", "x")
        make_job(services, active=True)


def made(services: Services, job_id: int) -> Made:
    """The paths of a job that `prepare` made."""
    return Made(services, job_id, "ruritania", f"ruritania-{job_id}-0123abcd", f"ruritania/20260101_{job_id:06d}")


def work(services: Services, what: str) -> None:
    """Delete the first job, or the publication."""
    if what == "job":
        deletion.delete_job(services, 1)
    else:
        deletion.remove_publication(services, "ruritania")


def killed_at(moment: int, what: str, home: Path) -> int | None:
    """Do the work in a process that is killed before that operation. Returns the exit code, 0 if it came to an end."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_work_until, args=(moment, what, home))
    process.start()
    process.join(60)
    return process.exitcode


def _work_until(moment: int, what: str, home: Path) -> None:
    left = moment

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return call

    for module, name in ((os, "unlink"), (os, "rmdir"), (os, "replace"), (shutil, "rmtree")):
        setattr(module, name, counted(getattr(module, name)))
    with opened(home) as services:
        work(services, what)
