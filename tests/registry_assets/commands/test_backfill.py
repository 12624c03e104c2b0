"""`registry backfill`: what it asks for, and what it refuses. That Dagster does it is tested with its daemon."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from registry_assets.cli import cli
from registry_resources.database import Collection, Job, Task
from registry_resources.exceptions import ConfigurationError
from tests.support.registry import TestRegistry


@pytest.fixture
def run(registry: TestRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command, in this process, on three publications whose jobs came to different points."""
    for key, done in {"exported": 3, "finished": 5, "never": 0}.items():
        registry.add(key)
        if done:
            with registry.database.session() as session:
                job = Job.plan(session.query(Collection).filter_by(key=key).one())
                job.initiate()
                session.add(job)
                for task in job.tasks[:done]:
                    task.initiate()
                    task.complete(Task.Result.OK)
                job.complete(Job.Result.FAILED if done < 5 else Job.Result.SUCCEEDED)

    def run_(*arguments: str, answer: str | None = None, code: int = 0) -> Result:
        result = CliRunner().invoke(cli, ["backfill", *arguments], input=answer)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return run_


def asked(registry: TestRegistry) -> list[tuple[set[str], set[str]]]:
    """The assets and partitions of each backfill that was asked for."""
    found = []
    for backfill in registry.instance.get_backfills():
        assert backfill.asset_backfill_data
        subsets = backfill.asset_backfill_data.target_subset.partitions_subsets_by_asset_key
        partitions = {frozenset(subset.get_partition_keys()) for subset in subsets.values()}
        assert len(partitions) == 1
        found.append(({key.to_user_string() for key in subsets}, set(*partitions)))
    return found


@pytest.mark.parametrize(
    ("select", "able"),
    [
        ("collected", {"exported", "finished", "never"}),
        ("*", {"exported", "finished", "never"}),
        ("processed", {"exported", "finished"}),
        ("flattened", {"exported", "finished"}),
        ("coverage,flattened,published", {"exported", "finished"}),
        # Publishing needs the coverage too, which is not made here.
        ("flattened+", {"finished"}),
        ("published", {"finished"}),
    ],
)
def test_it_asks_for_what_can_be_done_and_says_what_it_skips(registry, run, select, able):
    """ASK-01: an asset works on a job that has come far enough; a run without such a job could only fail."""
    outcome = json.loads(run("--all", "--select", select, "--yes", "--json").stdout)
    assert set(outcome["publications"]) == able
    assert set(outcome["skipped"]) == {"exported", "finished", "never"} - able
    assert asked(registry) == [(set(outcome["assets"]), able)]


def test_named_publications_are_those_and_no_others(registry, run):
    """Each once."""
    result = run("finished", "exported", "finished", "--select", "coverage")
    assert "coverage of 2 publications" in result.stdout
    assert asked(registry) == [({"coverage"}, {"exported", "finished"})]


def test_a_dry_run_asks_for_nothing(registry, run):
    """And says what it would."""
    assert "coverage of 1 publication: finished" in run("finished", "--select", "coverage", "--dry-run").stdout
    assert asked(registry) == []


@pytest.mark.parametrize(("answer", "code", "backfills"), [("y\n", 0, 1), ("n\n", 1, 0), ("", 1, 0)])
def test_crawling_anew_is_asked_about(registry, run, answer, code, backfills):
    """It costs publishers something."""
    result = run("--all", "--select", "collected+", answer=answer, code=code)
    assert "This crawls 3 publications anew. Go on?" in result.stderr
    assert len(asked(registry)) == backfills


def test_frozen_publications_are_crawled_only_if_they_are_named(registry, run):
    """Somebody stopped them. Those of which nothing is crawled are made anew all the same."""
    with registry.database.session() as session:
        session.query(Collection).filter_by(key="finished").one().frozen = True
    result = run("--all", "--select", "*", "--yes")
    assert "Left out, since they are frozen: finished. Name them to crawl them all the same." in result.stderr
    assert "of 2 publications" in result.stdout
    outcome = json.loads(run("--all", "--select", "collected", "--yes", "--json").stdout)
    assert (outcome["publications"], outcome["frozen"]) == (["exported", "never"], ["finished"])
    assert json.loads(run("finished", "--select", "*", "--yes", "--json").stdout)["publications"] == ["finished"]
    assert "Left out" not in run("--all", "--select", "published").stderr
    assert [keys for _, keys in reversed(asked(registry))] == [
        {"exported", "never"},
        {"exported", "never"},
        {"finished"},
        {"finished"},
    ]


def test_it_refuses_what_it_does_not_know(registry, run):
    """Unknown publications, selections that are none, and no publications at all."""
    with pytest.raises(ConfigurationError, match="nowhere: the catalogue has no such publication"):
        run("nowhere", "finished", "--select", "coverage")
    assert "is no selection of assets" in run("finished", "--select", "nonsense(", code=2).stderr
    assert "say --all" in run("--select", "coverage", code=2).stderr
    assert "say --all" in run("finished", "--all", "--select", "coverage", code=2).stderr
    assert asked(registry) == []


def test_with_nothing_to_do_it_says_so(registry, run):
    """No empty backfill, which Dagster would refuse."""
    result = run("never", "--select", "flattened")
    assert "Nothing to do." in result.stdout
    assert "Skipped, since no job of theirs has come so far: never." in result.stderr
    assert asked(registry) == []
    assert registry.instance.get_backfills() == []
    assert isinstance(registry.instance, dg.DagsterInstance)
