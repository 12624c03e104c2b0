"""The code location: everything that Dagster knows of the registry.

Belongs here: putting the parts together. Does not belong here: any part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from registry_assets.assets.catalogue import catalogue
from registry_assets.assets.collected import collected
from registry_assets.assets.coverage import coverage
from registry_assets.assets.exported import exported
from registry_assets.assets.flattened import flattened
from registry_assets.assets.processed import processed
from registry_assets.assets.published import published
from registry_assets.assets.step import Registry
from registry_assets.jobs import catalogue_document, refresh
from registry_assets.reporting import ReportingResource
from registry_assets.schedules import JOBS as HOUSEKEEPING
from registry_assets.schedules import SCHEDULES
from registry_assets.sensors.catalogue_document import catalogue_document_sensor
from registry_assets.sensors.catalogue_partitions import catalogue_partitions
from registry_assets.sensors.notifications import notify
from registry_assets.sensors.out_of_date import out_of_date
from registry_assets.sensors.watch import watch
from registry_resources.dagster_resources import CollectResource, DatabaseResource, ProcessResource, SettingsResource

ASSETS = [collected, processed, exported, coverage, flattened, published, catalogue]


def build_defs(resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Put the code location together.

    Args:
        resource_overrides: resources to use instead of `settings`, `database`, `collect`, `process` or `reporting`.

    Returns:
        The definitions. A run is one process: five small steps cost less that way than starting a process each.
    """
    resources: dict[str, Any] = {
        "settings": SettingsResource(),
        "database": DatabaseResource(),
        "collect": CollectResource(),
        "process": ProcessResource(),
        "reporting": ReportingResource(),
        **(resource_overrides or {}),
    }
    return dg.Definitions(
        assets=ASSETS,
        jobs=[refresh, catalogue_document, *HOUSEKEEPING],
        schedules=SCHEDULES,
        sensors=[catalogue_document_sensor, catalogue_partitions, notify, out_of_date, watch],
        resources={**resources, "registry": Registry(**resources)},
        executor=dg.in_process_executor,
    )


defs = build_defs()
