"""Publishing: from a finished export directory to the one pointer, `latest.json`, and back to nothing.

Belongs here: what makes a version visible (I1, I2), revisions of a job's export, and deleting exports (I5). Does not
belong here: whether a version should be published; that is decided before.

    <root>/<key>/latest.json     names a directory beside it: the job's, or a revision of it
    <root>/<key>/12              the job's first export
    <root>/<key>/12.r2           what a stage that ran again on the published job made: unchanged files are hard links

A directory that was ever published holds a file `.published`, which every stage looks for before it changes anything.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import os
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from exporter import files, lock, manifest
from exporter.errors import BrokenExportError, ExporterError
from exporter.util import MANIFEST, PUBLISHED, STAGES, Export

LATEST = "latest.json"


class Pointer(BaseModel):
    """What `latest.json` holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    job: str = Field(description="The job's id.")
    directory: str = Field(description="The name of the export directory, beside `latest.json`.")
    manifest_sha256: str
    published_at: str = Field(description="RFC 3339, UTC.")


def read_latest(root: str | os.PathLike[str] | None, key: str) -> Pointer | None:
    """Read a publication's pointer. None if nothing was published.

    Raises:
        BrokenExportError: if it is damaged, or can't be read.
    """
    path = Export(key, basename=LATEST, root=root).path
    try:
        return Pointer.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError:
        raise BrokenExportError(f"{path}: it is no pointer to an export: delete it, then publish again") from None
    except OSError as error:
        raise BrokenExportError(f"{path}: it can't be read: {error.strerror or error}") from error


def _latest_lock(target: Export) -> lock.Locks:
    """The lock on a publication's pointer and revisions, held for moments."""
    return lock.Locks([target.directory.with_name(".latest.lock")], wait=60.0)


def _require_job(target: Export) -> tuple[str, str]:
    if target.job is None:
        raise ExporterError(
            f"{target.directory}: an export that is published needs a publication's key and a job's id"
        )
    return target.job


def check_complete(target: Export) -> manifest.Manifest:
    """Check quickly that every stage recorded itself and every file has its size (checksums were made while writing).

    Raises:
        BrokenExportError: naming the first file or stage at fault.
    """
    found = manifest.read(target.directory)
    if found is None:
        raise BrokenExportError(f"{target.directory}: there is no {MANIFEST}: export first")
    for stage in STAGES:
        if stage not in found.stages:
            raise BrokenExportError(f"{target.directory}: the stage {stage} is not done: do it first")
    for entry in found.files:
        path = target.directory / entry.name
        if not path.is_file():
            raise BrokenExportError(f"{path}: it is missing: do the stage {entry.stage} again")
        if (size := path.stat().st_size) != entry.bytes:
            raise BrokenExportError(
                f"{path}: it has {size} bytes, not {entry.bytes}: do the stage {entry.stage} again"
            )
    return found


def publish(target: Export, *, job: str | int) -> Pointer:
    """Make a finished export the publication's version. Publishing the same again changes nothing.

    Args:
        target: `Export(key, directory)`.
        job: the job's id, as the readers of `latest.json` know it.

    Raises:
        BrokenExportError: if the export is not complete.
        LockFileError: if somebody works on it.
    """
    key, _ = _require_job(target)
    with target.lock(), _latest_lock(target) as latest:
        check_complete(target)
        # The rest of the directory's files were synced by the stages. The mark comes before the pointer: a kill in
        # between leaves a directory that is only too well protected.
        files.clean_temporaries(target.directory)
        if not target.published:
            files.write_atomically(target.directory / PUBLISHED, b"")
        digest = hashlib.sha256((target.directory / MANIFEST).read_bytes()).hexdigest()
        parent = target.directory.parent
        files.clean_temporaries(parent, LATEST)
        before = read_latest(target.root, key)
        if before and (before.job, before.directory, before.manifest_sha256) == (
            str(job),
            target.directory.name,
            digest,
        ):
            return before
        pointer = Pointer(
            job=str(job),
            directory=target.directory.name,
            manifest_sha256=digest,
            published_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        )
        latest.check()
        files.write_atomically(parent / LATEST, pointer.model_dump_json(indent=1).encode() + b"\n")
        return pointer


def _revision(name: str, job: str) -> int | None:
    """Return 1 for `12`, n for `12.rn`, None for anything else."""
    if name == job:
        return 1
    match = re.fullmatch(re.escape(job) + r"\.r([1-9][0-9]*)", name)
    return int(match[1]) if match else None


def revisions(root: str | os.PathLike[str] | None, key: str, job: str | int) -> list[Export]:
    """Return every directory of a job that is there, the first export first."""
    parent = Export(key, root=root).directory
    names = [path.name for path in parent.iterdir() if path.is_dir()] if parent.is_dir() else []
    numbered = [(number, name) for name in names if (number := _revision(name, str(job))) is not None]
    return [Export(key, name, root=root) for _, name in sorted(numbered)]


def current(root: str | os.PathLike[str] | None, key: str, job: str | int) -> Export:
    """Return the latest revision of a job's export: the one to read from or to work on. It need not exist yet."""
    found = revisions(root, key, job)
    return found[-1] if found else Export(key, job, root=root)


def writable(root: str | os.PathLike[str] | None, key: str, job: str | int) -> Export:
    """Return the directory in which a stage may work for this job: `current`, as a new revision if it is published.

    If somebody deleted the published directory by hand, its name is not used again, since what is half done would
    stand under the pointer (I1).
    """
    target = current(root, key, job)
    if target.published:
        target = fork(target)
    elif not target.directory.exists():
        with contextlib.suppress(BrokenExportError):  # publishing tells of it, with the remedy
            pointer = read_latest(root, key)
            if pointer is not None and pointer.directory == target.directory.name:
                number = _revision(pointer.directory, str(job)) or 1
                target = Export(key, f"{job}.r{number + 1}", root=root)
    lock.sweep(target.directory.parent)  # a killed `fork` left the locks of a directory that nobody works in again
    return target


def fork(target: Export) -> Export:
    """Make the next revision of an export, not published, of the same files (hard links; copies where links fail).

    Files are only ever replaced, never written to, so links are safe.

    Raises:
        LockFileError: if somebody works on the export.
    """
    key, job = _require_job(target)
    with target.lock(), _latest_lock(target):
        parent = target.directory.parent
        number = max(_revision(path.name, job) or 1 for path in (target.directory, *parent.iterdir())) + 1
        final = parent / f"{job}.r{number}"
        files.clean_temporaries(parent, f"{job}.r")
        temporary = files.temporary_name(final)
        try:
            _link_tree(target.directory, temporary)
            files.replace(temporary, final)
            files.sync_directory(parent)
        except BaseException:
            files.delete_if_possible(temporary)
            raise
        return Export(*target.components[:-2], key, final.name, root=target.root)


def _link_tree(source: Path, final: Path) -> None:
    files.make_directory(final)
    for path in sorted(source.iterdir()):
        if path.is_dir():
            _link_tree(path, final / path.name)
        elif path.name != PUBLISHED and not files.is_temporary(path):
            files.link_or_copy(path, final / path.name)
    files.sync_directory(final)


def remove(target: Export) -> bool:
    """Delete an export directory. Doing it twice is doing it once (I5).

    Returns:
        Whether there was one.

    Raises:
        ExporterError: if it is the published version, or lies outside of its root by way of a link.
        LockFileError: if somebody works on it.
    """
    key, _ = _require_job(target)
    directory = target.directory
    if not directory.parent.is_dir():
        return False
    root = target.root.resolve()
    if directory.parent.resolve() != root.joinpath(*target.components[:-1]):
        raise ExporterError(f"{directory}: a link leads out of {root}: delete it by hand")
    with target.lock(), _latest_lock(target):
        # A damaged pointer may name this directory, so then nothing is deleted: `read_latest` raises.
        pointer = read_latest(target.root, key) if len(target.components) == 2 else None
        if pointer is not None and pointer.directory == directory.name:
            raise ExporterError(f"{directory}: it is the published version: publish another first")
        files.clean_temporaries(directory.parent, f"{directory.name}-")
        if not (directory.is_symlink() or directory.exists()):
            return False
        trash = files.temporary_name(directory)  # so that no half of it is ever seen under its name
        files.replace(directory, trash)
        files.sync_directory(directory.parent)
        files.delete(trash)
    return True
