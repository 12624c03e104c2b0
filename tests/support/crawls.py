"""What tests do to crawls of this machine: hold them back in the middle, and kill their processes."""

from __future__ import annotations

import signal
import threading
from typing import Any

import psutil

from registry_resources.collect.backend import CrawlState
from tests.services.publisher import Answer, Publisher


def pid_of(crawls: Any, crawl: str = "job-1") -> int:
    """The process of a crawl, which runs."""
    return int(crawls.folder(crawl).process["pid"])


def kill(crawls: Any, crawl: str = "job-1", number: int = signal.SIGKILL) -> None:
    """Send the process of a crawl a signal, and wait until it has noticed."""
    psutil.Process(pid_of(crawls, crawl)).send_signal(number)
    crawls.until(lambda progress: progress.state not in {CrawlState.PENDING, CrawlState.RUNNING}, crawl)


def hold_back(
    publisher: Publisher, answer: type[Answer], count: int = 10, good: int = 4
) -> tuple[str, threading.Event]:
    """Sources of which the first are answered at once, and the others once the gate opens. Returns URLs and gate."""
    gate = threading.Event()
    for number in range(1, count + 1):
        publisher.add(f"/{number}", answer(b"[%d]" % number, gate=None if number <= good else gate))
    return " ".join(publisher.url(f"/{number}") for number in range(1, count + 1)), gate
