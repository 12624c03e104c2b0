"""The sensor that has the catalogue document made anew.

Belongs here: when. Does not belong here: what is in the document (`process_manager.document`).
"""

from __future__ import annotations

import json
import time
from typing import Any

import dagster as dg
from dagster import DagsterInstance

from registry_assets.assets.catalogue import STATE, catalogue
from registry_assets.jobs import catalogue_document
from registry_assets.partitions import IN_FLIGHT
from registry_assets.process_manager import document, publishing
from registry_assets.process_manager.services import Services
from registry_resources.dagster_resources import CollectResource, DatabaseResource, ProcessResource, SettingsResource

AGAIN_AFTER = 600.0
"""Seconds after which the document is asked for again, if asking for it had no effect."""


@dg.sensor(
    name="catalogue_document",
    job=catalogue_document,
    description=(
        "Has the catalogue document made after something was published, and after the catalogue changed. Also "
        "finishes what a process that died has published, but couldn't write down."
    ),
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def catalogue_document_sensor(
    context: dg.SensorEvaluationContext,
    settings: SettingsResource,
    database: DatabaseResource,
    collect: CollectResource,
    process: ProcessResource,
) -> dg.SensorResult:
    """Compare the registry with what the last document was made of."""
    read = settings.read()
    opened = database.open(read)
    try:
        mended = publishing.mend(Services(read, opened, collect.backend(read), process.backend(read)))
        with opened.session(read_only=True) as session:
            state = document.state(session)
    finally:
        opened.dispose()
    there = (read.exporter_dir / document.NAME).is_file()
    reason = _reason_to_wait(context.instance, state, context.cursor, there=there)
    said = " ".join([*mended, reason or "The registry has changed."])
    if reason:
        return dg.SensorResult(skip_reason=said)
    context.log.info(said)
    return dg.SensorResult(run_requests=[dg.RunRequest()], cursor=json.dumps({"state": state, "asked": time.time()}))


def _reason_to_wait(instance: DagsterInstance, state: str, cursor: str | None, *, there: bool) -> str | None:
    if there and _made_of(instance) == state:
        return "The catalogue document is current."
    if instance.get_runs_count(dg.RunsFilter(job_name=catalogue_document.name, statuses=IN_FLIGHT)):
        return "The catalogue document is being made."
    asked = _asked(cursor)
    if asked.get("state") == state and time.time() - float(asked.get("asked") or 0) < AGAIN_AFTER:
        return "The catalogue document was asked for, and is not current yet: see its run."
    return None


def _made_of(instance: DagsterInstance) -> str | None:
    """The state of the registry of which the last document was made."""
    event = instance.get_latest_materialization_event(catalogue.key)
    made = event.asset_materialization if event else None
    return str(made.metadata[STATE].value) if made and STATE in made.metadata else None


def _asked(cursor: str | None) -> dict[str, Any]:
    try:
        value = json.loads(cursor or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
