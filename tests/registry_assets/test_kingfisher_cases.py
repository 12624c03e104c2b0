"""Each way in which crawls were observed to end at the real services: through the assets, and cleaned up.

The crawls are of a real Scrapyd; Kingfisher Process is a stand-in whose workers take their time. Each case ends as it
should, with its reason, and the cleanup leaves nothing of it.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests

from registry_assets.process_manager import deletion
from registry_resources.database import Collection, Job, Task
from registry_resources.process import kingfisher
from registry_resources.process.kingfisher_tree import Patience
from tests.services.kingfisher_process import KingfisherProcess
from tests.services.publisher import Answer, Publisher
from tests.services.real_scrapyd import PROJECT, RealScrapyd
from tests.support.kingfisher import release
from tests.support.registry import TestRegistry, read_jsonl
from tests.support.services import add, assert_nothing_is_left, clean_up, services_of, used_by_a_registry

QUICK = Patience(look=0.5, open=10, unknown_format=2, invalid_json=8, other=600)


@pytest.fixture(scope="module")
def scrapyd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealScrapyd]:
    pytest.importorskip("scrapyd")
    with RealScrapyd(tmp_path_factory.mktemp("scrapyd")) as server:
        yield server


@pytest.fixture
def process(
    scrapyd: RealScrapyd, postgresql: str, registry: TestRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[KingfisherProcess]:
    monkeypatch.setattr(kingfisher, "Patience", lambda: QUICK)
    with used_by_a_registry(scrapyd, postgresql, tmp_path / "unused", monkeypatch) as service:
        yield service


@pytest.fixture
def left(registry: TestRegistry, scrapyd: RealScrapyd, process: KingfisherProcess) -> Iterator[Callable[[str], Job]]:
    """Takes the failed job after its run, and checks that the cleanup leaves nothing, nor deleting the job."""

    def check(result: str) -> Job:
        job = registry.jobs("acme")[-1]
        assert job.result == result
        clean_up(registry)
        assert_nothing_is_left(registry, scrapyd, process)
        assert not list(registry.settings.exporter_dir.rglob("*.gz"))
        deletion.delete_job(services_of(registry), job.id)
        assert not list((registry.settings.home / "crawls").iterdir())
        return job

    return check


def texts(*files: Any) -> str:
    """The argument of the spider `texts`: files of releases, or of any text."""
    return json.dumps([file if isinstance(file, str) else json.dumps({"releases": file}) for file in files])


def kinds(job: Job) -> set[tuple[str, str]]:
    """Levels and types of the notes of processing."""
    return {(note.level, note.data["type"]) for note in job.task(Task.Type.PROCESS).notes}


def when(condition: Callable[[], Any], then: Callable[[], Any]) -> threading.Thread:
    """Do something as soon as something is so."""

    def wait() -> None:
        deadline = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        then()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_healthy_crawl_is_published(
    registry: TestRegistry, scrapyd: RealScrapyd, process: KingfisherProcess
) -> None:
    """All six assets; what is published stays, and the job can be superseded."""
    add(registry, process, items="7")
    for _ in range(2):
        result = registry.run("acme")
        assert result.success, registry.failure(result)
        lines = read_jsonl(registry.published("acme") / "full.jsonl.gz")
        assert sorted(line["ocid"] for line in lines) == [f"ocds-213czf-{number:03}" for number in range(7)]
    shown = registry.metadata(result, "collected")
    job = registry.jobs("acme")[-1]
    assert (shown["files"], shown["collection"]) == (7, job.context["process_id"])
    assert requests.get(shown["crawl log"], timeout=60).ok
    assert kinds(job) == set()
    assert job.context["process_counts"] == {"files": 7, "releases": 7, "ocids": 7, "compiled_releases": 7}
    assert job.context["files"] == 7
    clean_up(registry)
    assert_nothing_is_left(registry, scrapyd, process)
    assert registry.published("acme").name == str(job.id)


def test_a_version_that_is_blocked_leaves_its_files_to_whoever_accepts_it_and_nothing_else(
    registry: TestRegistry, scrapyd: RealScrapyd, process: KingfisherProcess
) -> None:
    """DEF-06, RET-05: more than half of the ocids are gone, though every service says that all went well."""
    add(registry, process, items="60")
    assert registry.run("acme").success
    with registry.database.session() as session:
        session.query(Collection).one().spider_arguments = {"items": "20"}
    assert not registry.run("acme").success
    first, blocked = registry.jobs("acme")
    assert registry.published("acme").name == str(first.id)
    clean_up(registry)
    assert_nothing_is_left(registry, scrapyd, process)
    exports = registry.settings.exporter_dir / "acme" / str(blocked.id)
    assert len(read_jsonl(exports / "full.jsonl.gz")) == 20


@pytest.mark.parametrize(
    "case",
    [
        ("acme", {"items": "0"}, "The crawl collected no files"),
        ("acme", {"sample": "2"}, "The crawl was partial"),
        ("broken", {}, "RuntimeError: no such luck"),
    ],
)
def test_an_empty_a_partial_and_a_broken_crawl_are_rejected(
    case: tuple[str, dict[str, str], str],
    registry: TestRegistry,
    process: KingfisherProcess,
    left: Callable[[str], Job],
) -> None:
    """Observed: each is "finished"; the collection of the first completes, and nothing is in it."""
    spider, arguments, reason = case
    add(registry, process, spider, **arguments)
    assert reason in registry.failure(registry.run("acme"))
    left("FAILED")


def test_a_crawl_most_of_whose_requests_fail_is_rejected(
    registry: TestRegistry, process: KingfisherProcess, left: Callable[[str], Job]
) -> None:
    """COL-09. Observed: it is "finished", and what it did get is stored and merged. Each 500 counts twice."""
    with Publisher() as publisher:
        for number in range(20):
            good = json.dumps({"releases": [release(number)]}).encode()
            answers: Sequence[bytes | Answer] = [good] if number < 5 else [Answer(status=500)] * 2
            publisher.add(f"/{number}.json", *answers)
        add(registry, process, "fetching", url=publisher.url(), count="20")
        failure = registry.failure(registry.run("acme"))
    assert "The crawl had a 0.8571 error rate (30 errors, 5 files)" in failure
    left("FAILED")


@pytest.mark.parametrize("by", ["somebody at Scrapyd", "terminating the run", "terminating it at once"])
def test_a_cancelled_crawl_leaves_no_collection(
    by: str, registry: TestRegistry, scrapyd: RealScrapyd, process: KingfisherProcess, left: Callable[[str], Job]
) -> None:
    """Observed: one interrupt ends it, "finished", and its collection stays open for ever."""
    add(registry, process, items="600", pause="0.1")

    def cancel_there() -> None:
        job = registry.jobs("acme")[0].context["job_id"]
        requests.post(f"{scrapyd.url}/cancel.json", data={"project": PROJECT, "job": job}, timeout=60)

    def terminate() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    if by == "somebody at Scrapyd":
        thread = when(lambda: process.run("SELECT 1 FROM release"), cancel_there)
        assert "The crawl wasn't finished: shutdown" in registry.failure(registry.run("acme"))
        assert process.run("SELECT count(*) FROM collection WHERE store_end_at IS NULL") == [(2,)]
    else:
        ready = "SELECT 1 FROM release" if by == "terminating the run" else "SELECT 1 FROM collection"
        thread = when(lambda: process.run(ready), terminate)
        assert not registry.run("acme").success
        assert_nothing_is_left(registry, scrapyd, process)  # ASK-02: at once, not only after the cleanup
    thread.join()
    left("FAILED" if by == "somebody at Scrapyd" else "CANCELLED")


def test_invalid_json_that_never_completes_ends_with_that_reason(
    registry: TestRegistry, process: KingfisherProcess, left: Callable[[str], Job]
) -> None:
    """Observed: if it comes before any format is known, the original collection never completes."""
    add(registry, process, "texts", texts=texts('{"releases": [', [release(1), release(2)]))
    failure = registry.failure(registry.run("acme"))
    assert "it looks as if it never will, for a file is not valid JSON" in failure
    assert ("ERROR", "InvalidJSONFile") in kinds(left("FAILED"))


def test_invalid_json_among_good_files_is_told_and_the_rest_published(
    registry: TestRegistry, scrapyd: RealScrapyd, process: KingfisherProcess
) -> None:
    """Once the format is known, the collection completes without that file."""
    good = [[release(number)] for number in range(9)]
    add(registry, process, "texts", texts=texts(*good, '{"releases": ['))
    result = registry.run("acme")
    assert result.success, registry.failure(result)
    (job,) = registry.jobs("acme")
    assert kinds(job) == {("ERROR", "InvalidJSONFile"), ("ERROR", "FilesWithoutReleases")}
    assert len(read_jsonl(registry.published("acme") / "full.jsonl.gz")) == 9
    clean_up(registry)
    assert_nothing_is_left(registry, scrapyd, process)


def test_an_unknown_format_ends_with_that_reason(
    registry: TestRegistry, process: KingfisherProcess, left: Callable[[str], Job]
) -> None:
    """Observed: the original collection completes, and merging never starts."""
    add(registry, process, "texts", texts=texts('{"rows": []}'))
    assert "it looks as if no file's format is known" in registry.failure(registry.run("acme"))
    assert ("ERROR", "UnknownFormatError") in kinds(left("FAILED"))


def test_a_null_ocid_in_the_only_file_ends_with_that_reason(
    registry: TestRegistry, process: KingfisherProcess, left: Callable[[str], Job]
) -> None:
    """Observed: the file is given up as a whole, and the collection completes, with no note."""
    add(registry, process, "texts", texts=texts([release(1), {**release(2), "ocid": None}]))
    failure = registry.failure(registry.run("acme"))
    assert "Collection is empty" in failure
    assert "ocid is null" in failure
    assert kinds(left("FAILED")) == {("ERROR", "FilesWithoutReleases")}


def test_a_file_lost_for_a_null_ocid_is_told(
    registry: TestRegistry, scrapyd: RealScrapyd, process: KingfisherProcess
) -> None:
    """I8: nothing of it is lost in silence."""
    good = [[release(number)] for number in range(9)]
    add(registry, process, "texts", texts=texts(*good, [release(90), {**release(91), "ocid": None}]))
    result = registry.run("acme")
    assert result.success, registry.failure(result)
    (job,) = registry.jobs("acme")
    assert job.context["process_counts"]["skipped_files"] == 1
    assert kinds(job) == {("ERROR", "FilesWithoutReleases")}
    clean_up(registry)
    assert_nothing_is_left(registry, scrapyd, process)


def test_ocids_that_cannot_be_merged_are_told_and_the_rest_published(
    registry: TestRegistry, scrapyd: RealScrapyd, process: KingfisherProcess
) -> None:
    """Observed: the ocid is dropped, with a note; the collection completes."""
    undated = [release(1, "2024-01-01"), release(1, None)]
    add(registry, process, "texts", texts=texts(undated, [release(number) for number in range(2, 12)]))
    result = registry.run("acme")
    assert result.success, registry.failure(result)
    (job,) = registry.jobs("acme")
    assert kinds(job) == {("ERROR", "OcidsNotCompiled"), ("ERROR", "MissingDateKeyError")}
    lines = read_jsonl(registry.published("acme") / "full.jsonl.gz")
    assert sorted(line["ocid"][-3:] for line in lines) == [f"{number:03}" for number in range(2, 12)]
    clean_up(registry)
    assert_nothing_is_left(registry, scrapyd, process)


def test_nothing_that_can_be_merged_ends_with_that_reason(
    registry: TestRegistry, process: KingfisherProcess, left: Callable[[str], Job]
) -> None:
    """A complete collection of nothing is no success."""
    add(registry, process, "texts", texts=texts([release(1, "2024-01-01"), release(1, None)]))
    failure = registry.failure(registry.run("acme"))
    assert "none of them could be merged" in failure
    left("FAILED")


@pytest.mark.parametrize("during", ["the start", "the crawl"])
def test_kingfisher_process_being_down_rejects_the_crawl(
    during: str, registry: TestRegistry, process: KingfisherProcess, left: Callable[[str], Job]
) -> None:
    """Observed: the crawl goes on to its end, "finished", with a low error rate."""
    add(registry, process, items="30", pause="0.1" if during == "the crawl" else "0")
    thread = None
    if during == "the start":
        process.stop()
    else:
        thread = when(lambda: process.run("SELECT 1 FROM collection"), process.stop)
    failure = registry.failure(registry.run("acme"))
    if thread:
        thread.join()
    process.start_again()
    said = "couldn't reach Kingfisher Process" if during == "the start" else "didn't tell Kingfisher Process"
    assert said in failure
    left("FAILED")


def test_kingfisher_process_being_down_after_the_crawl_is_waited_for(
    registry: TestRegistry, scrapyd: RealScrapyd, process: KingfisherProcess
) -> None:
    """It comes back, and the job goes on."""
    add(registry, process, items="3")

    def away() -> None:
        process.stop()
        time.sleep(4)
        process.start_again()

    thread = when(lambda: process.run("SELECT 1 FROM collection WHERE store_end_at IS NOT NULL"), away)
    result = registry.run("acme")
    thread.join()
    assert result.success, registry.failure(result)
    clean_up(registry)
    assert_nothing_is_left(registry, scrapyd, process)


@pytest.mark.parametrize("moment", ["before it begins", "amid it"])
def test_a_restart_of_scrapyd_loses_the_crawl_and_the_next_one_succeeds(
    moment: str, registry: TestRegistry, scrapyd: RealScrapyd, process: KingfisherProcess
) -> None:
    """ASK-04. Observed: the crawl goes on without Scrapyd, makes a collection, and closes it."""
    add(registry, process, items="40", pause="0.1")

    def runs() -> bool:
        listed = requests.get(f"{scrapyd.url}/listjobs.json", params={"project": PROJECT}, timeout=60).json()
        return bool(listed["running"]) and (moment != "amid it" or bool(process.run("SELECT 1 FROM release")))

    def restart() -> None:
        scrapyd.kill()
        scrapyd.start()

    thread = when(runs, restart)
    assert "it was restarted" in registry.failure(registry.run("acme"))
    thread.join()
    (lost,) = registry.jobs("acme")
    assert lost.result == Job.Result.FAILED
    with registry.database.session() as session:
        session.query(Collection).one().spider_arguments = {"items": "5"}
    result = registry.run("acme")
    assert result.success, registry.failure(result)
    assert len(registry.jobs("acme")) == 2
    clean_up(registry)
    assert_nothing_is_left(registry, scrapyd, process)
