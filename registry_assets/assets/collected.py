"""The asset `collected`: the files that a crawl retrieved. Starts a job.

Does not belong here: how crawls run (`process_manager.tasks.collect`), or when they are accepted (`rules.acceptance`).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from registry_assets import checks
from registry_assets import metadata as md
from registry_assets.assets.step import GROUP, OWNERS, Done, Event, Registry, notes_table, perform
from registry_assets.partitions import PUBLICATIONS
from registry_assets.pools import CRAWLS
from registry_resources.database import Task


@dg.asset(
    partitions_def=PUBLICATIONS,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"python", "scrapy", "json"},
    code_version="1",
    pool=CRAWLS,
    check_specs=checks.specs("collected"),
    description=(
        "The files that a crawl retrieved from the publisher, as they came.\n\n"
        "Materialising it starts a **new job** for the publication. It fails if the crawl didn't finish, stopped "
        "prematurely, retrieved nothing, or if more than 15% of its requests went wrong."
    ),
)
def collected(context: dg.AssetExecutionContext, registry: dg.ResourceParam[Registry]) -> Iterator[Event]:
    """Crawl the publication."""
    yield from perform(context, registry, Task.Type.COLLECT, _describe)


def _link(log: str) -> dg.MetadataValue[Any]:
    return dg.MetadataValue.url(log) if log.startswith(("http://", "https://")) else dg.MetadataValue.path(log)


def _services(context: Mapping[str, Any]) -> dict[str, Any]:
    """What the Kingfisher services said, if they were asked."""
    found = {
        "crawl": context.get("job_id"),
        "Scrapyd": context.get("scrapyd"),
        "collection": context.get("process_id"),
    }
    return found if context.get("process_id") else {}


def _describe(done: Done) -> dg.MaterializeResult[Any]:
    context = done.job.context
    store = done.services.settings.files_store
    return dg.MaterializeResult(
        metadata={
            "publication": done.job.collection.title,
            "job": str(done.job.id),
            "files": int(context.get("files") or 0),
            "size": md.size(int(context.get("bytes") or 0)),
            "bytes": int(context.get("bytes") or 0),
            "error rate": round(float(context.get("collect_error_rate") or 0), 4),
            "spider": str(context.get("spider") or ""),
            "data version": str(context.get("data_version") or ""),
            "crawl log": _link(str(context.get("scrapy_log") or "")),
            **_services(context),
            "temporary folder": dg.MetadataValue.path(str(store / str(context.get("directory") or ""))),
            "notes": notes_table(done, Task.Type.COLLECT),
        },
        data_version=dg.DataVersion(f"{done.job.id}-{context.get('data_version')}"),
    )
