"""The asset `exported`: compiled releases as JSON Lines, by year.

Does not belong here: writing the files (`exporter.jsonl`), or what all steps share (`step`).
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from registry_assets import checks
from registry_assets import metadata as md
from registry_assets.assets.processed import processed
from registry_assets.assets.step import GROUP, OWNERS, Done, Event, Registry, export_of, perform
from registry_assets.partitions import PUBLICATIONS
from registry_resources.database import Task


@dg.asset(
    deps=[processed],
    partitions_def=PUBLICATIONS,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"python", "json"},
    code_version="1",
    check_specs=checks.specs("exported"),
    description=(
        "The compiled releases as gzipped **JSON Lines**: all of them in `full.jsonl.gz`, each year in a file of its "
        "own, and in `undated.jsonl.gz` those whose date names no year.\n\n"
        "Of a published job, materialising it again makes a new revision; the published one stays as it is."
    ),
)
def exported(context: dg.AssetExecutionContext, registry: dg.ResourceParam[Registry]) -> Iterator[Event]:
    """Write JSON Lines."""
    yield from perform(context, registry, Task.Type.EXPORTER, _describe)


def _describe(done: Done) -> dg.MaterializeResult[Any]:
    export = export_of(done)
    files = export.of("jsonl")
    full = next(entry for entry in files if entry.year == "full")
    return dg.MaterializeResult(
        metadata={
            "publication": done.job.collection.title,
            "job": str(done.job.id),
            "dagster/row_count": full.rows,
            "releases": full.rows,
            "undated releases": sum(entry.rows for entry in files if entry.year == "undated"),
            "years": sum(isinstance(entry.year, int) for entry in files),
            "size": md.size(full.bytes),
            "bytes": full.bytes,
            "folder": dg.MetadataValue.path(str(export.path)),
            "files": export.file_table(files, rows="releases"),
            **export.skipped(),
        },
        data_version=dg.DataVersion(full.sha256),
    )
