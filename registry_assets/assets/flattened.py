"""The asset `flattened`: tables, as CSV, Parquet and Excel.

Does not belong here: making the tables (`exporter.flatten`), or what all steps share (`step`).
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pyarrow.parquet as pq

from registry_assets import checks
from registry_assets import metadata as md
from registry_assets.assets.export_view import ExportView
from registry_assets.assets.exported import exported
from registry_assets.assets.step import GROUP, OWNERS, Done, Event, Registry, export_of, perform, version
from registry_assets.partitions import PUBLICATIONS
from registry_resources.database import Task

MAIN = "main"
"""The table that has a row for each compiled release."""
PREVIEW_ROWS = 5
PREVIEW_COLUMNS = 8


@dg.asset(
    deps=[exported],
    partitions_def=PUBLICATIONS,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"csv", "parquet", "excel"},
    code_version="1",
    check_specs=checks.specs("flattened"),
    description=(
        "The compiled releases as **tables**: CSV archives per year, Parquet datasets partitioned by year, and Excel "
        "workbooks where they fit. Tables join by `main_ocid` and `<parent>_id`."
    ),
)
def flattened(context: dg.AssetExecutionContext, registry: dg.ResourceParam[Registry]) -> Iterator[Event]:
    """Make tables of the export."""
    yield from perform(context, registry, Task.Type.FLATTENER, _describe)


def _describe(done: Done) -> dg.MaterializeResult[Any]:
    export = export_of(done)
    archives = export.of("csv")
    full = next(entry for entry in archives if entry.year == "full")
    tables: list[md.Row] = [
        {"table": name, "rows": full.tables.get(name, 0), "columns": len(columns)}
        for name, columns in export.manifest.tables.items()
    ]
    tables.sort(key=lambda row: (row["table"] != MAIN, str(row["table"])))
    main = export.manifest.tables.get(MAIN, [])
    size = sum(entry.bytes for entry in export.manifest.files if entry.stage == "flatten")
    return dg.MaterializeResult(
        metadata={
            "publication": done.job.collection.title,
            "job": str(done.job.id),
            "dagster/row_count": full.tables.get(MAIN, 0),
            "rows": full.rows,
            "size": md.size(size),
            "bytes": size,
            "folder": dg.MetadataValue.path(str(export.path)),
            "dagster/column_schema": md.columns((c.name, c.type, c.description) for c in main),
            "first rows": _preview(export),
            "not made": export.missing_table(),
            **export.skipped(),
            "files": export.file_table([*archives, *export.of("xlsx")], rows="rows"),
            "tables": md.table(tables, {"table": "string", "rows": "int", "columns": "int"}),
        },
        data_version=version(done.job, Task.Type.FLATTENER),
    )


def _preview(export: ExportView) -> dg.MarkdownMetadataValue | dg.TextMetadataValue:
    """The first rows of the main table of the latest year, the columns that are filled first."""
    parts = sorted((export.path / "parquet" / MAIN).glob("year=*/*.parquet"), reverse=True)
    dated = [part for part in parts if "__HIVE_DEFAULT_PARTITION__" not in str(part)] or parts
    if not dated:
        return dg.MetadataValue.text("none")
    with pq.ParquetFile(dated[0]) as file:
        batch = next(file.iter_batches(batch_size=PREVIEW_ROWS), None)
    if batch is None:
        return dg.MetadataValue.text("none")
    filled = [name for name in batch.schema.names if batch.column(name).null_count < batch.num_rows]
    names = filled[:PREVIEW_COLUMNS]
    return md.preview(batch.select(names).to_pylist(), names)
