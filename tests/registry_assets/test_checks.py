"""Acceptance as people see it: checks of each asset and publication, a version that is blocked, and its acceptance."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import pytest

from exporter.util import Export
from exporter.verify import verify
from registry_resources.database import Collection, Job, Setting, SettingsBundle
from tests.services.publisher import Answer, Publisher, release_package
from tests.support.registry import TestRegistry

ALL = {
    "collected": {"crawl_finished", "no_premature_stop", "not_empty", "error_rate", "not_partial"},
    "processed": {"compiled", "files_processed", "merge_errors"},
    "exported": {"files_complete"},
    "coverage": {"coverage_plausible"},
    "flattened": {"manifest_verifies"},
    "published": {"completeness"},
}


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher() as server:
        yield server


@pytest.fixture
def registry(registry: TestRegistry, publisher: Publisher) -> TestRegistry:
    """A registry with a publication `ruritania` that has not been retrieved yet."""
    quick = SettingsBundle(name="quick", settings=[Setting(key="RETRY_TIMES", value="0")])
    give(publisher, 40)
    registry.add("ruritania", arguments={"urls": publisher.url("/data.json")}, settings_bundle=quick, public=True)
    return registry


def give(publisher: Publisher, releases: int) -> None:
    """Let the publisher give so many releases."""
    publisher.add("/data.json", json.dumps(release_package(1, releases)).encode())


def checked(result: dg.ExecuteInProcessResult) -> Mapping[str, Any]:
    """The results of a run's checks, by name. Each is of the publication's partition, and blocks."""
    found = {}
    for evaluation in result.get_asset_check_evaluations():
        assert evaluation.partition == "ruritania"
        assert evaluation.blocking
        found[evaluation.check_name] = evaluation
    return found


def shown(evaluation: Any) -> dict[str, Any]:
    return {name: getattr(value, "value", value) for name, value in evaluation.metadata.items()}


def test_every_check_is_shown_with_its_numbers(registry: TestRegistry) -> None:
    """COL-09, PRO-02, PRO-09, ASK-03: where the numbers are, on the publication's own page."""
    result = registry.run("ruritania")
    assert result.success, registry.failure(result)
    found = checked(result)
    assert set(found) == {name for names in ALL.values() for name in names}
    assert {(e.asset_key.to_user_string(), name) for name, e in found.items()} == {
        (asset, name) for asset, names in ALL.items() for name in names
    }
    assert {name for name, e in found.items() if not e.passed} <= {"coverage_plausible"}
    assert all(e.target_materialization_data.run_id == result.run_id for e in found.values())
    assert all(shown(e)["job"] == "1" for e in found.values())
    assert shown(found["error_rate"]) == {"job": "1", "error rate": 0.0, "files": 1, "errors": 0, "invalid JSON": 0}
    assert shown(found["merge_errors"])["compiled releases"] == 40
    assert shown(found["files_complete"])["exported"] == 40
    assert shown(found["manifest_verifies"])["wrong"] == 0
    assert shown(found["completeness"])["versions before"] == 0
    assert "first version" in found["completeness"].description

    again = registry.run("ruritania", "flattened", "published")
    assert again.success
    assert set(checked(again)) == {"manifest_verifies", "completeness"}


def test_a_task_that_fails_shows_the_check_that_tells_why(registry: TestRegistry, publisher: Publisher) -> None:
    """The step fails with the reason, as ever, and what it failed for is a failed check."""
    publisher.add("/data.json", Answer(b"gone", 404))
    result = registry.run("ruritania")
    assert "error rate" in registry.failure(result)
    found = checked(result)
    assert {"error_rate", "not_empty"} <= set(found)
    assert not any(e.passed for e in found.values())
    assert all(e.severity == dg.AssetCheckSeverity.ERROR for e in found.values())
    assert shown(found["error_rate"])["error rate"] == 1.0

    registry.run("ruritania", "processed")  # nothing has collected, so there is no job to check
    give(publisher, 0)
    result = registry.run("ruritania")
    assert "no compiled releases" in registry.failure(result)
    assert [name for name, e in checked(result).items() if not e.passed] == ["compiled"]


def test_a_publication_that_halves_is_blocked_then_accepted_then_published(
    registry: TestRegistry, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ASK-03, from the crawl to the download, while a reader looks at what is published all the time."""
    assert registry.run("ruritania").success
    done, faults = threading.Event(), list[str]()
    reader = threading.Thread(target=read, args=(registry, done, faults))
    reader.start()
    try:
        give(publisher, 20)
        result = registry.run("ruritania")
        says = (
            "ruritania: job 2 is blocked, and job 1's version stays published: 20 ocids, where the published version"
        )
        assert registry.failure(result).startswith(says)
        evaluation = checked(result)["completeness"]
        assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.ERROR)
        assert shown(evaluation)["measures"].records[0].data == {
            "measure": "ocids",
            "published": "40",
            "this version": "20",
            "lost": "50%",
            "tolerated": "10%",
            "outcome": "block",
        }
        assert still_published(registry) == ("1", 1)
        assert registry.jobs("ruritania")[-1].is_blocked
        assert "#2 blocked" in command(registry, "list").stdout

        # Not by asking again.
        assert "is blocked" in registry.failure(registry.run("ruritania", "published"))
        assert still_published(registry) == ("1", 1)

        monkeypatch.setenv("SUDO_USER", "rudolf")
        accepted = command(registry, "accept", "ruritania", "2", "--reason", "The duchy left", "--json")
        assert accepted.returncode == 0, accepted.stderr
        said = json.loads(accepted.stdout)
        assert (said["materialised"], said["accepted_by"]) == (["published"], "rudolf")
        assert still_published(registry) == ("2", 2)
    finally:
        done.set()
        reader.join()
    assert faults == []
    job = registry.jobs("ruritania")[-1]
    assert (job.result, job.accepted_by, job.accepted_reason) == (Job.Result.SUCCEEDED, "rudolf", "The duchy left")
    record = registry.instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [dg.AssetCheckKey(dg.AssetKey("published"), "completeness")]
    )
    (latest,) = record.values()
    event = latest.event
    assert event is not None
    assert event.dagster_event is not None
    evaluation = event.dagster_event.asset_check_evaluation_data
    assert evaluation.severity == dg.AssetCheckSeverity.WARN
    assert "rudolf accepted it on" in str(evaluation.description)
    shows = command(registry, "show", "ruritania").stdout
    assert "accepted by rudolf on" in shows
    assert "The duchy left" in shows

    refused = command(registry, "accept", "ruritania", "2", "--reason", "again")
    assert refused.returncode == 1
    assert "rudolf has accepted it already" in refused.stderr


def test_what_is_blocked_early_is_made_to_its_end_once_accepted(registry: TestRegistry, publisher: Publisher) -> None:
    """Too many ocids that can't be merged stop a run before it exports; accepting goes on from there."""
    package = release_package(1, 8)
    for release in package["releases"][:5]:  # two releases of one ocid, one without a date, can't be merged
        package["releases"].append({**release, "id": "other", "date": None})
    publisher.add("/data.json", json.dumps(package).encode())
    result = registry.run("ruritania")
    assert "5 of 8 ocids could not be merged: 62.50%" in registry.failure(result)
    assert not checked(result)["merge_errors"].passed
    assert [e.asset_key.to_user_string() for e in result.get_asset_materialization_events()] == ["collected"]
    assert registry.latest("ruritania") is None
    accepted = command(registry, "accept", "ruritania", "1", "--reason", "known", "--by", "Rudolf", "--json")
    assert accepted.returncode == 0, accepted.stderr
    assert json.loads(accepted.stdout)["materialised"] == ["exported", "coverage", "flattened", "published"]
    assert still_published(registry) == ("1", 1)


def read(registry: TestRegistry, done: threading.Event, faults: list[str]) -> None:
    """Follow the pointer and check every file, over and over."""
    while not done.wait(0.02):
        pointer = registry.latest("ruritania")
        if pointer is None:
            faults.append("no pointer")
        else:
            target = Export("ruritania", pointer.directory, root=registry.settings.exporter_dir)
            faults.extend(verify(target, workers=1)[1])


def still_published(registry: TestRegistry) -> tuple[str, int | None]:
    """The job that the pointer names, and the active one."""
    pointer = registry.latest("ruritania")
    assert pointer is not None
    with registry.database.session(read_only=True) as session:
        return pointer.job, session.query(Collection).one().active_job_id


def command(registry: TestRegistry, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line, on the same instance of Dagster."""
    home = registry.instance.root_directory
    return subprocess.run(
        [sys.executable, "-m", "registry_assets.cli", *arguments],
        env={**os.environ, "DAGSTER_HOME": home, "REGISTRY_WORKERS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
