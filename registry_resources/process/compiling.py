"""Compiles the releases of one ocid.

Belongs here: what is merged, what the publisher compiled and is taken as it is, and what can't be compiled and why.
The rules are those observed of Kingfisher Process, and those that the merging specification leaves to the implementer.
Does not belong here: finding and grouping releases.

- Releases are merged in the order of their dates; of one date, in the order in which they were read. The same release
  twice is merged once.
- A single release is compiled also without a date. Of several, each needs a date that is text.
- Of a record, its releases are merged unless one of them is linked (a URL in its place): then, or if its releases
  can't be merged, its `compiledRelease` is taken as it is, or else a release of it that is tagged `compiled`.
- A release tagged `compiled` that stands outside records is taken as it is, unless there are others to merge.
- Of several compiled ones, the one with the latest date is taken, of one date the last. One without an ocid gets its
  record's.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import ocdsmerge
from ocdsmerge.exceptions import DuplicateIdValueWarning

from registry_resources.process.entries import Entry, Kind
from registry_resources.process.exact import Loader, canonical, dumps, opaque
from registry_resources.process.merge_rules import MERGE_RULES
from registry_resources.process.single import NotSimpleError, compile_single
from registry_resources.process.tally import Tally

_DUPLICATE = re.compile(r" in the `(.*)` array\Z", re.DOTALL)


class Compiled(NamedTuple):
    """A compiled release: its ocid, its date if that is text, its JSON in one line."""

    ocid: str
    date: str | None
    data: bytes


class _NotCompiledError(Exception):
    """These releases can't be merged: `kind` is the error's type, in Kingfisher Process's words."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class _Found:
    """The releases of one ocid, by what they are for.

    Attributes:
        releases: to be merged: those outside records, and those of records without linked releases.
        loose: whether any of them stands outside records.
        next_to_linked: how many releases stand in records with linked releases: too little to be merged.
        tagged: releases of records that are tagged `compiled`.
        compiled: compiled releases that stand outside records, or are a record's `compiledRelease`.
    """

    def __init__(self) -> None:
        self.releases: list[dict[str, Any]] = []
        self.loose = False
        self.next_to_linked = 0
        self.tagged: list[dict[str, Any]] = []
        self.compiled: list[dict[str, Any]] = []

    def add(self, release: dict[str, Any], kind: Kind, linked: int | None) -> None:
        """Add one. `linked`: how many linked releases its record has, or None if it is of no record."""
        tagged = _is_compiled(release)
        if kind == Kind.COMPILED or (tagged and linked is None):
            self.compiled.append(release)
            return
        if linked:
            self.next_to_linked += 1
        else:
            self.releases.append(release)
        self.loose |= linked is None
        if tagged:
            self.tagged.append(release)

    def latest(self) -> dict[str, Any] | None:
        """The compiled release to be taken as it is."""
        latest: dict[str, Any] | None = None
        for release in self.compiled or self.tagged[:1]:
            if latest is None or (_date(release) or "") >= (_date(latest) or ""):
                latest = release
        return latest


class Compiler:
    """Compiles ocid by ocid.

    Args:
        tally: counts.
    """

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._load = Loader()
        self._merger = ocdsmerge.Merger(merge_rules=MERGE_RULES)

    def compile(self, ocid: str, entries: Sequence[Entry]) -> Compiled | None:
        """Compile what was read of one ocid, in the order in which it was read. None if that isn't possible."""
        self._tally.counts["ocids"] += 1
        nonfinite = self._load.nonfinite
        try:
            found = self._compile(ocid, entries)
            return None if found is None else Compiled(ocid, _date(found), dumps(found))
        except RecursionError:
            self._skip(ocid, "nesting", "NestedTooDeeply", "nested too deeply")
            return None
        finally:
            if (number := self._load.nonfinite - nonfinite) > 0:
                self._tally.counts["nonfinite_numbers"] += number
                self._tally.note("WARNING", "NonFiniteNumber", ocid, number)

    def too_large(self, ocid: str, number: int, size: int) -> None:
        """Count an ocid whose releases are too large to be merged in the memory that is allowed."""
        self._tally.counts["ocids"] += 1
        self._tally.counts["skipped_releases_not_merged"] += number
        self._skip(ocid, "too_large", "TooLarge", f"{number:,} releases of {size / 1e6:,.0f} MB together")

    def _compile(self, ocid: str, entries: Sequence[Entry]) -> dict[str, Any] | None:
        linked = {_group(entry): int(entry.data) for entry in entries if entry.kind == Kind.RECORD}
        found = _Found()
        for entry in entries:
            if entry.kind != Kind.RECORD:
                found.add(self._load(entry.data), entry.kind, linked.get(_group(entry)))
        failed = False
        releases, undated = self._usable(found)
        if releases:
            try:
                merged = self._merge(releases)
            except _NotCompiledError as error:
                failed = True
                self._tally.counts["skipped_releases_not_merged"] += len(releases)
                self._tally.note("ERROR", error.kind, f"{ocid}: {error}")
                if not found.compiled and not found.tagged:
                    self._tally.counts[f"skipped_{_SKIPPED.get(error.kind, 'merge_error')}"] += 1
                    return None
            else:
                self._tally.counts["unused_compiled_releases"] += len(found.compiled)
                self._tally.counts["skipped_release_next_to_linked"] += found.next_to_linked
                if undated:
                    self._tally.counts["skipped_undated_in_record"] += undated
                    self._tally.note("WARNING", "UndatedReleaseInRecord", ocid, undated)
                return merged
        self._tally.counts["skipped_release_next_to_linked"] += found.next_to_linked
        if taken := found.latest():
            self._tally.counts["compiled_as_published"] += 1
            self._tally.counts["unused_compiled_releases"] += max(0, len(found.compiled) - 1)
            if failed or any(linked.values()):
                self._tally.note("INFO", "CompiledReleaseUsed", ocid)
            if "ocid" not in taken:  # else its tables couldn't be joined
                self._tally.counts["ocid_from_record"] += 1
                return {"ocid": ocid, **taken}
            return taken
        if number := sum(linked.values()):
            self._skip(ocid, "only_linked_releases", "OnlyLinkedReleases", f"{number} linked releases")
        else:
            self._skip(ocid, "record_without_releases", "RecordWithoutReleases", "no releases, no compiledRelease")
        return None

    def _usable(self, found: _Found) -> tuple[list[dict[str, Any]], int]:
        """What to merge, and how many releases without a date are left out: a record's, next to dated ones."""
        releases = self._unique(found.releases)
        if found.loose:
            return releases, 0
        dated = [release for release in releases if "date" in release]
        if dated and len(dated) < len(releases):
            return dated, len(releases) - len(dated)
        return ([], 0) if found.compiled and not dated else (releases, 0)

    def _unique(self, releases: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Each release once, the first of equal ones."""
        if len(releases) < 2:
            return releases
        unique: dict[bytes, dict[str, Any]] = {}
        for release in releases:
            unique.setdefault(canonical(release), release)
        if number := len(releases) - len(unique):
            self._tally.counts["skipped_duplicate_release"] += number
        return list(unique.values())

    def _merge(self, releases: list[dict[str, Any]]) -> dict[str, Any]:
        if len(releases) > 1:
            _check_dates(releases)
            releases = sorted(releases, key=lambda release: str(release["date"]))
        else:
            try:
                return compile_single(releases[0])
            except NotSimpleError:
                pass
        merged = self._create(releases)
        for before, after in pairwise(releases):
            if before["date"] == after["date"]:
                self._tally.dates[after["date"]] += 1
        return merged

    def _create(self, releases: list[dict[str, Any]]) -> dict[str, Any]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", DuplicateIdValueWarning)
            try:
                try:
                    merged = self._merger.create_compiled_release(releases)
                except TypeError as error:
                    if "unhashable" not in str(error):
                        raise
                    # An `id` that is an object or a list is taken as one value, by which objects are merged.
                    caught.clear()
                    self._tally.note("WARNING", "IdNotScalar", str(releases[0].get("ocid")))
                    merged = self._merger.create_compiled_release([_opaque_ids(release) for release in releases])
            except (TypeError, AttributeError, KeyError, ValueError) as error:
                raise _NotCompiledError(type(error).__name__, str(error)[:300]) from error
        for warning in caught:
            match = _DUPLICATE.search(str(warning.message))
            self._tally.paths[match[1] if match else ""] += 1
        result: dict[str, Any] = merged
        return result

    def _skip(self, ocid: str, count: str, kind: str, reason: str) -> None:
        self._tally.counts[f"skipped_{count}"] += 1
        self._tally.note("ERROR", kind, f"{ocid}: {reason}")


_SKIPPED = {
    "MissingDateKeyError": "no_date_several_releases",
    "NullDateValueError": "no_date_several_releases",
    "NonStringDateValueError": "no_date_several_releases",
    "InconsistentTypeError": "inconsistent_type",
}


def _check_dates(releases: list[dict[str, Any]]) -> None:
    for index, release in enumerate(releases):
        if "date" not in release:
            raise _NotCompiledError("MissingDateKeyError", f"release {index + 1} of {len(releases)} has no date")
        if release["date"] is None:
            raise _NotCompiledError("NullDateValueError", f"release {index + 1} of {len(releases)} has a null date")
        if not isinstance(release["date"], str):
            raise _NotCompiledError(
                "NonStringDateValueError", f"release {index + 1} of {len(releases)} has a date that is not text"
            )


def _opaque_ids(value: Any) -> Any:
    """The value with each `id` that is an object or a list, of an object in a list, as one value."""
    if isinstance(value, dict):
        return {key: _opaque_ids(item) for key, item in value.items()}
    if isinstance(value, list):
        return [
            {
                key: opaque(part) if key == "id" and isinstance(part, dict | list) else _opaque_ids(part)
                for key, part in item.items()
            }
            if isinstance(item, dict)
            else _opaque_ids(item)
            for item in value
        ]
    return value


def _group(entry: Entry) -> tuple[int, int]:
    return entry.file, entry.group


def _is_compiled(release: dict[str, Any]) -> bool:
    tag = release.get("tag")
    return "compiled" in tag if isinstance(tag, list) else tag == "compiled"


def _date(release: dict[str, Any]) -> str | None:
    date = release.get("date")
    return date if isinstance(date, str) else None
