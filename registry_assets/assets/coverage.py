"""The asset `coverage`: which fields are filled, and how often.

Does not belong here: counting (`exporter.coverage`), or judging the counts (`process_manager.rules`).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from registry_assets import checks
from registry_assets import metadata as md
from registry_assets.assets.exported import exported
from registry_assets.assets.step import GROUP, OWNERS, Done, Event, Registry, export_of, perform
from registry_assets.partitions import PUBLICATIONS
from registry_resources.database import Task

LABELS = {
    "parties_count": "parties",
    "plannings_count": "planning processes",
    "tenders_count": "tenders",
    "tenderers_count": "tenderers",
    "tenders_items_count": "tender items",
    "awards_count": "awards",
    "awards_items_count": "award items",
    "awards_suppliers_count": "award suppliers",
    "contracts_count": "contracts",
    "contracts_items_count": "contract items",
    "contracts_transactions_count": "contract transactions",
    "documents_count": "documents",
    "milestones_count": "milestones",
    "amendments_count": "amendments",
}
"""What people call the 14 counts (COV-02)."""


@dg.asset(
    deps=[exported],
    partitions_def=PUBLICATIONS,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"rust", "json"},
    code_version="1",
    check_specs=checks.specs("coverage"),
    description=(
        "How often each **field** is filled in the compiled releases, and how many tenders, awards, contracts, "
        "documents and so on there are (`coverage.json`)."
    ),
)
def coverage(context: dg.AssetExecutionContext, registry: dg.ResourceParam[Registry]) -> Iterator[Event]:
    """Measure the export."""
    yield from perform(context, registry, Task.Type.COVERAGE, _describe)


def _describe(done: Done) -> dg.MaterializeResult[Any]:
    job = done.job
    counts = {LABELS[name]: getattr(job, name) or 0 for name in LABELS}
    fields = field_table(job.coverage or {})
    return dg.MaterializeResult(
        metadata={
            "publication": job.collection.title,
            "job": str(job.id),
            "ocids": (job.coverage or {}).get("/ocid", 0),
            "fields": len(fields),
            **{name: counts[name] for name in ("tenders", "awards", "contracts", "parties")},
            "counts": md.counts(counts, label="objects"),
            "field coverage": md.table(fields, {"field": "string", "values": "int", "per release": "float"}),
            "file": dg.MetadataValue.path(str(export_of(done).path / "coverage.json")),
        },
        data_version=dg.DataVersion(export_of(done).sha256("coverage.json")),
    )


def field_table(coverage: Mapping[str, int]) -> list[Mapping[str, md.Cell]]:
    """The fields as people name them, most often filled first, with how often per release.

    Args:
        coverage: the number of non-empty values, by path: `""` is a line, a trailing `/` an object, `[]` an element.
    """
    releases = coverage.get("/", 0) or 1
    fields = [(path, n) for path, n in coverage.items() if path and not path.endswith(("/", "[]"))]
    fields.sort(key=lambda item: (-item[1], item[0]))
    return [{"field": path.removeprefix("/"), "values": n, "per release": n / releases} for path, n in fields]
