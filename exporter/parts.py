"""Cutting the year files of an export into parts, so that years of any size keep all workers busy and disk use small.

Belongs here: which files are flattened, reading them, and cutting at ends of lines. Does not belong here: what is done
with a part.

flatterer decides about each release by that release alone (with the options used here), so the tables of a year are
those of its parts, one after another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter import files, gunzip
from exporter.errors import BrokenExportError
from exporter.util import YEAR_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path

PART = 16 << 20  # bytes of lines in a part; the same for any number of workers, so that the bytes made are (I7)
UNDATED = "undated"
FULL = "full"
_SUFFIX = ".jsonl.gz"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Part:
    """A file of lines on its way.

    Attributes:
        year: the stem of the file it is from.
        order: its place within the year: a number, followed by more if it was cut again.
        path: the file.
        lines: how many there are.
        size: their bytes.
    """

    year: str
    order: tuple[int, ...]
    path: Path
    lines: int
    size: int


def years(directory: Path) -> list[str]:
    """Return the stems of the files to flatten: the years in order, then `undated`. `full` is all of them again."""
    stems = {
        match[1]
        for path in directory.glob(f"*{_SUFFIX}")
        if (match := YEAR_FILE.fullmatch(path.name)) and match[1] != FULL
    }
    return sorted(stems, key=lambda stem: (stem == UNDATED, stem))


def cut(
    directory: Path, year: str, work: Path, *, size: int = PART, spare: list[Path] | None = None
) -> Iterator[Part]:
    """Cut a year's file into parts, which are written when they are asked for.

    Args:
        directory: of the export.
        year: the stem of the file.
        work: where to write.
        size: bytes that a part has at most, unless one line has more.
        spare: files that are done with, to write over: that costs the system less than new ones.

    Raises:
        BrokenExportError: if the file's gzip data is cut off or damaged.
    """
    source = directory / f"{year}{_SUFFIX}"
    number, count, held, filled = 0, 0, bytearray(), 0
    path = work / f"{year}-{number}.jsonl"
    out: FileIO | None = None
    first = True
    try:
        for data in gunzip.decompress(files.blocks(source, 1 << 17), str(source)):
            piece = data.removeprefix(_BOM) if first else data
            first = False
            end = piece.rfind(b"\n") + 1
            if not end:
                held += piece
                continue
            out = out or _open(path, spare)
            _write(out, held)
            _write(out, memoryview(piece)[:end])
            count += piece.count(b"\n", 0, end)
            filled += len(held) + end
            held[:] = memoryview(piece)[end:]
            if filled + len(piece) > size:
                _close(out)
                out = None
                yield Part(year, (number,), path, count, filled)
                number, count, filled = number + 1, 0, 0
                path = work / f"{year}-{number}.jsonl"
        if held:
            out = out or _open(path, spare)
            _write(out, held)
            _write(out, memoryview(b"\n"))
            count, filled = count + 1, filled + len(held) + 1
    except gunzip.TruncatedError as error:
        raise BrokenExportError(f"{source}: its gzip data is cut off or damaged: export again") from error
    finally:
        if out is not None:
            _close(out)
    if count:
        yield Part(year, (number,), path, count, filled)


def _open(path: Path, spare: list[Path] | None) -> FileIO:
    if not spare:
        return path.open("xb", buffering=0)
    spare.pop().rename(path)
    return path.open("r+b", buffering=0)


def _close(out: FileIO) -> None:
    """Close a file, without what it held before beyond what was written now."""
    with out:
        out.truncate(out.tell())


def _write(out: FileIO, data: bytearray | memoryview) -> None:
    """Write all of the data, without the copy that a buffered file makes."""
    left = memoryview(data)
    while left:
        left = left[out.write(left) :]


def halve(part: Part) -> list[Part]:
    """Cut a part that could not be flattened in two, to find the lines at fault. Its file is deleted.

    Returns:
        Two parts, or none if it was one line.
    """
    lines = [line + b"\n" for line in part.path.read_bytes().split(b"\n") if line.strip()]
    files.delete(part.path)
    if len(lines) < 2:
        return []
    result = []
    for number, half in enumerate((lines[: len(lines) // 2], lines[len(lines) // 2 :])):
        path = part.path.with_name(f"{part.path.stem}-{number}.jsonl")
        path.write_bytes(b"".join(half))
        result.append(Part(part.year, (*part.order, number), path, len(half), sum(map(len, half))))
    return result
