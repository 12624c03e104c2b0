"""What Kingfisher Process notes of a collection, and what it doesn't: gathered, capped, with right totals (PRO-06).

Belongs here: putting its notes and the registry's own comparisons into few notes. Does not belong here: asking for
them, or deciding whether a job fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from registry_resources.process.backend import Note
from registry_resources.process.kingfisher_database import Stored
from registry_resources.process.tally import Tally

_INVALID_JSON = re.compile(r"yields invalid JSON")
_EVERY = 1000  # notes after which the tally is bounded again


def gathered(notes: Iterable[tuple[str, str, Mapping[str, Any]]]) -> list[Note]:
    """Gather notes, one for each type.

    Args:
        notes: level, text and data of each, in the order in which they were made.

    Returns:
        Errors first. The data of each has its `type`, the `total` and some `examples`; or, for merges, `paths` (how
        often ids repeat in a list) or `dates` (how often a release has the date of the one before).
    """
    tally = Tally()
    for number, (level, text, data) in enumerate(notes, 1):
        tally.order = number
        _add(tally, level, text, data)
        if number % _EVERY == 0:
            tally.bound()
    return [Note(note["level"], note["note"], note["data"]) for note in tally.as_notes()]


def _add(tally: Tally, level: str, text: str, data: Mapping[str, Any]) -> None:
    kind = data.get("type")
    if kind == "DuplicateIdValueWarning" and isinstance(paths := data.get("paths"), dict):
        tally.paths.update({str(path): count for path, count in paths.items() if type(count) is int})
    elif kind == "RepeatedDateValueWarning" and "date" in data:
        tally.dates[str(data["date"])] += 1
    elif isinstance(kind, str) and kind:
        message = data.get("message")
        tally.note(level, kind[:100], f"{text}: {message}" if isinstance(message, str) else text)
    else:
        tally.note(level, "InvalidJSONFile" if _INVALID_JSON.search(text) else "Unrecognized", text)


@dataclass(frozen=True)
class Losses:
    """What is known to have got lost on the way, none of which Kingfisher Process notes. 0 is none that is known.

    Attributes:
        unsent: files that the crawl wrote and Kingfisher Process was never told of.
        files: files that it was told of and of which nothing is stored: they are empty, or were given up as a whole.
        ocids: ocids that are stored and not compiled.
    """

    unsent: int
    files: int
    ocids: int

    @classmethod
    def between(cls, collected: int | None, expected: int | None, stored: Stored) -> Losses:
        """Compare what each stage has counted. What isn't known, None, is compared with nothing."""
        return cls(
            unsent=_missing(collected, expected),
            files=_missing(expected, stored.files),
            ocids=_missing(stored.ocids, stored.compiled),
        )

    def notes(self, stored: Stored) -> list[Note]:
        """A note for each loss, and one for what could not be compared."""
        found = []
        for number, kind, text in (
            (
                self.unsent,
                "FilesNotSent",
                "Files that the crawl wrote were not announced to Kingfisher Process, so it didn't wait for them",
            ),
            (
                self.files,
                "FilesWithoutReleases",
                "Files of which nothing is stored: they have no releases, or were given up for one whose ocid is null",
            ),
            (
                self.ocids,
                "OcidsNotCompiled",
                "OCIDs are stored and have no compiled release",
            ),
        ):
            if number:
                found.append(Note("ERROR", f"{text} ({number:,})", {"type": kind, "total": number}))
        if stored.unreadable:
            tables = ", ".join(stored.unreadable)
            found.append(
                Note(
                    "INFO",
                    f"What Kingfisher Process lost can't be told fully, since its database doesn't let the registry "
                    f"read {tables}: grant SELECT on {tables} to the role of KINGFISHER_PROCESS_DATABASE_URL",
                    {"type": "NotCompared", "tables": list(stored.unreadable)},
                )
            )
        return found

    def counts(self) -> dict[str, int]:
        """The same as counts."""
        found = {"skipped_files_unsent": self.unsent, "skipped_files": self.files, "skipped_ocids": self.ocids}
        return {name: number for name, number in found.items() if number}


def _missing(whole: int | None, part: int | None) -> int:
    return max(0, whole - part) if whole is not None and part is not None else 0
