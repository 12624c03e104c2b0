"""Which process works on a job, and whether it is still there.

Does not belong here: what follows from that (`lease.py`, `recovery.py`).
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry_resources.exceptions import UnexpectedError


def identity(pid: int | None = None) -> dict[str, Any]:
    """Say which process this is, so that another can tell whether it is still there.

    Args:
        pid: another process of this machine, instead of this one.

    Returns:
        `host`, `boot` (the machine's current boot), `namespace` (of process ids), `pid` and `started` (in clock ticks
        since boot, which no change of the clock moves; None if there is no such process).
    """
    pid = pid or os.getpid()
    return {
        "host": socket.gethostname(),
        "boot": _boot(),
        "namespace": _namespace(),
        "pid": pid,
        "started": _start(pid),
    }


def is_gone(worker: Mapping[str, Any] | None) -> bool | None:
    """Whether a process that said who it is has ended; None if that can't be told from here.

    Ids are given again, so the start is compared too. A process that ended but was not waited for is gone.
    """
    if worker and worker.get("gone"):
        return True  # it was found so before
    if not worker or worker.get("host") != socket.gethostname():
        return None
    if worker.get("boot") != _boot():
        return True  # the machine was started anew since
    if worker.get("namespace") != _namespace():
        return None
    if worker.get("pid") == os.getpid():
        return True  # whatever this process had begun before, it is not at it now
    return _start(_number(worker.get("pid"))) != worker.get("started")


def kill(worker: Mapping[str, Any]) -> None:
    """Kill a process of this machine, unless it is gone.

    Raises:
        UnexpectedError: if it is another user's.
    """
    if is_gone(worker) is not False:
        return
    try:
        os.kill(_number(worker.get("pid")), signal.SIGKILL)
    except ProcessLookupError:
        pass
    except PermissionError:
        raise UnexpectedError(
            f"process {worker.get('pid')} on {worker.get('host')} is another user's, so it can't be killed from here. "
            f"Kill it by hand"
        ) from None


def exists(pid: int) -> bool:
    """Whether there is a process of this id here, which was not only left to be waited for."""
    return _start(pid) is not None


def _number(value: object) -> int:
    return value if isinstance(value, int) else -1


def _boot() -> str:
    return _read(Path("/proc/sys/kernel/random/boot_id")).strip()


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _start(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if there is none, or one that only has to be reaped."""
    # The name of a program may hold spaces and parentheses.
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    if len(fields) < 20 or fields[0] in {"Z", "X"}:
        return None
    return int(fields[19])


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
