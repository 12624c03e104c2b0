"""The asset `processed`: one compiled release for each contracting process.

Does not belong here: merging (`registry_resources.process`), or what all steps share (`step`).
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from registry_assets import checks
from registry_assets import metadata as md
from registry_assets.assets.collected import collected
from registry_assets.assets.step import GROUP, OWNERS, Done, Event, Registry, notes_table, perform, version
from registry_assets.partitions import PUBLICATIONS
from registry_resources.database import Task
from registry_resources.redaction import safe_url


@dg.asset(
    deps=[collected],
    partitions_def=PUBLICATIONS,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"python", "json"},
    code_version="1",
    check_specs=checks.specs("processed"),
    description=(
        "The releases of each contracting process (each `ocid`), merged into one **compiled release**.\n\n"
        "Works on the files of the latest job that has collected. What can't be merged is left out, counted and noted."
    ),
)
def processed(context: dg.AssetExecutionContext, registry: dg.ResourceParam[Registry]) -> Iterator[Event]:
    """Merge what was collected."""
    yield from perform(context, registry, Task.Type.PROCESS, _describe)


def _describe(done: Done) -> dg.MaterializeResult[Any]:
    job = done.job
    counts: dict[str, int] = job.context.get("process_counts") or {}
    skipped = sum(n for name, n in counts.items() if name.startswith("skipped_"))
    return dg.MaterializeResult(
        metadata={
            "publication": job.collection.title,
            "job": str(job.id),
            "dagster/row_count": counts.get("compiled_releases", 0),
            "compiled releases": counts.get("compiled_releases", 0),
            "releases": counts.get("releases", 0),
            "skipped": skipped,
            "release dates": md.date_range(job.date_from, job.date_to),
            "ocid prefix": job.ocid_prefix or "",
            "license": _link(job.license),
            "publication policy": _link(job.publication_policy),
            **_collection(done),
            "notes": notes_table(done, Task.Type.PROCESS),
            "counts": md.counts(counts, label="what"),
        },
        data_version=version(job, Task.Type.PROCESS),
    )


def _link(url: str | None) -> dg.MetadataValue[Any]:
    # A publisher's text: only what is plainly a web address becomes a link.
    if url and url.startswith(("http://", "https://")):
        return dg.MetadataValue.url(url)
    return dg.MetadataValue.text(url or "")


def _collection(done: Done) -> dict[str, Any]:
    """Where Kingfisher Process shows its collections, if it has merged."""
    services, context = done.services.settings.kingfisher, done.job.context
    if services is None or not context.get("process_id"):
        return {}
    tree = f"{services.process_url}/api/collections/{context['process_id']}/tree/"
    return {
        "collections": dg.MetadataValue.url(safe_url(tree)),
        "compiled collection": context.get("process_compiled_collection_id"),
    }
