"""A whole registry in a folder: database, catalogue, Dagster's instance, and runs as Dagit would launch them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from exporter.publish import Pointer, read_latest
from registry_assets.definitions import build_defs
from registry_assets.partitions import sync_partitions
from registry_resources.database import Collection, Database, Job, Task
from registry_resources.settings import Settings


class TestRegistry:
    """One registry, used through Dagster.

    Attributes:
        settings: its settings, read from the environment that the test made.
        database: its database, migrated.
        instance: Dagster's instance.
    """

    __test__ = False

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings = settings
        self.instance = instance
        self.database = Database(settings.database_url)
        self.database.migrate()
        self.defs = build_defs()

    def add(self, key: str, spider: str = "bulk", **fields: Any) -> None:
        """Add a publication, with `arguments` for its spider and any field of the model."""
        arguments = fields.pop("arguments", {})
        with self.database.session() as session:
            session.add(Collection(key=key, title=key.title(), source_id=spider, spider_arguments=arguments, **fields))
        sync_partitions(self.instance, self.database)

    def run(self, key: str, *assets: str, **options: Any) -> dg.ExecuteInProcessResult:
        """Materialise assets (all by default) of a publication in one run, like Dagit does."""
        return self.defs.resolve_job_def("refresh").execute_in_process(
            instance=self.instance,
            partition_key=key,
            asset_selection=[dg.AssetKey(name) for name in assets] or None,
            raise_on_error=False,
            **options,
        )

    def failure(self, result: dg.ExecuteInProcessResult) -> str:
        """What the run's page says of why it failed."""
        assert not result.success
        (event,) = result.get_step_failure_events()
        data = event.step_failure_data
        assert data.user_failure_data, data.error
        return str(data.user_failure_data.description)

    def jobs(self, key: str) -> Sequence[Job]:
        """The publication's jobs with their tasks and notes, oldest first."""
        statement = (
            select(Job)
            .join(Job.collection)
            .where(Collection.key == key)
            .order_by(Job.id)
            .options(joinedload(Job.collection), joinedload(Job.tasks).joinedload(Task.notes))
        )
        with self.database.session() as session:
            return session.scalars(statement).unique().all()

    def latest(self, key: str) -> Pointer | None:
        """The pointer to the published version."""
        return read_latest(self.settings.exporter_dir, key)

    def published(self, key: str) -> Path:
        """The folder of the published version."""
        pointer = self.latest(key)
        assert pointer is not None
        return self.settings.exporter_dir / key / pointer.directory

    def metadata(self, result: dg.ExecuteInProcessResult, asset: str) -> Mapping[str, Any]:
        """The metadata of an asset's materialisation in a run, as plain values where there are such."""
        for event in result.get_asset_materialization_events():
            if event.asset_key == dg.AssetKey(asset):
                found = event.step_materialization_data.materialization.metadata
                return {name: getattr(value, "value", value) for name, value in found.items()}
        raise AssertionError(f"{asset} was not materialised")


def read_jsonl(path: Path) -> list[Any]:
    """The values in a gzipped JSON Lines file."""
    with gzip.open(path, "rt", encoding="utf-8", errors="surrogatepass") as f:
        return [json.loads(line) for line in f]
