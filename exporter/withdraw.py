"""Withdrawing a publication: its pointer goes, and readers find nothing.

Belongs here: deleting `latest.json`. Does not belong here: deleting what it named (`publish.remove`), or deciding.
"""

from __future__ import annotations

import contextlib
import os

from exporter import files, lock
from exporter.errors import ExporterError
from exporter.publish import LATEST
from exporter.util import Export

WAIT = 60.0
"""Seconds to wait for somebody who publishes just now: that takes moments."""


def withdraw(root: str | os.PathLike[str] | None, key: str) -> bool:
    """Delete a publication's pointer, so that nothing is published. Doing it twice is doing it once.

    Returns:
        Whether there was one.

    Raises:
        ExporterError: if the publication's folder lies outside of its root by way of a link.
        LockFileError: if somebody publishes just now.
    """
    pointer = Export(key, basename=LATEST, root=root)
    folder = pointer.directory
    if not folder.is_dir():
        return False
    if folder.resolve() != pointer.root.resolve() / key:
        raise ExporterError(f"{folder}: a link leads out of {pointer.root}: delete it by hand")
    with lock.Locks([folder / ".latest.lock"], wait=WAIT):
        try:
            os.unlink(pointer.path)  # noqa: PTH108 - tests make functions of os fail
        except FileNotFoundError:
            return False
        files.sync_directory(folder)
        return True


def remove_folder(root: str | os.PathLike[str] | None, key: str) -> bool:
    """Delete a publication's folder once nothing is in it but locks of the dead and unfinished files.

    Returns:
        Whether it is gone.
    """
    folder = Export(key, root=root).directory
    if folder.is_symlink() or not folder.is_dir():
        return not folder.exists()
    lock.sweep(folder)
    for path in folder.iterdir():
        if files.is_temporary(path):
            files.delete(path)
    with contextlib.suppress(OSError):  # something else is in it
        os.rmdir(folder)  # noqa: PTH106 - tests make functions of os fail
    return not folder.exists()
