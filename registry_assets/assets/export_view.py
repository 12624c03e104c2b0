"""A job's export, as the assets show it: what its manifest says, in tables.

Does not belong here: reading or changing the files themselves (`exporter`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from exporter import manifest as manifests
from exporter.util import MANIFEST, Export
from registry_assets import metadata as md
from registry_resources.exceptions import UnexpectedError

_ORDINARY = ("releases", "releases_undated")
"""Counts of what every export has."""


class ExportView:
    """What the manifest of an export says.

    Attributes:
        path: the export's folder.
        manifest: what is in it.
        manifest_sha256: the checksum of its manifest.
    """

    def __init__(self, export: Export) -> None:
        """Read the manifest.

        Raises:
            UnexpectedError: if there is none.
        """
        self.path: Path = export.path
        found = manifests.read(self.path)
        if found is None:
            raise UnexpectedError(f"{self.path} has no {MANIFEST}. Materialise `exported` again.")
        self.manifest = found
        self.manifest_sha256 = hashlib.sha256((self.path / MANIFEST).read_bytes()).hexdigest()

    def of(self, format_: str) -> list[manifests.FileEntry]:
        """The files of a format: the full one first, then years from the latest, then undated."""
        entries = [entry for entry in self.manifest.files if entry.format == format_]
        return sorted(entries, key=_year_order)

    def sha256(self, name: str) -> str:
        """A file's checksum."""
        return next(entry.sha256 for entry in self.manifest.files if entry.name == name)

    def file_table(
        self, entries: Iterable[manifests.FileEntry], *, rows: str
    ) -> dg.TableMetadataValue | dg.TextMetadataValue:
        """Files, with their rows (called `rows`) and sizes for people."""
        records: list[md.Row] = [
            {"file": entry.name, rows: entry.rows, "size": md.size(entry.bytes)} for entry in entries
        ]
        return md.table(records, {"file": "string", rows: "int", "size": "string"})

    def missing_table(self) -> dg.TableMetadataValue | dg.TextMetadataValue:
        """The files that could not be made, and why."""
        records: list[md.Row] = [{"file": entry.name, "why": entry.reason} for entry in self.manifest.missing]
        return md.table(records, {"file": "string", "why": "string"})

    def skipped(self) -> Mapping[str, Any]:
        """What the stages left out, and what they altered or found unusual, if anything was (I8)."""
        counts = {name: n for name, n in self.manifest.counts.items() if n and name not in _ORDINARY}
        left_out = {name: n for name, n in counts.items() if name.startswith("skipped")}
        unusual = {name: n for name, n in counts.items() if name not in left_out}
        return {
            label: md.counts(found, label="what")
            for label, found in (("skipped", left_out), ("unusual", unusual))
            if found
        }


def _year_order(entry: manifests.FileEntry) -> tuple[int, int]:
    if entry.year == "full":
        return 0, 0
    return (1, -entry.year) if isinstance(entry.year, int) else (2, 0)
