"""A worker process of `coverage`: counts the fields of one part of the JSON Lines at a time.

Belongs here: what runs in the worker. Does not belong here: making parts, or adding up their counts.

It reads a JSON array `[path, limited]` a line from standard input and answers with a JSON object a line: `coverage`
(path in the release to count), `empty` (lines that are JSON, but hold nothing) and `lines`. With `limited` it may use
384 MiB more memory from then on: one very long line may parse to seventy times its size, and then ends this process
and not the machine.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

import ocdscardinal
import orjson

from exporter import files

MEMORY = 384 << 20


def is_empty(value: Any) -> bool:
    """Whether a JSON value is "" or null, or an array or object of nothing but these (COV-01)."""
    stack = [value]
    while stack:
        top = stack.pop()
        if isinstance(top, dict):
            stack.extend(top.values())
        elif isinstance(top, list):
            stack.extend(top)
        elif top is not None and top != "":
            return False
    return True


def _count_empty(path: str) -> int:
    count = 0
    with Path(path).open("rb") as file:
        for line in file:
            try:
                count += is_empty(orjson.loads(line))
            except orjson.JSONDecodeError:
                continue  # the caller counts it: it is neither empty nor covered
    return count


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) if sys.platform == "linux" else 0
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def measure(path: str) -> dict[str, Any]:
    """Count one part."""
    coverage = ocdscardinal.coverage(path)
    with Path(path).open("rb") as file:
        lines = sum(piece.count(b"\n") for piece in iter(lambda: file.read(files.CHUNK), b""))
    empty = _count_empty(path) if coverage.get("", 0) < lines else 0
    return {"coverage": coverage, "lines": lines, "empty": empty}


def main() -> None:
    """Answer requests until standard input ends."""
    files.die_with_parent()
    for request in sys.stdin:
        path, limited = json.loads(request)
        if limited:
            _limit_memory()
        sys.stdout.write(json.dumps(measure(path)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
