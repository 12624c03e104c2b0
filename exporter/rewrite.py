"""Files of lines, looked through for lines to mend, and rewritten with those mended.

Belongs here: going through a file in bounded memory. Does not belong here: what is wrong with a line (see `mend`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exporter import jsontext, mend

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator
    from pathlib import Path

_WINDOW = 2 << 20  # bytes looked at together
_SKIPPED: dict[type[ValueError], str] = {
    jsontext.NotJSONError: "skipped_invalid_json",
    jsontext.NotUTF8Error: "skipped_invalid_utf8",
    jsontext.NotObjectError: "skipped_not_object",
}


class Found(NamedTuple):
    """What a look through a file found: the bytes of the longest line, and where lines to mend begin and end."""

    longest: int
    places: list[tuple[int, int]]


def _windows(path: Path) -> Iterator[bytes]:
    """Read whole lines, as many as a window holds but at least one. The file ends with a line feed."""
    held = b""
    with path.open("rb") as file:
        while data := file.read(max(_WINDOW, len(held))):  # of a very long line, twice as much each time
            held += data
            end = held.rfind(b"\n") + 1
            if end:
                yield held[:end]
                held = held[end:]


def look(path: Path) -> Found:
    """Go through a file of lines."""
    longest, places, offset = 0, [], 0
    for window in _windows(path):
        ends = np.flatnonzero(np.frombuffer(window, dtype=np.uint8) == 0x0A) + 1
        starts = np.concatenate((np.zeros(1, dtype=np.int64), ends))
        lines = pa.Array.from_buffers(pa.large_binary(), len(ends), [None, pa.py_buffer(starts), pa.py_buffer(window)])
        longest = max(longest, pc.max(pc.binary_length(lines)).as_py())
        for number in np.flatnonzero(mend.suspicious(lines).to_numpy(zero_copy_only=False)).tolist():
            start, end = starts[number : number + 2].tolist()
            if mend.needs_mending(window[start:end]):
                places.append((offset + start, offset + end))
        offset += len(window)
    return Found(longest, places)


def rewrite(path: Path, final: Path, places: list[tuple[int, int]], counts: Counter[str]) -> None:
    """Write the lines to another file, those at these places mended."""
    at = 0
    with path.open("rb") as file, final.open("wb") as out:
        for start, end in places:
            _copy(file, out, start - at)
            out.write(mend.mend(file.read(end - start), counts))
            at = end
        _copy(file, out, path.stat().st_size - at)


def _copy(file: BinaryIO, out: BinaryIO, size: int) -> None:
    while size and (data := file.read(min(size, _WINDOW))):
        out.write(data)
        size -= len(data)


def rewrite_all(path: Path, final: Path, counts: Counter[str]) -> None:
    """Write the lines to another file: those that are JSON objects, mended; the others counted."""
    with path.open("rb") as file, final.open("wb") as out:
        for line in file:
            if not line.strip():
                counts["skipped_blank_lines"] += 1
                continue
            try:
                jsontext.date_of(line)
            except ValueError as error:
                counts[_SKIPPED.get(type(error), "skipped_invalid_json")] += 1
                continue
            out.write(mend.mend(line, counts))
