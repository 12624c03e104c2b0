"""Publishing: the pointer, revisions, and deleting (I1, I2, I5)."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter import coverage, files, publish
from exporter.errors import BrokenExportError, ExporterError, LockFileError, PublishedExportError
from exporter.util import Export

Contents = Callable[[Path], dict[str, bytes]]


def test_the_pointer_names_job_directory_and_manifest(finished: Export) -> None:
    """DESIGN: job id, manifest's sha256, published at."""
    assert publish.read_latest(finished.root, "bridges") is None
    pointer = publish.publish(finished, job=12)
    assert json.loads((finished.root / "bridges" / "latest.json").read_bytes()) == pointer.model_dump()
    assert (pointer.job, pointer.directory) == ("12", "12")
    assert pointer.manifest_sha256 == hashlib.sha256((finished.directory / "manifest.json").read_bytes()).hexdigest()
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", pointer.published_at)
    assert publish.read_latest(finished.root, "bridges") == pointer
    assert finished.published


def test_publishing_twice_is_publishing_once(finished: Export, contents: Contents) -> None:
    """Also the time stays."""
    publish.publish(finished, job=12)
    before = contents(finished.root)
    publish.publish(finished, job=12)
    assert contents(finished.root) == before


def test_an_unfinished_export_is_not_published(exported: Export) -> None:
    """I1: every stage, every file, every size."""
    with pytest.raises(BrokenExportError, match="the stage coverage is not done"):
        publish.publish(exported, job=12)
    with pytest.raises(BrokenExportError, match=r"there is no manifest\.json: export first"):
        publish.publish(Export("bridges", 13, root=exported.root), job=13)
    assert not exported.published


@pytest.mark.parametrize("damage", ["missing", "short"])
def test_an_export_with_a_wrong_file_is_not_published(finished: Export, damage: str) -> None:
    """I1; the message names the file and the stage to repeat."""
    path = finished.directory / "2020.csv.tar.gz"
    path.unlink() if damage == "missing" else path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BrokenExportError, match=r"2020\.csv\.tar\.gz: it .*: do the stage flatten again"):
        publish.publish(finished, job=12)
    assert publish.read_latest(finished.root, "bridges") is None


def test_an_export_that_is_worked_on_is_not_published(finished: Export) -> None:
    """DEF-01."""
    with finished.lock("coverage"), pytest.raises(LockFileError):
        publish.publish(finished, job=12)


def test_a_stage_that_runs_again_on_a_published_job_makes_a_revision(finished: Export, contents: Contents) -> None:
    """I2: new files and a new manifest, swapped in together; the published ones stay, byte for byte."""
    publish.publish(finished, job=12)
    published = contents(finished.directory)
    root = finished.root
    with pytest.raises(PublishedExportError):
        coverage.measure(finished)

    work = publish.writable(root, "bridges", 12)
    assert work.directory.name == "12.r2"
    assert not work.published
    assert publish.writable(root, "bridges", 12).directory.name == "12.r2"  # once is enough
    coverage.measure(work)
    assert publish.read_latest(root, "bridges").directory == "12"
    pointer = publish.publish(work, job=12)
    assert (pointer.job, pointer.directory) == ("12", "12.r2")
    assert contents(finished.directory) == published
    assert publish.writable(root, "bridges", 12).directory.name == "12.r3"
    assert [export.directory.name for export in publish.revisions(root, "bridges", 12)] == ["12", "12.r2", "12.r3"]
    assert publish.current(root, "bridges", 12).directory.name == "12.r3"


def test_a_revision_takes_no_space_for_files_that_stay(finished: Export) -> None:
    """Hard links: the files are only ever replaced, never written to."""
    publish.publish(finished, job=12)
    work = publish.fork(finished)
    for path in finished.directory.rglob("*"):
        if path.is_file() and path.name != ".published":
            assert path.samefile(work.directory / path.relative_to(finished.directory))


def test_where_links_fail_files_are_copied(
    finished: Export, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems have no hard links."""

    def link(*_: object, **__: object) -> None:
        raise OSError(files.errno.EPERM, "no links here")

    monkeypatch.setattr(files.os, "link", link)
    work = publish.fork(finished)
    assert contents(work.directory) == contents(finished.directory)


def test_revisions_are_in_order_of_their_numbers_and_of_this_job_alone(tmp_path: Path) -> None:
    """`12.r10` comes after `12.r9`; `123` is another job."""
    for name in ("12", "12.r9", "12.r10", "12.r2", "123", "123.r2", "12.rx", "12.r02", ".12.export.lock"):
        (tmp_path / "k" / name).mkdir(parents=True)
    names = [export.directory.name for export in publish.revisions(tmp_path, "k", 12)]
    assert names == ["12", "12.r2", "12.r9", "12.r10"]
    assert publish.current(tmp_path, "k", 7).directory.name == "7"


def test_a_published_directory_is_refused_to_the_wipe(finished: Export, contents: Contents) -> None:
    """I5: an active version is never deleted; another one published frees it."""
    publish.publish(finished, job=12)
    before = contents(finished.directory)
    with pytest.raises(ExporterError, match="it is the published version: publish another first"):
        publish.remove(finished)
    assert contents(finished.directory) == before
    work = publish.fork(finished)
    coverage.measure(work)
    publish.publish(work, job=12)
    assert publish.remove(finished) is True
    assert not finished.directory.exists()
    assert publish.check_complete(work)


def test_wiping_twice_is_wiping_once(exported: Export) -> None:
    """I5; before anything was made, too."""
    assert publish.remove(exported) is True
    assert publish.remove(exported) is False
    assert publish.remove(Export("never", 1, root=exported.root)) is False
    assert list((exported.root / "bridges").iterdir()) == []
    assert not (exported.root / "never").exists()


def test_a_wipe_waits_for_nobody(exported: Export) -> None:
    """A run shown as cancelled may still have a living process: only who holds the lock may wipe."""
    with exported.lock("flatten"), pytest.raises(LockFileError):
        publish.remove(exported)
    assert exported.directory.exists()


def test_a_wipe_follows_no_links(exported: Export, tmp_path: Path) -> None:
    """I5: neither inside the directory nor above it."""
    outside = tmp_path / "outside"
    (outside / "12").mkdir(parents=True)
    (outside / "12" / "precious").touch()
    (exported.directory / "link").symlink_to(outside)
    (exported.root / "linked").symlink_to(outside)
    with pytest.raises(ExporterError, match="a link leads out of"):
        publish.remove(Export("linked", 12, root=exported.root))
    (exported.root / "bridges" / "13").symlink_to(outside)
    publish.remove(Export("bridges", 13, root=exported.root))
    publish.remove(exported)
    assert (outside / "12" / "precious").exists()


def test_a_published_directory_that_was_deleted_by_hand_is_not_made_again_under_the_pointer(finished: Export) -> None:
    """I1: the pointer must not name what is half done."""
    publish.publish(finished, job=12)
    shutil.rmtree(finished.directory)
    root, (key, job) = finished.root, finished.components
    assert publish.writable(root, key, job).directory.name == f"{job}.r2"


def test_with_a_damaged_pointer_nothing_is_deleted(exported: Export) -> None:
    """It may have named this directory."""
    (exported.root / "bridges" / "latest.json").write_text("{")
    with pytest.raises(BrokenExportError, match="it is no pointer"):
        publish.remove(exported)
    assert exported.directory.exists()


def test_what_a_killed_wipe_left_goes_with_the_next(exported: Export) -> None:
    """The directory disappears from its name first."""
    trash = files.temporary_name(exported.directory)
    exported.directory.rename(trash)
    assert publish.remove(exported) is False
    assert not trash.exists()


def test_a_pointer_needs_a_job(tmp_path: Path) -> None:
    """A directory of the command line is nobody's."""
    with pytest.raises(ExporterError, match="needs a publication's key"):
        publish.publish(Export.at(tmp_path / "x"), job=1)
