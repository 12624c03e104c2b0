"""A pool of worker processes whose death harms nobody: a task ends with a result, an error, or a crash that is named.

Belongs here: starting, feeding, watching and ending the processes. Does not belong here: what they do (see `worker`).

The workers are new Python processes spoken to over pipes, because what they run (native code on data from outside) may
stop the process. They end with this process, whatever ends it: Linux kills them, elsewhere they see their input end.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from exporter.errors import StageError, StoppedError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator

# One arena, and large blocks apart, so that glibc gives freed memory back: it halves what workers hold. One thread a
# worker: there are as many workers as processors to use.
_ENVIRONMENT = {
    "RAYON_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 20),
}
_LOOK = 0.2  # seconds between looks at limits and at the wish to stop


@dataclass(frozen=True)
class Task:
    """What a worker is to do.

    Attributes:
        call: the name of one of the functions of `worker.CALLS`.
        arguments: its arguments, as JSON types.
        label: whatever the caller wants to know the result by.
        seconds: time after which the worker is killed; None for no limit.
        memory: resident bytes at which the worker is killed (Linux); None for no limit.
    """

    call: str
    arguments: dict[str, Any]
    label: Any = None
    seconds: float | None = None
    memory: int | None = None


@dataclass(frozen=True)
class Outcome:
    """How a task ended: with a value, or with an error. `code` is `error`, `crash`, `time` or `memory`."""

    task: Task
    value: Any = None
    code: str | None = None
    error: str = ""


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    task: Task
    since: float
    answer: bytearray = field(default_factory=bytearray)
    killed: str | None = None


class Pool:
    """Worker processes, started when they are needed. A context manager: none outlives it.

    Args:
        count: how many at most.
        stop: when it is set, running tasks are killed and StoppedError is raised.
        tunables: of glibc's memory allocation, in its own notation; elsewhere they do nothing.
    """

    def __init__(self, count: int, *, stop: threading.Event | None = None, tunables: str = "") -> None:
        self._count = max(1, count)
        self._stop = stop
        self._tunables = tunables
        self._idle: list[subprocess.Popen[bytes]] = []
        self._busy: dict[int, _Worker] = {}
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*self._idle, *(worker.process for worker in self._busy.values())]:
            _end(process)
        self._idle.clear()
        self._busy.clear()
        self._selector.close()

    def run(
        self, tasks: Iterable[Task], retry: Callable[[Outcome], Iterable[Task]] | None = None
    ) -> Iterator[Outcome]:
        """Do tasks as workers become free. At most one task more than workers is taken from the source at a time.

        Args:
            tasks: the tasks; they may be made as they are asked for.
            retry: is called for each task that failed; tasks it returns are done next, and the failure is not given.
                None: the first failure is raised.

        Yields:
            The outcomes, in the order in which they come.

        Raises:
            StageError: if a task failed and there is no `retry`.
            StoppedError: if `stop` was set.
        """
        source = iter(tasks)
        waiting: deque[Task] = deque()
        more = True
        while more or waiting or self._busy:
            if more and not waiting:
                with contextlib.suppress(StopIteration):
                    waiting.append(next(source))
                more = bool(waiting)
            while waiting and len(self._busy) < self._count:
                self._start(waiting.popleft())
                if more and not waiting:
                    break
            if more and not waiting:
                continue
            for outcome in self._wait():
                if outcome.code is None:
                    yield outcome
                elif retry is None:
                    raise StageError(f"{outcome.task.call}: {outcome.error}")
                else:
                    again = list(retry(outcome))
                    waiting.extendleft(reversed(again))
                    if not again:
                        yield outcome

    def _start(self, task: Task) -> None:
        process = self._idle.pop() if self._idle else _spawn(self._tunables)
        assert process.stdin is not None  # noqa: S101 - for mypy
        assert process.stdout is not None  # noqa: S101
        worker = _Worker(process, task, time.monotonic())
        self._busy[process.pid] = worker
        self._selector.register(process.stdout, selectors.EVENT_READ, worker)
        with contextlib.suppress(BrokenPipeError):  # it died while idle: its output ends, which is seen below
            process.stdin.write(json.dumps([task.call, task.arguments]).encode() + b"\n")
            process.stdin.flush()

    def _wait(self) -> list[Outcome]:
        """Wait a moment for something to end."""
        if self._stop is not None and self._stop.is_set():
            raise StoppedError("stopped by its caller: nothing of it remains")
        done = []
        for key, _ in self._selector.select(_LOOK):
            worker: _Worker = key.data
            data = os.read(key.fd, 1 << 20)
            worker.answer += data
            if not data or worker.answer.endswith(b"\n"):
                done.append(self._outcome(worker, ended=not data))
        for worker in self._busy.values():
            if worker.killed is None and (limit := _over_limit(worker)) is not None:
                worker.killed = limit
                worker.process.kill()
        return done

    def _outcome(self, worker: _Worker, *, ended: bool) -> Outcome:
        process, task = worker.process, worker.task
        self._selector.unregister(process.stdout)  # type: ignore[arg-type]
        del self._busy[process.pid]
        if not ended:
            self._idle.append(process)
            answer = json.loads(worker.answer)
            if "error" in answer:
                return Outcome(task, code=answer["code"], error=answer["error"])
            return Outcome(task, answer["value"])
        _end(process)
        if worker.killed is not None:
            return Outcome(task, code=worker.killed, error=f"it was ended at its limit of {worker.killed}")
        return Outcome(task, code="crash", error=f"its process ended with code {process.returncode}")


def _spawn(tunables: str) -> subprocess.Popen[bytes]:
    home = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH", "")]))
    tunables = ":".join(filter(None, [tunables, os.environ.get("GLIBC_TUNABLES", "")]))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "exporter.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # errors come as answers; native libraries may write values of the data there
        env={**os.environ, "PYTHONPATH": path, **_ENVIRONMENT, "GLIBC_TUNABLES": tunables},
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    process.wait()


def _over_limit(worker: _Worker) -> str | None:
    task = worker.task
    if task.seconds is not None and time.monotonic() - worker.since > task.seconds:
        return "time"
    if task.memory is not None and _resident(worker.process.pid) > task.memory:
        return "memory"
    return None


def _resident(pid: int) -> int:
    """Return the resident bytes of a process; 0 where that cannot be known."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
