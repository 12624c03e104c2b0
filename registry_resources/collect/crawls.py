"""The folder of one crawl: what is known of it, its log, and whether its process lives.

A crawl's process holds a lock on a file of the folder as long as it lives, so a restarted registry knows for certain
whether it does: process ids are reused, locks aren't. Belongs here: the folder's files. Does not belong here: starting
or ending processes. Nothing secret is written here.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from registry_resources.exceptions import UnexpectedError


class CrawlFolder:
    """The folder of one crawl.

    Args:
        root: the folder of all crawls.
        crawl: the crawl's id.

    Raises:
        UnexpectedError: if the id isn't one: it becomes part of a path.
    """

    def __init__(self, root: Path, crawl: str) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,200}", crawl, re.ASCII):
            raise UnexpectedError(f"{crawl!r} is not the id of a crawl (letters, digits, - and _).")
        self.crawl = crawl
        self.path = root / crawl
        self.log = self.path / "crawl.log"
        self.output = self.path / "output.log"
        self.lock = self.path / "lock"
        self.journal = self.path / "files.jsonl"

    def make(self) -> None:
        """Make it, for its owner alone: URLs of sources may hold keys."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def request(self) -> dict[str, Any]:
        """What was scheduled: `key`, `spider`, `directory` and `data_version` (if known). {} if nothing was."""
        return self._read("request.json")

    @property
    def process(self) -> dict[str, Any]:
        """The latest process: `pid`."""
        return self._read("process.json")

    @property
    def located(self) -> dict[str, Any]:
        """Where a checkout's spider writes: `data_version` and `name`. {} until it knows."""
        return self._read("located.json")

    @property
    def progress(self) -> dict[str, Any]:
        """How far it is: `files`, `bytes`."""
        return self._read("progress.json")

    @property
    def end(self) -> dict[str, Any]:
        """How the latest process ended by itself: `reason`. {} if it hasn't, or was killed."""
        return self._read("end.json")

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled, after which it is never resumed."""
        return (self.path / "cancelled").exists()

    def read(self, name: str) -> dict[str, Any]:
        """Read one of its JSON files. {} if it isn't there, or can't be understood."""
        return self._read(f"{name}.json")

    def write(self, name: str, value: dict[str, Any]) -> None:
        """Write one of its JSON files, at once or not at all."""
        write_json(self.path / f"{name}.json", value)

    def mark_cancelled(self) -> None:
        """Record that it is cancelled."""
        (self.path / "cancelled").touch()

    def forget(self, name: str) -> None:
        """Delete one of its files. Not being there is no error."""
        (self.path / name).unlink(missing_ok=True)

    @contextmanager
    def hold(self) -> Iterator[int | None]:
        """Take the lock. Yields its descriptor, to pass on to the process, or None if a process holds it."""
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield descriptor if _locked(descriptor) else None
        finally:
            os.close(descriptor)

    def alive(self) -> bool:
        """Whether its process lives."""
        try:
            descriptor = os.open(self.lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _read(self, name: str) -> dict[str, Any]:
        try:
            value = json.loads((self.path / name).read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON file under a temporary name and rename it."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(value))
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _locked(descriptor: int) -> bool:
    """Take the lock. Whoever asks whether a process lives holds it for an instant, so one refusal means little."""
    for _ in range(20):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.01)
        else:
            return True
    return False
