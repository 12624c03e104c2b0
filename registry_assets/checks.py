"""The asset checks: how what was found looks in Dagit, on the page of each asset and publication.

They are evaluated in the step that makes the asset, where the numbers are: a check that is a step of its own would
cost each run most of a second. A check that fails stops the run; one that warns doesn't.

Belongs here: which checks each asset has, and their results. Does not belong here: the rules
(`process_manager.rules`), what they look at (`process_manager.findings`), or what is published because of them
(`process_manager.publishing`, which looks for itself).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import dagster as dg

from registry_assets import metadata as md
from registry_assets.partitions import PUBLICATIONS
from registry_assets.process_manager.rules.measures import Outcome
from registry_assets.process_manager.rules.plausibility import Finding
from registry_resources.database import Job
from registry_resources.redaction import redact

_DESCRIPTIONS: Mapping[str, Mapping[str, str]] = {
    "collected": {
        "crawl_finished": "The crawl came to its own end.",
        "no_premature_stop": "No page lacked its link to the next one.",
        "not_empty": "The crawl collected files.",
        "error_rate": "At most 15% of the crawl's requests went wrong; a warning above 1%.",
        "not_partial": "No argument of the spider leaves something out, unless the publication is incremental.",
    },
    "processed": {
        "compiled": "There are compiled releases.",
        "files_processed": "At most 15% of the collected files never came to be processed; a warning above 1%.",
        "merge_errors": "At most half of the ocids could not be merged; a warning above 1%.",
    },
    "exported": {
        "files_complete": "Each compiled release is in the full file and in one year's, and every file has its size.",
    },
    "coverage": {
        "coverage_plausible": (
            "Coverage measured the releases that were exported, and they fill more than a few fields."
        ),
    },
    "flattened": {
        "manifest_verifies": "Every file is what the manifest says, byte for byte, and there is no other.",
    },
    "published": {
        "completeness": (
            "The version holds what the published one does, within what earlier versions lost. If it does not, it is "
            "blocked until it is accepted with `registry accept`."
        ),
    },
}


def specs(asset: str) -> list[dg.AssetCheckSpec]:
    """The checks of an asset: each blocks, and has a result for each publication."""
    with warnings.catch_warnings():
        # Partitions of checks are a preview in Dagster 1.13, which is pinned.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(name, asset=asset, description=text, blocking=True, partitions_def=PUBLICATIONS)
            for name, text in _DESCRIPTIONS[asset].items()
        ]


def results(asset: str, found: Iterable[Finding], job: Job) -> Iterator[dg.AssetCheckResult]:
    """The results of an asset's checks.

    Args:
        asset: the asset's name.
        found: what was found; what belongs to other assets is passed over.
        job: the job. What somebody has accepted is told, and stops nothing.
    """
    for finding in found:
        if finding.check in _DESCRIPTIONS[asset]:
            text = redact(finding.sentence)
            if accepted := finding.blocks and job.is_accepted:
                text += f" {job.accepted_by} accepted it on {job.accepted_at:%Y-%m-%d}: {job.accepted_reason}"
            warns = bool(accepted) or finding.outcome == Outcome.WARN
            yield dg.AssetCheckResult(
                check_name=finding.check,
                passed=finding.outcome == Outcome.ACCEPT,
                severity=dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR,
                description=text,
                metadata={"job": str(job.id), **{name: _shown(value) for name, value in finding.numbers.items()}},
            )


def _shown(value: Any) -> Any:
    if isinstance(value, list):
        columns = dict.fromkeys(value[0], "string") if value else {}
        return md.table(value, columns)
    return redact(value) if isinstance(value, str) else value
