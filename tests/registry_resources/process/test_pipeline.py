"""The same input gives the same bytes, whoever shares the work (I7), in bounded memory (ASK-16)."""

from __future__ import annotations

import json
import random

import pytest

from registry_resources.process import pipeline
from registry_resources.process.blocks import BrokenBlockError, blocks, pack
from registry_resources.process.entries import BucketWriter, Entry, Kind, read_entries
from registry_resources.process.pipeline import EmptyCollectionError
from registry_resources.process.reading import CollectedFile, shares


def collection(seed):
    """Files of many kinds, and with mistakes."""
    rng = random.Random(seed)
    files = {}
    for n in range(40):
        releases = [
            {
                "ocid": f"o{rng.randrange(200)}",
                "id": str(rng.randrange(3)),
                "date": rng.choice(["2020", "2021-01-01", "2021-02-02", None]),
                "tender": rng.choice([{"items": [{"id": 1}, {"id": 1}]}, {"title": "ü" * rng.randrange(50)}, 5]),
            }
            for _ in range(rng.randrange(30))
        ]
        text = json.dumps({"license": rng.choice("abc"), "releases": releases})
        files[f"{n:06}.json"] = text[: len(text) - rng.choice([0, 0, 0, 3])]
    return files


@pytest.mark.parametrize("workers", [2, 5])
def test_the_number_of_processes_changes_nothing(process, monkeypatch, workers):
    """Parts, counts, notes and their examples."""
    files = collection(1)
    alone = process(files)
    monkeypatch.setattr(pipeline, "_ALONE", 0)
    together = process(files, workers)
    assert together.result == alone.result
    assert list(together.lines.items()) == list(alone.lines.items())
    assert alone.counts["skipped_invalid_json"]
    assert alone.skipped()["inconsistent_type"]


def test_buckets_too_large_for_memory_are_split(process, monkeypatch):
    """Also again, until they aren't or until splitting no longer helps."""
    files = collection(2)
    whole = process(files)
    monkeypatch.setattr(pipeline, "MAX_BUCKET", 2000)
    split = process(files)
    assert len(split.result["parts"]) > 20 > len(whole.result["parts"])
    assert split.lines == whole.lines
    assert split.counts == whole.counts
    monkeypatch.setattr(pipeline, "_ALONE", 0)
    assert process(files, 2).result == split.result


def test_nothing_to_read_is_an_error_of_its_own(process):
    """PRO-09."""
    with pytest.raises(EmptyCollectionError):
        process({})


def test_files_are_dealt_out_evenly():
    """Every file to one process, about the same bytes to each."""
    files = [CollectedFile(n, f"{n}", 1000 * n) for n in range(100)]
    dealt = shares(files, 3)
    assert sorted(file.number for share in dealt for file in share) == list(range(100))
    sizes = [sum(file.size for file in share) for share in dealt]
    assert max(sizes) - min(sizes) <= 100_000
    assert shares(files[:1], 4) == [files[:1]]
    assert shares([], 4) == []


def test_a_bucket_file_gives_back_what_was_written(tmp_path):
    """Every field, however odd."""
    entries = [
        Entry("\ud800\0é", 2**32 - 1, 2**32 - 1, 2**32 - 1, 0, Kind.RECORD, b"12"),
        Entry("", 0, 1, 2, 3, Kind.RELEASE, b""),
        Entry("o", 0, 1, 2, 3, Kind.COMPILED, b"{}" * 100_000),
    ]
    writer = BucketWriter(tmp_path, "x", 1)
    for entry in entries:
        writer.write(entry)
        writer.flush()
    assert list(read_entries(tmp_path / "0000.x")) == entries


def test_what_is_held_is_written_before_it_grows(tmp_path, monkeypatch):
    """Memory stays flat."""
    monkeypatch.setattr("registry_resources.process.entries._HELD", 1000)
    writer = BucketWriter(tmp_path, "x", 4)
    for n in range(200):
        writer.write(Entry(f"o{n}", 0, 1, n, 0, Kind.RELEASE, b"x" * 50))
    assert sum(writer.sizes) > 0.8 * 200 * 78
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:5], lambda data: data[:-3] + b"abc"])
def test_a_damaged_block_is_noticed(tmp_path, damage):
    """Never read as fewer items."""
    path = tmp_path / "file"
    path.write_bytes(pack(b"one") + damage(pack(bytes(range(256)) * 4)))
    found = blocks(path)
    assert next(found) == b"one"
    with pytest.raises(BrokenBlockError):
        next(found)


def test_an_ocid_too_large_for_memory_is_left_out_with_an_error(process, monkeypatch):
    """ASK-16 and I8: as when a publisher gives all its releases one ocid. A single release is bounded by reading."""
    monkeypatch.setattr("registry_resources.process.merging.MAX_OCID", 1000)
    many = [{"ocid": "many", "id": str(n), "date": "2020"} for n in range(50)]
    found = process({"1.json": [*many, {"ocid": "one", "title": "x" * 2000}, {"ocid": "two"}]})
    assert set(found.lines) == {"one", "two"}
    assert found.skipped() == {"too_large": 1, "releases_not_merged": 50}
    note = found.note("TooLarge")
    assert (note["level"], note["data"]["total"]) == ("ERROR", 1)
    assert note["data"]["examples"] == ["many: 50 releases of 0 MB together"]
    assert found.counts["ocids"] == 3
