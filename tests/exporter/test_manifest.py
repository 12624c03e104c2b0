"""The manifest: its form stays readable, and each stage's part comes and goes as a whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import exporter
from exporter import manifest
from exporter.errors import BrokenExportError, PublishedExportError
from exporter.util import PUBLISHED, Export

# A manifest as it was first released. Later code must go on reading it: published versions never change (I2).
FIRST = {
    "version": 1,
    "job": {"key": "bridges", "id": "12"},
    "files": [
        {
            "name": "2021.csv.tar.gz",
            "stage": "flatten",
            "format": "csv",
            "year": 2021,
            "table": None,
            "tables": {"main": 2, "parties": 3},
            "rows": 5,
            "bytes": 700,
            "uncompressed": None,
            "sha256": "ab" * 32,
        },
        {
            "name": "full.jsonl.gz",
            "stage": "export",
            "format": "jsonl",
            "year": "full",
            "table": None,
            "tables": {},
            "rows": 2,
            "bytes": 900,
            "uncompressed": 4000,
            "sha256": "cd" * 32,
        },
    ],
    "tables": {"main": [{"name": "ocid", "type": "string", "description": "The process."}]},
    "missing": [
        {
            "format": "xlsx",
            "name": "full.xlsx",
            "reason_code": "too_many_rows",
            "reason": "xlsx: parties has 1,312,000 rows, Excel holds 1,048,576",
            "stage": "flatten",
        }
    ],
    "counts": {"releases": 2, "skipped_export_invalid_json": 1},
    "stages": {
        "export": {"counts": {"releases": 2, "skipped_export_invalid_json": 1}, "versions": {"orjson": "3.11"}}
    },
    "versions": {"python": "3.11.7"},
}


def made(target: Export, name: str, data: bytes = b"x", **members: object) -> manifest.FileEntry:
    """Write a file and return its entry."""
    target.directory.mkdir(parents=True, exist_ok=True)
    (target.directory / name).write_bytes(data)
    return manifest.FileEntry(name=name, format="csv", rows=1, bytes=len(data), sha256="0" * 64, **members)


def test_the_schema_that_is_checked_in_is_the_models() -> None:
    """Readers in other languages have the schema: `python -m json.tool` of `manifest.schema()` renews it."""
    path = Path(exporter.__file__).with_name("manifest.schema.json")
    assert json.loads(path.read_bytes()) == manifest.schema()


def test_the_first_released_form_is_still_read_and_written_the_same() -> None:
    """Compatibility: what old manifests hold is neither refused nor changed."""
    found = manifest.Manifest.model_validate(FIRST)
    assert json.loads(found.to_bytes()) == FIRST


def test_old_readers_find_what_they_look_for() -> None:
    """Compatibility the other way: no member of the first form is gone, and nothing new is required."""

    def required(definition: dict[str, object]) -> set[str]:
        return set(definition.get("required", ()))

    now = manifest.schema()
    assert set(FIRST) <= set(now["properties"])
    assert set(FIRST["files"][0]) <= set(now["$defs"]["FileEntry"]["properties"])
    assert required(now) == set()
    assert required(now["$defs"]["FileEntry"]) == {"name", "format", "rows", "bytes", "sha256"}
    assert required(now["$defs"]["Missing"]) == {"format", "name", "reason_code", "reason"}


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("{", "the text"),
        ("[]", "the text"),
        ('{"version": 2}', "version"),
        ('{"files": [{"name": "a"}]}', "files/0/format"),
        ('{"surprise": 1}', "surprise"),
    ],
)
def test_a_damaged_manifest_is_named_with_the_place(tmp_path: Path, text: str, where: str) -> None:
    """File, cause, remedy."""
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(BrokenExportError, match=f"manifest.json: {where}: .*: it is damaged or of another version"):
        manifest.read(tmp_path)


def test_there_may_be_none(tmp_path: Path) -> None:
    """A directory that is not there, or has no manifest."""
    assert manifest.read(tmp_path) is None
    assert manifest.read(tmp_path / "none") is None


def test_each_stage_replaces_its_own_part(target: Export) -> None:
    """Recording twice is recording once; the others' parts stay."""
    for rows in (1, 2):
        manifest.record_stage(target, "flatten", files=[made(target, f"{rows}.csv.tar.gz")], counts={"tables": rows})
        manifest.record_stage(target, "coverage", files=[made(target, "coverage.json")], counts={"paths": 7})
    found = manifest.read(target.directory)
    assert [(entry.name, entry.stage) for entry in found.files] == [
        ("2.csv.tar.gz", "flatten"),
        ("coverage.json", "coverage"),
    ]
    assert found.counts == {"tables": 2, "paths": 7}
    assert (found.job.key, found.job.id) == ("bridges", "12")


def test_beginning_a_stage_drops_its_part_and_its_files_and_those_of_later_stages(target: Export) -> None:
    """DEF-05, and the leftovers of killed processes."""
    directory = target.directory
    manifest.record_stage(target, "export", files=[made(target, "full.jsonl.gz")], counts={})
    manifest.record_stage(target, "coverage", files=[made(target, "coverage.json")], counts={})
    columns = [manifest.Column(name="ocid", type="string")]
    missing = [manifest.Missing(format="xlsx", name="full.xlsx", reason_code="r", reason="r")]
    manifest.record_stage(
        target,
        "flatten",
        files=[made(target, "full.csv.tar.gz")],
        counts={},
        tables={"main": columns},
        missing=missing,
    )
    (directory / "parquet" / "main").mkdir(parents=True)
    (directory / ".tmp-full.xlsx-1-abc").touch()
    (directory / ".tmp-coverage.json-1-abc").mkdir()

    manifest.begin_stage(target, "flatten")
    found = manifest.read(directory)
    assert (set(found.stages), found.tables, found.missing) == ({"export", "coverage"}, {}, [])
    assert {path.name for path in directory.iterdir()} == {
        "manifest.json",
        "full.jsonl.gz",
        "coverage.json",
        ".tmp-coverage.json-1-abc",
    }
    manifest.begin_stage(target, "export")
    assert {path.name for path in directory.iterdir()} == {"manifest.json"}
    assert manifest.read(directory).files == []


def test_a_damaged_manifest_stops_later_stages_but_not_a_new_export(target: Export) -> None:
    """Exporting makes everything anew."""
    made(target, "manifest.json", b"{")
    with pytest.raises(BrokenExportError):
        manifest.begin_stage(target, "coverage")
    manifest.begin_stage(target, "export")
    assert manifest.read(target.directory) is None


def test_a_file_that_is_not_there_is_not_recorded(target: Export) -> None:
    """The manifest never promises what it has not seen."""
    entry = made(target, "full.csv.tar.gz")
    (target.directory / entry.name).write_bytes(b"longer")
    with pytest.raises(BrokenExportError, match=r"full\.csv\.tar\.gz: it is not there with 1 bytes"):
        manifest.record_stage(target, "flatten", files=[entry], counts={})
    assert manifest.read(target.directory) is None


def test_a_published_manifest_never_changes(target: Export) -> None:
    """I2."""
    made(target, PUBLISHED)
    with pytest.raises(PublishedExportError):
        manifest.record_stage(target, "flatten", files=[], counts={})
    with pytest.raises(PublishedExportError):
        manifest.begin_stage(target, "export")


def test_nothing_in_it_depends_on_time_or_place(exported: Export) -> None:
    """I7: only names below the directory, and no dates."""
    text = (exported.directory / "manifest.json").read_text()
    assert str(exported.root) not in text
    assert "T0" not in text
