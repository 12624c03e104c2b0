"""A lock file that cannot be defeated: who works on an export, and since when (DEF-01, DEF-02).

Belongs here: taking, keeping alive, taking over and giving back lock files. Does not belong here: which work excludes
which (see `util`).

The file is created with O_EXCL and holds JSON: `pid`, `host`, `boot`, `namespace` (of process ids), `started` (of the
process, in clock ticks since boot) and `since` (RFC 3339). Its holder touches it regularly. Only its holder deletes
it; another takes it over once it is stale: at once if it can be seen that the holder is dead (same boot, same
namespace of process ids, and no such process that started then), else when it was not touched for five minutes.
Taking, taking over and giving back happen under `flock` on the folder, which the kernel gives back whatever dies, so
two never take over the same file.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import fcntl
import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from exporter import files
from exporter.errors import LockFileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STALE_AFTER = 300.0  # seconds without a touch, where the holder's life cannot be looked up
BEAT_EVERY = 15.0  # seconds between touches: twenty may be missed


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _process_start(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if there is no such process or it is a zombie."""
    stat = _read_text(f"/proc/{pid}/stat")
    fields = stat.rpartition(")")[2].split()  # the name of a program may hold spaces and parentheses
    if len(fields) < 20 or fields[0] in {"Z", "X"}:
        return None
    return int(fields[19])


def _me() -> dict[str, Any]:
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "boot": _read_text("/proc/sys/kernel/random/boot_id").strip(),
        "namespace": namespace,
        "started": _process_start(os.getpid()),
        "since": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }


def read(path: Path) -> dict[str, Any] | None:
    """Return what a lock file says; {} if it says nothing legible; None if there is none."""
    try:
        holder = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def is_stale(path: Path, holder: dict[str, Any], stale_after: float = STALE_AFTER) -> bool:
    """Whether a lock's holder is gone.

    Args:
        path: the lock file.
        holder: what it says.
        stale_after: seconds without a touch that are taken for death where it cannot be seen.
    """
    me: dict[str, Any] = _me()
    if me["boot"] and all(holder.get(name) == me[name] for name in ("boot", "namespace")):
        pid, started = holder.get("pid"), holder.get("started")
        if isinstance(pid, int) and started is not None:
            return bool(_process_start(pid) != started)
    try:
        return time.time() - path.stat().st_mtime > stale_after
    except FileNotFoundError:
        return True


def is_held(path: Path) -> bool:
    """Whether somebody alive holds the lock file."""
    holder = read(path)
    return holder is not None and not is_stale(path, holder)


def sweep(directory: Path) -> None:
    """Delete lock files in a folder whose holders are gone and whose work nobody will take up again."""
    for path in sorted(directory.glob(".*.lock")):
        if not is_held(path):
            with contextlib.suppress(LockFileError), Locks([path]):
                continue


@contextlib.contextmanager
def _guard(directory: Path) -> Iterator[bool]:
    """Hold the folder's flock for a moment. Yields False where the file system has none."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in {errno.EBADF, errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}:
                raise
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


class Locks:
    """Several lock files in one folder, held together: all or none.

    Use it as a context manager, or `acquire` and `release`.

    Args:
        paths: the lock files.
        wait: for how many seconds to try again while another holds one.
        stale_after: see `is_stale`.
        beat_every: seconds between touches.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        wait: float = 0.0,
        stale_after: float = STALE_AFTER,
        beat_every: float = BEAT_EVERY,
    ) -> None:
        self._paths = tuple(paths)
        self._wait = wait
        self._stale_after = stale_after
        self._beat_every = beat_every
        self._held: dict[Path, int] = {}
        self._pid = os.getpid()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self) -> None:
        """Take every lock file, and start keeping them alive.

        Raises:
            LockFileError: if somebody alive holds one of them. Then none is taken.
        """
        deadline = time.monotonic() + self._wait
        while True:
            try:
                for path in self._paths:
                    files.make_directory(path.parent)
                    self._take(path)
                break
            except LockFileError:
                self._give_back()
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.05)
            except BaseException:
                self._give_back()
                raise
        try:
            self._thread = threading.Thread(target=self._beat, name="lock-heartbeat", daemon=True)
            self._thread.start()
        except BaseException:
            self._give_back()
            raise

    def _take(self, path: Path) -> None:
        with _guard(path.parent) as guarded:
            holder = read(path)
            if holder is not None:
                # Under the guard an illegible file is no file being written: its maker died between two system calls.
                if not (guarded and (not holder or is_stale(path, holder, self._stale_after))):
                    raise LockFileError(_sentence(path, holder, guarded=guarded))
                path.unlink(missing_ok=True)
            try:
                descriptor = files.open_new(path)
            except FileExistsError:
                raise LockFileError(_sentence(path, {}, guarded=guarded)) from None
            self._held[path] = descriptor
            files.write_all(descriptor, json.dumps(_me()).encode() + b"\n")

    def _beat(self) -> None:
        while not self._end.wait(self._beat_every):
            for descriptor in list(self._held.values()):
                with contextlib.suppress(OSError):
                    os.utime(descriptor)

    def check(self) -> None:
        """Make sure the locks are still ours. Call it before work becomes visible.

        Raises:
            LockFileError: if another took one over, as happens when this process slept for over five minutes.
        """
        for path, descriptor in self._held.items():
            if os.fstat(descriptor).st_nlink == 0:
                raise LockFileError(f"{path}: another took over this work while this process stood still: start again")

    def release(self) -> None:
        """Give the locks back. Files that another took over are left alone; a forked child gives nothing back."""
        try:
            self._end.set()
            if (
                self._thread is not None
                and self._thread is not threading.current_thread()
                and self._pid == os.getpid()
            ):
                self._thread.join()
        finally:
            self._give_back()

    def _give_back(self) -> None:
        failure: OSError | None = None
        try:
            while self._held:
                path, descriptor = next(iter(self._held.items()))
                try:
                    if self._pid == os.getpid():
                        _delete_own(path, descriptor)
                except OSError as error:
                    failure = failure or error
                with contextlib.suppress(OSError):
                    os.close(descriptor)
                self._held.pop(path)
        except BaseException:  # a signal's, which may come in the middle: the others are given back all the same
            self._give_back()
            raise
        if failure is not None:  # in silence, this process would wait for itself the next time
            raise failure

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _delete_own(path: Path, descriptor: int) -> None:
    with contextlib.ExitStack() as stack:
        # Without the guard (out of file descriptors, for one) it is still better to give the lock back.
        with contextlib.suppress(OSError):
            stack.enter_context(_guard(path.parent))
        with contextlib.suppress(FileNotFoundError):
            mine, there = os.fstat(descriptor), path.stat()
            if (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino):
                path.unlink()


def _sentence(path: Path, holder: dict[str, Any], *, guarded: bool) -> str:
    who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')} since {holder.get('since', '?')}"
    remedy = "wait for it or stop it"
    if not guarded:
        remedy += "; if it is gone, delete the file (this file system has no flock, so it is never taken over)"
    return f"{path}: the same work is under way, by {who}: {remedy}"
