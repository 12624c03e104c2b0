"""Whatever goes wrong: one clear message, a job marked failed with that reason, and the previous version whole.

Each test publishes a version first, breaks something, runs again, and looks at what the run's page, the job and a
reader of `latest.json` see.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.util import Export
from exporter.verify import verify
from registry_resources.database import Collection, Job, Setting, SettingsBundle
from tests.services.publisher import Answer, Publisher, release_package
from tests.support.registry import TestRegistry, read_jsonl

GOOD = json.dumps(release_package(1, 4)).encode()


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher() as server:
        yield server


@pytest.fixture
def published(registry: TestRegistry, publisher: Publisher) -> TestRegistry:
    """A registry whose publication `ruritania` has a published version of four releases, job 1."""
    quick = SettingsBundle(name="quick", settings=[Setting(key="RETRY_TIMES", value="1")])
    quick.settings.append(Setting(key="RETRY_BACKOFF", value="0.01"))
    registry.add("ruritania", arguments={"urls": publisher.add("/data.json", GOOD)}, settings_bundle=quick)
    result = registry.run("ruritania")
    assert result.success, registry.failure(result)
    return registry


def change(registry: TestRegistry, **fields: object) -> None:
    with registry.database.session() as session:
        collection = session.query(Collection).one()
        for name, value in fields.items():
            setattr(collection, name, value)


def assert_failed(registry: TestRegistry, result: object, says: str) -> None:
    """The run says it in one message, the job has that reason, and the first version is still published and whole."""
    message = registry.failure(result)  # type: ignore[arg-type]
    assert message.startswith("ruritania: "), message
    assert says in message
    job = registry.jobs("ruritania")[-1]
    assert (job.status, job.result) == (Job.Status.COMPLETED, Job.Result.FAILED)
    assert says in job.note
    assert_first_version_whole(registry)


def assert_first_version_whole(registry: TestRegistry) -> None:
    pointer = registry.latest("ruritania")
    assert pointer is not None
    assert pointer.job == "1"
    folder = registry.published("ruritania")
    assert verify(Export.at(folder))[1] == []
    assert len(read_jsonl(folder / "full.jsonl.gz")) == 4
    with registry.database.session() as session:
        assert session.query(Collection).one().active_job_id == 1


FAULTS = {
    "404": (Answer(b"gone", 404), "error rate (1 error, 0 files): status=404"),
    "500": (Answer(b"oops", 500), "error rate"),
    "HTML": (Answer(b"<!DOCTYPE html><html><body>Log in</body></html>"), "HTML"),
    "truncated gzip": (Answer(gzip.compress(GOOD * 50)[:-20]), "gzip"),
    "an empty file": (Answer(b""), "empty"),
    "a connection that breaks off": (Answer(GOOD, cut=50), "error rate"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_source_that_gives_something_else(published: TestRegistry, publisher: Publisher, fault: str) -> None:
    """COL-09, I1, I3: nothing of it is published."""
    answer, says = FAULTS[fault]
    publisher.add("/data.json", answer)
    assert_failed(published, published.run("ruritania"), says)


def test_a_source_whose_json_is_invalid(published: TestRegistry, publisher: Publisher) -> None:
    """I8: the file is named and counted, and as nothing else is there, there is nothing to publish."""
    publisher.add("/data.json", Answer(b'{"releases": [{"ocid": "a", '))
    assert_failed(published, published.run("ruritania"), "no compiled releases")


def test_a_source_without_files(published: TestRegistry, tmp_path: Path) -> None:
    """PRO-09, DEF-04: an empty source is a definite, named failure."""
    (tmp_path / "empty").mkdir()
    change(published, spider_arguments={"urls": str(tmp_path / "empty")})
    assert_failed(published, published.run("ruritania"), "0 files): ")


def test_a_source_without_releases(published: TestRegistry, publisher: Publisher) -> None:
    """DEF-04: zero compiled releases fail the export, by name."""
    publisher.add("/data.json", json.dumps(release_package(1, 0)).encode())
    assert_failed(published, published.run("ruritania"), "no compiled releases")


def test_a_spider_that_is_unknown(published: TestRegistry) -> None:
    """COL-02: the message has those that exist."""
    change(published, source_id="bulq")
    assert_failed(published, published.run("ruritania"), "bulk, links_next")


def test_an_export_folder_that_cannot_be_written(published: TestRegistry) -> None:
    """The message names the folder and the remedy. Root may write anywhere, so a file stands in the folder's place."""
    exports = published.settings.exporter_dir / "ruritania"
    moved = exports.with_name("moved")
    exports.rename(moved)
    exports.write_text("in the way")
    result = published.run("ruritania")
    exports.unlink()
    moved.rename(exports)
    assert_failed(published, result, str(exports))


def run_with_file_size_limit(key: str, select: str, limit: int) -> subprocess.CompletedProcess[str]:
    """Run from the command line, where no file can grow beyond `limit` bytes: what a full disk does, for anybody."""
    return subprocess.run(
        [sys.executable, "-m", "registry_assets.cli", "run", key, "--select", select],
        env={**os.environ, "REGISTRY_WORKERS": "1", "COLUMNS": "500"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY)),
        capture_output=True,
        text=True,
        check=False,
    )


# Above the size of the databases that a run writes to, and below that of the largest file of the stage, in bytes.
LIMITS = {"collected": 3_000_000, "processed": 1_000_000, "exported": 3_000_000, "flattened": 3_000_000}


@pytest.mark.parametrize("stage", LIMITS)
def test_a_disk_that_is_full(published: TestRegistry, publisher: Publisher, stage: str) -> None:
    """I1: whatever stage it strikes, what was there stays whole, and once there is room a plain retry succeeds."""
    random.seed(stage)
    package = release_package(1, 300)
    for release in package["releases"]:
        release["description"] = random.randbytes(16_000).hex()
    publisher.add("/data.json", json.dumps(package).encode())
    order = ["collected", "processed", "exported", "coverage", "flattened", "published"]
    before = order[: order.index(stage)]
    if before:
        result = published.run("ruritania", *before)
        assert result.success, published.failure(result)

    completed = run_with_file_size_limit("ruritania", stage, LIMITS[stage])
    assert completed.returncode == 1, completed.stderr
    assert "File too large" in completed.stderr, completed.stderr
    job = published.jobs("ruritania")[-1]
    assert job.result == Job.Result.FAILED
    assert "File too large" in job.note
    assert_first_version_whole(published)

    result = published.run("ruritania", *order[order.index(stage) :])
    assert result.success, published.failure(result)
    folder = published.published("ruritania")
    assert verify(Export.at(folder))[1] == []
    assert len(read_jsonl(folder / "full.jsonl.gz")) == 300


def test_a_stage_that_runs_again_after_publishing_makes_a_new_version(published: TestRegistry) -> None:
    """I2: the published folder keeps its bytes; the new one is swapped in by the pointer."""
    before = published.published("ruritania")
    saved = {path: path.read_bytes() for path in before.rglob("*") if path.is_file()}
    assert published.run("ruritania", "flattened").success
    assert published.published("ruritania") == before
    assert published.run("ruritania", "published").success
    after = published.published("ruritania")
    assert after != before
    assert {path: path.read_bytes() for path in before.rglob("*") if path.is_file()} == saved
    assert verify(Export.at(after))[1] == []
    assert len(published.jobs("ruritania")) == 1


def test_a_pointer_that_is_damaged(published: TestRegistry) -> None:
    """The job ends as failed, and the message says how to go on."""
    pointer = published.settings.exporter_dir / "ruritania" / "latest.json"
    pointer.write_text("{")
    message = published.failure(published.run("ruritania"))
    assert "delete it, then publish again" in message
    assert published.jobs("ruritania")[-1].result == Job.Result.FAILED
    pointer.unlink()
    assert published.run("ruritania", "published").success
    assert published.jobs("ruritania")[-1].result == Job.Result.SUCCEEDED


def test_several_assets_are_selected_with_commas(published: TestRegistry) -> None:
    """As the command's help says."""
    command = [sys.executable, "-m", "registry_assets.cli", "run", "ruritania", "--select", "coverage,flattened+"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)["materialised"]) == {"coverage", "flattened", "published"}


def test_files_that_are_gone_are_missed_by_name(published: TestRegistry) -> None:
    """What was collected may have been wiped: the message says what to materialise."""
    shutil.rmtree(published.settings.files_store)
    result = published.run("ruritania", "processed")
    message = published.failure(result)
    assert "ruritania" in message
    assert "collected" in message
    assert published.jobs("ruritania")[-1].result == Job.Result.SUCCEEDED
    assert_first_version_whole(published)
