"""Counting the fields of one part of the JSON Lines, in a worker process of `coverage`.

Belongs here: what runs in the worker. Does not belong here: making parts, or adding up their counts.
"""

from __future__ import annotations

import resource
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ocdscardinal
import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

# Bytes that counting may need. A part needs a few; one line of many small objects needs seventy times its size, and
# then ends this process and not the machine.
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
                continue  # it is neither empty nor covered: what is left over is counted as unreadable
    return count


@contextmanager
def _limited_memory() -> Iterator[None]:
    if sys.platform != "linux":
        yield
        return
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def cover(path: str, lines: int) -> dict[str, Any]:
    """Count one part.

    Args:
        path: a file of JSON Lines.
        lines: how many it has.

    Returns:
        `coverage`: ocdscardinal's map of path to count, in which "" is the number of lines that hold something;
        `empty`: the lines that are JSON and hold nothing. Those left over are unreadable for ocdscardinal.
    """
    with _limited_memory():
        coverage: dict[str, int] = ocdscardinal.coverage(path)
        empty = _count_empty(path) if coverage.get("", 0) < lines else 0
    return {"coverage": coverage, "empty": empty}
