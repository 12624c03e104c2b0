"""Each real publisher's collected files give the compiled releases that ocdsmerge makes of them."""

from __future__ import annotations

import gzip
import json
import shutil
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from registry_resources.process.backend import ProcessState

# What is left out and noted, known of these files (the corpus' description, and counted by hand or with jq).
SKIPPED = {
    "armenia-armeps": {},
    "canada-buyandsell": {"duplicate_release": 2, "no_date_several_releases": 7910, "releases_not_merged": 31821},
    "colombia-secop": {"duplicate_release": 10},
    "honduras-oncae": {},
    "malaysia-cidb": {"linked_release": 10},
    "mexico-inai": {"linked_release": 167},
    "moldova-etenders": {"duplicate_release": 51, "invalid_json": 1},
    "nigeria-budeshi": {"not_ocds": 6},
    "taiwan-pcc": {"duplicate_release": 10},
    "tunisia-haicop": {},
    "uk-contracts-finder": {"duplicate_release": 11},
}


def collect(raw: Path, folder: Path) -> int:
    """Lay the files out as the collect step does: unpacked, numbered in the order of their paths."""
    folder.mkdir(parents=True)
    paths = sorted(path for path in raw.rglob("*") if path.is_file())
    for number, path in enumerate(paths):
        target = folder / f"{number:06}-{path.name}"
        if path.suffix == ".zip":
            with (
                zipfile.ZipFile(path) as archive,
                archive.open(archive.namelist()[0]) as member,
                target.open("wb") as file,
            ):
                shutil.copyfileobj(member, file)
        else:
            shutil.copyfile(path, target)  # also .gz: it is recognised by its content
    return len(paths)


def expected(path: Path) -> dict[str, object]:
    with gzip.open(path) as file:
        return {release["ocid"]: release for release in map(json.loads, file)}


def as_compiled(release):
    """What merging makes of a single release without a date, by the specification: written for this test alone."""

    def without_nothing(value):
        if isinstance(value, dict):
            return {key: without_nothing(item) for key, item in value.items() if item not in (None, {}, [])}
        return [without_nothing(item) for item in value] if isinstance(value, list) else value

    return {**without_nothing(release), "tag": ["compiled"], "id": f"{release['ocid']}-None"}


@pytest.mark.parametrize("publisher", sorted(SKIPPED))
def test_compiled_releases_equal_those_of_ocdsmerge(shared, bench_factory, publisher):
    """Compared as JSON by ocid. One difference, by rule: a single release compiles also without a date."""
    bench = bench_factory(2)
    files = collect(shared / "data" / publisher / "raw", bench.source / "0AB")
    assert bench.run().state == ProcessState.COMPLETED
    found = {}
    dates = {}
    for date, line in bench.compiled():
        release = json.loads(line)
        assert release["ocid"] not in found
        found[release["ocid"]] = release
        dates[release["ocid"]] = date
    assert list(found) == sorted(found)
    reference = expected(shared / "data" / publisher / "compiled.jsonl.gz")
    extra = found.keys() - reference.keys()
    assert {ocid: found[ocid] for ocid in reference} == reference
    assert all(dates[ocid] == release["date"] for ocid, release in reference.items())
    if publisher == "canada-buyandsell":
        with gzip.open(shared / "data" / publisher / "compiled.undated.jsonl.gz") as file:
            undated = [json.loads(line) for line in file]
        number = Counter(release["ocid"] for release in undated)
        single = {release["ocid"]: release for release in undated if number[release["ocid"]] == 1}
        distinct = {json.dumps(release, sort_keys=True) for release in undated}
        assert len(undated) - len(distinct) == 2
        twins = extra - single.keys()
        assert len(single) == 11263 - len(twins)
        assert {ocid: found[ocid] for ocid in single} == {ocid: as_compiled(single[ocid]) for ocid in single}
        assert all(dates[ocid] is None for ocid in extra)
        assert len(extra) == 11263
    else:
        assert not extra
    counts = bench.backend.metadata(bench.job).counts
    assert counts["files"] == files
    assert counts["compiled_releases"] == len(found)
    assert {name[8:]: count for name, count in counts.items() if name.startswith("skipped_")} == SKIPPED[publisher]
    prefix = bench.backend.metadata(bench.job).ocid_prefix
    assert prefix == max(found)[:11]
