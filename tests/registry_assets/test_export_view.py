"""What Dagit shows of an export's manifest."""

from __future__ import annotations

from pathlib import Path

from exporter import jsonl, manifest
from exporter.util import Export
from registry_assets.assets.export_view import ExportView


def test_what_was_left_out_and_what_was_altered_are_shown(tmp_path: Path) -> None:
    """I8: whatever the manifest counts, but for the releases themselves and counts of nothing."""
    export = Export("ruritania", 1, root=tmp_path)
    jsonl.export(export, [[(None, b'{"ocid": "a"}')]], skipped={"invalid_json": 2}, noticed={"repeated_keys": 3})
    manifest.record_stage(
        export,
        "flatten",
        files=[],
        counts={"skipped_not_flattened": 0, "numbers_kept_as_text": 4, "xlsx_cells_cut": 0},
    )
    shown = {
        label: {record.data["what"]: record.data["count"] for record in value.records}
        for label, value in ExportView(export).skipped().items()
    }
    assert shown == {
        "skipped": {"skipped export invalid json": 2},
        "unusual": {"releases with repeated keys": 3, "numbers kept as text": 4},
    }


def test_nothing_is_shown_of_an_export_without_any(tmp_path: Path) -> None:
    """An empty table would only push the rest away."""
    export = Export("ruritania", 1, root=tmp_path)
    jsonl.export(export, [[(None, b'{"ocid": "a"}')]])
    assert ExportView(export).skipped() == {}
