"""Makes a process end when another does.

A thread watches the parent process, because the kernel's own means (PR_SET_PDEATHSIG) acts when the thread that
started the process ends, and a run starts workers from threads. Belongs here: that alone.
"""

from __future__ import annotations

import os
import signal
import threading
import time

_INTERVAL = 0.25  # seconds


def die_with(parent: int) -> None:
    """End this process, and if it leads a process group that group, as soon as the parent has ended.

    Args:
        parent: its process id. It must be the parent of this process.
    """
    threading.Thread(target=_watch, args=(parent,), name="watchdog", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_INTERVAL)
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
