"""The process that merges what a job collected: `python -m registry_resources.process.worker`.

It ends by itself when the process that started it does, and its children when it does. It begins anew each time and
gives the same bytes each time; what it makes is seen once it is whole (I7).

Belongs here: the end, good or bad, and who dies with whom. Does not belong here: the steps.
"""

from __future__ import annotations

import argparse
import datetime
import errno
import os
import shutil
import sys
import time
import traceback
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from registry_resources.process.pipeline import EmptyCollectionError, Pipeline
from registry_resources.process.result import JobFolder, sync_folder, write_json
from registry_resources.process.watchdog import die_with

HELD_BY_ANOTHER = 3
"""Exit code: another worker is at it."""

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def main(arguments: list[str] | None = None) -> int:
    """Merge what a job collected. Returns the exit code: 0 also if it failed for a reason that is on record."""
    parser = argparse.ArgumentParser(description="Merge what a job collected.")
    parser.add_argument("--root", type=Path, required=True, help="folder of all jobs")
    parser.add_argument("--key", required=True, help="the publication's key")
    parser.add_argument("--job", type=int, required=True, help="the job's id")
    parser.add_argument("--source", type=Path, required=True, help="folder of the collected files")
    parser.add_argument("--today", type=datetime.date.fromisoformat, required=True, help="YYYY-MM-DD")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the work")
    parser.add_argument("--parent", type=int, required=True, help="process with which this one ends")
    options = parser.parse_args(arguments)
    die_with(options.parent)
    folder = JobFolder(options.root, options.key, options.job)
    if not _hold(folder):
        return HELD_BY_ANOTHER
    sys.stdout.write("held\n")
    sys.stdout.flush()
    run(folder, options.source, options.today, options.workers)
    return 0


def _hold(folder: JobFolder) -> bool:
    """Take the job's lock. Tries for a second, because whoever looks at the lock holds it for an instant too."""
    for _ in range(50):
        if folder.hold() is not None:
            return True
        time.sleep(0.02)
    return False


def run(folder: JobFolder, source: Path, today: datetime.date, workers: int) -> None:
    """Make the result of a job, or record why that failed. The caller holds the folder's lock."""
    for left in folder.path.glob("work-*"):
        shutil.rmtree(left, ignore_errors=True)
    (folder.path / "failure.json").unlink(missing_ok=True)
    work = folder.path / f"work-{os.getpid()}"
    try:
        work.mkdir()
        pipeline = Pipeline(
            source, work, today, workers, lambda value: folder.write("progress.json", value, durable=False)
        )
        result = pipeline.run()
        for path in work.iterdir():
            _sync(path)
        write_json(work / "result.json", result)
        work.rename(folder.result)
        sync_folder(folder.path)
    except Exception as error:  # noqa: BLE001 - whatever it is, the job must be told
        traceback.print_exc()
        shutil.rmtree(work, ignore_errors=True)  # first, so that on a full disk there is room to say so
        folder.write("failure.json", {"reason": f"Processing {folder.name} failed: {_reason(error, folder, source)}"})


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _reason(error: Exception, folder: JobFolder, source: Path) -> str:
    if isinstance(error, EmptyCollectionError):
        return (
            f"Collection is empty: there is nothing to read in {source}. Look at the crawl's log, then collect again."
        )
    if isinstance(error, BrokenProcessPool):
        return (
            f"one of its processes was killed, perhaps for want of memory (see {folder.log}). "
            "Lower REGISTRY_WORKERS, then materialise `processed` again."
        )
    if isinstance(error, OSError):
        remedy = "Free space" if error.errno in _NO_ROOM else "Correct what it says"
        where = f" ({error.filename})" if error.filename else f" (in {folder.path})"
        return f"{error.strerror or error}{where}. {remedy}, then materialise `processed` again."
    return f"{type(error).__name__}: {error}. This is a defect: report it, with {folder.log}."


if __name__ == "__main__":
    sys.exit(main())
