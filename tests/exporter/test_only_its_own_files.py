"""What an export finds in a folder and did not make: it is never deleted, nor what the export reads from."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from exporter import jsonl, manifest
from exporter.errors import ExporterError, SourceError
from exporter.util import Export

LINE = b'{"ocid": "ocds-1", "id": "1", "date": "2021-01-01T00:00:00Z"}\n'


def export(source: Path, folder: Path) -> tuple[int, str]:
    """Run the command; return its exit code and what it said on standard error."""
    arguments = [sys.executable, "-m", "exporter", "export", source, folder]
    done = subprocess.run(arguments, capture_output=True, check=False, text=True)
    return done.returncode, done.stderr


def there(folder: Path) -> set[str]:
    """Every file below a folder, by its path from there."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_an_export_into_a_folder_of_other_files_is_refused_and_deletes_nothing(tmp_path: Path) -> None:
    """`export /data/releases.jsonl .` is easily typed, in a folder that holds a life's work."""
    home = tmp_path / "home"
    (home / "photos").mkdir(parents=True)
    (tmp_path / "releases.jsonl").write_bytes(LINE)
    for name in ("thesis.txt", ".profile", "photos/sea.jpg"):
        (home / name).write_bytes(LINE)
    before = there(home)
    code, errors = export(tmp_path / "releases.jsonl", home)
    assert code == 1
    assert "home: it holds .profile, which is no file of an export" in errors
    assert "so nothing was deleted: give a folder that is empty or not there yet" in errors
    assert there(home) == before


def test_later_stages_leave_other_files_alone(target: Export) -> None:
    """What somebody puts beside the lines meanwhile is theirs; `verify` names it."""
    jsonl.export(target, [[("2021-01", LINE.strip())]])
    (target.directory / "notes.txt").touch()
    manifest.begin_stage(target, "coverage")
    manifest.begin_stage(target, "flatten")
    assert (target.directory / "notes.txt").exists()
    with pytest.raises(ExporterError, match=r"it holds notes\.txt"):
        manifest.begin_stage(target, "export")
    assert (target.directory / "full.jsonl.gz").exists()


def test_a_source_in_the_export_directory_is_refused(tmp_path: Path) -> None:
    """The directory is emptied before the first line is written: reading `full` back would lose every release."""
    folder = tmp_path / "1"
    folder.mkdir()
    for name, data in (("full.jsonl.gz", gzip.compress(LINE)), ("2021.jsonl.gz", gzip.compress(LINE))):
        (folder / name).write_bytes(data)
    (tmp_path / "link").symlink_to(folder / "full.jsonl.gz")
    for source in (folder / "full.jsonl.gz", tmp_path / "link"):
        code, errors = export(source, folder)
        assert code == 1
        assert "it lies in the export directory, which is emptied first" in errors
    assert there(folder) == {"full.jsonl.gz", "2021.jsonl.gz"}


@pytest.mark.parametrize("name", ["none.jsonl", "folder"])
def test_a_source_that_cannot_be_read_costs_no_earlier_export(tmp_path: Path, name: str) -> None:
    """A name with a slip in it is told before anything is deleted."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "good.jsonl").write_bytes(LINE)
    assert export(tmp_path / "good.jsonl", tmp_path / "1")[0] == 0
    code, errors = export(tmp_path / name, tmp_path / "1")
    assert code == 1
    assert "give a readable file" in errors
    assert there(tmp_path / "1") == {"manifest.json", "full.jsonl.gz", "2021.jsonl.gz"}
    with pytest.raises(SourceError):
        jsonl.read_source(tmp_path / name)
