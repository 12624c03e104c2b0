"""How a task says how far it is: to Dagster's log by default, to a terminal from the command line.

Does not belong here: any drawing, or any storage; progress is not state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Progress:
    """How far one task is.

    Attributes:
        key: the publication's key.
        task: the task's type, such as `collect`.
        message: for people, such as `12 files, 3.4 MB`.
        done: units of work done, or None where they can't be counted.
        total: of how many, or None.
    """

    key: str
    task: str
    message: str
    done: int | None = None
    total: int | None = None


class Reporter(Protocol):
    """Whoever wants to know."""

    def progress(self, progress: Progress) -> None:
        """A task got further. Called at each poll, from the thread that drives the task."""

    def info(self, message: str) -> None:
        """Something worth a line in the log happened."""

    def warning(self, message: str) -> None:
        """Something an administrator should look at happened."""


class ThrottledLog:
    """A reporter's memory: lets through a progress message only if it says something new, at growing intervals.

    The event log grows by about 3 KB a line, so a task that runs for a day must not write a line at each poll.
    """

    def __init__(self, *, first: float = 5.0, factor: float = 1.5, longest: float = 600.0) -> None:
        """Let a message through after `first` seconds, then at intervals that grow by `factor` up to `longest`."""
        self._wait = first
        self._factor = factor
        self._longest = longest
        self._next = 0.0
        self._last = ""

    def admits(self, message: str, now: float) -> bool:
        """Whether the message should be logged at `now` (seconds of a monotonic clock)."""
        if not message or message == self._last or now < self._next:
            return False
        self._last = message
        self._next = now + self._wait
        self._wait = min(self._wait * self._factor, self._longest)
        return True
