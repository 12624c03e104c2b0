"""What is on the disk: sizes, and names of folders that may be deleted.

Belongs here: looking, never following links. Does not belong here: deleting.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable
from pathlib import Path


def freeable(paths: Iterable[Path]) -> int:
    """Return how many bytes deleting these files and folders frees, as the file system counts them.

    A file with several names (revisions of an export share theirs) counts once, and only if all its names are in it.
    """
    seen: Counter[tuple[int, int]] = Counter()
    sizes: dict[tuple[int, int], tuple[int, int]] = {}
    for path in paths:
        for found in _walk(path):
            name = found.st_dev, found.st_ino
            seen[name] += 1
            sizes[name] = found.st_nlink, found.st_blocks * 512
    return sum(size for name, (links, size) in sizes.items() if seen[name] >= links)


def _walk(path: Path) -> Iterable[os.stat_result]:
    """Yield what is known of each file below a path. What goes away meanwhile is passed over."""
    try:
        found = path.lstat()
    except OSError:
        return
    if not stat.S_ISDIR(found.st_mode):
        yield found
        return
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                yield Path(folder, name).lstat()
            except OSError:
                continue


def folders(path: Path) -> list[Path]:
    """Return the folders in a folder, by name: no links, and none if it isn't there."""
    try:
        with os.scandir(path) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return []


def last_change(path: Path) -> float:
    """Return when anything in a folder last changed, in seconds since 1970; 0.0 if it isn't there."""
    latest = 0.0
    try:
        latest = path.lstat().st_mtime
    except OSError:
        return latest
    for folder, directories, names in os.walk(path):
        for name in (*directories, *names):
            try:
                latest = max(latest, Path(folder, name).lstat().st_mtime)
            except OSError:
                continue
    return latest


def readable(size: float) -> str:
    """Return a number of bytes for people, such as `1.2 GB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit in {"bytes", "kB"} else f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
