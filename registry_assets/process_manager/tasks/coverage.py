"""The coverage task: counts which fields are filled (COV-*).

Does not belong here: how they are counted (`exporter.coverage`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from exporter.coverage import counts
from exporter.util import Export
from registry_assets.process_manager.tasks.stage import StageTask
from registry_resources.database import Job


class CoverageTask(StageTask):
    """Measures the export, and copies the coverage and the 14 counts to the job (COV-02, COV-03)."""

    stage = "coverage"

    def arguments(self) -> list[str]:
        """As many workers as the registry may use."""
        return ["--workers", str(self.services.settings.workers)]

    def finish(self, target: Export, result: Mapping[str, Any]) -> None:  # noqa: ARG002 (the file says it all)
        """Copy what `coverage.json` says to the job."""
        measured = json.loads((target.path / "coverage.json").read_bytes())

        def change(job: Job) -> None:
            job.coverage = measured
            for name, count in counts(measured).items():
                setattr(job, name, count)

        self.update_job(change)
