"""Which process works on a job, and whether it is still there.

Does not belong here: what follows from that (`job_store.py`).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any

import psutil


def identity() -> dict[str, Any]:
    """Say which process this is, so that another can tell whether it is still there: host, id and start."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}


def is_gone(worker: Mapping[str, Any] | None) -> bool | None:
    """Whether a process that said who it is has ended; None if that can't be told from here.

    Ids are given again, so the start is compared too.
    """
    if not worker or worker.get("host") != socket.gethostname():
        return None
    if worker.get("pid") == os.getpid():
        return True  # whatever this process had begun before, it is not at it now
    try:
        return abs(psutil.Process(int(worker["pid"])).create_time() - float(worker["started"])) > 1
    except (psutil.Error, KeyError, TypeError, ValueError):
        return True
