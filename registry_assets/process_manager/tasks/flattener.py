"""The flattener task: makes tables of the export, as CSV, Parquet and Excel (FLA-*).

Does not belong here: how tables are made (`exporter.flatten`).
"""

from __future__ import annotations

from registry_assets.process_manager.tasks.stage import StageTask


class FlattenerTask(StageTask):
    """Flattens the export."""

    stage = "flatten"

    def arguments(self) -> list[str]:
        """As many workers as the registry may use, and the size above which no Excel file is tried (FLA-02)."""
        settings = self.services.settings
        return ["--workers", str(settings.workers), "--xlsx-max-bytes", str(settings.xlsx_max_bytes)]
