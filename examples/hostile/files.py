"""Whole files that are odd: in their shape, their encoding, their name or their archive.

Belongs here: files whose releases are ordinary. Does not belong here: odd releases, which stand in `CASES`.
"""

from __future__ import annotations

import json
from typing import Any

from examples.archives import gzipped, tarred, zipped
from examples.hostile.case import ABSENT, PREFIX, HostileFile, release, to_line

ALL = "Every release arrives."
COUNTED = "Skipped, counted and named; the other files are read."
SAFE = "Every document is read once, under a safe name, inside the crawl's folder only."
LINKED = "Linked releases (a URL in place of a release) are not fetched but counted."

PACKAGE = {
    "uri": "http://127.0.0.1/quirk/package.json",
    "version": "1.1",
    "publishedDate": "2021-12-31T00:00:00Z",
    "publisher": {"name": "Office of Oddities", "scheme": "QK-REG", "uid": "QK-1"},
    "license": "http://127.0.0.1/quirk/licence",
    "publicationPolicy": "http://127.0.0.1/quirk/policy",
}


def _releases(name: str, count: int = 2) -> list[dict[str, Any]]:
    return [release(f"file-{name}-{number}") for number in range(1, count + 1)]


def _package(name: str, count: int = 2, **members: Any) -> dict[str, Any]:
    package = {**PACKAGE, "releases": _releases(name, count), **members}
    return {key: value for key, value in package.items() if value is not ABSENT}


def _record(name: str, **members: Any) -> dict[str, Any]:
    return {"ocid": f"{PREFIX}-file-{name}", **members}


def _compiled(name: str) -> dict[str, Any]:
    return release(f"file-{name}", tag=["compiled"])


def _records(*records: dict[str, Any]) -> dict[str, Any]:
    return {**PACKAGE, "packages": ["http://127.0.0.1/quirk/package.json"], "records": list(records)}


def _lines(name: str, count: int = 2, end: bytes = b"\n") -> bytes:
    return b"".join(to_line(item) + end for item in _releases(name, count))


def _link(name: str, number: int) -> dict[str, Any]:
    return {"url": f"http://127.0.0.1/quirk/{name}.json#{number}", "date": "2021-03-04T05:06:07Z", "tag": ["tender"]}


def _several(name: str) -> list[dict[str, Any]]:
    return [release(f"file-{name}", number=n, date=f"2021-0{n}-01T00:00:00Z") for n in (1, 2, 3)]


def _indented(value: Any) -> bytes:
    return json.dumps(value, indent="\t", ensure_ascii=False).replace("\n", "\r\n").encode()


_SHAPES: tuple[tuple[str, Any, int | None], ...] = (
    ("release-package", _package("release-package"), 2),
    ("single-release", release("file-single-release"), 1),
    ("array-of-releases", _releases("array-of-releases"), 2),
    ("array-of-packages", [_package("array-of-packages-a"), _package("array-of-packages-b", 3)], 5),
    ("compiled-release", _compiled("compiled-release"), 1),
    ("package-of-compiled-releases", {**PACKAGE, "releases": [_compiled("compiled-package")]}, 1),
    ("record-with-releases", _records(_record("embedded", releases=_several("embedded"))), 1),
    ("record-compiled-only", _records(_record("compiled-only", compiledRelease=_compiled("compiled-only"))), 1),
    (
        "record-with-both",
        _records(_record("both", releases=_several("both"), compiledRelease=_compiled("both"))),
        1,
    ),
    (
        "record-versioned",
        _records(
            _record("versioned", versionedRelease={"ocid": f"{PREFIX}-file-versioned"}, releases=_several("versioned"))
        ),
        1,
    ),
    ("single-record", _record("single-record", releases=_several("single-record")), 1),
    ("package-empty", _package("none", 0), 0),
    ("package-extensions", _package("extensions", extensions=["http://127.0.0.1/quirk/extension.json"]), 2),
    ("package-old", {"releases": _releases("package-old")}, 2),
    ("package-members-last", {"releases": _releases("members-last"), **PACKAGE}, 2),
    ("package-links", _package("links", links={"next": "http://127.0.0.1/quirk/never-asked-for"}), 2),
)

_BYTES: tuple[tuple[str, bytes, str, int | None], ...] = (
    ("record-linked.json", to_line(_records(_record("linked", releases=[_link("linked", 1)]))), LINKED, 0),
    (
        "record-linked-and-compiled.json",
        to_line(
            _records(
                _record(
                    "linked-compiled",
                    releases=[_link("l", n) for n in (1, 2)],
                    compiledRelease=_compiled("linked-compiled"),
                )
            )
        ),
        LINKED + " The compiled release is taken.",
        1,
    ),
    ("package-releases-null.json", to_line(_package("null", releases=None)), "No release, and no crash.", 0),
    ("package-releases-object.json", to_line(_package("object", releases={"a": 1})), COUNTED, 0),
    (
        "package-mixed.json",
        to_line({**PACKAGE, "releases": [*_releases("mixed"), None, "text", 5, [], {}]}),
        "Two releases arrive; what is no release is counted.",
        2,
    ),
    ("lines.jsonl", _lines("lines", 3), ALL, 3),
    ("lines-crlf.jsonl", _lines("lines-crlf", 3, b"\r\n"), ALL, 3),
    ("lines-blank.jsonl", b"\n\n" + _lines("lines-blank", 3, b"\n\n  \n\t\n"), "Blank lines are no error.", 3),
    ("lines-no-end.jsonl", _lines("lines-no-end", 3).rstrip(), "The last line needs no line break.", 3),
    ("lines-bom.jsonl", b"\xef\xbb\xbf" + _lines("lines-bom", 3), ALL, 3),
    ("lines-one-bad.jsonl", _lines("lines-bad-a", 2) + b'{"ocid": "x", \n' + _lines("lines-bad-b", 2), COUNTED, 4),
    ("lines-packages.jsonl", to_line(_package("lines-pa")) + b"\n" + to_line(_package("lines-pb")) + b"\n", ALL, 4),
    ("lines-named.json", _lines("lines-named", 2), "JSON Lines are known by their content, not by their name.", 2),
    ("concatenated.json", b"".join(to_line(item) for item in _releases("concatenated", 3)), ALL, 3),
    ("concatenated-packages.json", _indented(_package("cat-a")) + b"\n" + _indented(_package("cat-b")), ALL, 4),
    ("bom.json", b"\xef\xbb\xbf" + to_line(_package("bom")), ALL, 2),
    ("indented.json", b" \r\n\t" + _indented(_package("indented")) + b"\r\n \r\n", ALL, 2),
    ("trailing-blanks.json", to_line(_package("trailing")) + b" " * 100_000, ALL, 2),
    ("escaped.json", json.dumps(_package("escaped", x="\u0417\U0001f9f9")).encode(), ALL, 2),
    ("utf-16.json", json.dumps(_package("utf-16"), ensure_ascii=False).encode("utf-16"), "Read or counted.", None),
    (
        "latin-1.jsonl",
        to_line(release("file-latin-1", tender={"id": "t", "title": "Caf\u00e9"})).decode().encode("latin-1") + b"\n",
        "Not UTF-8: skipped, counted and named.",
        None,
    ),
    ("invalid.json", to_line(_package("invalid"))[:-40], COUNTED, None),
    (
        "not-ocds.json",
        b'{"type":"FeatureCollection","features":[{"type":"Feature","properties":{"name":"x"}}]}',
        COUNTED,
        0,
    ),
    ("not-ocds-array.json", b"[1, 2, 3]", COUNTED, 0),
    ("packed.json.gz", gzipped(to_line(_package("packed"))), ALL, 2),
    (
        "packed.jsonl.gz",
        gzipped(_lines("packed-lines-a")) + gzipped(_lines("packed-lines-b")),
        "Several members are one.",
        4,
    ),
    ("packed-unnamed.json", gzipped(to_line(_package("packed-unnamed"))), "gzip is known by its content.", 2),
    ("odd names/\u0442\u0435\u043d\u0434\u0435\u0440 (1) & 100%.json", to_line(_package("odd-name")), SAFE, 2),
    ("odd names/-rf #?*[a].json", to_line(_package("odd-name-2")), SAFE, 2),
    (f"odd names/{'long-' * 48}.json", to_line(_package("long-name")), SAFE, 2),
    ("odd names/UPPER.JSON", to_line(_package("upper-name")), SAFE, 2),
    ("odd names/no-suffix", to_line(_package("no-suffix")), SAFE, 2),
    ("a/b/c/same.json", to_line(_package("same-name-a")), "Files of one name in several folders are all read.", 2),
    ("a/b/d/same.json", to_line(_package("same-name-b")), "Files of one name in several folders are all read.", 2),
)

_ZIP = zipped(
    (
        ("folder/", b""),
        ("folder/first.json", to_line(_package("zip-first"))),
        ("folder/deeper/second.jsonl", _lines("zip-second", 3)),
        ("folder/third.json.gz", gzipped(to_line(_package("zip-third")))),
        ("../../escaped.json", to_line(_package("zip-parent"))),
        ("/absolute.json", to_line(_package("zip-absolute"))),
        ("C:\\windows\\drive.json", to_line(_package("zip-drive"))),
        ("folder/twice.json", to_line(_package("zip-twice-a"))),
        ("folder/twice.json", to_line(_package("zip-twice-b"))),
        ("folder/Twice.json", to_line(_package("zip-twice-c"))),
        ("folder/\u0442\u0435\u043d\u0434\u0435\u0440 \U0001f9f9.json", to_line(_package("zip-unicode"))),
        (f"folder/{'n' * 300}.json", to_line(_package("zip-long"))),
    )
)

_TAR = tarred(
    (
        ("./", b""),
        ("./data/2021/first.json", to_line(_package("tar-first"))),
        ("./data/2021/second.jsonl", _lines("tar-second", 3)),
        ("data/third.json.gz", gzipped(to_line(_package("tar-third")))),
        ("../../escaped.json", to_line(_package("tar-parent"))),
        ("/absolute.json", to_line(_package("tar-absolute"))),
        (f"{'deep/' * 60}fourth.json", to_line(_package("tar-deep"))),
    ),
    links=(("data/link.json", "/etc/hostname"), ("data/up", "../../..")),
)

FILES: tuple[HostileFile, ...] = (
    *(HostileFile(f"shapes/{name}.json", to_line(value), ALL, count) for name, value, count in _SHAPES),
    *(HostileFile(f"files/{path}", body, expect, count) for path, body, expect, count in _BYTES),
    HostileFile("archives/nested.zip", _ZIP, SAFE, 23),
    HostileFile("archives/nested.tar.gz", _TAR, SAFE + " Links are not followed.", 13),
)

BROKEN_FILES: tuple[HostileFile, ...] = (
    HostileFile("empty.json", b"", "An error, counted: nothing in it.", 0),
    HostileFile("blank.json", b" \r\n\t\n", "An error, counted: nothing in it.", 0),
    HostileFile("page.json", b"<!doctype html><title>503</title><p>Back soon</p>", "An error, counted: HTML.", 0),
    HostileFile(
        "truncated.json.gz", gzipped(_lines("truncated", 200))[:-100], "An error, counted: the gzip is cut.", None
    ),
    HostileFile(
        "damaged.json.gz", gzipped(b"x" * 50)[:-8] + bytes(8), "An error, counted: the checksum is wrong.", None
    ),
    HostileFile("truncated.zip", _ZIP[:-200], "An error, counted: the zip is cut.", None),
    HostileFile("truncated.tar.gz", _TAR[:-100], "An error, counted: the archive is cut.", None),
)
