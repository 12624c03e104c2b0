"""Compiled releases as gzipped JSON Lines by year (EXP-04, EXP-05): `full`, a file for each year, `undated`.

Belongs here: the rule of years, and writing these files in parallel, in bounded memory, with few open files. Does not
belong here: where the releases come from (see `source` for files), or what is made of these files.

Each line is compressed once. A gzip file may have many members: each of ours holds about 1 MiB of whole lines of one
year, compressed on its own in a thread (zlib-ng gives up Python's lock), and `full.jsonl.gz` is the years' files one
after another, then `undated`. Where members are cut depends on the lines alone, so the same lines give the same bytes,
with any number of threads (I7).
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from zlib_ng import zlib_ng

from exporter import files, manifest
from exporter.errors import EmptyExportError, StoppedError
from exporter.source import read_source
from exporter.summary import Summary

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from exporter.util import Export

__all__ = ["export", "read_source", "year_of"]

MEMBER = 1 << 20  # bytes of lines in a gzip member: it costs under 1% of size against one member a file
PENDING = 64 << 20  # bytes of lines held for all years until the fullest is written, so that 9,000 years fit in memory
IN_FLIGHT = 32 << 20  # bytes of lines being compressed at once
# Level 5 of zlib-ng is 2 to 4% larger than gzip -9 and 3 to 4 times as fast; 4 is 6% larger and a fifth faster.
LEVEL = 5
_GZIP = 31
_LARGE = 4 << 20
_DATE = re.compile(r"([1-9][0-9]{3})-(?:0[1-9]|1[0-2]|[1-9]\Z)")


def year_of(date: str | None) -> str:
    """Return the name of the file that a release goes to: its year, or `undated`.

    A year is 1000-9999 and its month valid: of anything else the download of such a file would be refused (DEF-07).
    """
    match = _DATE.match(date[:7]) if date else None
    return match[1] if match else "undated"


def _compress(lines: list[bytes], size: int) -> bytes:
    """Return the lines as one gzip member. Its header holds no time and no name."""
    if size <= _LARGE:
        lines.append(b"")
        return zlib_ng.compress(b"\n".join(lines), LEVEL, _GZIP)
    encoder, out = zlib_ng.compressobj(LEVEL, zlib_ng.DEFLATED, _GZIP), []
    for line in lines:  # without a second copy of a very long line
        out += [encoder.compress(line), encoder.compress(b"\n")]
    out.append(encoder.flush())
    return b"".join(out)


@dataclass
class _Year:
    """One file being written."""

    path: Path  # the temporary one
    pending: list[bytes] = field(default_factory=list)
    size: int = 0  # of `pending`, with line feeds
    digest: files.Hash = field(default_factory=hashlib.sha256)
    written: int = 0  # compressed bytes
    rows: int = 0
    uncompressed: int = 0


class _Writer:
    """Gathers lines by year, compresses them in threads, and writes members in the order in which they were cut."""

    def __init__(self, directory: Path, workers: int) -> None:
        self._directory = directory
        self._pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="gzip")
        self._queue: deque[tuple[_Year, int, Future[bytes]]] = deque()
        self._in_flight = 0
        self._pending = 0
        self._least = 2 * max(1, workers)
        self.years: dict[str, _Year] = {}

    def add(self, year: str, line: bytes) -> None:
        state = self.years.get(year)
        if state is None:
            temporary = files.temporary_name(self._directory / f"{year}.jsonl.gz")
            os.close(files.open_new(temporary))
            state = self.years[year] = _Year(temporary)
        size = len(line) + 1
        state.pending.append(line)
        state.rows += 1
        state.size += size
        self._pending += size
        if state.size >= MEMBER:
            self._cut(state)
        elif self._pending > PENDING:
            self._cut_half()

    def _cut_half(self) -> None:
        """Cut the fullest years until half of what may be pending is left, so that it is seldom done."""
        for state in sorted(self.years.values(), key=lambda state: -state.size):
            self._cut(state)
            if self._pending <= PENDING // 2:
                return

    def _cut(self, state: _Year) -> None:
        """Give a year's pending lines to the threads, once there is room for them."""
        size = state.size
        while self._queue and (self._in_flight + size > IN_FLIGHT or len(self._queue) >= self._least):
            self._write_oldest()
        self._queue.append((state, size, self._pool.submit(_compress, state.pending, size)))
        self._in_flight += size
        self._pending -= size
        state.uncompressed += size
        state.pending, state.size = [], 0

    def _write_oldest(self) -> None:
        state, size, future = self._queue.popleft()
        member = future.result()
        self._in_flight -= size
        descriptor = files.open_append(state.path)  # opened for each member: however many years, one file is open
        try:
            files.write_all(descriptor, member)
        finally:
            os.close(descriptor)
        state.digest.update(member)
        state.written += len(member)

    def finish(self) -> None:
        """Write all that is pending and force it onto the disk."""
        for year in sorted(self.years):
            if self.years[year].pending:
                self._cut(self.years[year])
        while self._queue:
            self._write_oldest()

    def sync(self, paths: Iterable[Path]) -> None:
        """Force finished files onto the disk, several at a time."""
        list(self._pool.map(files.sync_file, paths))

    def close(self) -> None:
        """End the threads, and forget what they were not given yet."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def export(
    target: Export,
    batches: Iterable[Sequence[tuple[str | None, bytes]]],
    *,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
    stop: threading.Event | None = None,
    skipped: Mapping[str, int] | None = None,
    noticed: Mapping[str, int] | None = None,
) -> Summary:
    """Write compiled releases to an export directory, replacing everything in it (DEF-05).

    Args:
        target: the export.
        batches: sequences of (the release's `date` or None, its JSON in one line without line feed). A line that has
            line feeds, which JSON allows between values, gets spaces in their place.
        workers: threads that compress.
        progress: is given the releases and bytes so far, about twice a second.
        stop: once it is set, the work ends with StoppedError and leaves no file.
        skipped: what the source leaves out, by reason, looked at after the last batch; it goes into the manifest as
            `skipped_export_<reason>`.
        noticed: releases that the source gives and that have something unusual, by what it is, looked at likewise; it
            goes into the manifest as `releases_with_<what>`.

    Returns:
        The summary; `details` has `years` (rows by file), `uncompressed` (bytes of JSON Lines) and `noticed`.

    Raises:
        EmptyExportError: if there was no release (DEF-04).
        LockFileError: if somebody works in the directory.
        PublishedExportError: if it is published.
        StoppedError: if it was stopped.
    """
    start = time.monotonic()
    with target.lock("export") as locks:
        manifest.begin_stage(target, "export")
        writer = _Writer(target.directory, workers)
        temporaries: list[Path] = []
        try:
            _take_in(writer, batches, progress, stop)
            writer.finish()
            left_out = {reason: count for reason, count in (skipped or {}).items() if count}
            unusual = {what: count for what, count in (noticed or {}).items() if count}
            _refuse_empty(target, writer, left_out)
            full = files.temporary_name(target.directory / "full.jsonl.gz")
            temporaries.append(full)
            entries = _finish_files(writer, full, lambda: _raise_if_stopped(stop))
            locks.check()
            for name, year in writer.years.items():
                files.replace(year.path, target.directory / f"{name}.jsonl.gz")
            files.replace(full, target.directory / "full.jsonl.gz")
            files.sync_directory(target.directory)
            manifest.record_stage(
                target,
                "export",
                files=entries,
                counts={
                    "releases": entries[0].rows,
                    "releases_undated": writer.years["undated"].rows if "undated" in writer.years else 0,
                    **{f"skipped_export_{reason}": count for reason, count in left_out.items()},
                    **{f"releases_with_{what}": count for what, count in unusual.items()},
                },
                versions=manifest.library_versions("zlib-ng", "orjson"),
            )
        except BaseException:
            writer.close()
            for path in (*temporaries, *(year.path for year in writer.years.values())):
                files.delete_if_possible(path)
            raise
        writer.close()
    return Summary(
        files=len(entries),
        rows=entries[0].rows,
        bytes=sum(entry.bytes for entry in entries),
        seconds=time.monotonic() - start,
        skipped=left_out,
        details={
            "years": {str(entry.year): entry.rows for entry in entries[1:]},
            "uncompressed": entries[0].uncompressed,
            "noticed": unusual,
        },
    )


def _finish_files(writer: _Writer, full: Path, check: Callable[[], None]) -> list[manifest.FileEntry]:
    """Join the years' files into `full`, sync all, and describe them: `full`, the years, `undated`."""
    years = [(name, writer.years[name]) for name in sorted(writer.years)]  # "undated" sorts after digits
    size, digest = files.join((year.path for _, year in years), full, stop=check)
    writer.sync([full, *(year.path for _, year in years)])
    check()

    def entry(name: str, year: int | Literal["full", "undated"], state: _Year) -> manifest.FileEntry:
        return manifest.FileEntry(
            name=f"{name}.jsonl.gz",
            format="jsonl",
            year=year,
            rows=state.rows,
            bytes=state.written,
            uncompressed=state.uncompressed,
            sha256=state.digest.hexdigest(),
        )

    whole = _Year(
        full,
        written=size,
        rows=sum(year.rows for _, year in years),
        uncompressed=sum(year.uncompressed for _, year in years),
    )
    return [
        entry("full", "full", whole).model_copy(update={"sha256": digest}),
        *(entry(name, int(name) if name.isdigit() else "undated", year) for name, year in years),
    ]


def _refuse_empty(target: Export, writer: _Writer, left_out: Mapping[str, int]) -> None:
    if not writer.years:
        text = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise EmptyExportError(
            f"{target.directory}: there are no compiled releases to export"
            f"{f' (left out: {text})' if text else ''}: look at what was collected and merged"
        )


def _take_in(
    writer: _Writer,
    batches: Iterable[Sequence[tuple[str | None, bytes]]],
    progress: Callable[[int, int], None] | None,
    stop: threading.Event | None,
) -> None:
    names: dict[str | None, str] = {}
    releases = size = 0
    told = time.monotonic()
    for batch in batches:
        _raise_if_stopped(stop)
        for date, line in batch:
            head = date[:7] if date else None
            name = names.get(head)
            if name is None:
                if len(names) > 100_000:  # of garbage dates there may be as many as releases
                    names.clear()
                name = names[head] = year_of(head)
            writer.add(name, line if b"\n" not in line else line.replace(b"\n", b" "))
            size += len(line)
        releases += len(batch)
        if progress is not None and time.monotonic() - told >= 0.5:
            told = time.monotonic()
            progress(releases, size)


def _raise_if_stopped(stop: threading.Event | None) -> None:
    if stop is not None and stop.is_set():
        raise StoppedError("the export was stopped: nothing of it remains")
