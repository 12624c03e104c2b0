"""`Export`: names, status, files and locks (EXP-06, EXP-07, I5)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from exporter.errors import ExporterError, LockFileError
from exporter.util import Export, TaskStatus, stage_of


def test_the_root_is_the_environments_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OPS-04: EXPORTER_DIR; without it the message says so."""
    monkeypatch.setenv("EXPORTER_DIR", str(tmp_path))
    assert Export("k", 12).path == tmp_path / "k" / "12"
    assert Export("k", 12, basename="full.jsonl.gz").path == tmp_path / "k" / "12" / "full.jsonl.gz"
    monkeypatch.delenv("EXPORTER_DIR")
    with pytest.raises(ExporterError, match="EXPORTER_DIR is not set"):
        Export("k", 12)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "a\0b", ".tmp-x"])
def test_no_name_reaches_out_of_the_root(tmp_path: Path, name: str) -> None:
    """I5, DEF-11: components and basenames are single names."""
    with pytest.raises(ExporterError, match="is no name"):
        Export("k", name, root=tmp_path)
    with pytest.raises(ExporterError, match="is no name"):
        Export("k", "12", basename=name, root=tmp_path)


def test_an_export_needs_a_component(tmp_path: Path) -> None:
    """The root itself is no export."""
    with pytest.raises(ExporterError):
        Export(root=tmp_path)


def test_status_of_a_file(exported: Export) -> None:
    """EXP-06: locked is RUNNING; there is COMPLETED; else WAITING."""

    def status(basename: str) -> TaskStatus:
        return Export(*exported.components, basename=basename, root=exported.root).status

    assert status("full.jsonl.gz") == "COMPLETED"
    assert status("2020.jsonl.gz") == "COMPLETED"
    assert status("2018.jsonl.gz") == "WAITING"
    assert status("full.csv.tar.gz") == "WAITING"
    with exported.lock("flatten"):
        assert status("full.csv.tar.gz") == "RUNNING"
        assert status("full.xlsx") == "RUNNING"  # it shares the lock of its CSV
        assert status("full.jsonl.gz") == "COMPLETED"
        assert status("coverage.json") == "WAITING"
    with exported.lock("export"):
        assert status("full.jsonl.gz") == "RUNNING"


def test_a_file_that_is_not_as_recorded_is_not_completed(exported: Export) -> None:
    """DEF-03, DEF-05: existing is not enough."""
    file = Export(*exported.components, basename="2020.jsonl.gz", root=exported.root)
    file.path.write_bytes(b"torn")
    assert file.status == "WAITING"
    (exported.directory / "1999.jsonl.gz").write_bytes(b"not recorded")
    assert Export(*exported.components, basename="1999.jsonl.gz", root=exported.root).status == "WAITING"


def test_status_of_the_whole(target: Export, exported: Export) -> None:
    """COMPLETED is every stage; a dead worker's lock is none (DEF-02)."""
    assert Export("k", "none", root=target.root).status == "WAITING"
    assert exported.status == "WAITING"
    for stage in ("export", "coverage", "flatten"):
        with exported.lock(stage):
            assert exported.locked
            assert exported.status == "RUNNING"
    exported.lockfile.write_text("")
    os.utime(exported.lockfile, (0, 0))
    assert not exported.locked
    assert exported.status == "WAITING"


def test_the_whole_is_completed_when_every_stage_is(finished: Export) -> None:
    """EXP-06, for the directory."""
    assert finished.status == "COMPLETED"


def test_files_are_listed_by_format(tmp_path: Path) -> None:
    """EXP-07: sizes or False; years latest first; unknown suffixes and prefixes are ignored."""
    target = Export("k", 1, root=tmp_path)
    assert target.files == {
        name: {"full": False, "undated": False, "by_year": []} for name in ("csv", "jsonl", "xlsx")
    }
    target.directory.mkdir(parents=True)
    for name, size in {
        "full.jsonl.gz": 10,
        "2019.jsonl.gz": 3,
        "2021.jsonl.gz": 4,
        "undated.jsonl.gz": 5,
        "full.csv.tar.gz": 11,
        "2021.xlsx": 12,
        "0207.jsonl.gz": 1,
        "2021_01.jsonl.gz": 1,
        "2021.jsonl": 1,
        "full.parquet": 1,
        "other.xlsx": 1,
        "manifest.json": 1,
        ".tmp-2022.xlsx-1-abc": 1,
    }.items():
        (target.directory / name).write_bytes(b"x" * size)
    assert target.files == {
        "csv": {"full": 11, "undated": False, "by_year": []},
        "jsonl": {"full": 10, "undated": 5, "by_year": [{"year": 2021, "size": 4}, {"year": 2019, "size": 3}]},
        "xlsx": {"full": False, "undated": False, "by_year": [{"year": 2021, "size": 12}]},
    }


@pytest.mark.parametrize(
    ("basename", "stage"),
    [
        ("full.jsonl.gz", "export"),
        ("2020.jsonl.gz", "export"),
        ("coverage.json", "coverage"),
        ("full.csv.tar.gz", "flatten"),
        ("2020.xlsx", "flatten"),
        ("parquet", "flatten"),
        (None, None),
    ],
)
def test_files_of_one_stage_share_a_lock(basename: str | None, stage: str | None) -> None:
    """EXP-06: all of JSON Lines one, Excel its CSV's."""
    assert stage_of(basename) == stage


def test_which_work_excludes_which(target: Export) -> None:
    """Exporting replaces what the others read, so it excludes them; they may run side by side."""
    with target.lock("coverage"), target.lock("flatten"):
        for stage in ("coverage", "flatten", "export", None):
            with pytest.raises(LockFileError):
                target.lock(stage).acquire()
    for whole in ("export", None):
        with target.lock(whole):
            for stage in ("coverage", "flatten", "export", None):
                with pytest.raises(LockFileError):
                    target.lock(stage).acquire()
    assert not list(target.directory.parent.glob(".*"))


def test_the_job_is_known_without_the_revision(tmp_path: Path) -> None:
    """The manifest of a revision names the job."""
    assert Export("k", "12.r3", root=tmp_path).job == ("k", "12")
    assert Export("12", root=tmp_path).job is None
    assert Export.at(tmp_path / "12").job is None
    assert Export.at(tmp_path / "k" / "12").lockfile == Export("k", 12, root=tmp_path).lockfile
