"""What a tree of collections says of where Kingfisher Process is, and what it looks like if it never gets there.

Belongs here: reading the tree. Pure functions, no I/O. Does not belong here: asking for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry_resources.process.backend import Note


@dataclass(frozen=True)
class Patience:
    """Seconds without any progress after which a collection is given up, by what it looks like.

    Kingfisher Process has no state of failure: what it can't finish stays as it is, for ever.

    Attributes:
        look: before its notes are looked at for what it may be.
        open: after which a crawl that has ended but was never closed won't be: it is closed as the crawl ends.
        unknown_format: once all files are read, none of which has a known format. Nothing is left to be done.
        invalid_json: once a file was not valid JSON, and all others are read: if that was before any format was known,
            it is never done with.
        unread: the same, while others are not read, or are empty: theirs may be the turn of other publications' files,
            and each is seen only once it is read as a whole.
        other: in any other case, such as workers that are down, busy with others, or a file that takes many hours.
    """

    look: float = 30.0
    open: float = 600.0
    unknown_format: float = 120.0
    invalid_json: float = 900.0
    unread: float = 6 * 3600.0
    other: float = 3 * 24 * 3600.0


@dataclass(frozen=True)
class Tree:
    """The collections of one crawl.

    Attributes:
        root: the original one.
        compiled: the one of compiled releases, or None.
        all: all of them.
    """

    root: Mapping[str, Any]
    compiled: Mapping[str, Any] | None
    all: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, collections: Sequence[Mapping[str, Any]]) -> Tree:
        """Make one of the API's list, in which the original collection is first."""
        found = [each for each in collections if each["transform_type"] == "compile-releases"]
        return cls(collections[0], found[0] if found else None, collections)

    @property
    def ids(self) -> list[int]:
        """All ids."""
        return [each["id"] for each in self.all]

    @property
    def originals(self) -> list[int]:
        """The ids of collections of releases and records: the original one, and an upgraded one."""
        return [each["id"] for each in self.all if each is not self.compiled]

    @property
    def completed(self) -> bool:
        """Whether nothing is left to be done: either may be completed first (PRO-03)."""
        return all(each.get("completed_at") for each in self.all)

    @property
    def deleted(self) -> bool:
        """Whether it is being deleted."""
        return any(each.get("deleted_at") for each in self.all)

    @property
    def expected_files(self) -> int | None:
        """How many files there are, once the crawl has told."""
        return count(self.root, "expected_files_count")

    @property
    def phase(self) -> str:
        """What is being done."""
        if not self.root.get("store_end_at"):
            return "waiting for the crawl to be closed"
        if self.compiled is not None and self.compiled.get("compilation_started"):
            return "merging"
        return "reading"

    def progress_marks(self) -> tuple[object, ...]:
        """What changes if something was done."""
        names = ("store_end_at", "completed_at", "compilation_started", "compilation_enqueued", "data_type")
        return tuple(str(each.get(name)) for each in self.all for name in names)


OF_A_FILE = ("InvalidJSONFile", "UnknownFormatError")
"""The types of notes of which there is one for each file that could not be read."""


def count(collection: Mapping[str, Any], name: str) -> int | None:
    """A count of a collection, or None if it isn't known."""
    value = collection.get(name)
    return value if type(value) is int else None


def diagnosis(tree: Tree, errors: Iterable[Note], patience: Patience, files: int | None = None) -> tuple[str, float]:
    """Say what a collection that doesn't get on looks like.

    Args:
        tree: it.
        errors: what Kingfisher Process has noted of it.
        patience: how long to wait.
        files: files of which something is stored, as far as that is known.

    Returns:
        A sentence, and the seconds without progress after which it is given up.
    """
    kinds = {str(note.data.get("type")): count(note.data, "total") or 0 for note in errors}
    number = tree.root["id"]
    if not tree.root.get("store_end_at"):
        text = (
            f"The crawl never closed its collection {number} in Kingfisher Process: it looks as if the crawl was "
            "cancelled or killed, or couldn't reach Kingfisher Process in the end"
        )
        return text, patience.open
    compiling = tree.compiled is not None and tree.compiled.get("compilation_started")
    if tree.root.get("completed_at") and not compiling and not tree.root.get("data_type"):
        text = (
            f"Merging never starts for collection {number} in Kingfisher Process: it looks as if no file's format is "
            "known to it (they are no release or record packages, or not OCDS)"
        )
        return text, patience.unknown_format
    if "InvalidJSONFile" in kinds and not tree.root.get("completed_at"):
        text = (
            f"Collection {number} in Kingfisher Process doesn't complete: it looks as if it never will, for a file "
            "is not valid JSON"
        )
        read = (files or 0) + sum(kinds.get(kind, 0) for kind in OF_A_FILE)
        return text, patience.invalid_json if read >= (tree.expected_files or 0) else patience.unread
    noted = f" It has noted: {', '.join(sorted(kinds))}." if kinds else ""
    text = (
        f"Collection {number} in Kingfisher Process doesn't get on ({tree.phase}). Its workers or its message queue "
        f"may be down, or a message was lost.{noted}"
    )
    return text, patience.other
