"""The asset `published`: the version that readers see.

Does not belong here: whether a version may be published (`process_manager.publishing`), or moving the pointer
(`exporter.publish`).
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from registry_assets import checks
from registry_assets import metadata as md
from registry_assets.assets.coverage import coverage
from registry_assets.assets.flattened import flattened
from registry_assets.assets.step import GROUP, OWNERS, Done, Event, Registry, export_of, perform
from registry_assets.partitions import PUBLICATIONS
from registry_assets.process_manager.publishing import publish_job
from registry_assets.process_manager.rules.plausibility import Finding
from registry_assets.process_manager.services import Services


@dg.asset(
    deps=[coverage, flattened],
    partitions_def=PUBLICATIONS,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"json"},
    code_version="1",
    check_specs=checks.specs("published"),
    description=(
        "The **version that readers see**: `latest.json` names it, and it never changes.\n\n"
        "The pointer moves only once every file is whole, and the job becomes the publication's active one."
    ),
)
def published(context: dg.AssetExecutionContext, registry: dg.ResourceParam[Registry]) -> Iterator[Event]:
    """Move the pointer to the job's version."""
    yield from perform(context, registry, None, _describe, _publish)


def _publish(services: Services, job_id: int) -> list[Finding]:
    return publish_job(services, job_id).findings


def _describe(done: Done) -> dg.MaterializeResult[Any]:
    export = export_of(done)
    files = export.manifest.files
    total = sum(entry.bytes for entry in files)
    full = next(entry for entry in files if entry.format == "jsonl" and entry.year == "full")
    return dg.MaterializeResult(
        metadata={
            "publication": done.job.collection.title,
            "job": str(done.job.id),
            "dagster/row_count": full.rows,
            "release dates": md.date_range(done.job.date_from, done.job.date_to),
            "last retrieved": str(done.job.collection.last_retrieved or ""),
            "files": len(files),
            "size": md.size(total),
            "bytes": total,
            "folder": dg.MetadataValue.path(str(export.path)),
            "pointer": dg.MetadataValue.path(str(export.path.parent / "latest.json")),
            "downloads": export.file_table([entry for entry in files if entry.year == "full"], rows="rows"),
            "not made": export.missing_table(),
        },
        data_version=dg.DataVersion(export.manifest_sha256),
    )
