"""Whether what a task made is plausible: every boundary by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_assets.process_manager.rules import acceptance, plausibility
from registry_assets.process_manager.rules.measures import Outcome
from registry_assets.process_manager.rules.plausibility import Finding
from registry_resources.collect.crawl_log import CrawlLog

ACCEPT, WARN, BLOCK = Outcome.ACCEPT, Outcome.WARN, Outcome.BLOCK


def crawl(*, incremental: bool = False, **changes: Any) -> dict[str, Outcome]:
    numbers = {
        "finish_reason": "finished",
        "error_rate": 0.0,
        "items": 100,
        "errors": 0,
        "invalid_json": 0,
        "missing_next_link": False,
        "left_out": [],
    }
    return outcomes(plausibility.of_crawl({**numbers, **changes}, incremental=incremental))


def outcomes(found: list[Finding]) -> dict[str, Outcome]:
    return {finding.check: finding.outcome for finding in found}


def test_a_crawl_that_is_all_right_passes_every_check() -> None:
    """COL-09."""
    assert set(crawl().values()) == {ACCEPT}
    assert plausibility.of_crawl({}, incremental=False) == [], "a job of before such numbers were kept"


@pytest.mark.parametrize(
    ("rate", "expected"), [(0.01, ACCEPT), (0.0100001, WARN), (0.15, WARN), (0.1500001, BLOCK), (1.0, BLOCK)]
)
def test_an_error_rate_above_15_percent_blocks_and_above_1_percent_warns(rate: float, expected: Outcome) -> None:
    """COL-09, COL-10: strictly, both."""
    assert crawl(error_rate=rate) == {**crawl(), "error_rate": expected}


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"finish_reason": "shutdown"}, "crawl_finished"),
        ({"finish_reason": None}, "crawl_finished"),
        ({"missing_next_link": True}, "no_premature_stop"),
        ({"items": 0}, "not_empty"),
        ({"left_out": ["sample=10"]}, "not_partial"),
    ],
)
def test_each_fault_of_a_crawl_fails_its_own_check(changes: dict[str, Any], check: str) -> None:
    """COL-09, PRO-09, DEF-14."""
    assert crawl(**changes) == {**crawl(), check: BLOCK}


def test_a_part_is_all_there_is_where_that_is_asked_for() -> None:
    """DEF-14."""
    assert crawl(left_out=["from_date=2026-01-01"], incremental=True)["not_partial"] == ACCEPT


@given(
    st.builds(
        CrawlLog,
        finish_reason=st.sampled_from(["finished", "shutdown", None]),
        error_rate=st.sampled_from([0.0, 0.01, 0.15, 0.1500001, 1.0]),
        items=st.integers(0, 2),
        missing_next_link=st.booleans(),
        arguments=st.sampled_from([{}, {"sample": "1"}]),
    ),
    st.booleans(),
)
@settings(max_examples=500, deadline=None)
def test_the_checks_of_a_crawl_say_what_its_task_says(log: CrawlLog, incremental: bool) -> None:
    """COL-09: what is shown as a failed check is what the task failed for."""
    found = plausibility.of_crawl(acceptance.numbers(log), incremental=incremental)
    rejected = acceptance.rejection(log, incremental=incremental) is not None
    assert any(finding.blocks for finding in found) == rejected


@pytest.mark.parametrize(
    ("ocids", "compiled", "merging"),
    [
        (1000, 1000, ACCEPT),
        (1000, 990, ACCEPT),  # 1% exactly
        (1000, 989, WARN),
        (1000, 500, WARN),  # half exactly
        (1000, 499, BLOCK),
        (0, 1000, ACCEPT),  # a backend that doesn't count ocids
    ],
)
def test_ocids_that_could_not_be_merged(ocids: int, compiled: int, merging: Outcome) -> None:
    """Above half blocks, above 1% warns."""
    found = plausibility.of_compiling({"ocids": ocids, "compiled_releases": compiled})
    assert outcomes(found) == {"compiled": ACCEPT, "files_processed": ACCEPT, "merge_errors": merging}


@pytest.mark.parametrize(
    ("unsent", "unstored", "outcome"),
    [
        (0, 0, ACCEPT),
        (1, 0, ACCEPT),
        (2, 0, WARN),
        (15, 0, WARN),
        (16, 0, BLOCK),
        (0, 1, ACCEPT),
        (0, 2, WARN),
        (0, 85, WARN),
    ],
)
def test_files_that_got_lost_between_the_crawl_and_processing(unsent: int, unstored: int, outcome: Outcome) -> None:
    """Those of which nothing is stored may have had no releases, so they only warn."""
    counts = {
        "files": 100 - unsent,
        "skipped_files_unsent": unsent,
        "skipped_files": unstored,
        "ocids": 9,
        "compiled_releases": 9,
    }
    assert outcomes(plausibility.of_compiling(counts))["files_processed"] == outcome


def test_without_compiled_releases_what_was_counted_is_told() -> None:
    """PRO-09, DEF-04: a definite, named end."""
    compiled, *_ = plausibility.of_compiling({"files": 3, "skipped_no_ocid": 1200, "compiled_releases": 0})
    assert compiled.blocks
    assert not compiled.overridable
    assert compiled.sentence == "There are no compiled releases. What was counted: 3 files, 1,200 no ocid."


def export(**changes: Any) -> Finding:
    numbers = {"expected": 100, "full": 100, "parts": 100, "skipped": 0, "faults": []}
    (finding,) = plausibility.of_export(**{**numbers, **changes})
    return finding


def test_every_release_is_in_the_full_file_and_in_one_years() -> None:
    """I8: what the export left out is counted."""
    assert not export().blocks
    assert not export(full=98, parts=98, skipped=2).blocks
    assert export(full=98, parts=98, skipped=1).blocks
    assert export(parts=99).blocks
    assert export(faults=["2024.jsonl.gz has not 10 bytes."]).sentence == "2024.jsonl.gz has not 10 bytes."


@pytest.mark.parametrize(
    ("ocids", "expected"), [(1000, ACCEPT), (990, ACCEPT), (989, WARN), (850, WARN), (849, BLOCK), (0, BLOCK)]
)
def test_releases_that_were_not_measured(ocids: int, expected: Outcome) -> None:
    """COV-01: coverage that measured something else is implausible."""
    coverage = {
        "/": 1000,
        "/ocid": ocids,
        "/id": 5,
        "/date": 5,
        "/tag": 5,
        "/tag[]": 5,
        "/tender/": 9,
        "/tender/id": 1,
    }
    (finding,) = plausibility.of_coverage(coverage, releases=1000, skipped=0)
    assert (finding.outcome, finding.numbers["fields"]) == (expected, 5 if ocids else 4)


def test_releases_that_hold_next_to_nothing_warn() -> None:
    """Three fields or fewer: an ocid, an id and a date say nothing of contracting."""
    (finding,) = plausibility.of_coverage({"/ocid": 9, "/id": 9, "/date": 9}, releases=9, skipped=0)
    assert finding.outcome == WARN


def test_files_that_are_not_what_the_manifest_says_block_and_nobody_can_accept_them() -> None:
    """I1."""
    (finding,) = plausibility.of_files(files=9, size=1, faults=["a: it is missing", "b: x", "c: x", "d: x"])
    assert finding.blocks
    assert not finding.overridable
    assert finding.sentence.startswith("4 of 9 files are not what the manifest says: a: it is missing; b: x; c: x.")
    assert not plausibility.of_files(files=9, size=1, faults=[])[0].blocks
