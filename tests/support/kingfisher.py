"""A stand-in Kingfisher Process with the backend that asks it, and how tests drive both."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2

from registry_resources.process.backend import ProcessJob, ProcessProgress
from registry_resources.process.kingfisher import KingfisherProcess as Backend
from registry_resources.process.kingfisher_api import Timeouts
from registry_resources.process.kingfisher_tree import Patience
from registry_resources.settings import Settings
from tests.services.kingfisher_process import KingfisherProcess
from tests.services.kingfisher_process_store import OF_A_COLLECTION
from tests.support.postgresql import create_database, database_url, execute

DATABASE = "kingfisher_process"
VERSION = "2026-01-02 03:04:05"
READER = "registry_reader"
"""A role that may read three tables, and nothing else."""


def release(number: int, date: Any = "2024-01-02T03:04:05Z", **more: Any) -> dict[str, Any]:
    """A small release."""
    return {"ocid": f"ocds-213czf-{number:03}", "id": f"{number}", "date": date, "tag": ["tender"], **more}


class Clock:
    """A clock that moves when it is told, or slept on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Move on."""
        self.now += seconds
        time.sleep(min(seconds, 0.02))  # the stand-in's wiper takes real time


class Kingfisher:
    """Both sides.

    Attributes:
        process: the stand-in.
        backend: what is tested, as a role that may only read.
        clock: what the backend takes for time.
        settings: the backend's.
    """

    def __init__(self, process: KingfisherProcess, reader_url: str, home: Path) -> None:
        self.process = process
        self.clock = Clock()
        self.settings = Settings.from_env(
            {
                "REGISTRY_HOME": str(home),
                "SCRAPYD_URL": "http://127.0.0.1:9",
                "SCRAPYD_PROJECT": "kingfisher",
                "KINGFISHER_COLLECT_FILES_STORE": str(home / "files"),
                "KINGFISHER_PROCESS_URL": process.url,
                "KINGFISHER_PROCESS_DATABASE_URL": reader_url,
            }
        )
        self.backend = self.make()

    def make(self, **changes: Any) -> Backend:
        """A backend with other arguments."""
        defaults = {
            "timeouts": Timeouts(connect=2, read=2, metadata=2),
            "patience": Patience(),
            "clock": self.clock,
            "sleep": self.clock.sleep,
        }
        return Backend(self.settings, **{**defaults, **changes})

    def job(self, number: int | str | None, **context: Any) -> ProcessJob:
        """A job whose crawl left this collection."""
        return ProcessJob("ruritania", 7, {"process_id": number, **context})

    def crawl(self, files: dict[str, list[Any]] | None = None, source_id: str = "ruritania") -> int:
        """A crawl that is still open, with files that are read. Returns its collection."""
        root, _ = self.process.create(source_id, VERSION)
        for name, releases in (files or {}).items():
            self.process.load(root, name, releases)
        return root

    def completed(
        self, files: dict[str, list[Any]] | None = None, source_id: str = "ruritania", **merging: Any
    ) -> int:
        """A crawl all of whose releases are merged."""
        root = self.crawl(files or {"a.json": [release(1), release(2)]}, source_id)
        self.process.finish(root, **merging)
        return root

    def status(self, root: int, after: float = 0, **context: Any) -> ProcessProgress:
        """What the backend says, so many seconds later."""
        self.clock.now += after
        return self.backend.status(self.job(root, **context))

    def compiled(self, job: ProcessJob) -> list[tuple[str | None, bytes]]:
        """All compiled releases."""
        return [item for batch in self.backend.compiled_releases(job) for item in batch]


def prepare(server: str) -> None:
    """Make the database with its tables, and the role that may only read, on a PostgreSQL server, once."""
    connection = psycopg2.connect(server)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
            if cursor.fetchone():
                return
    finally:
        connection.close()
    create_database(server, DATABASE)
    execute(server, f"CREATE ROLE {READER} LOGIN PASSWORD 'reading'")
    with KingfisherProcess(database_url(server, DATABASE)) as process:
        process.create_tables()
        process.run(f"GRANT SELECT ON compiled_release, data, release TO {READER}")


@contextmanager
def kingfisher_on(server: str, home: Path) -> Iterator[Kingfisher]:
    """Both sides, with empty tables."""
    url = database_url(server, DATABASE)
    with KingfisherProcess(url) as process:
        process.run(f"TRUNCATE {', '.join((*OF_A_COLLECTION, 'collection', 'data', 'package_data'))} RESTART IDENTITY")
        yield Kingfisher(process, url.replace("postgres:@", f"{READER}:reading@", 1), home)
