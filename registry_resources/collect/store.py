"""Writes a crawl's files into the file store, and keeps its journal, so that an interrupted crawl can be resumed.

A file is written under a temporary name and renamed, so no reader ever sees half of one. The journal names each file
before it gets its name, and each source once all of its files have theirs; resuming trusts it only where the files are
still there with the sizes it states. Does not belong here: where files come from.
"""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any

from registry_resources.collect.layout import subfolder
from registry_resources.collect.problems import StoppedError, StoreError
from registry_resources.collect.sniff import Readable

CHUNK = 1 << 20


class FileStore:
    """The folder of one crawl.

    Args:
        root: the file store.
        directory: the crawl's folder, relative to it.
        partial: the folder of its unfinished files, on the same file system. It is emptied.
        journal: the journal's path.
        max_bytes: how much the crawl may store in all.
    """

    def __init__(self, root: Path, directory: str, partial: Path, journal: Path, max_bytes: int) -> None:
        self.directory = root / directory
        self.partial = partial
        self.files = 0
        self.bytes = 0
        self.unfinished = 0  # bytes of files being written
        self.stopping: Callable[[], bool] = lambda: False
        self._max_bytes = max_bytes
        self._journal = journal
        self._lock = threading.Lock()
        with _told(partial):
            partial.mkdir(parents=True, exist_ok=True)
            for path in partial.iterdir():
                path.unlink()

    def temporary(self) -> Path:
        """A new path for an unfinished file."""
        return self.partial / uuid.uuid4().hex

    def write(self, stream: Readable, path: Path, *, start: int = 0, resumable: bool = False) -> int:
        """Write a stream to a temporary file; nothing is left of it if that fails.

        Args:
            stream: what to write.
            path: the temporary file.
            start: how many bytes of it are written already.
            resumable: whether to leave what was written if it is the stream that fails.

        Returns:
            The file's size in bytes.

        Raises:
            BadContentError: if the stream is broken.
            StoppedError: if the crawl is ending.
            StoreError: if it can't be written, or the crawl's cap is reached.
        """
        size = start
        try:
            with _told(path):
                # Without a buffer, whose last bytes would be written, and fail, only when the file is closed.
                file = path.open("ab" if start else "wb", buffering=0)
            with file:
                while data := stream.read(CHUNK):
                    self.check(size + len(data))
                    with _told(path):
                        _write_all(file, data)
                    self._add_unfinished(len(data))
                    size += len(data)
        except BaseException as error:
            if not resumable or isinstance(error, StoreError | StoppedError):
                path.unlink(missing_ok=True)
            raise
        finally:
            self._add_unfinished(start - size)
        return size

    def _add_unfinished(self, size: int) -> None:
        with self._lock:
            self.unfinished += size

    def check(self, size: int) -> None:
        """Raise StoppedError if the crawl is ending, StoreError if `size` more bytes would exceed its cap."""
        if self.stopping():
            raise StoppedError
        if self.bytes + size > self._max_bytes:
            raise StoreError(
                f"the crawl stores more than {self._max_bytes:,} bytes. If that is right, raise COLLECT_MAX_BYTES in "
                "the publication's settings bundle"
            )

    def keep(self, path: Path, file_name: str, source: int, label: str) -> int:
        """Give a temporary file its final name. Returns its size in bytes.

        Args:
            path: the temporary file.
            file_name: its final name, unique within the crawl.
            source: the number of the source it came from.
            label: where it came from, for people: a URL or path, and the member of an archive.
        """
        relative = f"{subfolder(file_name)}/{file_name}"
        final = self.directory / relative
        with _told(final):
            size = path.stat().st_size
            self._write_journal({"source": source, "file": relative, "bytes": size, "of": label})
            final.parent.mkdir(parents=True, exist_ok=True)
            path.replace(final)
        with self._lock:
            self.files += 1
            self.bytes += size
        return size

    def done(self, source: int, **more: Any) -> None:
        """Record that all files of a source are stored, and what else is needed to go on from it."""
        with _told(self._journal):
            self._write_journal({"source": source, "done": True, **more})

    def resume(self) -> Iterator[dict[str, Any]]:
        """What the journal says is done and is truly there; files of sources that aren't done are deleted.

        Yields:
            The record of each source that is done, with its `files` and `bytes`.
        """
        pending: dict[int, list[tuple[str, int]]] = {}
        for record in read_journal(self._journal):
            source = record["source"]
            if "file" in record:
                pending.setdefault(source, []).append((record["file"], record["bytes"]))
                continue
            files = dict(pending.pop(source, []))  # a source that was tried twice names its files twice
            if all(_size(self.directory / file) == size for file, size in files.items()):
                self.files += len(files)
                self.bytes += sum(files.values())
                yield {**record, "files": len(files), "bytes": sum(files.values())}
            else:
                pending[source] = list(files.items())
        for files_of_source in pending.values():
            for file, _ in files_of_source:
                with _told(self.directory / file):
                    (self.directory / file).unlink(missing_ok=True)

    def close(self) -> None:
        """Delete what is unfinished."""
        for path in self.partial.glob("*"):
            path.unlink(missing_ok=True)
        if self.partial.is_dir():
            self.partial.rmdir()

    def _write_journal(self, record: dict[str, Any]) -> None:
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode(errors="replace") + b"\n"
        with self._lock:
            descriptor = os.open(self._journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a journal. A line that a kill cut off is passed over: what it tells of is done again."""
    try:
        with path.open("rb") as file:
            for line in file:
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if isinstance(record, dict) and isinstance(record.get("source"), int):
                    yield record
    except FileNotFoundError:
        return


class _told:  # noqa: N801 - reads as a word
    """Tells a failure to write as a StoreError that names the path and the remedy."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, OSError):
            raise StoreError(
                f"the file store can't be written: {error.strerror or error} ({self._path.parent}). "
                "Free space or correct its permissions, then run it again"
            ) from error


def _write_all(file: FileIO, data: bytes) -> None:
    """Write all of it: near the end of a disk, a part may be written."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
