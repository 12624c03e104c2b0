"""The demo's sources: the same from the same seed, whole or absent, and as each publication promises."""

from __future__ import annotations

import collections
import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from examples import generate, publications


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("generated") / "sources"
    assert generate.generate(directory, large=900)
    return directory


def digests(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def graustark_releases(directory: Path) -> list[dict]:
    releases = []
    for path in sorted(directory.glob("graustark/*.jsonl.gz")):
        releases += [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    for path in directory.glob("graustark/*.zip"):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                releases += json.loads(archive.read(name))["releases"]
    return releases


def test_the_same_seed_gives_the_same_bytes(sources: Path, tmp_path: Path):
    """I7: the same input and code give the same bytes."""
    generate.generate(tmp_path / "again", large=900)
    assert digests(tmp_path / "again") == digests(sources)


def test_another_seed_gives_other_bytes(sources: Path, tmp_path: Path):
    generate.generate(tmp_path / "other", large=900, seed="other")
    before, after = digests(sources), digests(tmp_path / "other")
    assert before.keys() == after.keys()
    assert all(before[name] != after[name] for name in before if name.startswith(("ruritania/", "graustark/")))


def test_sources_that_are_there_are_left_alone(sources: Path):
    before = (sources / generate.STAMP).stat().st_mtime_ns
    assert not generate.generate(sources, large=900)
    assert (sources / generate.STAMP).stat().st_mtime_ns == before


def test_sources_of_another_size_take_their_place(tmp_path: Path):
    assert generate.generate(tmp_path / "sources", large=20)
    assert generate.generate(tmp_path / "sources", large=30)
    assert len(graustark_releases(tmp_path / "sources")) == 30
    assert [path.name for path in tmp_path.iterdir()] == ["sources"]


def test_a_folder_that_holds_something_else_is_not_touched(tmp_path: Path, capsys):
    (tmp_path / "thesis.txt").write_text("years of work")
    assert generate.main([str(tmp_path)]) == 1
    assert "holds something else" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_what_was_left_unfinished_is_begun_anew(tmp_path: Path):
    (tmp_path / ".sources.unfinished" / "graustark").mkdir(parents=True)
    (tmp_path / ".sources.unfinished" / "graustark" / "2016.jsonl.gz").write_bytes(b"half")
    generate.generate(tmp_path / "sources", large=20)
    assert not (tmp_path / "sources" / "graustark" / "2016.jsonl.gz").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["sources"]


def test_ruritania_has_several_releases_an_ocid_over_five_years(sources: Path):
    pages = [json.loads(path.read_bytes()) for path in sorted(sources.glob("ruritania/page-*.json"))]
    releases = [release for page in pages for release in page["releases"]]
    ocids = collections.Counter(release["ocid"] for release in releases)
    assert len(ocids) == 400
    assert min(ocids.values()) >= 2
    assert len({release["id"] for release in releases}) == len(releases)
    assert {release["date"][:4] for release in releases} >= {"2019", "2020", "2021", "2022", "2023"}
    assert {tag for release in releases for tag in release["tag"]} == {
        "planning",
        "tender",
        "tenderAmendment",
        "award",
        "contract",
        "implementation",
    }
    assert all(len(page["releases"]) == 100 for page in pages[:-1])


def test_graustark_has_as_many_releases_as_asked_for_and_every_kind_of_table(sources: Path):
    releases = graustark_releases(sources)
    assert len(releases) == 900
    assert len({release["ocid"] for release in releases}) < 900
    assert len({release["date"][:4] for release in releases}) >= 6
    assert len({release["tender"]["value"]["currency"] for release in releases}) == 6
    contracts = [contract for release in releases for contract in release.get("contracts", [])]
    assert any(contract.get("implementation", {}).get("transactions") for contract in contracts)
    for member in ("items", "documents", "milestones", "amendments", "tenderers"):
        assert any(release["tender"].get(member) for release in releases), member


def test_costaguana_has_records_some_with_links_in_place_of_releases(sources: Path):
    body = (sources / "costaguana" / "registros.tar.gz").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        packages = [json.loads(stream.read()) for name in archive if (stream := archive.extractfile(name))]
    records = [record for package in packages for record in package["records"]]
    linked = [record for record in records if "url" in record["releases"][0]]
    assert (len(records), len(linked)) == (160, 20)
    assert all("compiledRelease" in record for record in linked)
    assert len({record["ocid"] for record in records}) == 160


def test_quirk_has_ordinary_releases_beside_every_hostile_file(sources: Path):
    """Of some fifty files, few enough are broken for the crawl to be accepted (COL-09: at most 15 %)."""
    files = [path for path in (sources / "quirk").rglob("*") if path.is_file()]
    assert len(files) == len(publications.FILES) + 4
    ordinary = sum(len(json.loads(path.read_bytes())["releases"]) for path in sources.glob("quirk/ordinary/*.json"))
    assert ordinary == 600
