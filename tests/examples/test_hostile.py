"""The catalogue of hostile inputs keeps what it says: other tests and the demo build on it."""

from __future__ import annotations

import gzip
import io
import json
import re
import sys
import tarfile
import warnings
import zipfile

import ocdsmerge
import pytest

from examples.hostile import (
    BROKEN_FILES,
    CASES,
    FILES,
    PREFIX,
    Case,
    HostileFile,
    compiled_bounds,
    enormous_line,
    gzip_bomb,
)

CASES_BY_NAME = {case.name: case for case in CASES}


@pytest.fixture(scope="module")
def merger(shared):
    """The field's own merger, with the standard's schema, so that nothing is fetched."""
    return ocdsmerge.Merger(schema=json.loads((shared / "ocds" / "release-schema.json").read_bytes()))


def year_of(date: object) -> str:
    """The year rule, by hand: 1000 to 9999 and a valid month, in ASCII digits; else undated."""
    match = re.match(r"([1-9][0-9]{3})-(0[1-9]|1[0-2])", date) if isinstance(date, str) else None
    return match[1] if match else "undated"


def test_names_and_paths_are_unique():
    assert len(CASES_BY_NAME) == len(CASES)
    for files in (FILES, BROKEN_FILES):
        assert len({file.path for file in files}) == len(files)


def test_every_release_is_one_line_of_utf_8():
    """JSON Lines: a line break within a release would cut it in two."""
    for case in CASES:
        for line in case.lines:
            assert line.decode().startswith("{"), case.name
            assert b"\n" not in line, case.name


def test_all_that_no_real_publisher_had_is_among_the_cases():
    """The features that the corpus of real data lacks have to be invented; each is named here by one of its cases."""
    assert {
        "keys-duplicate",
        "number-over-2-53",
        "number-over-2-64",
        "number-1e400",
        "number-nan",
        "number-infinity",
        "xml-illegal-nul",
        "xml-illegal-controls",
        "characters-outside-bmp",
        "surrogate-high",
        "array-of-arrays",
        "key-empty",
        "key-dotted",
        "keys-collide-underscore",
        "keys-collide-dots",
        "keys-differ-by-case",
        "nested-objects-10000",
    } <= CASES_BY_NAME.keys()
    assert any(file.body.startswith(b"\xef\xbb\xbf") for file in FILES)


@pytest.mark.parametrize("case", [case for case in CASES if case.compiled is not None], ids=lambda case: case.name)
def test_ocdsmerge_compiles_what_the_case_says_compiles(case: Case, merger):
    """`compiled` and `year` are what ocdsmerge gives; a release without an ocid never gets as far."""
    depth = sys.getrecursionlimit()
    sys.setrecursionlimit(50_000)
    try:
        releases = [json.loads(line) for line in case.lines]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not all(isinstance(release.get("ocid"), str) for release in releases):
                assert (case.compiled, case.year) == (False, "")
            elif case.compiled:
                assert year_of(merger.create_compiled_release(releases).get("date")) == case.year
            else:
                with pytest.raises(ocdsmerge.exceptions.OCDSMergeError):
                    merger.create_compiled_release(releases)
                assert case.year == ""
    finally:
        sys.setrecursionlimit(depth)


def test_duplicate_keys_are_in_the_text_itself():
    """A JSON library would have dropped one of them on writing."""
    assert CASES_BY_NAME["keys-duplicate"].lines[0].count(b'"title"') == 2


def test_lone_surrogates_are_escapes():
    """As raw bytes they would not be UTF-8, which is another case."""
    assert rb"\ud800" in CASES_BY_NAME["surrogate-high"].lines[0]


def bodies(file: HostileFile) -> list[bytes]:
    """A file's documents, unpacked with the standard library."""
    if file.path.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(file.body)) as archive:
            contents = [archive.read(info) for info in archive.infolist()]
    elif file.path.endswith(".tar.gz"):
        with tarfile.open(fileobj=io.BytesIO(file.body)) as archive:
            contents = [
                stream.read() for member in archive if member.isfile() and (stream := archive.extractfile(member))
            ]
    else:
        contents = [file.body]
    return [gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body for body in contents]


def ocids_of(file: HostileFile) -> set[bytes]:
    """The ocids that a file's text has, wherever they stand."""
    pattern = rb'"ocid": ?"(' + PREFIX.encode() + rb'-file-[^"]+)"'
    return {ocid for body in bodies(file) for ocid in re.findall(pattern, body)}


def test_no_ocid_is_in_two_files():
    """So the counts of cases and files add up, and nothing is merged across files."""
    every = [ocid for file in FILES for ocid in ocids_of(file)]
    assert len(every) == len(set(every))


def test_the_bounds_count_what_may_go_either_way():
    """By hand: three numbers, four half characters, four depths and an id; and three files of at most two."""
    least, most = compiled_bounds()
    assert most - least == 3 + 4 + 4 + 1 + 2 * 3


@pytest.mark.parametrize("file", [file for file in FILES if file.compiled is not None], ids=lambda file: file.path)
def test_a_file_has_as_many_ocids_as_it_says(file: HostileFile):
    """Linked releases alone give nothing to compile; else every ocid in a file is an ocid of a release in it."""
    ocids = ocids_of(file)
    assert len(ocids) == (1 if file.path == "files/record-linked.json" else file.compiled)


def test_an_archive_has_the_names_that_would_escape():
    (zip_file,) = (file for file in FILES if file.path.endswith(".zip"))
    with zipfile.ZipFile(io.BytesIO(zip_file.body)) as archive:
        names = [info.orig_filename for info in archive.infolist()]
    assert {"../../escaped.json", "/absolute.json", "C:\\windows\\drive.json"} <= set(names)
    assert names.count("folder/twice.json") == 2


def test_what_is_too_large_to_keep_is_made_when_asked_for():
    line = enormous_line("large", 3_000_000)
    assert len(line) > 3_000_000
    assert json.loads(line)["ocid"] == f"{PREFIX}-large"
    bomb = gzip_bomb(20_000_000)
    assert len(bomb) < 100_000
    assert len(gzip.decompress(bomb)) >= 20_000_000
