"""Reads what a page of an API says of the next one. Belongs here: reading in constant memory, however deep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ijson

from registry_resources.collect.problems import BadContentError

SMALL = 8 << 20  # bytes up to which a page that the strict parser refuses is read by Python's, which knows NaN


class Link:
    """The link to the next page, found by following keys from the page's root.

    Attributes:
        value: its URL, or "" if there is none.
        place: whether there is a place for it: the object that would hold it, or the key itself.
    """

    def __init__(self, path: str) -> None:
        self.value = ""
        self.place = False
        self._path = path
        self._keys = path.split(".")
        self._depth = 0  # objects and arrays around
        self._matched = 0  # keys followed
        self._here = False  # whether the value that comes next is that of the next key

    def event(self, event: str, value: Any) -> None:
        """Take one event of the parser.

        Raises:
            BadContentError: if the page isn't an object, or the link isn't a text.
        """
        if event == "map_key":
            self._here = self._depth == self._matched + 1 and value == self._keys[self._matched]
            self.place |= self._here and self._matched == len(self._keys) - 1
            return
        if event.startswith("end_"):
            self._depth -= 1
            if self._matched and self._depth == self._matched:
                self._matched -= 1
            return
        if not self._depth and event != "start_map":
            raise BadContentError("a JSON array, where a page is an object" if event == "start_array" else "no object")
        here, self._here = self._here, False
        if here:
            self._value(event, value)
        if event.startswith("start_"):
            self._depth += 1

    def _value(self, event: str, value: Any) -> None:
        if self._matched == len(self._keys) - 1:
            self.value = value.strip() if event == "string" else ""
            if event not in {"string", "null"}:
                raise BadContentError(f"its {self._path} is no text")
        elif event == "start_map":
            self._matched += 1
            self.place |= self._matched == len(self._keys) - 1


def read_page(path: Path, next_path: str) -> Link:
    """Read a page to its end.

    Not with prefixes, which the parser offers: they take memory by the square of the depth.

    Args:
        path: the page.
        next_path: the keys that lead to the link, joined by dots.

    Raises:
        BadContentError: if it isn't one JSON object, or the link isn't a text.
    """
    link = Link(next_path)
    with path.open("rb") as file:
        if file.read(3) != b"\xef\xbb\xbf":
            file.seek(0)
        start = file.tell()
        try:
            for event, value in ijson.basic_parse(file):
                link.event(event, value)
        except ijson.JSONError as error:
            file.seek(start)
            if path.stat().st_size > SMALL or (again := _read_small(file.read(), next_path)) is None:
                reason = str(error).removeprefix("b'").split("\\n")[0].splitlines()[0]
                raise BadContentError(f"not valid JSON: {reason[:200]}") from error
            return again
    return link


def _read_small(data: bytes, next_path: str) -> Link | None:
    """Read a page with Python's parser. Returns None if that refuses it, too."""
    try:
        page = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(page, dict):
        return None
    link = Link(next_path)
    *parents, last = next_path.split(".")
    for key in parents:
        page = page.get(key) if isinstance(page, dict) else None
    if isinstance(page, dict):
        value = page.get(last)
        link.place = bool(parents) or last in page
        link.value = value.strip() if isinstance(value, str) else ""
    return link
