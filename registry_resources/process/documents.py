"""Finds the releases in a text, whatever its shape, and tells what each is.

Shapes: release package, record package, list of packages or releases or records, single release, single record; one
document in a file, one in a line, or one after the other. A release is handed on as it was published, to the byte.
A document is taken whole or, if it isn't JSON to its end, not at all; the following ones are still read.

Belongs here: shapes. Does not belong here: where texts come from, where releases go, or merging.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from registry_resources.process.entries import Entry, Kind
from registry_resources.process.jsontext import BadJsonError, JsonText, Place, TooDeep
from registry_resources.process.tally import Tally

_HELD = 4 << 20  # bytes of releases of a document that wait for its end
_LINE = 4 << 20  # characters of a document of which the beginning is still known when it breaks off
_KEPT = frozenset(("ocid", "license", "publicationPolicy", "compiledRelease", "versionedRelease"))
_PACKAGE = frozenset(("releases", "records", "compiledRelease", "versionedRelease"))


class DocumentReader:
    """Reads the documents of one file.

    Args:
        text: the file's text.
        file: the file's number.
        name: the file's name, for messages.
        emit: takes an entry.
        tally: counts.

    Attributes:
        spoiled: documents of which entries were handed on before they turned out not to be JSON.
        licenses: how many packages state each licence.
        policies: how many packages state each publication policy.
    """

    def __init__(self, text: JsonText, file: int, name: str, emit: Callable[[Entry], None], tally: Tally) -> None:
        self.spoiled: list[int] = []
        self.licenses: Counter[str] = Counter()
        self.policies: Counter[str] = Counter()
        self._text = text
        self._file = file
        self._name = name
        self._emit = emit
        self._tally = tally
        self._document = 0
        self._position = 0
        self._handed_on = False
        self._bare = False
        self._in_lines = False
        self._began = 1
        self._entries: list[Entry] = []
        self._held = 0
        self._found = Tally()

    def read(self) -> None:
        """Read all documents."""
        text = self._text
        while True:
            self._document += 1
            self._found = Tally(order=self._tally.order)
            self._entries, self._held, self._handed_on = [], 0, False
            start = None
            try:
                if not text.peek():
                    return
                self._began = text.line
                start = text.hold(_LINE)
                starts_line = text.begins_line()
                self._read_item(nested=False)
            except BadJsonError as error:
                self._spoil(str(error))
                try:
                    if not self._find_next(start):
                        return
                except BadJsonError as further:  # gzip that is cut off, perhaps after another error
                    if str(further) != str(error):
                        self._spoil(str(further))
                    return
            else:
                text.let_go(start)
                self._in_lines = starts_line and text.line == self._began and text.ends_line()
                self._found.counts["documents"] += 1
                self._tally.add(self._found)
                self._hand_on()

    def _spoil(self, reason: str) -> None:
        if self._handed_on:
            self.spoiled.append(self._document)
        lost = self._found.counts["releases"]
        self._tally.counts["documents"] += 1
        self._tally.counts["skipped_invalid_json"] += 1
        self._tally.counts["skipped_releases_in_invalid_json"] += lost
        also = f" ({lost:,} releases before it were left out too)" if lost else ""
        self._tally.note("ERROR", "InvalidJSON", f"{self._name}, document from line {self._began}: {reason}{also}")

    def _find_next(self, start: Place | None) -> bool:
        """Go to the next document after one that broke off. False if none is found.

        In a file of lines that is the next line, and so it seems to be where the first line broke off and two whole
        documents follow in a line each. Else it is a line's beginning, after the error, from where a whole document
        and nothing or another one follows: the insides of the broken one aren't like that.
        """
        text = self._text
        if start is None:
            return False
        text.let_go_of_others(start)
        error = text.hold(_LINE)
        if text.go_back(start) and text.next_line() and (self._in_lines or self._two_lines_follow()):
            text.let_go(start)
            text.let_go(error)
            return True
        text.let_go(start)
        text.go_back(error)
        text.let_go(error)
        at_line = text.begins_line() or text.next_line()
        while at_line:
            if text.peek() and text.begins_line() and self._whole_document_follows():
                return True
            at_line = text.next_line()
        return False

    def _two_lines_follow(self) -> bool:
        """Whether this line, and the next one if there is one, are a whole document each."""
        place = self._text.hold()
        try:
            return self._line_follows() and (not self._text.next_line() or self._line_follows())
        finally:
            self._text.go_back(place)
            self._text.let_go(place)

    def _line_follows(self) -> bool:
        try:
            value, _ = self._text.value()
        except BadJsonError:
            return False
        return isinstance(value, dict | list) and self._text.ends_line()

    def _whole_document_follows(self) -> bool:
        text = self._text
        if text.buffer[text.position] not in "{[":
            return False
        place = text.hold()
        try:
            text.value()
            return text.peek() in {"", "{", "["}
        except BadJsonError:
            return False
        finally:
            text.go_back(place)
            text.let_go(place)

    def _read_item(self, *, nested: bool) -> None:
        """Read a document, or one of a list of documents."""
        opening = self._text.peek()
        if opening == "{":
            if not (self._bare and self._read_bare()):
                self._read_object(record=False)
        elif opening == "[" and not nested:
            self._read_list(lambda: self._read_item(nested=True))
        else:
            value, _ = self._text.value()
            self._skip_deep() if isinstance(value, TooDeep) else self._skip_not_ocds(type(value).__name__)

    def _read_bare(self) -> bool:
        """Read a release in one go, quickly, if that is what follows: as after another one. False if it isn't."""
        text = self._text
        start = text.hold()
        try:
            value, published = text.value()
        except BadJsonError:
            self._bare = False
        else:
            self._bare = isinstance(value, dict) and "ocid" in value and _PACKAGE.isdisjoint(value)
        if self._bare:
            self._position += 1
            self._add(value, published, Kind.RELEASE, 0)
        else:
            text.go_back(start)
        text.let_go(start)
        return self._bare

    def _read_list(self, read_item: Callable[[], None]) -> None:
        text = self._text
        text.position += 1
        if text.peek() == "]":
            text.position += 1
            return
        while True:
            text.peek()
            read_item()
            following = text.peek()
            if following not in {",", "]"}:
                raise BadJsonError(f"Expecting ',' delimiter (line {text.line})")
            text.position += 1
            if following == "]":
                return

    def _read_object(self, *, record: bool) -> None:
        """Read a package, a release or a record (`record`: it is in a list of records)."""
        text = self._text
        start = text.hold()
        self._position += 1
        group, first, linked = self._position, len(self._entries), self._found.counts["skipped_linked_release"]
        kept: dict[str, Any] = {}
        lists: set[str] = set()
        compiled = ""
        text.position += 1
        if text.peek() == "}":
            text.position += 1
        else:
            while True:
                key = self._read_key()
                if text.peek() == "[" and (key == "releases" or (key == "records" and not record)):
                    text.let_go(start)
                    lists.add(key)
                    if key == "releases":
                        self._read_list(lambda: self._read_release(group))
                    else:
                        self._read_list(self._read_record)
                else:
                    value, published = text.value()
                    if key in _KEPT:
                        kept[key] = value
                        compiled = published if key == "compiledRelease" else compiled
                following = text.peek()
                if following not in {",", "}"}:
                    raise BadJsonError(f"Expecting ',' delimiter (line {text.line})")
                text.position += 1
                if following == "}":
                    break
                text.peek()
        if "records" not in lists and (record or self._is_record(kept, lists)):
            linked = self._found.counts["skipped_linked_release"] - linked
            self._end_record(kept, compiled, linked, group, first)
        elif lists:
            self._end_package(kept, lists)
        elif "ocid" in kept:
            self._add(kept, text.since(start), Kind.RELEASE, 0)
            self._bare = True
        else:
            self._skip_not_ocds("an object without ocid, releases or records")
        text.let_go(start)

    def _is_record(self, kept: dict[str, Any], lists: set[str]) -> bool:
        embedded = "releases" in lists and "ocid" in kept
        return embedded or "compiledRelease" in kept or "versionedRelease" in kept

    def _read_key(self) -> str:
        if self._text.peek() != '"':
            raise BadJsonError(f"Expecting property name enclosed in double quotes (line {self._text.line})")
        key, _ = self._text.value()
        if self._text.peek() != ":":
            raise BadJsonError(f"Expecting ':' delimiter (line {self._text.line})")
        self._text.position += 1
        return str(key)

    def _read_record(self) -> None:
        if self._text.peek() == "{":
            self._read_object(record=True)
        else:
            value, _ = self._text.value()
            self._skip_deep() if isinstance(value, TooDeep) else self._skip("not_an_object", "NotAnObject", "a record")

    def _read_release(self, group: int) -> None:
        release, published = self._text.value()
        if isinstance(release, TooDeep):
            self._skip_deep()
        elif not isinstance(release, dict):
            self._skip("not_an_object", "NotAnObject", "a release")
        elif "url" in release and "ocid" not in release:
            self._found.counts["skipped_linked_release"] += 1
        else:
            self._add(release, published, Kind.RELEASE, group)

    def _end_package(self, kept: dict[str, Any], lists: set[str]) -> None:
        self._found.counts["record_packages" if "records" in lists else "release_packages"] += 1
        for name, counter in (("license", self.licenses), ("publicationPolicy", self.policies)):
            value = kept.get(name)
            if isinstance(value, str) and value and (value in counter or len(counter) < 1000):
                counter[value.encode(errors="replace").decode()] += 1

    def _end_record(self, kept: dict[str, Any], compiled: str, linked: int, group: int, first: int) -> None:
        """Add what the record says of itself, so that its releases are known to be a record's."""
        self._found.counts["records"] += 1
        release = kept.get("compiledRelease")
        embedded = next((entry.ocid for entry in self._entries[first:] if entry.group == group), None)
        inner = release.get("ocid") if isinstance(release, dict) else None
        ocid = next((text for text in (kept.get("ocid"), inner, embedded) if isinstance(text, str)), None)
        if isinstance(release, TooDeep):
            self._skip_deep()
        if ocid is None:
            self._skip("no_ocid", "NoOcid", "a record")
            return
        self._put(Entry(ocid, self._file, self._document, self._next(), group, Kind.RECORD, b"%d" % linked))
        if isinstance(release, dict) and release:
            self._add({"ocid": ocid}, compiled, Kind.COMPILED, group)

    def _add(self, release: dict[str, Any], published: str, kind: Kind, group: int) -> None:
        self._found.counts["releases" if kind == Kind.RELEASE else "published_compiled_releases"] += 1
        ocid = release.get("ocid")
        if ocid is None:
            self._skip("no_ocid", "NoOcid", "a release")
        elif not isinstance(ocid, str):
            self._skip("ocid_not_text", "OcidNotText", "a release")
        else:
            try:
                data = published.encode()
            except UnicodeEncodeError as error:
                raise BadJsonError(f"Not UTF-8 (near line {self._text.line})") from error
            self._put(Entry(ocid, self._file, self._document, self._next(), group, kind, data))

    def _put(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._held += len(entry.data)
        if self._held > _HELD:
            self._handed_on = True
            self._hand_on()

    def _hand_on(self) -> None:
        for entry in self._entries:
            self._emit(entry)
        self._entries, self._held = [], 0

    def _next(self) -> int:
        self._position += 1
        return self._position

    def _skip_not_ocds(self, what: str) -> None:
        self._skip("not_ocds", "NotOCDS", what)

    def _skip_deep(self) -> None:
        self._skip("nesting", "NestedTooDeeply", "a value")

    def _skip(self, count: str, kind: str, what: str) -> None:
        self._found.counts[f"skipped_{count}"] += 1
        self._found.note("WARNING", kind, f"{self._name}: {what} (document {self._document}, line {self._text.line})")
