"""The export directory of one job: where it is, what is in it, and who works on it (EXP-06, EXP-07).

Belongs here: `Export` and `TaskStatus`. Does not belong here: making or publishing files.
"""

from __future__ import annotations

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from exporter import files
from exporter import lock as locks
from exporter.errors import ExporterError

STAGES: tuple[Literal["export", "coverage", "flatten"], ...] = ("export", "coverage", "flatten")
MANIFEST = "manifest.json"
COVERAGE = "coverage.json"
PARQUET = "parquet"
PUBLISHED = ".published"
YEAR_FILE = re.compile(r"(full|undated|[1-9][0-9]{3})\.(jsonl\.gz|csv\.tar\.gz|xlsx)")
SUFFIXES = {"jsonl.gz": "jsonl", "csv.tar.gz": "csv", "xlsx": "xlsx"}
_REVISION = re.compile(r"\.r[1-9][0-9]*\Z")


class TaskStatus(StrEnum):
    """The state of an export or of one of its files (EXP-06)."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"


def stage_of(basename: str | None) -> str | None:
    """Return the stage that makes a file: all of JSON Lines share one, so do CSV, Parquet and Excel."""
    if basename is None or basename in {MANIFEST, PUBLISHED}:
        return None
    if basename.endswith(".jsonl.gz"):
        return "export"
    return "coverage" if basename == COVERAGE else "flatten"


def is_of_an_export(name: str) -> bool:
    """Whether an export directory has a file or folder of this name."""
    return name in {MANIFEST, COVERAGE, PARQUET, PUBLISHED} or YEAR_FILE.fullmatch(name) is not None


class Export:
    """One export directory: `<root>/<component>/<component>…`, usually `<root>/<publication's key>/<job's id>`.

    Args:
        components: names of folders; each a single name, so that nothing reaches out of the root (I5).
        basename: the file whose `status` and lock are meant; None means the directory as a whole.
        root: the folder of all exports; by default the environment variable EXPORTER_DIR.

    Raises:
        ExporterError: if a component is no plain name, or there is no root.
    """

    def __init__(
        self, *components: str | int, basename: str | None = None, root: str | os.PathLike[str] | None = None
    ) -> None:
        self.components = tuple(str(component) for component in components)
        for name in (*self.components, *(() if basename is None else (basename,))):
            if name in {"", ".", ".."} or "/" in name or "\0" in name or name.startswith(files.TEMPORARY_PREFIX):
                raise ExporterError(f"{name!r} is no name for a part of an export: give a plain name without slashes")
        if not self.components:
            raise ExporterError("an export needs the name of its directory")
        if root is None:
            root = os.environ.get("EXPORTER_DIR")
            if not root:
                raise ExporterError("EXPORTER_DIR is not set: set it to the folder of exports")
        self.root = Path(root)
        self.basename = basename

    @classmethod
    def at(cls, directory: str | os.PathLike[str]) -> Export:
        """Return the export at a path, whatever is above it."""
        path = Path(os.path.abspath(directory))  # noqa: PTH100 - resolve() would follow links
        return cls(path.name, root=path.parent)

    def __repr__(self) -> str:
        return f"Export({str(self.path)!r})"

    @property
    def directory(self) -> Path:
        """The export directory."""
        return self.root.joinpath(*self.components)

    @property
    def path(self) -> Path:
        """The file named by `basename`, or the directory."""
        return self.directory / self.basename if self.basename is not None else self.directory

    @property
    def job(self) -> tuple[str, str] | None:
        """The publication's key and the job's id (without the revision); None if the path has no two components."""
        if len(self.components) < 2:
            return None
        return self.components[-2], _REVISION.sub("", self.components[-1])

    def _lockfile(self, name: str) -> Path:
        return self.directory.with_name(f".{self.directory.name}.{name}.lock")

    @property
    def lockfile(self) -> Path:
        """The lock on the work that makes the file. It lies beside the directory: emptying that leaves it (DEF-01)."""
        return self._lockfile(stage_of(self.basename) or "export")

    @property
    def locked(self) -> bool:
        """Whether somebody alive works on the file, or for the whole directory, on any of it."""
        stage = stage_of(self.basename)
        return any(locks.is_held(self._lockfile(name)) for name in ((stage,) if stage else STAGES))

    @property
    def published(self) -> bool:
        """Whether the directory was ever published. From then on it never changes (I2)."""
        return (self.directory / PUBLISHED).exists()

    @property
    def status(self) -> TaskStatus:
        """RUNNING while locked; COMPLETED once the file is there as the manifest says; else WAITING.

        For the directory as a whole COMPLETED means that each stage recorded itself. The lock of a dead worker is
        none, so nothing is RUNNING for ever (DEF-02).
        """
        from exporter import manifest  # noqa: PLC0415 - it imports this module

        if self.locked:
            return TaskStatus.RUNNING
        found = manifest.read(self.directory)
        if found is None:
            return TaskStatus.WAITING
        if self.basename is None or self.basename == MANIFEST:
            done = all(stage in found.stages for stage in STAGES)
        else:
            sizes = {entry.name: entry.bytes for entry in found.files}
            done = self.path.is_file() and sizes.get(self.basename) == self.path.stat().st_size
        return TaskStatus.COMPLETED if done else TaskStatus.WAITING

    @property
    def files(self) -> dict[str, dict[str, Any]]:
        """The files that users download, by format (EXP-07): sizes in bytes, years latest first; others are ignored.

        Returns:
            `{csv, jsonl, xlsx: {"full": size or False, "undated": size or False, "by_year": [{"year", "size"}]}}`
        """
        result: dict[str, dict[str, Any]] = {
            format_: {"full": False, "undated": False, "by_year": []} for format_ in ("csv", "jsonl", "xlsx")
        }
        if self.directory.is_dir():
            for path in self.directory.iterdir():
                if match := YEAR_FILE.fullmatch(path.name):
                    of, size = result[SUFFIXES[match[2]]], path.stat().st_size
                    if match[1].isdigit():
                        of["by_year"].append({"year": int(match[1]), "size": size})
                    else:
                        of[match[1]] = size
        for of in result.values():
            of["by_year"].sort(key=lambda item: item["year"], reverse=True)
        return result

    def lock(self, stage: str | None = None, *, wait: float = 0.0) -> locks.Locks:
        """Return the lock for a stage (default: the one of `basename`), a context manager.

        Exporting, and anything done to the whole directory, excludes all other work in it. Coverage and flattening
        may run at the same time. It raises LockFileError when entered while the same work is under way.
        """
        stage = stage or stage_of(self.basename)
        names = (stage,) if stage in {"coverage", "flatten"} else STAGES
        return locks.Locks([self._lockfile(name) for name in names], wait=wait)

    def manifest_lock(self) -> locks.Locks:
        """Return the lock on the manifest, held for moments by stages that end, which wait for each other."""
        return locks.Locks([self._lockfile("manifest")], wait=60.0)
