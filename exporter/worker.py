"""A worker process of `workers.Pool`: reads one task a line, does it, answers in one line.

Belongs here: which functions can be called, and the loop. Does not belong here: the functions.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from typing import Any

from exporter.files import die_with_parent

CALLS = {
    "cover": "exporter.cardinal",
    "tabulate": "exporter.tabulate",
    "project": "exporter.project",
    "archive": "exporter.csv",
    "make_workbook": "exporter.xlsx",
}


class _WithoutPandas:
    """Tells pyarrow that there is no pandas.

    It would load that with the first value it is given, only to see whether the value is of it: a quarter of a second
    and tens of MiB in each worker.
    """

    def find_spec(self, name: str, *_: object) -> None:
        """Find nothing, and end the search for pandas.

        Raises:
            ModuleNotFoundError: if it is pandas that is looked for.
        """
        if name == "pandas":
            raise ModuleNotFoundError(f"{name} is of no use in a worker", name=name)


def _answer(request: bytes) -> dict[str, Any]:
    call, arguments = json.loads(request)
    try:
        module = importlib.import_module(CALLS[call])
        return {"value": getattr(module, call)(**arguments)}
    except MemoryError:
        return {"code": "memory", "error": "there is not enough memory"}
    except Exception as error:  # noqa: BLE001 - whatever it is, the other process has to know
        return {"code": "error", "error": " ".join(f"{type(error).__name__}: {error}".split())[:500]}


def main() -> None:
    """Serve until the input ends."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told too, and decides
    sys.meta_path.insert(0, _WithoutPandas())
    # What native libraries print on standard output must not mix with answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for request in sys.stdin.buffer:
        answers.write(json.dumps(_answer(request)).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
