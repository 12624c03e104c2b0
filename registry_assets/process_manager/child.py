"""A stage as a child process: started, watched, and killed with everything it started.

A stage's long calls run outside the process that holds the run, so that the run stays interruptible, its heartbeat
beats, and the memory a stage took is given back. Does not belong here: what any stage does.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

GRACE = 10.0
"""Seconds a child gets to tidy up after SIGTERM."""


class Child:
    """A child process that says its progress on standard error, and its result as the last line of standard output.

    Attributes:
        last_progress: the last JSON object that it said on standard error; {} if none. Other lines are messages.
    """

    def __init__(self, module: str, arguments: Sequence[str], *, environ: dict[str, str] | None = None) -> None:
        """Start `python -m module arguments…` in a process group of its own."""
        self._tail: deque[str] = deque(maxlen=20)
        self.last_progress: dict[str, Any] = {}
        self._output = b""
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environ or {})},
            start_new_session=True,
        )
        self._readers = [
            threading.Thread(target=self._read_errors, daemon=True),
            threading.Thread(target=self._read_output, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def poll(self) -> int | None:
        """The exit code (negative: the signal that killed it), or None while it runs."""
        code = self._process.poll()
        if code is not None:
            for reader in self._readers:
                reader.join(timeout=GRACE)
        return code

    def result(self) -> dict[str, Any]:
        """The JSON object in the last line of standard output.

        Raises:
            ValueError: if there is none.
        """
        lines = self._output.splitlines()
        result = _json_object(lines[-1].decode(errors="replace")) if lines else None
        if result is None:
            raise ValueError("the child process printed no result")
        return result

    def failure(self) -> str:
        """Why it failed, in one line, once `poll` gave an exit code other than 0."""
        code = self._process.returncode
        if code < 0:
            name = signal.Signals(-code).name
            hint = " (the machine may have run out of memory)" if -code == signal.SIGKILL else ""
            return f"its process was killed by {name}{hint}"
        return self._tail[-1] if self._tail else f"its process ended with exit code {code} and said nothing"

    def kill(self) -> None:
        """End the child and everything it started: SIGTERM, then SIGKILL. Returns when they are gone."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _read_errors(self) -> None:
        assert self._process.stderr  # noqa: S101 (tells the type checker)
        with self._process.stderr as lines:
            for line in lines:
                text = line.decode(errors="replace").strip()
                if (said := _json_object(text)) is not None:
                    self.last_progress = said
                elif text:
                    self._tail.append(text[:1000])

    def _read_output(self) -> None:
        assert self._process.stdout  # noqa: S101 (tells the type checker)
        with self._process.stdout as output:
            self._output = output.read()


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
