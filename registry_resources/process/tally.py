"""Counts and notes, aggregated where they arise: capped examples, totals that are always right (PRO-06, ASK-11).

Belongs here: adding up, over processes too. Does not belong here: deciding what is worth a note.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

EXAMPLES = 10
GROUPS = 100
"""Paths or dates that a note lists; the others are summed."""

_KEPT = 1000
_DUPLICATE_ID = "DuplicateIdValueWarning"
_REPEATED_DATE = "RepeatedDateValueWarning"

TEXTS = {
    "InvalidJSON": "Documents that are not valid JSON were left out, each whole",
    "NotOCDS": "JSON that is not OCDS was left out",
    "NotAnObject": "Releases or records that are not objects were left out",
    "NoOcid": "Releases or records without an ocid were left out",
    "OcidNotText": "Releases whose ocid is not text were left out",
    "NestedTooDeeply": "Releases that are nested too deeply were left out",
    "MissingDateKeyError": "OCIDs with several releases, of which one has no date, can't be compiled",
    "NullDateValueError": "OCIDs with several releases, of which one has a null date, can't be compiled",
    "NonStringDateValueError": "OCIDs with several releases, of which one's date is not text, can't be compiled",
    "InconsistentTypeError": "OCIDs of which a field changes its type between releases can't be compiled",
    "OnlyLinkedReleases": "Records whose releases are linked, and that have no compiledRelease, can't be compiled",
    "RecordWithoutReleases": "Records without releases and without a compiledRelease can't be compiled",
    "TooLarge": "OCIDs whose releases together are too large for the memory that merging may take can't be compiled",
    "UndatedReleaseInRecord": "Releases without a date, next to dated ones in a record, were left out of the merge",
    "CompiledReleaseUsed": "Releases are linked or can't be merged: the publisher's compiled release was used",
    "IdNotScalar": "Objects in a list have an id that is an object or a list: it was compared as one value",
    "InvalidJSONFile": "Files are not valid JSON",
    "UnknownFormatError": "Files have a format that is not known, or not supported",
    "ExtensionWarning": "Extensions of the standard could not be read, so that releases were merged without them",
    "Unrecognized": "Other notes",
    "NonFiniteNumber": "NaN and Infinity, which JSON doesn't have, became null",
    _DUPLICATE_ID: "Objects in a list have the same id, and were merged into one",
    _REPEATED_DATE: "Releases of an ocid have the same date: the order in which they were merged is uncertain",
}
"""A sentence for each type of note. Other types are an error's name."""


@dataclass
class Tally:
    """What was counted and noted so far.

    Attributes:
        order: where these notes stand among others: of all notes of a type, the first few are kept as examples.
        counts: by name.
        notes: total and first examples (order, text), by (level, type).
        paths: how often ids repeat, by the path of the list.
        dates: how often a release repeats another's date, by date.
        rest: totals of paths and dates that were let go of, by type of note.
    """

    order: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    notes: dict[tuple[str, str], tuple[int, list[tuple[int, str]]]] = field(default_factory=dict)
    paths: Counter[str] = field(default_factory=Counter)
    dates: Counter[str] = field(default_factory=Counter)
    rest: Counter[str] = field(default_factory=Counter)

    def note(self, level: str, kind: str, example: str, number: int = 1) -> None:
        """Note something of some type, once or several times."""
        self._note(level, kind, [(self.order, example[:500])], number)

    def add(self, other: Tally) -> None:
        """Add up, in any order."""
        self.counts.update(other.counts)
        self.paths.update(other.paths)
        self.dates.update(other.dates)
        self.rest.update(other.rest)
        for (level, kind), (total, examples) in other.notes.items():
            self._note(level, kind, examples, total)

    def bound(self) -> None:
        """Keep the paths and dates that occur most, so that a tally stays small at any size."""
        for kind, groups in ((_DUPLICATE_ID, self.paths), (_REPEATED_DATE, self.dates)):
            for group, count in _largest(groups)[_KEPT:]:
                self.rest[kind] += count
                del groups[group]

    def as_notes(self) -> list[dict[str, Any]]:
        """One note of each type (level, note, data), errors first, then by type."""
        found = []
        for (level, kind), (total, numbered) in self.notes.items():
            examples = [_printable(text) for _, text in numbered]
            data: dict[str, Any] = {"type": kind, "total": total, "examples": examples}
            found.append({"level": level, "note": _sentence(kind, total, examples), "data": data})
        for kind, name, groups in ((_DUPLICATE_ID, "paths", self.paths), (_REPEATED_DATE, "dates", self.dates)):
            if groups:
                listed = [(_printable(group), count) for group, count in _largest(groups)[:GROUPS]]
                total = groups.total() + self.rest[kind]
                data = {"type": kind, "total": total, name: dict(listed)}
                if other := total - sum(count for _, count in listed):
                    data["other"] = other
                examples = [f"{group or '(empty)'}: {count:,}" for group, count in listed[:EXAMPLES]]
                found.append({"level": "WARNING", "note": _sentence(kind, total, examples), "data": data})
        levels = ("ERROR", "WARNING", "INFO")
        return sorted(found, key=lambda note: (levels.index(note["level"]), note["data"]["type"]))

    def _note(self, level: str, kind: str, examples: list[tuple[int, str]], number: int) -> None:
        total, kept = self.notes.get((level, kind), (0, []))
        self.notes[level, kind] = (total + number, sorted([*kept, *examples], key=itemgetter(0))[:EXAMPLES])


def _largest(groups: Counter[str]) -> list[tuple[str, int]]:
    return sorted(groups.items(), key=lambda item: (-item[1], item[0]))


def _printable(text: str) -> str:
    """Text that any database and log takes: no lone surrogates, no NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _sentence(kind: str, total: int, examples: list[str]) -> str:
    text = f"{TEXTS.get(kind, f'OCIDs that cannot be compiled: {kind}')} ({total:,}): {'; '.join(examples)}"
    return text if len(text) <= 2000 else f"{text[:2000]}…"
