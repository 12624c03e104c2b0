"""A job's folder: what is in it, its lock, and the result in it.

    <process folder>/<key>/<job>/
        lock            held by the worker while it lives (flock: certain also after a kill or a reboot)
        progress.json   how far it is
        failure.json    why it failed
        worker.log      what the worker's processes said on standard error
        work-…/         unfinished work of one worker
        result/         the compiled releases in parts, and result.json, which is written last

Belongs here: names, writing so that a reader sees all or nothing, and reading. Does not belong here: starting workers,
or making what is written.
"""

from __future__ import annotations

import datetime
import fcntl
import heapq
import json
import os
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from registry_resources.exceptions import UnexpectedError
from registry_resources.process.backend import Note, ProcessMetadata
from registry_resources.process.blocks import BrokenBlockError
from registry_resources.process.merging import read_part

BATCH = 4 << 20
"""Bytes of JSON in a batch, about."""

_KEY = re.compile(r"[a-z0-9_]+", re.ASCII)


class JobFolder:
    """The folder of a job. Nothing is touched until a method is called.

    Args:
        root: the folder of all jobs.
        key: the publication's key.
        job: the job's id.

    Raises:
        UnexpectedError: if they can't name a folder within the root.
    """

    def __init__(self, root: Path, key: str, job: int) -> None:
        if not _KEY.fullmatch(key) or job < 0:
            raise UnexpectedError(
                f"{key!r} and {job!r} are not a publication's key and a job's id: nothing was touched."
            )
        self.root = root
        self.path = root / key / str(job)
        self.name = f"publication {key}, job {job}"

    @property
    def result(self) -> Path:
        """The finished result."""
        return self.path / "result"

    @property
    def log(self) -> Path:
        """What the worker's processes said on standard error."""
        return self.path / "worker.log"

    @property
    def lock(self) -> Path:
        """Held by the worker, whose process id it holds."""
        return self.path / "lock"

    def hold(self) -> int | None:
        """Take the lock for the life of this process. Returns its descriptor, or None if another process has it."""
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d" % os.getpid(), 0)
        return descriptor

    def holder(self) -> int | None:
        """The process id of the worker that lives, or None. 0 if it hasn't written it yet."""
        try:
            descriptor = os.open(self.lock, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            text = os.read(descriptor, 20)
            return int(text) if text.isdigit() else 0
        else:
            return None
        finally:
            os.close(descriptor)

    def read(self, name: str) -> dict[str, Any] | None:
        """A small JSON file of the job, or None if it isn't there or isn't whole."""
        try:
            value = json.loads((self.path / name).read_bytes())
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def write(self, name: str, value: Mapping[str, Any], *, durable: bool = True) -> None:
        """Write a small JSON file: a reader sees the old one or the new one.

        Raises:
            OSError: if it can't be written.
        """
        write_json(self.path / name, value, durable=durable)


def write_json(path: Path, value: Mapping[str, Any], *, durable: bool = True) -> None:
    """Write a small JSON file: a reader sees the old one or the new one.

    Raises:
        OSError: if it can't be written.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(json.dumps(value, separators=(",", ":")).encode())
        if durable:
            file.flush()
            os.fsync(file.fileno())
    temporary.replace(path)
    if durable:
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def metadata_of(result: Mapping[str, Any]) -> ProcessMetadata:
    """What `result.json` tells of the compiled releases."""
    dates = [datetime.date.fromisoformat(text) if text else None for text in (result["date_from"], result["date_to"])]
    return ProcessMetadata(
        date_from=dates[0],
        date_to=dates[1],
        ocid_prefix=result["ocid_prefix"],
        license=result["license"],
        publication_policy=result["publication_policy"],
        counts=result["counts"],
    )


def notes_of(result: Mapping[str, Any]) -> list[Note]:
    """The notes in `result.json` or `failure.json`."""
    return [Note(note["level"], note["note"], note["data"]) for note in result.get("notes", [])]


def compiled_releases(folder: JobFolder) -> Generator[Sequence[tuple[str | None, bytes]]]:
    """Batches of (date or None, JSON in one line), sorted by ocid. Parts are merged as they are read.

    Raises:
        UnexpectedError: if the result is gone or broken.
    """
    result = folder.read("result/result.json")
    if result is None:
        raise UnexpectedError(f"The compiled releases of {folder.name} are gone: materialise `processed` again.")
    batch: list[tuple[str | None, bytes]] = []
    size = number = 0
    try:
        parts = []
        for name, length in result["parts"]:
            parts.append(_whole_part(folder.result / name, length))
        for _, date, data in heapq.merge(*parts, key=itemgetter(0)):
            batch.append((date, data))
            size += len(data)
            number += 1
            if size >= BATCH:
                yield batch
                batch, size = [], 0
    except (OSError, BrokenBlockError) as error:
        raise UnexpectedError(
            f"The compiled releases of {folder.name} can't be read ({error}): materialise `processed` again."
        ) from error
    if batch:
        yield batch
    if number != result["counts"].get("compiled_releases", 0):
        raise UnexpectedError(
            f"The compiled releases of {folder.name} aren't complete: materialise `processed` again."
        )


def _whole_part(path: Path, length: int) -> Iterator[tuple[bytes, str | None, bytes]]:
    if path.stat().st_size != length:
        raise BrokenBlockError(f"{path} is cut off")
    return read_part(path)
