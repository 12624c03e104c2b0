"""The sensor that keeps partitions in step with the catalogue.

Does not belong here: how a partition is added or removed (`partitions.py`).
"""

import dagster as dg

from registry_assets.partitions import sync_partitions
from registry_resources.dagster_resources import DatabaseResource, SettingsResource


@dg.sensor(
    name="catalogue_partitions",
    description="Keeps one partition for each publication in the catalogue.",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def catalogue_partitions(
    context: dg.SensorEvaluationContext, settings: SettingsResource, database: DatabaseResource
) -> dg.SkipReason:
    """Add and remove partitions so that they follow the catalogue. Starts no runs."""
    opened = database.open(settings.read())
    try:
        changes = sync_partitions(context.instance, opened)
    finally:
        opened.dispose()
    parts = [
        f"{label}: {', '.join(keys)}"
        for label, keys in (
            ("added", changes.added),
            ("removed", changes.removed),
            ("kept until their run ends", changes.kept),
        )
        if keys
    ]
    return dg.SkipReason("; ".join(parts) or "Partitions match the catalogue.")
