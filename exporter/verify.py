"""Whether an export directory is what its manifest says: every file, byte for byte, and nothing else.

Belongs here: comparing. Does not belong here: mending. The same with Python's standard library alone is in
docs/exporter.md.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from exporter import files, manifest
from exporter.errors import BrokenExportError
from exporter.util import MANIFEST, PUBLISHED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from exporter.util import Export


def verify(
    target: Export, *, workers: int = 2, progress: Callable[[int, int], None] | None = None
) -> tuple[manifest.Manifest, list[str]]:
    """Read every file of an export and compare it with the manifest.

    Args:
        target: the export.
        workers: threads that hash.
        progress: is given the files and bytes checked so far.

    Returns:
        The manifest, and what is wrong: a sentence for each file that is missing, cut off, longer, changed or added,
        by name. Nothing wrong is an empty list.

    Raises:
        BrokenExportError: if the manifest itself is missing or damaged.
    """
    found = manifest.read(target.directory)
    if found is None:
        raise BrokenExportError(f"{target.directory / MANIFEST}: it is missing: export first")
    wrong: list[str] = []
    done = size = 0
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for entry, fault in zip(
            found.files, pool.map(lambda entry: _fault(target.directory, entry), found.files), strict=True
        ):
            if fault:
                wrong.append(f"{entry.name}: {fault}")
            done, size = done + 1, size + entry.bytes
            if progress is not None:
                progress(done, size)
    known = {entry.name for entry in found.files} | {MANIFEST, PUBLISHED}
    wrong += [f"{name}: it is not in the manifest" for name in _names(target.directory) if name not in known]
    return found, sorted(wrong)


def _fault(directory: Path, entry: manifest.FileEntry) -> str:
    path = directory / entry.name
    if path.is_symlink():
        return "it is a link"
    if not path.is_file():
        return "it is missing"
    size = path.stat().st_size
    if size != entry.bytes:
        return f"it has {size} bytes, not {entry.bytes}: it is {'cut off' if size < entry.bytes else 'too long'}"
    if files.sha256_file(path) != entry.sha256:
        return "its bytes are changed: its SHA-256 is another"
    return ""


def _names(directory: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(directory):
        for name in [*names, *(name for name in folders if Path(folder, name).is_symlink())]:
            yield Path(folder, name).relative_to(directory).as_posix()
