"""Whether what a task made is plausible: the rules behind the asset checks, each with its numbers.

Belongs here: pure functions of numbers that were gathered. Does not belong here: gathering them
(`process_manager.findings`), comparing with earlier versions (`activation.py`), or how a check looks in Dagit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from registry_assets.process_manager.rules.acceptance import MAX_ERROR_RATE, WARN_ERROR_RATE
from registry_assets.process_manager.rules.measures import Outcome

MAX_LOST = 0.15
"""Above it (strictly), too many files got lost, or releases were not measured: as for crawls (COL-09)."""

MAX_UNMERGED = 0.5
"""The same for ocids that could not be merged. It is more, as that is in the data: of a real publisher, a third of the
ocids have several releases without dates. A version that loses more than it used to is blocked as incomplete."""

WARN_LOST = 0.01
"""Above it (strictly), there is a warning."""

OVERRIDABLE = frozenset({"files_processed", "merge_errors", "coverage_plausible", "completeness"})
"""The checks whose word somebody may override: they say that a version is unlikely, not that it is broken."""

FEW_FIELDS = 3
"""Releases with no more fields than these say nothing of contracting."""


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: the check's name.
        outcome: whether it accepts, warns or blocks.
        sentence: for people, without the publication's name.
        numbers: what it looked at, by name: numbers, texts, and lists of rows (maps of column to value).
    """

    check: str
    outcome: Outcome
    sentence: str
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def blocks(self) -> bool:
        """Whether the version can't be published because of it."""
        return self.outcome == Outcome.BLOCK

    @property
    def overridable(self) -> bool:
        """Whether it can be published all the same once somebody has accepted it."""
        return self.check in OVERRIDABLE


def of_crawl(crawl: Mapping[str, Any], *, incremental: bool) -> list[Finding]:
    """Judge a crawl by the numbers that it was judged by (COL-09, COL-10, DEF-14).

    Args:
        crawl: what `acceptance.numbers` kept; empty if the crawl ended before such numbers were kept.
        incremental: whether a part is all that is asked for.
    """
    if not crawl:
        return []
    rate = float(crawl.get("error_rate") or 0)
    counts = {name: crawl.get(name) or 0 for name in ("items", "errors", "invalid_json")}
    reason, left_out = crawl.get("finish_reason"), list(crawl.get("left_out") or [])
    rate_outcome = _grade(rate, WARN_ERROR_RATE, MAX_ERROR_RATE)
    return [
        _finding(
            "crawl_finished", reason == "finished", f"It ended with: {reason or 'nothing'}.", {"reason": reason or ""}
        ),
        _finding(
            "no_premature_stop",
            not crawl.get("missing_next_link"),
            "A page lacked its link to the next one."
            if crawl.get("missing_next_link")
            else "No page lacked its link to the next one.",
        ),
        _finding(
            "not_empty", bool(counts["items"]), f"It collected {counts['items']:,} files.", {"files": counts["items"]}
        ),
        Finding(
            "error_rate",
            rate_outcome,
            f"{rate:.2%} of its requests went wrong (at most {MAX_ERROR_RATE:.0%} may).",
            {
                "error rate": round(rate, 4),
                "files": counts["items"],
                "errors": counts["errors"],
                "invalid JSON": counts["invalid_json"],
            },
        ),
        _finding(
            "not_partial",
            incremental or not left_out,
            f"Its arguments leave something out: {', '.join(left_out)}."
            if left_out
            else "Nothing was left out on purpose.",
            {"incremental": incremental},
        ),
    ]


def of_compiling(counts: Mapping[str, int]) -> list[Finding]:
    """Judge merging by what was counted (PRO-02, PRO-09): whether there is anything, and what got lost on the way.

    A file that never came so far is a loss. One of which nothing was stored may be: it may also have had no releases,
    as files of days often have, so that only warns.
    """
    compiled = counts.get("compiled_releases", 0)
    ocids = max(counts.get("ocids", 0), compiled)
    lost = ocids - compiled
    share = lost / ocids if ocids else 0.0
    sentence = f"{lost:,} of {ocids:,} ocids could not be merged: {share:.2%} (at most {MAX_UNMERGED:.0%} may)."
    numbers = {"ocids": ocids, "compiled releases": compiled, "not merged": lost, "share": round(share, 4)}
    there = f"There are {compiled:,} compiled releases."
    if not compiled:
        left_out = [f"{n:,} {name.removeprefix('skipped_').replace('_', ' ')}" for name, n in counts.items() if n]
        there = f"There are no compiled releases. What was counted: {', '.join(left_out) or 'nothing'}."
    unsent, unstored = counts.get("skipped_files_unsent", 0), counts.get("skipped_files", 0)
    files = counts.get("files", 0) + unsent
    never = unsent / files if files else 0.0
    outcome = _grade(never, WARN_LOST, MAX_LOST)
    if outcome == Outcome.ACCEPT and files and unstored / files > WARN_LOST:
        outcome = Outcome.WARN
    came = (
        f"Of {files:,} files, {unsent:,} were not sent to be processed ({never:.2%}; at most {MAX_LOST:.0%} may), and "
        f"of {unstored:,} nothing was stored."
        if unsent or unstored
        else f"{files:,} files were processed."
    )
    return [
        _finding("compiled", compiled > 0, there, {"compiled releases": compiled}),
        Finding("files_processed", outcome, came, {"files": files, "not sent": unsent, "nothing stored": unstored}),
        Finding("merge_errors", _grade(share, WARN_LOST, MAX_UNMERGED), sentence, numbers),
    ]


def of_export(*, expected: int, full: int, parts: int, skipped: int, faults: Sequence[str]) -> list[Finding]:
    """Judge the JSON Lines: whether every file is there with its size, and every release in `full` and in one year.

    Args:
        expected: the compiled releases that there were to export.
        full: the lines of `full.jsonl.gz`.
        parts: the lines of all years' files and of `undated.jsonl.gz`.
        skipped: what the export counted as left out.
        faults: what is wrong with files, a sentence for each.
    """
    problems = list(faults)
    if full != parts:
        problems.append(f"full.jsonl.gz has {full:,} lines, and the years' files have {parts:,}.")
    if full + skipped != expected:
        problems.append(f"{expected:,} releases were compiled, and {full:,} are in full.jsonl.gz.")
    sentence = " ".join(problems) or f"Each of {full:,} releases is in full.jsonl.gz, and in the file of its year."
    numbers = {"compiled releases": expected, "exported": full, "in years' files": parts, "skipped": skipped}
    return [_finding("files_complete", not problems, sentence, numbers)]


def of_coverage(coverage: Mapping[str, int], *, releases: int, skipped: int) -> list[Finding]:
    """Judge coverage: whether it measured the releases that there are, and whether these hold anything.

    Args:
        coverage: the number of values by path (COV-01).
        releases: the lines of the export.
        skipped: those that coverage counted as unreadable.
    """
    ocids = coverage.get("/ocid", 0)
    missing = max(releases - ocids, 0)
    share = missing / releases if releases else 1.0
    fields = sum(1 for path, n in coverage.items() if n and path and not path.endswith(("/", "[]")))
    outcome = _grade(share, WARN_LOST, MAX_LOST)
    sentence = f"It measured {ocids:,} of {releases:,} releases, which fill {fields:,} fields."
    if outcome == Outcome.ACCEPT and (ocids > releases or fields <= FEW_FIELDS):
        outcome = Outcome.WARN
    if not ocids:
        outcome = Outcome.BLOCK
    numbers = {"releases": releases, "ocids": ocids, "unreadable": skipped, "fields": fields}
    return [Finding("coverage_plausible", outcome, sentence, numbers)]


def of_files(*, files: int, size: int, faults: Sequence[str]) -> list[Finding]:
    """Judge a whole export by its manifest: every file is there, byte for byte, and nothing else (I1)."""
    sentence = f"{files:,} files match their checksums."
    if faults:
        sentence = f"{len(faults):,} of {files:,} files are not what the manifest says: {'; '.join(faults[:3])}."
    numbers = {"files": files, "bytes": size, "wrong": len(faults)}
    return [_finding("manifest_verifies", not faults, sentence, numbers)]


def _grade(share: float, warn: float, block: float) -> Outcome:
    if share > block:
        return Outcome.BLOCK
    return Outcome.WARN if share > warn else Outcome.ACCEPT


def _finding(check: str, passed: bool, sentence: str, numbers: Mapping[str, Any] | None = None) -> Finding:
    return Finding(check, Outcome.ACCEPT if passed else Outcome.BLOCK, sentence, numbers or {})
