"""Ends the process of a crawl. Belongs here: signals, in the right order, to the right process, until it is gone."""

from __future__ import annotations

import os
import signal
import time

from registry_resources.collect.crawls import CrawlFolder
from registry_resources.exceptions import RecoverableError

FORCE = 5.0  # seconds between SIGTERM and SIGKILL, and after


def end_process(folder: CrawlFolder, grace: float) -> None:
    """End a crawl's process: one SIGINT, on which Scrapy ends in an orderly way; later SIGTERM; later SIGKILL.

    Args:
        folder: the crawl's folder.
        grace: how long it may take after SIGINT, in seconds.

    Raises:
        RecoverableError: if it doesn't go.
    """
    for number, seconds in ((signal.SIGINT, grace), (signal.SIGTERM, FORCE), (signal.SIGKILL, FORCE)):
        if not _send(folder, number) or _gone(folder, seconds):
            return
    raise RecoverableError(f"The process of the crawl {folder.crawl} doesn't end. Its folder is {folder.path}.")


def _send(folder: CrawlFolder, number: signal.Signals) -> bool:
    """Send a signal to a crawl's process. Returns False if it is gone."""
    if not folder.alive():
        return False
    pid = folder.process.get("pid")
    if not isinstance(pid, int) or pid <= 1:
        return not _gone(folder, 2)
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return not _gone(folder, 2)
    try:
        # Now the descriptor stands for one process; if the lock is still held, it is the crawl's.
        if not folder.alive():
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return not _gone(folder, 2)
    finally:
        os.close(descriptor)
    return True


def _gone(folder: CrawlFolder, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while folder.alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
