"""What the checks look at: numbers of a job, from its rows and its export, and what the rules say of them.

Belongs here: gathering. Does not belong here: the rules (`rules.plausibility`, `rules.activation`), how a check looks
in Dagit (`registry_assets.checks`), or what follows from it (`publishing.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from exporter import manifest, publish, verify
from exporter.coverage import counts as counts_of
from exporter.errors import BrokenExportError
from exporter.util import Export
from registry_assets.process_manager import exports
from registry_assets.process_manager.rules import activation, plausibility
from registry_assets.process_manager.rules.activation import Version
from registry_assets.process_manager.rules.measures import Measure, Outcome
from registry_assets.process_manager.rules.plausibility import Finding
from registry_assets.process_manager.rules.profile import Profile
from registry_assets.process_manager.services import Services
from registry_resources.database import JOB_TASKS_PLAN, Collection, Job, Task
from registry_resources.database.choices import TaskType

COMPLETENESS = "completeness"

CHIEF: Mapping[TaskType, str] = {
    Task.Type.COLLECT: "crawl_finished",
    Task.Type.PROCESS: "compiled",
    Task.Type.EXPORTER: "files_complete",
    Task.Type.COVERAGE: "coverage_plausible",
    Task.Type.FLATTENER: "manifest_verifies",
}
"""The check that fails if a task fails for a reason that is no check's."""


def of_task(services: Services, job: Job, stage: TaskType) -> list[Finding]:
    """What the checks say of a task's work.

    Args:
        services: what the job logic works with.
        job: the job, with its tasks and its publication loaded.
        stage: the task, which has ended. If it failed, there are only those findings that tell why.
    """
    task = job.task(stage)
    found = _of_task(services, job, stage) if stage == Task.Type.COLLECT or task.is_successful else []
    if not task.is_successful:
        found = [finding for finding in found if finding.blocks]
        return found or [Finding(CHIEF[stage], Outcome.BLOCK, task.note or "The task has not succeeded.")]
    return found


def _of_task(services: Services, job: Job, stage: TaskType) -> list[Finding]:
    if stage == Task.Type.COLLECT:
        return plausibility.of_crawl(job.context.get("crawl") or {}, incremental=job.collection.incremental)
    if stage == Task.Type.PROCESS:
        return plausibility.of_compiling(job.context.get("process_counts") or {})
    target = exports.current(services, job)
    with exports.translated():
        if stage == Task.Type.EXPORTER:
            return _export(job, target)
        if stage == Task.Type.COVERAGE:
            return _coverage(target)
        return _files(services, target)


def of_version(services: Services, job: Job) -> list[Finding]:
    """What all checks say of a job whose tasks have all succeeded, but for those of bytes that publishing looks at."""
    found = [
        finding
        for stage in JOB_TASKS_PLAN
        if stage != Task.Type.FLATTENER
        for finding in of_task(services, job, stage)
    ]
    return [*found, completeness(services, job)]


def completeness(services: Services, job: Job) -> Finding:
    """Whether a version holds enough to replace the published one (ASK-03)."""
    with exports.translated():
        candidate = profile(exports.current(services, job), job)
    history = versions(job.collection)
    verdict = activation.judge(candidate, history, incremental=job.collection.incremental)
    return Finding(
        COMPLETENESS,
        verdict.outcome,
        verdict.sentence,
        {"versions before": verdict.versions, "measures": [_row(measure) for measure in verdict.measures]},
    )


def profile(target: Export, job: Job) -> Profile:
    """What a job's version holds, from its manifest, its coverage and its row.

    Raises:
        BrokenExportError: if the export is not whole.
    """
    found = publish.check_complete(target)
    lines = {entry.year: entry.rows for entry in found.files if entry.format == "jsonl"}
    return Profile(
        ocids=lines.get("full", 0),
        years={year: rows for year, rows in lines.items() if isinstance(year, int)},
        counts={name.removesuffix("_count").replace("_", " "): n for name, n in counts_of(measured(target)).items()},
        date_from=job.date_from,
        date_to=job.date_to,
    )


def measured(target: Export) -> dict[str, int]:
    """The coverage of an export."""
    return json.loads((target.directory / "coverage.json").read_bytes())  # type: ignore[no-any-return]


def versions(collection: Collection) -> list[Version]:
    """The versions that were published, the oldest first, the published one last."""
    known = [(int(job), entry) for job, entry in collection.history.items()]
    # The active job's is last, also where somebody chose an older one.
    known.sort(key=lambda item: (item[0] == collection.active_job_id, item[0]))
    found = [Version(Profile.from_json(entry["profile"]), bool(entry.get("overridden"))) for _, entry in known]
    active = collection.active_job
    if active is not None and str(active.id) not in collection.history:
        # It was published by a registry that kept no history yet.
        found.append(Version(_from_row(active)))
    return found


def _from_row(job: Job) -> Profile:
    return Profile(
        ocids=int(job.coverage.get("/ocid", 0)),
        counts={name.removesuffix("_count").replace("_", " "): getattr(job, name) or 0 for name in Job.COUNTS},
        date_from=job.date_from,
        date_to=job.date_to,
    )


def remember(collection: Collection, job: Job, held: Profile, directory: str) -> None:
    """Add a version that is published to what later ones are judged by.

    Its directory is kept with it, so that the publication's row changes with each revision too.
    """
    history = {number: entry for number, entry in collection.history.items() if number != str(job.id)}
    history[str(job.id)] = {"profile": held.to_json(), "overridden": bool(job.blocked), "directory": directory}
    latest = sorted(history, key=int)[-activation.REMEMBERED :]
    collection.history = {number: history[number] for number in latest}


def _export(job: Job, target: Export) -> list[Finding]:
    found = manifest.require_stage(target, "export")
    lines = {entry.year: entry.rows for entry in found.files if entry.format == "jsonl"}
    faults = [
        f"{entry.name} has not {entry.bytes:,} bytes."
        for entry in found.files
        if not (path := target.directory / entry.name).is_file() or path.stat().st_size != entry.bytes
    ]
    full = lines.pop("full", 0)
    counts: Mapping[str, int] = job.context.get("process_counts") or {}
    return plausibility.of_export(
        expected=counts.get("compiled_releases", full),
        full=full,
        parts=sum(lines.values()),
        skipped=_skipped(found, "skipped_export_"),
        faults=faults,
    )


def _coverage(target: Export) -> list[Finding]:
    found = manifest.require_stage(target, "coverage")
    releases = next((entry.rows for entry in found.files if entry.format == "jsonl" and entry.year == "full"), 0)
    return plausibility.of_coverage(measured(target), releases=releases, skipped=_skipped(found, "skipped_coverage_"))


def _files(services: Services, target: Export) -> list[Finding]:
    manifest.require_stage(target, "flatten")
    try:
        found, wrong = verify.verify(target, workers=services.settings.workers)
    except BrokenExportError as e:
        return plausibility.of_files(files=0, size=0, faults=[str(e)])
    return plausibility.of_files(files=len(found.files), size=sum(entry.bytes for entry in found.files), faults=wrong)


def _skipped(found: manifest.Manifest, prefix: str) -> int:
    return sum(n for name, n in found.counts.items() if name.startswith(prefix))


def _row(measure: Measure) -> dict[str, Any]:
    share = measure.name not in {"latest release", "earliest release"}
    return {
        "measure": measure.name,
        "published": measure.before,
        "this version": measure.after,
        "lost": f"{float(100 * measure.loss):.3g}%" if share else f"{int(measure.loss)} days",
        "tolerated": f"{float(100 * measure.tolerance):.3g}%" if share else f"{int(measure.tolerance)} days",
        "outcome": str(measure.outcome),
    }
