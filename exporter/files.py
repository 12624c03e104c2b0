"""File operations that leave either the old state or the new one, whatever dies in between.

Belongs here: temporary names, writing, renaming, syncing, hashing and deleting, and ending with the parent process.
Every byte that this package writes itself passes through `os` functions called here, so that tests can make the N-th
operation fail. Does not belong here: what the files mean.

A temporary name is `.tmp-<final name>-<process id>-<random>`. It lies beside the final name, so on one file system.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import secrets
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

TEMPORARY_PREFIX = ".tmp-"
CHUNK = 1 << 20  # 1 MiB: large enough that Python's overhead vanishes, small enough to have many


class Hash(Protocol):
    """What is used of `hashlib` objects."""

    def update(self, data: bytes, /) -> None:
        """Take these bytes in."""

    def hexdigest(self) -> str:
        """Give the digest of the bytes so far."""


def temporary_name(final: Path) -> Path:
    """Return a new recognisable temporary path beside `final`. Names stay under 255 bytes whatever `final` is."""
    return final.with_name(f"{TEMPORARY_PREFIX}{final.name[:150]}-{os.getpid()}-{secrets.token_hex(4)}")


def is_temporary(path: Path) -> bool:
    """Whether the name is one of ours for unfinished files and folders."""
    return path.name.startswith(TEMPORARY_PREFIX)


def make_directory(path: Path) -> None:
    """Create a folder and its parents, if they are not there, and sync the folder that holds it."""
    if not path.is_dir():
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), error.filename) from None
        sync_directory(path.parent)


def open_new(path: Path) -> int:
    """Create a file that must not exist and return its descriptor, for writing."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)


def open_append(path: Path) -> int:
    """Open a file that exists, to write at its end."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write every byte (`os.write` may write fewer)."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_file(path: Path) -> None:
    """Force a finished file onto the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Force a folder's names onto the disk. File systems that cannot sync folders are let pass."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Force a folder and everything in it onto the disk."""
    for directory, _, names in os.walk(path):
        for name in names:
            sync_file(Path(directory, name))
        sync_directory(Path(directory))


def replace(temporary: Path, final: Path) -> None:
    """Give a finished and synced file its final name. Call `sync_directory` on the folder after the last one."""
    os.replace(temporary, final)  # noqa: PTH105


def delete(path: Path) -> None:
    """Delete a file, or a folder with all in it. Links are deleted, never followed. Nothing there is no error."""
    try:
        with os.scandir(path) as entries:
            children = [(Path(entry.path), entry.is_dir(follow_symlinks=False)) for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        children = None
    if children is None or path.is_symlink():
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 - tests make functions of os fail
        return
    for child, is_directory in children:
        if is_directory:
            delete(child)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(child)  # noqa: PTH108
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(path)  # noqa: PTH106


def delete_if_possible(path: Path) -> None:
    """Delete a temporary file after a failure. If that fails too, the next `begin_stage` will do it."""
    with contextlib.suppress(OSError):
        delete(path)


@contextlib.contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Give a temporary path to write a file to. On success it gets its final name, synced; on failure it is removed.

    Yields:
        A path that does not exist yet. Whoever writes it must have closed it before the block ends.
    """
    temporary = temporary_name(final)
    try:
        yield temporary
        sync_file(temporary)
        replace(temporary, final)
    except BaseException:
        delete_if_possible(temporary)
        raise
    sync_directory(final.parent)


def write_atomically(final: Path, data: bytes) -> None:
    """Replace a small file by these bytes, whole or not at all."""
    with atomic_path(final) as temporary:
        descriptor = open_new(temporary)
        try:
            write_all(descriptor, data)
        finally:
            os.close(descriptor)


def replace_tree(temporary: Path, final: Path) -> None:
    """Put a finished folder in the place of another. A kill in between may leave neither, never half of one."""
    sync_tree(temporary)
    old = None
    if final.is_symlink() or final.exists():
        old = temporary_name(final)
        os.replace(final, old)  # noqa: PTH105
    else:
        make_directory(final.parent)
    os.replace(temporary, final)  # noqa: PTH105
    sync_directory(final.parent)
    if old is not None:
        delete(old)


def clean_temporaries(directory: Path, name: str = "") -> int:
    """Delete what killed processes left in a folder. Call it only while holding the lock on the work they did.

    Args:
        directory: the folder; one that is not there has none.
        name: only the temporary files whose final name begins with this.

    Returns:
        How many there were.
    """
    found = sorted(directory.glob(f"{TEMPORARY_PREFIX}{name}*")) if directory.is_dir() else []
    for path in found:
        delete(path)
    return len(found)


def blocks(path: Path, size: int = CHUNK) -> Iterator[bytes]:
    """Read a file in pieces of at most `size` bytes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while data := os.read(descriptor, size):
            yield data
    finally:
        os.close(descriptor)


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    for data in blocks(path):
        digest.update(data)
    return digest.hexdigest()


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def join(sources: Iterable[Path], final: Path, *, stop: Callable[[], None] = lambda: None) -> tuple[int, str]:
    """Write files one after another into a new one, hashing on the way.

    Args:
        sources: the files, in order.
        final: a path that does not exist.
        stop: is called for each piece and may raise.

    Returns:
        The bytes written and their SHA-256.
    """
    digest, size = hashlib.sha256(), 0
    descriptor = open_new(final)
    try:
        for source in sources:
            for data in blocks(source):
                stop()
                write_all(descriptor, data)
                digest.update(data)
                size += len(data)
    finally:
        os.close(descriptor)
    return size, digest.hexdigest()


def link_or_copy(source: Path, final: Path) -> None:
    """Make `final` the same file as `source`, or a synced copy where the file system has no hard links."""
    try:
        os.link(source, final)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EXDEV, errno.ENOSYS}:
            raise
        join([source], final)
        sync_file(final)


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Ask Linux to send this process a signal when its parent ends (elsewhere: nothing).

    The parent is the thread that started this process: it must live as long as this process should.
    """
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None, use_errno=True).prctl(1, int(number), 0, 0, 0)  # 1 is PR_SET_PDEATHSIG
        if os.getppid() != parent:  # it ended before the request was made
            os.kill(os.getpid(), number)
