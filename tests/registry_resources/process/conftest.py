"""Fixtures that process invented files, in this process or through the backend."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from registry_resources.process.backend import ProcessJob, ProcessProgress, ProcessState
from registry_resources.process.local import LocalProcess
from registry_resources.process.merging import read_part
from registry_resources.process.pipeline import Pipeline
from registry_resources.settings import Settings
from tests.support.kingfisher import Kingfisher, kingfisher_on, prepare

TODAY = datetime.date(2026, 1, 31)


@dataclass
class Processed:
    """What came of some files.

    Attributes:
        lines: JSON texts by ocid.
        dates: the dates beside them.
        result: what `result.json` says.
    """

    lines: dict[str, str] = field(default_factory=dict)
    dates: dict[str, str | None] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def releases(self) -> dict[str, Any]:
        """The compiled releases by ocid."""
        return {ocid: json.loads(line) for ocid, line in self.lines.items()}

    @property
    def counts(self) -> dict[str, int]:
        """The counts."""
        return self.result["counts"]

    def skipped(self) -> dict[str, int]:
        """The counts of what was skipped."""
        return {name[8:]: count for name, count in self.counts.items() if name.startswith("skipped_")}

    def note(self, kind: str) -> dict[str, Any]:
        """The one note of a type."""
        [note] = [note for note in self.result["notes"] if note["data"]["type"] == kind]
        return note


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., Processed]:
    """Process files in this process: a mapping of name to content (bytes, text, or a value to be written as JSON)."""
    runs = []

    def run(files: Mapping[str, Any], workers: int = 1) -> Processed:
        root = tmp_path / f"run-{len(runs)}"
        runs.append(root)
        (root / "work").mkdir(parents=True)
        for name, content in files.items():
            write(root / "source" / name, content)
        (root / "source").mkdir(exist_ok=True)
        found = Processed()
        found.result = Pipeline(root / "source", root / "work", TODAY, workers, lambda _: None).run()
        for name, size in found.result["parts"]:
            assert (root / "work" / name).stat().st_size == size
            for ocid, date, line in read_part(root / "work" / name):
                text = ocid.decode("utf-8", "surrogatepass")
                assert text not in found.lines
                found.lines[text] = line.decode()
                found.dates[text] = date
        assert sorted(path.name for path in (root / "work").iterdir()) == [name for name, _ in found.result["parts"]]
        return found

    return run


def write(path: Path, content: Any) -> None:
    """Write bytes, text, or a value as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, bytes | str) else json.dumps(content)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


class Bench:
    """A backend with its folders, and how tests drive it."""

    def __init__(self, root: Path, workers: int = 1) -> None:
        self.settings = Settings(
            home=root / "home",
            database_url="sqlite://",
            exporter_dir=root / "exports",
            files_store=root / "files",
            workers=workers,
        )
        self.backend = LocalProcess(self.settings, today=lambda: TODAY)
        self.job = ProcessJob("invented", 7, {"directory": "invented/20260101_000000"})
        self.source = self.settings.files_store / "invented" / "20260101_000000"

    @property
    def folder(self) -> Path:
        """The job's folder."""
        return self.settings.process_dir / "invented" / "7"

    def collect(self, files: Mapping[str, Any]) -> None:
        """Put files where a crawl would."""
        self.source.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write(self.source / "0AB" / name, content)

    def wait(self, job: ProcessJob | None = None, timeout: float = 60) -> ProcessProgress:
        """Wait until it is no longer running."""
        deadline = time.monotonic() + timeout
        while (progress := self.backend.status(job or self.job)).state == ProcessState.RUNNING:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return progress

    def run(self) -> ProcessProgress:
        """Start it, and wait for its end."""
        self.backend.start(self.job)
        return self.wait()

    def compiled(self) -> list[tuple[str | None, bytes]]:
        """All compiled releases."""
        return [item for batch in self.backend.compiled_releases(self.job) for item in batch]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A backend of its own."""
    return Bench(tmp_path)


@pytest.fixture
def bench_factory(tmp_path: Path) -> Iterator[Callable[[int], Bench]]:
    """Makes a backend of so many workers."""
    made: list[Bench] = []

    def make(workers: int) -> Bench:
        made.append(Bench(tmp_path, workers))
        return made[-1]

    yield make
    for bench in made:
        bench.backend.cancel(bench.job)


@pytest.fixture(scope="session")
def kingfisher_server(postgresql: str) -> str:
    """A PostgreSQL server with Kingfisher Process' tables."""
    prepare(postgresql)
    return postgresql


@pytest.fixture
def kingfisher(kingfisher_server: str, tmp_path: Path) -> Iterator[Kingfisher]:
    """A stand-in Kingfisher Process without collections, and the backend that asks it."""
    with kingfisher_on(kingfisher_server, tmp_path / "home") as bench:
        yield bench
