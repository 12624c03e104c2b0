"""The steps of processing, and the processes that share them: read files into buckets, merge buckets into parts.

Belongs here: the order of steps, sharing them out, adding up, and progress. Does not belong here: the steps.
"""

from __future__ import annotations

import datetime
import gc
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from registry_resources.process.entries import BucketWriter
from registry_resources.process.merging import MAX_BUCKET, PARTS, PartResult, merge_bucket, split_bucket
from registry_resources.process.reading import CollectedFile, ReadResult, collected_files, read_files, shares
from registry_resources.process.tally import Tally
from registry_resources.process.watchdog import die_with

_BUCKET = 12 << 20  # bytes of input for which there is one bucket
_MAX_BUCKETS = 1024
_ALONE = 8 << 20  # bytes of input below which one process is quicker than several
_MAX_SPLITS = 3
_INTERVAL = 0.5  # seconds between notes of progress
_PREFIX = 11  # characters of an ocid's prefix (PRO-04)

_shared: Any = None  # in a process of the pool: what each reader has read (files, bytes)


class EmptyCollectionError(Exception):
    """There is nothing at all to read (PRO-09)."""


class Pipeline:
    """Processes one collection.

    Args:
        source: the folder of the collected files.
        work: an empty folder for the parts, and meanwhile for buckets.
        today: dates after it aren't dates of releases.
        workers: processes that share the work, at most.
        tell: takes the progress, now and then: `phase`, `done`, `total`.
    """

    def __init__(
        self, source: Path, work: Path, today: datetime.date, workers: int, tell: Callable[[dict[str, Any]], None]
    ) -> None:
        self._source = source
        self._work = work
        self._today = today
        self._workers = workers
        self._tell = tell
        self._told = 0.0

    def run(self) -> dict[str, Any]:
        """Process it.

        Returns:
            What `result.json` is to say: metadata, counts, notes, and the parts with their sizes in bytes.

        Raises:
            EmptyCollectionError: if there is nothing to read.
            OSError: if a file can't be read or written.
        """
        files = collected_files(self._source)
        size = sum(file.size for file in files)
        buckets = max(4, min(_MAX_BUCKETS, size // _BUCKET))
        workers = 1 if size < _ALONE else self._workers
        dealt = shares(files, workers)
        context = multiprocessing.get_context("spawn")
        shared = context.RawArray("Q", 2 * max(1, len(dealt)))
        if workers == 1:
            read = self._read_alone(dealt, buckets, len(files))
            merged = list(self._merge(None, read, buckets))
        else:
            with _pool(context, workers, shared) as pool:
                read = self._read(pool, dealt, buckets, shared, len(files))
                merged = list(self._merge(pool, read, buckets))
        for folder in self._work.glob("split-*"):
            folder.rmdir()
        return _summary(read, merged)

    def _read_alone(self, dealt: list[list[CollectedFile]], buckets: int, total: int) -> ReadResult:
        writer = BucketWriter(self._work, "0", buckets)
        found = read_files(
            self._source, dealt[0] if dealt else [], writer, lambda files, _: self._progress("reading", files, total)
        )
        return _checked(found)

    def _read(
        self, pool: ProcessPoolExecutor, dealt: list[list[CollectedFile]], buckets: int, shared: Any, total: int
    ) -> ReadResult:
        futures: list[Future[ReadResult]] = [
            pool.submit(_read_share, self._source, share, self._work, number, buckets)
            for number, share in enumerate(dealt)
        ]
        found = ReadResult(sizes=[0] * buckets)
        self._await(futures, lambda _: self._progress("reading", sum(shared[::2]), total))
        for future in futures:
            one = future.result()
            found.tally.add(one.tally)
            found.spoiled |= one.spoiled
            found.licenses.update(one.licenses)
            found.policies.update(one.policies)
            found.sizes = [before + more for before, more in zip(found.sizes, one.sizes, strict=True)]
        return _checked(found)

    def _merge(
        self, pool: ProcessPoolExecutor | None, read: ReadResult, buckets: int
    ) -> Iterator[tuple[str, PartResult]]:
        """Merge the buckets. Yields the parts in the order of their names."""
        names = list(self._split(pool, read, buckets))
        targets = [self._work / f"part-{number:05}" for number in range(len(names))]
        jobs = [
            (sorted(self._work.glob(f"{name}.*")), read.spoiled, target, self._today, number)
            for number, (name, target) in enumerate(zip(names, targets, strict=True))
        ]
        if pool is None:
            for done, (target, job) in enumerate(zip(targets, jobs, strict=True)):
                self._progress("merging", done, len(jobs))
                yield target.name, merge_bucket(*job)
            return
        futures = [pool.submit(merge_bucket, *job) for job in jobs]
        self._await(futures, lambda done: self._progress("merging", done, len(jobs)))
        for target, future in zip(targets, futures, strict=True):
            yield target.name, future.result()

    def _split(self, pool: ProcessPoolExecutor | None, read: ReadResult, buckets: int) -> Iterator[str]:
        """Split buckets that are too large for memory. Yields the names of all that there are then."""
        waiting = [(f"{bucket:04}", read.sizes[bucket], 1) for bucket in range(buckets)]
        while waiting:
            name, size, depth = waiting.pop(0)
            if size <= MAX_BUCKET or depth > _MAX_SPLITS:
                if size:
                    yield name
                continue
            folder = self._work / f"split-{name.replace('/', '-')}"
            folder.mkdir()
            sources = sorted(self._work.glob(f"{name}.*"))
            arguments = (sources, folder, "0", depth)
            sizes = pool.submit(split_bucket, *arguments).result() if pool else split_bucket(*arguments)
            waiting[:0] = [(f"{folder.name}/{part:04}", sizes[part], depth + 1) for part in range(PARTS)]

    def _await(self, futures: Sequence[Future[Any]], tell: Callable[[int], None]) -> None:
        """Wait for all, or for the first error. `tell` is told how many are done."""
        pending = set(futures)
        while pending:
            done, pending = wait(pending, timeout=_INTERVAL, return_when=FIRST_COMPLETED)
            tell(len(futures) - len(pending))
            for future in done:
                future.result()

    def _progress(self, phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._told > _INTERVAL:
            self._told = now
            self._tell({"phase": phase, "done": done, "total": total})


def _checked(read: ReadResult) -> ReadResult:
    if not read.tally.counts["documents"]:
        raise EmptyCollectionError
    return read


def _summary(read: ReadResult, parts: Sequence[tuple[str, PartResult]]) -> dict[str, Any]:
    """What `result.json` says."""
    tally = Tally()
    tally.add(read.tally)
    for _, part in parts:
        tally.add(part.tally)
    starts = [part.date_from for _, part in parts if part.date_from]
    ends = [part.date_to for _, part in parts if part.date_to]
    tally.counts.setdefault("compiled_releases", 0)
    return {
        "date_from": min(starts).isoformat() if starts else None,
        "date_to": max(ends).isoformat() if ends else None,
        "ocid_prefix": max((part.greatest for _, part in parts), default="")[:_PREFIX],
        "license": _most_common(read.licenses),
        "publication_policy": _most_common(read.policies),
        "counts": {
            name: count for name, count in sorted(tally.counts.items()) if count or name == "compiled_releases"
        },
        "notes": tally.as_notes(),
        "parts": [[name, part.bytes] for name, part in parts if part.bytes],
    }


def _most_common(found: Counter[str]) -> str:
    """What most packages state; of equals, the first by name."""
    return min(found, key=lambda text: (-found[text], text), default="")


@contextmanager
def _pool(context: Any, workers: int, shared: Any) -> Iterator[ProcessPoolExecutor]:
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(os.getpid(), shared))
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(parent: int, shared: Any) -> None:
    """What each process of the pool does first."""
    global _shared  # noqa: PLW0603 - a process of the pool has no other place for it
    _shared = shared
    die_with(parent)
    gc.freeze()


def _read_share(source: Path, files: list[CollectedFile], work: Path, number: int, buckets: int) -> ReadResult:
    def progress(done: int, read: int) -> None:
        _shared[2 * number] = done
        _shared[2 * number + 1] = read

    return read_files(source, files, BucketWriter(work, str(number), buckets), progress)
