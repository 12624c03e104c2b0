"""The manifest of an export: every file, what is in it, and why one is missing. Each stage records itself last.

Belongs here: the typed model, reading and changing `manifest.json`. Does not belong here: making files, or comparing
them with the manifest (see `verify`). `manifest.schema.json` is made from the model; a test compares them.

The manifest holds no times and no paths, so that the same input and code give the same bytes (I7).
"""

from __future__ import annotations

import json
import platform
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from exporter import files as disk
from exporter.errors import BrokenExportError, ExporterError, PublishedExportError
from exporter.util import MANIFEST, STAGES, Export, is_of_an_export, stage_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

Stage = Literal["export", "coverage", "flatten"]
Count = dict[str, int]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Job(_Model):
    """Whose export it is: the publication's key and the job's id."""

    key: str
    id: str


class FileEntry(_Model):
    """One file. The columns of a table are in `Manifest.tables`, the same in every file of the export."""

    name: str = Field(description="Path below the export directory, with slashes.")
    stage: Stage = Field(default="export", description="The stage that made it; filled in when it is recorded.")
    format: Literal["jsonl", "coverage", "csv", "parquet", "xlsx"]
    year: int | Literal["full", "undated"] | None = Field(
        default=None,
        description="The year of the releases in it; `full` is all of them; null if it is not about years.",
    )
    table: str | None = Field(default=None, description="The table in it, if it holds one.")
    tables: Count = Field(default_factory=dict, description="The rows of each table in it, if it holds several.")
    rows: int = Field(ge=0, description="Releases (jsonl), rows of all tables in it, or paths (coverage).")
    bytes: int = Field(ge=0)
    uncompressed: int | None = Field(default=None, ge=0, description="Bytes after decompression (jsonl).")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Column(_Model):
    """One column of a table: its name, Arrow type, and description where the OCDS standard has the path."""

    name: str
    type: str
    description: str = ""


class Missing(_Model):
    """A file that could not be made, and why."""

    format: str
    name: str
    reason_code: str = Field(description="For programs, such as `too_many_rows`.")
    reason: str = Field(description="For people.")
    stage: Stage = "export"


class StageRecord(_Model):
    """What a stage says about itself."""

    counts: Count = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)


class Manifest(_Model):
    """Everything that an export directory holds."""

    version: Literal[1] = Field(default=1, description="Of this form. It changes when a reader would have to.")
    job: Job | None = None
    files: list[FileEntry] = Field(default_factory=list)
    tables: dict[str, list[Column]] = Field(default_factory=dict)
    missing: list[Missing] = Field(default_factory=list)
    counts: Count = Field(
        default_factory=dict, description="The counts of all stages; what was left out is `skipped_…`."
    )
    stages: dict[Stage, StageRecord] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return the text of `manifest.json`."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False, indent=1).encode() + b"\n"


def schema() -> dict[str, Any]:
    """Return the JSON Schema of `manifest.json`."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Manifest.model_json_schema()}


def library_versions(*distributions: str) -> dict[str, str]:
    """Return the versions of installed libraries, for `record_stage`."""
    return {name: metadata.version(name) for name in sorted(distributions)}


def _own_version() -> dict[str, str]:
    try:
        return {"exporter": metadata.version("ocds-data-registry")}
    except metadata.PackageNotFoundError:  # used from a checkout that is not installed
        return {}


def read(directory: Path) -> Manifest | None:
    """Read a directory's manifest. None if it has none.

    Raises:
        BrokenExportError: if it is no manifest of this version.
    """
    path = directory / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        first = error.errors()[0]
        where = "/".join(map(str, first["loc"])) or "the text"
        raise BrokenExportError(
            f"{path}: {where}: {first['msg']}: it is damaged or of another version, so export again"
        ) from None


def require_stage(target: Export | Path, stage: Stage) -> Manifest:
    """Return the manifest, in which a stage that others build on must be recorded.

    Raises:
        BrokenExportError: if it is not.
    """
    directory = _export(target).directory
    found = read(directory)
    if found is None or stage not in found.stages:
        raise BrokenExportError(f"{directory}: there is nothing of the stage {stage}: do it first")
    return found


def _export(target: Export | Path) -> Export:
    return target if isinstance(target, Export) else Export.at(target)


def _without(manifest: Manifest, stages: Iterable[str]) -> dict[str, Any]:
    """Return the manifest's parts, without what these stages recorded."""
    dropped = set(stages)
    return {
        "job": manifest.job,
        "files": [entry for entry in manifest.files if entry.stage not in dropped],
        "missing": [entry for entry in manifest.missing if entry.stage not in dropped],
        "tables": {} if "flatten" in dropped else manifest.tables,
        "stages": {name: record for name, record in manifest.stages.items() if name not in dropped},
    }


def _write(target: Export, parts: Mapping[str, Any]) -> Manifest:
    stages: dict[Stage, StageRecord] = {name: parts["stages"][name] for name in STAGES if name in parts["stages"]}
    counts = {name: count for record in stages.values() for name, count in record.counts.items()}
    job = parts["job"]
    if job is None and target.job is not None:
        job = Job(key=target.job[0], id=target.job[1])
    manifest = Manifest(
        job=job,
        files=sorted(parts["files"], key=lambda entry: entry.name),
        tables=dict(sorted(parts["tables"].items())),
        missing=sorted(parts["missing"], key=lambda entry: (entry.name, entry.reason_code)),
        counts=dict(sorted(counts.items())),
        stages=stages,
        versions={"python": platform.python_version(), **_own_version()},
    )
    disk.write_atomically(target.directory / MANIFEST, manifest.to_bytes())
    return manifest


def refuse_published(target: Export) -> None:
    """Raise PublishedExportError if the directory was ever published (I2)."""
    if target.published:
        raise PublishedExportError(
            f"{target.directory}: it is published and never changes: work on a new revision (`publish.writable`)"
        )


def begin_stage(target: Export | Path, stage: str) -> None:
    """Make ready for a stage's first file: forget what it, and stages that build on it, made before (DEF-05).

    Call it holding the stage's lock and before the stage's first file, temporary ones included. It records the removal
    first, then deletes the files, so a manifest never names files that are going; and what killed processes left.

    Args:
        target: the export.
        stage: `export` (coverage and flatten build on it), `coverage` or `flatten`.

    Raises:
        ExporterError: if an export would empty a folder that holds other files.
        PublishedExportError: if the directory is published.
    """
    target = _export(target)
    refuse_published(target)
    disk.make_directory(target.directory)
    if stage == "export":
        _refuse_others_files(target.directory)
    dropped = STAGES if stage == "export" else (stage,)
    with target.manifest_lock():
        try:
            manifest = read(target.directory)
        except BrokenExportError:
            if stage != "export":
                raise
            disk.delete(target.directory / MANIFEST)
            manifest = None
        if manifest is not None and any(name in manifest.stages for name in dropped):
            _write(target, _without(manifest, dropped))
    _delete_files(target.directory, dropped)


def _refuse_others_files(directory: Path) -> None:
    """Raise if a folder is not ours alone: `export releases.jsonl .` would empty it, with the source in it."""
    names = sorted(path.name for path in directory.iterdir() if not disk.is_temporary(path))
    if others := [name for name in names if not is_of_an_export(name)]:
        raise ExporterError(
            f"{directory}: it holds {others[0]}, which is no file of an export, so nothing was deleted: "
            "give a folder that is empty or not there yet"
        )


def _delete_files(directory: Path, stages: Iterable[str]) -> None:
    """Delete the files of stages by their names, whether recorded or not, and temporary files of the same stages."""
    stages = set(stages)
    for path in sorted(directory.iterdir()):
        name = path.name
        if disk.is_temporary(path):
            name = name.removeprefix(disk.TEMPORARY_PREFIX).rpartition("-")[0].rpartition("-")[0]
            if name == MANIFEST:
                continue
        elif not is_of_an_export(name):
            continue
        if (stage_of(name) or "export") in stages and path.name != MANIFEST:
            disk.delete(path)
    disk.sync_directory(directory)


def record_stage(
    target: Export | Path,
    stage: str,
    *,
    files: Iterable[FileEntry],
    counts: Mapping[str, int],
    missing: Iterable[Missing] = (),
    tables: Mapping[str, Iterable[Column]] | None = None,
    versions: Mapping[str, str] | None = None,
) -> Manifest:
    """Put a stage's part into the manifest, in place of its earlier part. It is the stage's last act.

    Args:
        target: the export.
        stage: which.
        files: what it made, under their final names, synced. The `stage` of the entries is filled in.
        counts: what it counted; zero counts are kept, so that readers see they were looked for.
        missing: what it could not make.
        tables: the tables' columns (flatten only).
        versions: of the libraries that shape the bytes.

    Returns:
        The manifest as it is now.

    Raises:
        BrokenExportError: if a file is not there with that size.
        PublishedExportError: if the directory is published.
    """
    target = _export(target)
    refuse_published(target)
    entries = [entry.model_copy(update={"stage": stage}) for entry in files]
    for entry in entries:
        path = target.directory / entry.name
        if not path.is_file() or path.stat().st_size != entry.bytes:
            raise BrokenExportError(f"{path}: it is not there with {entry.bytes} bytes: do the stage {stage} again")
    with target.manifest_lock():
        disk.clean_temporaries(target.directory, MANIFEST)
        parts = _without(read(target.directory) or Manifest(), [stage])
        parts["files"] += entries
        parts["missing"] += [entry.model_copy(update={"stage": stage}) for entry in missing]
        parts["stages"][stage] = StageRecord(counts=dict(sorted(counts.items())), versions=dict(versions or {}))
        if tables is not None:
            parts["tables"] = {name: list(columns) for name, columns in tables.items()}
        return _write(target, parts)
