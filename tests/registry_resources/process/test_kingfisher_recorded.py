"""The stand-in answers as Kingfisher Process was recorded to, and the backend reads those answers right."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from registry_resources.process.backend import ProcessState
from tests.services.kingfisher_process import KingfisherProcess
from tests.support.kingfisher import Kingfisher

TABLES = "collection collection_file collection_note data package_data compiled_release processing_step record release"
FINAL = {1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 27}
"""Original collections whose last recorded tree is as the dump has it."""


@pytest.fixture
def recorded(shared: Path) -> Path:
    path = shared / "contract" / "recorded"
    if not path.is_dir():
        pytest.skip(f"no recorded exchanges at {path}")
    return path


@pytest.fixture
def restored(recorded: Path, kingfisher: Kingfisher) -> Kingfisher:
    """The stand-in with the rows that the real one had in the end."""
    dump = (recorded / "kingfisher_process-after-cycles.sql").read_text()
    for table in TABLES.split():
        found = re.search(rf"^COPY public\.{table} \((.*?)\) FROM stdin;\n(.*?)^\\\.$", dump, re.MULTILINE | re.DOTALL)
        assert found
        kingfisher.process.copy(table, found[1], found[2])
    return kingfisher


def exchanges(recorded: Path, pattern: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for path in sorted(recorded.glob(pattern)):
        exchange = json.loads(path.read_text())
        if "response" in exchange and "status" in exchange["response"]:
            yield path.name, exchange["request"], exchange["response"]


def shape(value: Any) -> Any:
    """A value without what differs from run to run: its keys and types, of a list its first element's."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def replay(process: KingfisherProcess, request: dict[str, Any]) -> requests.Response:
    path = re.sub(r"^http://[^/]+", "", request["url"])
    body = json.dumps(request["body"]) if isinstance(request["body"], dict) else request["body"]
    headers = {"Content-Type": "application/json"}
    return requests.request(
        request["method"], process.url + path, data=body, headers=headers, timeout=10, allow_redirects=False
    )


def compare(response: requests.Response, expected: dict[str, Any], name: str, *, exactly: bool) -> None:
    assert response.status_code == expected["status"], name
    kind = (expected["headers"].get("Content-Type") or "").partition(";")[0]
    if expected["status"] not in {202, 301}:
        assert response.headers["Content-Type"].partition(";")[0] == kind, name
    if expected["status"] == 301:
        assert response.headers["Location"] == expected["headers"]["Location"], name
    if kind == "application/json":
        wanted = json.loads(expected["body"])
        found = response.json()
        assert (found, name) == (wanted, name) if exactly else shape(found) == shape(wanted), name


def test_the_stand_in_answers_each_question_of_the_cycles_as_recorded(restored: Kingfisher, recorded: Path) -> None:
    """Metadata, notes and the last tree of each crawl are the same to the letter, from the same rows."""
    replayed = 0
    for name, request, response in exchanges(recorded, "[01]*--process-*.json"):
        number = int(re.search(r"collections/(\d+)/", request["url"])[1])  # type: ignore[index]
        if number > 28:  # made after the dump
            continue
        last = not name.endswith("tree-0.json") or not (recorded / name.replace("tree-0", "tree-1")).exists()
        tree = re.search(r"tree-(\d+)", name)
        if tree:
            last = not (recorded / name.replace(tree[0], f"tree-{int(tree[1]) + 1}")).exists()
        answer = replay(restored.process, request)
        if "notes" in name and response["status"] == 200:
            assert answer.status_code == 200
            found, wanted = answer.json(), json.loads(response["body"])
            # The order within a level is that of the table, which the dump doesn't keep.
            assert {level: sorted(map(json.dumps, notes)) for level, notes in found.items()} == {
                level: sorted(map(json.dumps, notes)) for level, notes in wanted.items()
            }
        elif last:
            compare(answer, response, name, exactly=True)
        else:
            assert answer.status_code == response["status"]
            assert [list(each) for each in answer.json()] == [list(each) for each in json.loads(response["body"])]
        replayed += 1
    assert replayed > 100


def test_the_stand_in_answers_probes_and_errors_as_recorded(restored: Kingfisher, recorded: Path) -> None:
    """Statuses, kinds and shapes: redirects without a slash, 404 as JSON and as HTML, 405, 400, 500."""
    # In the order in which they were made; the ids of what they make follow each other.
    restored.process.run("SELECT setval(pg_get_serial_sequence('collection', 'id'), 36)")
    restored.process.run("SELECT setval(pg_get_serial_sequence('collection_note', 'id'), 100000)")
    names = [
        *("create-ok", "create-duplicate", "create-bad-source", "create-nocompile", "create-upgrade"),
        *("tree-nocompile", "tree-upgrade", "tree-unknown", "tree-nonint", "tree-overflow", "tree-no-slash"),
        *("close-1", "close-2-again", "close-unknown", "delete-no-slash", "delete-nonint", "delete-zero", "delete-37"),
        *("delete-39", "delete-40"),
    ]
    replayed = 0
    for name in names:
        for path, request, response in exchanges(recorded, f"prod-process-{name}.json"):
            compare(replay(restored.process, request), response, path, exactly=False)
            replayed += 1
    assert replayed == len(names)
    with_debugging = re.compile("create-(bad|dup|no|ok)|no-slash|openapi|nonint|OPTIONS")
    for path, request, response in exchanges(recorded, "probe-process-*.json"):
        if not with_debugging.search(path):
            compare(replay(restored.process, request), response, path, exactly=False)
            replayed += 1
    assert replayed >= len(names) + 10


def test_the_backend_reads_what_the_real_one_left(restored: Kingfisher) -> None:
    """A healthy, an empty, a cancelled, a stuck and a record crawl, of the real tables, each end as they should."""
    states = {number: restored.backend.status(restored.job(number)) for number in (1, 3, 5, 7, 9, 17, 19, 21)}
    completed = {number for number, progress in states.items() if progress.state == ProcessState.COMPLETED}
    assert completed == {1, 3, 7, 17, 21}
    assert states[1].done == 119
    assert {progress.state for number, progress in states.items() if number not in completed} == {ProcessState.RUNNING}

    metadata = restored.backend.metadata(restored.job(1))
    # PRO-05: "2024-05-01 16:30:04.160T12:00:00Z" is what the real one gave.
    assert (str(metadata.date_from), str(metadata.date_to)) == ("2021-01-01", "2024-05-01")
    assert metadata.ocid_prefix == "ocds-l1v3xx"
    assert metadata.license == "http://creativecommons.org/licenses/by/4.0/"
    assert metadata.context == {"process_compiled_collection_id": 2}
    assert metadata.counts == {"files": 6, "releases": 200, "ocids": 119, "compiled_releases": 119}
    assert metadata.failure == ""
    assert restored.backend.metadata(restored.job(3)).failure.startswith(
        "Collection is empty: the crawl has collected"
    )
    assert restored.backend.metadata(restored.job(7)).failure.startswith("Collection is empty: it has no compiled")


def test_compiled_releases_are_the_text_that_was_recorded_in_the_years_that_were(
    restored: Kingfisher, recorded: Path
) -> None:
    """EXP-03, EXP-04: byte for byte the lines of the exports that were made of the same rows, in the same order."""
    import gzip

    from exporter.jsonl import year_of

    releases = restored.compiled(restored.job(1))
    folder = recorded / "export-live_pub"
    full = next(path for path in folder.rglob("full.jsonl*"))
    text = gzip.decompress(full.read_bytes()) if full.suffix == ".gz" else full.read_bytes()
    assert b"".join(line + b"\n" for _, line in releases) == text
    years: dict[str, int] = {}
    for date, _ in releases:
        years[year_of(date)] = years.get(year_of(date), 0) + 1
    # As observed, but for the year 1, which is no year here (DEF-07).
    assert years == {"2021": 35, "2022": 37, "2023": 36, "2024": 1, "9999": 1, "undated": 9}
