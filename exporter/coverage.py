"""How often each field is filled, over a whole export (COV-01, COV-02).

Belongs here: cutting the years' files into parts, having worker processes count them, and adding up. Does not belong
here: counting itself, which is ocdscardinal's, in `cardinal_worker`.

ocdscardinal needs a regular file and uses one core, so this process decompresses the years' files into parts of about
32 MiB, a few at a time, and workers count them side by side. Counts of lines can be added, so the sum is what one run
over the full file gives.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporter import files, gunzip, manifest
from exporter.errors import BrokenExportError, StageError, StoppedError
from exporter.summary import Summary
from exporter.util import COVERAGE, Export

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping

PART = 32 << 20
LONG_LINE = 8 << 20  # a longer line gets a part and a memory limit of its own

EXACT = {
    "tenders_count": "/tender/",
    "tenderers_count": "/tender/tenderers[]/",
    "tenders_items_count": "/tender/items[]/",
    "parties_count": "/parties[]/",
    "awards_count": "/awards[]/",
    "awards_items_count": "/awards[]/items[]/",
    "awards_suppliers_count": "/awards[]/suppliers[]/",
    "contracts_count": "/contracts[]/",
    "contracts_items_count": "/contracts[]/items[]/",
    "contracts_transactions_count": "/contracts[]/implementation/transactions[]/",
    "plannings_count": "/planning/",
}
ANYWHERE = {
    "documents_count": "/documents[]/",
    "milestones_count": "/milestones[]/",
    "amendments_count": "/amendments[]/",
}


def counts(coverage: Mapping[str, int]) -> dict[str, int]:
    """Return the 14 counts that users see (COV-02): of objects at one path, or at every path that ends so."""
    result = {name: coverage.get(path, 0) for name, path in EXACT.items()}
    for name, ending in ANYWHERE.items():
        result[name] = sum(count for path, count in coverage.items() if path.endswith(ending))
    return result


class _WorkerDiedError(Exception):
    """A worker process ended without an answer."""


class _Worker:
    """A worker process. Make it in the thread that lives as long as it should: the kernel ends both together."""

    def __init__(self) -> None:
        package = str(Path(__file__).parents[1])
        path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "exporter.cardinal_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a warning for each line passed over, without end: we count them
            env={**os.environ, "PYTHONPATH": path},
        )

    def ask(self, path: Path, *, limited: bool = False) -> dict[str, Any]:
        assert self._process.stdin is not None  # noqa: S101 - both are pipes
        assert self._process.stdout is not None  # noqa: S101
        try:
            self._process.stdin.write(json.dumps([str(path), limited]).encode() + b"\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if not answer.endswith(b"\n"):
            raise _WorkerDiedError(f"exit code {self._process.wait()}")
        result: dict[str, Any] = json.loads(answer)
        return result

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue  # what was not taken in is of no use


@dataclass
class _Part:
    """A piece of one year's lines in a file of its own."""

    path: Path
    size: int = 0
    long: bool = False  # it holds one very long line


def _parts(source: Path, directory: Path) -> Iterator[_Part]:
    """Decompress a file into parts, each of whole lines. The caller deletes them.

    Raises:
        gunzip.TruncatedError: if the file is damaged.
    """
    number = 0

    def new() -> tuple[_Part, int]:
        nonlocal number
        number += 1
        path = directory / f"{source.name}-{number}"
        return _Part(path), files.open_new(path)

    part, descriptor = new()
    line = 0  # bytes since the last line feed
    try:
        for piece in gunzip.decompress(files.blocks(source), source.name):
            rest = memoryview(piece)
            while rest:
                # In the middle of a long line take up to its end, else up to the last line's.
                cut = piece.find(b"\n", len(piece) - len(rest)) if part.long else piece.rfind(b"\n")
                cut -= len(piece) - len(rest)
                taken, rest = (rest, rest[:0]) if cut < 0 else (rest[: cut + 1], rest[cut + 1 :])
                files.write_all(descriptor, taken)
                part.size += len(taken)
                line = 0 if cut >= 0 else line + len(taken)
                if line > LONG_LINE and not part.long:
                    os.close(descriptor)
                    whole, (part, descriptor) = part, new()
                    part.long, part.size = True, line
                    _move_tail(whole, descriptor, line)
                    if whole.size:
                        yield whole
                    else:
                        files.delete(whole.path)
                elif cut >= 0 and (part.long or part.size >= PART):
                    os.close(descriptor)
                    whole, (part, descriptor) = part, new()
                    yield whole
    finally:
        os.close(descriptor)
    if part.size:
        yield part
    else:
        files.delete(part.path)


def _move_tail(whole: _Part, descriptor: int, size: int) -> None:
    """Move the begun line at the end of a part to the file of another."""
    whole.size -= size
    with whole.path.open("r+b") as file:
        file.seek(whole.size)
        files.write_all(descriptor, file.read())
        file.truncate(whole.size)


@dataclass
class _Sums:
    """What was counted so far."""

    coverage: Counter[str] = field(default_factory=Counter)
    lines: Counter[str] = field(default_factory=Counter)  # by file
    unreadable: Counter[str] = field(default_factory=Counter)  # by file
    too_large: Counter[str] = field(default_factory=Counter)  # by file
    empty: int = 0
    bytes: int = 0


class _Pool:
    """Worker processes and the threads that wait for their answers."""

    def __init__(self, workers: int) -> None:
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._all: list[_Worker] = []
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="coverage")
        try:
            for _ in range(workers):
                worker = _Worker()
                self._all.append(worker)
                self._idle.put(worker)
        except BaseException:
            self.close()
            raise

    def submit(self, part: _Part) -> Future[dict[str, Any]]:
        return self._threads.submit(self._ask, part)

    def _ask(self, part: _Part) -> dict[str, Any]:
        worker = self._idle.get()
        try:
            return worker.ask(part.path)
        finally:
            self._idle.put(worker)
            files.delete(part.path)

    def close(self) -> None:
        for worker in self._all:
            worker.close()
        self._threads.shutdown(wait=True, cancel_futures=True)


def _ask_limited(part: _Part) -> dict[str, Any] | None:
    """Count a very long line in a process of its own. None if that needs too much memory."""
    worker = _Worker()
    try:
        return worker.ask(part.path, limited=True)
    except _WorkerDiedError:
        return None
    finally:
        worker.close()
        files.delete(part.path)


def measure(
    target: Export,
    *,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
    stop: threading.Event | None = None,
) -> Summary:
    """Write `coverage.json`: ocdscardinal's counts over all releases of an export.

    Args:
        target: the export; its JSON Lines must be there.
        workers: processes that count.
        progress: is given the releases and the bytes counted so far, about twice a second.
        stop: once it is set, the work ends with StoppedError.

    Returns:
        The summary. `skipped` counts releases that ocdscardinal cannot read (nested over 127 deep, or with a lone
        surrogate) as `unreadable`, and those over 8 MiB that need too much memory as `too_large`; `details` has
        `counts` (the 14), `empty` (releases with nothing in them, which count nowhere) and `skipped_by_file`.

    Raises:
        BrokenExportError: if a file is damaged or missing.
        LockFileError, PublishedExportError: as for every stage.
        StageError: if a worker process died.
        StoppedError: if it was stopped.
    """
    start = time.monotonic()
    with target.lock("coverage") as locks:
        manifest.begin_stage(target, "coverage")
        found = manifest.require_stage(target, "export")
        directory = files.temporary_name(target.directory / COVERAGE)
        files.make_directory(directory)
        try:
            sums = _count_all(target, found, directory, workers=max(1, workers), progress=progress, stop=stop)
        finally:
            files.delete_if_possible(directory)
        data = json.dumps(dict(sorted(sums.coverage.items())), ensure_ascii=False, indent=0).encode() + b"\n"
        locks.check()
        files.write_atomically(target.directory / COVERAGE, data)
        skipped = {"unreadable": sums.unreadable.total(), "too_large": sums.too_large.total()}
        manifest.record_stage(
            target,
            "coverage",
            files=[
                manifest.FileEntry(
                    name=COVERAGE,
                    format="coverage",
                    rows=len(sums.coverage),
                    bytes=len(data),
                    sha256=files.sha256_bytes(data),
                )
            ],
            counts={
                "coverage_empty_releases": sums.empty,
                **{f"skipped_coverage_{reason}": count for reason, count in skipped.items() if count},
            },
            versions=manifest.library_versions("ocdscardinal"),
        )
    return Summary(
        files=1,
        rows=sums.lines.total(),
        bytes=len(data),
        seconds=time.monotonic() - start,
        skipped={reason: count for reason, count in skipped.items() if count},
        details={
            "counts": counts(sums.coverage),
            "empty": sums.empty,
            "skipped_by_file": dict(sums.unreadable + sums.too_large),
        },
    )


def _count_all(
    target: Export,
    found: manifest.Manifest,
    directory: Path,
    *,
    workers: int,
    progress: Callable[[int, int], None] | None,
    stop: threading.Event | None,
) -> _Sums:
    sums = _Sums()
    waiting: list[tuple[str, _Part, Future[dict[str, Any]]]] = []
    told = time.monotonic()

    def take(name: str, part: _Part, answer: dict[str, Any] | None) -> None:
        nonlocal told
        if answer is None:
            sums.lines[name] += 1
            sums.too_large[name] += 1
        else:
            covered = answer["coverage"].get("", 0)
            sums.coverage.update(answer["coverage"])
            sums.lines[name] += answer["lines"]
            sums.empty += answer["empty"]
            if unreadable := answer["lines"] - covered - answer["empty"]:
                sums.unreadable[name] += unreadable
        sums.bytes += part.size
        if progress is not None and time.monotonic() - told >= 0.5:
            told = time.monotonic()
            progress(sums.lines.total(), sums.bytes)

    def take_oldest() -> None:
        name, part, future = waiting.pop(0)
        try:
            take(name, part, future.result())
        except _WorkerDiedError as error:
            raise StageError(f"{target.directory / name}: a worker of coverage died ({error}): try again") from None

    pool = _Pool(workers)
    try:
        for entry in found.files:
            if entry.format != "jsonl" or entry.year == "full":
                continue
            try:
                for part in _parts(target.directory / entry.name, directory):
                    if stop is not None and stop.is_set():
                        raise StoppedError("coverage was stopped: nothing of it remains")
                    if part.long:
                        take(entry.name, part, _ask_limited(part))
                        continue
                    waiting.append((entry.name, part, pool.submit(part)))
                    if len(waiting) > workers:  # one part ahead of the workers: temporary space is bounded
                        take_oldest()
            except (gunzip.TruncatedError, FileNotFoundError) as error:
                raise BrokenExportError(f"{target.directory / entry.name}: {error}: export again") from None
        while waiting:
            take_oldest()
    finally:
        pool.close()
    for entry in found.files:
        if entry.format == "jsonl" and entry.year != "full" and (lines := sums.lines[entry.name]) != entry.rows:
            raise BrokenExportError(f"{target.directory / entry.name}: {lines} lines, not {entry.rows}: export again")
    return sums
