"""What a hostile case is, and how one is written down. The cases themselves stand in the other modules."""

from __future__ import annotations

import gzip
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "ocds-quirk0"
"""The prefix of the invented publisher's ocids."""

ABSENT = object()
"""Given as a member's value to `release`: leave the member out."""

HOLE = '"@@"'
"""In `raw_line`: where the text goes that no JSON library would write."""


@dataclass(frozen=True)
class Case:
    """One thing that can be odd about releases.

    Attributes:
        name: unique, lower-case and hyphens; the ocid is `PREFIX-name` unless the ocid is what is odd.
        lines: the releases, one line of JSON each, UTF-8, without a line break.
        expect: what must become of them, in words.
        compiled: whether a compiled release must come of them; None where both are right as long as it is counted.
        year: the year file of the compiled release, `undated`, or "" where nothing is compiled.
    """

    name: str
    lines: tuple[bytes, ...]
    expect: str
    compiled: bool | None = True
    year: str = "2021"


@dataclass(frozen=True)
class HostileFile:
    """One thing that can be odd about a file.

    Attributes:
        path: where it lies, relative to the source's folder.
        body: its bytes.
        expect: what must become of it, in words.
        compiled: how many ocids compile from it; None where several answers are right as long as it is counted.
    """

    path: str
    body: bytes
    expect: str
    compiled: int | None


def release(name: str, *, number: int = 1, **members: Any) -> dict[str, Any]:
    """A small, ordinary release with some members exchanged.

    Args:
        name: what the ocid ends with.
        number: the how many-th of its ocid; it makes the release's `id`.
        members: top-level members to add or to exchange, or `ABSENT` to leave them out.
    """
    ordinary: dict[str, Any] = {
        "ocid": f"{PREFIX}-{name}",
        "id": f"{name}-{number}",
        "date": "2021-03-04T05:06:07Z",
        "tag": ["tender"],
        "initiationType": "tender",
        "language": "en",
        "buyer": {"id": "QK-1", "name": "Office of Oddities"},
        "tender": {"id": f"{name}-t", "title": f"Tender {name}", "status": "active"},
    }
    return {key: value for key, value in {**ordinary, **members}.items() if value is not ABSENT}


def to_line(value: Any) -> bytes:
    """A value as one line of JSON: raw UTF-8, except that lone surrogates, which UTF-8 can't hold, stay escapes."""
    written = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        return written.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def raw_line(name: str, written: str, *, member: str = "x_value", **members: Any) -> bytes:
    """A release's line, one member of which is the given text, such as a number that no JSON library would write."""
    line = to_line({**release(name, **members), member: "@@"})
    return line.replace(HOLE.encode(), written.encode(), 1)


def simple(name: str, expect: str, *, compiled: bool | None = True, year: str = "2021", **members: Any) -> Case:
    """A case of one release, odd in some top-level members."""
    return Case(name, (to_line(release(name, **members)),), expect, compiled, year)


def named(name: str, expect: str, members: Mapping[str, Any]) -> Case:
    """A case of one release whose top-level members' names are the oddity."""
    return Case(name, (to_line({**release(name), **members}),), expect)


def titled(name: str, title: str, expect: str = "The text is unchanged in every format that can hold it.") -> Case:
    """A case of one release whose tender's title is the oddity."""
    return simple(name, expect, tender={"id": f"{name}-t", "title": title, "status": "active"})


def enormous_line(name: str, size: int) -> bytes:
    """A release of at least `size` bytes in one line: too large to keep in the repository, so made when asked for."""
    return to_line(release(name, x_blob="abcdefghij " * (size // 11 + 1)))


def gzip_bomb(size: int) -> bytes:
    """A gzip file that grows to `size` bytes of blanks, about a thousand times its own: no document at all."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as stream:
        for _ in range(size // 1_000_000 + 1):
            stream.write(b" " * 1_000_000)
    return buffer.getvalue()
