"""A process that starts one stage after another in processes of their own, which die or fail where they are told to.

It imports everything once and then forks, also the stages' workers, so that thousands of deaths take minutes. It reads
requests from standard input, a JSON object a line, and answers in kind.

Request: `stage`, `root`; one of `delay` (seconds until SIGKILL), `kill` or `fail` (the number of the file operation
that kills the process, or that fails with `errno`); or none of them. File operations are those of the stage and of its
workers together, and a kill is of all of them. With `delay` and with `real` workers are what they are in real life:
two new processes. Answer: `operations` (done until the end), `name` (of the one that failed or killed), `signal`,
`error` (text of an expected exception) and `unexpected` (of another).
"""

from __future__ import annotations

import contextlib
import io
import json
import mmap
import multiprocessing
import os
import signal
import struct
import sys
import time
from typing import Any

from exporter import cardinal, coverage, csv, flatten, jsonl, project, publish, tabulate, worker, workers
from exporter.errors import ExporterError
from exporter.util import Export

WARM = (cardinal, csv, project, tabulate)  # what workers call: imported before they are forked
OPERATIONS = (
    "open", "read", "write", "fsync", "replace", "link", "unlink", "rmdir", "mkdir", "scandir", "utime", "rename",
)  # fmt: skip
KEY = "bridges"


def lines(seed: int) -> list[tuple[str | None, bytes]]:
    """Return 60 releases, a few kilobytes, of a year and undated: each goes through all that more would."""
    made = []
    for number in range(60):
        release: dict[str, Any] = {"ocid": f"ocds-213czf-{seed}-{number}", "id": str(number), "tag": ["compiled"]}
        if number % 3:
            release["date"] = "2020-05-06T00:00:00Z"
        release["tender"] = {"id": "t", "items": [{"id": str(item)} for item in range(number % 3)]}
        if number == 7:
            release["tender"]["value"] = 0.1000000000000000055
        made.append((release.get("date"), json.dumps(release).replace("0.1,", "0.1000000000000000055,").encode()))
    return made


def run_stage(stage: str, root: str, count: int) -> None:
    """Do one stage for job 12, with so many workers, or delete the export of job 10."""
    target = Export(KEY, 12, root=root)
    if stage == "export":
        jsonl.export(target, [lines(12)], workers=count)
    elif stage == "coverage":
        coverage.measure(target, workers=count)
    elif stage == "flatten":
        flatten.flatten(target, workers=count, formats=("csv", "parquet"))
    elif stage == "publish":
        publish.publish(target, job=12)
    elif stage == "revise":
        work = publish.writable(root, KEY, 12)
        coverage.measure(work, workers=count)
        publish.publish(work, job=12)
    else:
        publish.remove(Export(KEY, 10, root=root))


class Faults:
    """Counts the file operations of this process and those forked of it; one of them fails or is their last."""

    def __init__(self, *, fail: int | None, number: int, kill: int | None) -> None:
        self._fail, self._errno, self._kill = fail, number, kill
        self._lock = multiprocessing.get_context("fork").Lock()
        self._shared = mmap.mmap(-1, 64)  # the count, then the name of the operation at fault
        self._stage = os.getpid()

    @property
    def count(self) -> int:
        """The operations so far."""
        return int(struct.unpack_from("q", self._shared)[0])

    @property
    def name(self) -> str:
        """The operation that failed or killed."""
        return self._shared[8:].rstrip(b"\0").decode()

    def happen(self, name: str) -> None:
        """Count an operation that is about to be done.

        Raises:
            OSError: if it is the one that fails.
        """
        with self._lock:
            count = self.count + 1
            struct.pack_into("q", self._shared, 0, count)
        if count in {self._kill, self._fail}:
            self._shared[8 : 8 + len(name)] = name.encode()
        if count == self._kill:
            os.kill(self._stage, signal.SIGKILL)  # its workers end with it
            os.kill(os.getpid(), signal.SIGKILL)
        if count == self._fail:
            raise OSError(self._errno, os.strerror(self._errno))

    def install(self) -> None:
        """Wrap the operations. The exporter calls them as attributes of their modules."""
        for name in OPERATIONS:
            setattr(os, name, self._wrapped(name, getattr(os, name)))
        os.fsync = self._wrapped("fsync", lambda _: None)  # no test of processes sees whether it is done; it is slow
        io.open = self._opening(io.open)  # what pathlib opens with

    def _wrapped(self, name: str, operation: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            self.happen(name)
            return operation(*arguments, **options)

        return call

    def _opening(self, operation: Any) -> Any:
        faults = self

        class File(io.FileIO):
            def write(self, data: Any, /) -> int:
                faults.happen("write to a file object")
                return super().write(data)

            def truncate(self, size: int | None = None, /) -> int:
                faults.happen("truncate")
                return super().truncate(size)

        def call(path: Any, mode: str = "r", buffering: int = -1, *more: Any, **options: Any) -> Any:
            self.happen("open a file object")
            if "b" not in mode or mode == "rb":
                return operation(path, mode, buffering, *more, **options)
            raw = File(path, mode.replace("b", ""))
            return raw if buffering == 0 else io.BufferedWriter(raw)

        return call


class ForkedWorker:
    """What `workers` uses of a Popen: a worker process, forked and not started anew."""

    def __init__(self, faults: Faults) -> None:
        faults.happen("start a process")
        theirs, requests = os.pipe()
        answers, their_answers = os.pipe()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            os.dup2(theirs, 0)
            os.dup2(their_answers, 1)
            os.closerange(3, 256)
            sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0)))
            with contextlib.suppress(BaseException):
                worker.main()
            os._exit(0)
        os.close(theirs)
        os.close(their_answers)
        self.stdin = io.BufferedWriter(io.FileIO(requests, "w"))
        self.stdout = io.BufferedReader(io.FileIO(answers))

    def kill(self) -> None:
        """End it."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> None:
        """Wait for its end."""
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def in_child(request: dict[str, Any], faults: Faults) -> dict[str, Any]:
    """Run the stage, and return the answer."""
    result: dict[str, Any] = {"error": None, "unexpected": None}
    real = "delay" in request or request.get("real")
    if not real:
        workers._spawn = lambda _: ForkedWorker(faults)
    try:
        faults.install()
        run_stage(request["stage"], request["root"], 2 if real else 1)
    except (ExporterError, OSError) as error:
        result["error"] = f"{type(error).__name__}: {error}"
    except BaseException as error:  # noqa: BLE001
        result["unexpected"] = f"{type(error).__name__}: {error}"
    return result


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked for in a process of its own, and say how that ended."""
    faults = Faults(fail=request.get("fail"), number=request.get("errno", 0), kill=request.get("kill"))
    read_end, write_end = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        write, faults._stage = os.write, os.getpid()
        write(write_end, json.dumps(in_child(request, faults)).encode())
        os._exit(0)
    os.close(write_end)
    if "delay" in request:
        time.sleep(request["delay"])
        os.kill(child, signal.SIGKILL)
    with io.FileIO(read_end) as file:
        data = file.readall()
    _, status = os.waitpid(child, 0)
    result = json.loads(data) if data else {"error": None, "unexpected": None}
    result["operations"], result["name"] = faults.count, faults.name
    result["signal"] = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    result["seconds"] = time.monotonic() - started
    faults._shared.close()
    return result


def main() -> None:
    """Answer requests until standard input ends."""
    for text in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(text))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
