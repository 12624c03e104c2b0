"""Withdrawing what was published: the pointer goes, and nothing that is not ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from exporter.errors import ExporterError, LockFileError
from exporter.lock import Locks
from exporter.withdraw import remove_folder, withdraw


def test_withdrawing_twice_is_withdrawing_once(tmp_path: Path) -> None:
    """I5: the version itself stays until it is removed."""
    (tmp_path / "ruritania" / "1").mkdir(parents=True)
    (tmp_path / "ruritania" / "latest.json").write_text("{")
    assert withdraw(tmp_path, "ruritania")
    assert not withdraw(tmp_path, "ruritania")
    assert [path.name for path in (tmp_path / "ruritania").iterdir()] == ["1"]
    assert not withdraw(tmp_path, "graustark")


def test_a_link_out_of_the_root_is_not_followed(tmp_path: Path) -> None:
    """I5."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "latest.json").write_text("{}")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "ruritania").symlink_to(tmp_path / "outside")
    with pytest.raises(ExporterError, match="a link leads out of"):
        withdraw(tmp_path / "root", "ruritania")
    assert not remove_folder(tmp_path / "root", "ruritania")
    assert (tmp_path / "outside" / "latest.json").exists()


def test_a_folder_goes_with_unfinished_files_but_not_with_those_of_others(tmp_path: Path) -> None:
    """Only temporary names and locks of the dead are ours here."""
    for key in ("ruritania", "graustark"):
        (tmp_path / key / ".tmp-1-99999-abcd").mkdir(parents=True)
        lock = tmp_path / key / ".1.export.lock"
        lock.write_text("")
        os.utime(lock, (0, 0))
    (tmp_path / "graustark" / "notes.txt").write_text("!")
    assert remove_folder(tmp_path, "ruritania")
    assert remove_folder(tmp_path, "ruritania")
    assert not remove_folder(tmp_path, "graustark")
    assert [path.name for path in (tmp_path / "graustark").iterdir()] == ["notes.txt"]


def test_nothing_is_withdrawn_while_somebody_publishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """I1: the pointer has one writer at a time."""
    (tmp_path / "ruritania").mkdir()
    pointer = tmp_path / "ruritania" / "latest.json"
    pointer.write_text("{}")
    monkeypatch.setattr("exporter.withdraw.WAIT", 0.1)
    with Locks([tmp_path / "ruritania" / ".latest.lock"]), pytest.raises(LockFileError):
        withdraw(tmp_path, "ruritania")
    assert pointer.exists()
