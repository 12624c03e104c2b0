"""A process that starts one stage after another in processes of their own, which die or fail where they are told to.

It imports everything once and then forks, so that hundreds of deaths take a minute. It reads requests from standard
input, a JSON object a line, and answers in kind.

Request: `stage`, `root`; one of `delay` (seconds until SIGKILL), `kill` or `fail` (the number of the file operation
that kills the process, or that fails with `errno`); or none of them. Answer: `operations` (done until the end),
`signal`, `error` (text of an expected exception) and `unexpected` (of another).
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import time
from typing import Any

from exporter import coverage, flatten, jsonl, publish
from exporter.errors import ExporterError
from exporter.util import Export

OPERATIONS = ("open", "write", "fsync", "replace", "link", "unlink", "rmdir", "mkdir", "scandir", "utime", "rename")
KEY = "bridges"


def lines(seed: int) -> list[tuple[str | None, bytes]]:
    """Return 60 releases, a few kilobytes, of three years and undated."""
    made = []
    for number in range(60):
        year = ("2019", "2020", "2021", "")[number % 4]
        release: dict[str, Any] = {"ocid": f"ocds-213czf-{seed}-{number}", "id": str(number), "tag": ["compiled"]}
        if year:
            release["date"] = f"{year}-05-06T00:00:00Z"
        release["tender"] = {"id": "t", "items": [{"id": str(item)} for item in range(number % 3)]}
        made.append((release.get("date"), json.dumps(release).encode()))
    return made


def run_stage(stage: str, root: str) -> None:
    """Do one stage for job 12, or delete the export of job 10."""
    target = Export(KEY, 12, root=root)
    if stage == "export":
        jsonl.export(target, [lines(12)])
    elif stage == "coverage":
        coverage.measure(target)
    elif stage == "flatten":
        flatten.flatten(target, workers=2, formats=("csv", "parquet"))
    elif stage == "publish":
        publish.publish(target, job=12)
    elif stage == "revise":
        work = publish.writable(root, KEY, 12)
        coverage.measure(work)
        publish.publish(work, job=12)
    else:
        publish.remove(Export(KEY, 10, root=root))


class Faults:
    """Counts file operations of this process, and makes one of them fail or be the last."""

    def __init__(self, *, fail: int | None, number: int, kill: int | None) -> None:
        self.count = 0
        self._fail, self._errno, self._kill = fail, number, kill
        self._lock = threading.Lock()

    def install(self) -> None:
        """Wrap the operations. The exporter calls them as attributes of their modules."""
        for name in OPERATIONS:
            setattr(os, name, self._wrapped(getattr(os, name)))
        io.open = self._wrapped(io.open)  # what pathlib opens with

    def _wrapped(self, operation: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            with self._lock:
                self.count += 1
                count = self.count
            if count == self._kill:
                os.kill(os.getpid(), signal.SIGKILL)
            if count == self._fail:
                raise OSError(self._errno, os.strerror(self._errno))
            return operation(*arguments, **options)

        return call


def in_child(request: dict[str, Any], answer: int) -> None:
    """Run the stage, write the answer to a pipe, and end."""
    result: dict[str, Any] = {"operations": 0, "error": None, "unexpected": None}
    faults = Faults(fail=request.get("fail"), number=request.get("errno", 0), kill=request.get("kill"))
    write = os.write
    try:
        faults.install()
        run_stage(request["stage"], request["root"])
    except (ExporterError, OSError) as error:
        result["error"] = f"{type(error).__name__}: {error}"
    except BaseException as error:  # noqa: BLE001
        result["unexpected"] = f"{type(error).__name__}: {error}"
    result["operations"] = faults.count
    write(answer, json.dumps(result).encode())
    os._exit(0)


def main() -> None:
    """Answer requests until standard input ends."""
    for text in sys.stdin:
        request = json.loads(text)
        read_end, write_end = os.pipe()
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            os.close(read_end)
            in_child(request, write_end)
        os.close(write_end)
        if "delay" in request:
            time.sleep(request["delay"])
            os.kill(child, signal.SIGKILL)
        with os.fdopen(read_end, "rb") as file:
            data = file.read()
        _, status = os.waitpid(child, 0)
        result = json.loads(data) if data else {"operations": None, "error": None, "unexpected": None}
        result["signal"] = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        result["seconds"] = time.monotonic() - started
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
