"""Invented compiled releases and finished exports, for the tests of the exporter."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter import coverage, jsonl
from exporter.util import Export

Batches = Iterator[list[tuple[str | None, bytes]]]


def invented(count: int, years: tuple[str, ...] = ("2019", "2020", "2021", "")) -> list[tuple[str | None, bytes]]:
    """Return releases whose years go round; "" is without a date."""
    releases = []
    for number in range(count):
        year = years[number % len(years)]
        release = {
            "ocid": f"ocds-213czf-{number:06}",
            "id": f"{number}-compiled",
            **({"date": f"{year}-0{number % 9 + 1}-11T09:30:00Z"} if year else {}),
            "tag": ["compiled"],
            "tender": {
                "id": f"t{number}",
                "title": f"Bridge number {number} over the river — “stage” {number % 7}",
                "value": {"amount": number * 10.5, "currency": "ALL"},
                "items": [{"id": str(item), "description": "asphalt " * (number % 5)} for item in range(number % 4)],
                "documents": [{"id": "d1"}, {}],
            },
            "parties": [{"id": f"P{number % 13}", "name": "Ministry of Roads", "roles": ["buyer"]}],
        }
        releases.append((release.get("date"), json.dumps(release, ensure_ascii=False).encode()))
    return releases


@pytest.fixture(scope="session")
def releases() -> Callable[..., list[tuple[str | None, bytes]]]:
    """The function that invents releases."""
    return invented


@pytest.fixture
def target(tmp_path: Path) -> Export:
    """An export directory of job 12 that does not exist yet."""
    return Export("bridges", 12, root=tmp_path / "exports")


@pytest.fixture
def exported(target: Export) -> Export:
    """A directory with JSON Lines of 200 releases."""
    jsonl.export(target, [invented(200)])
    return target


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """A directory with every stage done, to be copied and never changed."""
    from exporter import flatten

    target = Export("bridges", 12, root=tmp_path_factory.mktemp("finished"))
    jsonl.export(target, [invented(200)])
    coverage.measure(target, workers=1)
    flatten.flatten(target, workers=1, formats=("csv", "parquet"))
    return target


@pytest.fixture
def finished(finished_once: Export, target: Export) -> Export:
    """A directory of the test's own with every stage done."""
    shutil.copytree(finished_once.directory, target.directory)
    return target


def tree(directory: Path) -> dict[str, bytes]:
    """Return every file below a folder, by its relative name."""
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()
    }


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, bytes]]:
    """The function that reads a folder whole."""
    return tree
