"""The layout of the file store, and what may be deleted of it."""

from __future__ import annotations

import datetime

import pytest

from registry_resources.collect.layout import (
    claim_directory,
    directory_of,
    remove_directory,
    safe_name,
    subfolder,
)
from registry_resources.exceptions import UnexpectedError

NOON = datetime.datetime(2026, 1, 2, 12, 0, 59, 999_999, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("name", "folder"),
    [("a.json", "24A"), ("page-2.json", "3E5"), ("1.json", "21A"), ("0.json", "219"), ("15.json", "24F")],
)
def test_files_lie_in_the_folders_that_were_observed(name, folder):
    """Observed of Kingfisher Collect: 3 hex digits, upper case."""
    assert subfolder(name) == folder


def test_a_folder_is_claimed_by_one_crawl_alone(tmp_path):
    """Two crawls in one second never share a folder: the second one takes the next second."""
    assert claim_directory(tmp_path, "pub", NOON) == ("2026-01-02 12:00:59", "pub/20260102_120059")
    assert claim_directory(tmp_path, "pub", NOON) == ("2026-01-02 12:01:00", "pub/20260102_120100")
    assert claim_directory(tmp_path, "other", NOON) == ("2026-01-02 12:00:59", "other/20260102_120059")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a.json", "a.json"),
        ("../../etc/passwd", "passwd"),
        ("/absolute/x.json", "x.json"),
        ("C:\\dir\\x.json", "x.json"),
        (".hidden", "hidden"),
        ("..", "data"),
        ("", "data"),
        ("données été.json", "donn_es_t_.json"),
        ("a\nb\0c.json", "a_b_c.json"),
        ("x" * 200 + ".json", "x" * 130 + "-" + "x" * 14 + ".json"),
    ],
)
def test_names_become_flat_and_safe(text, name):
    """No folder, nothing hidden, nothing odd, not too long."""
    assert safe_name(text) == name


def test_removing_twice_is_removing_once(tmp_path):
    """I5, COL-15: the folder, then the spider's if it is empty."""
    (tmp_path / "pub/20260102_120059/24A").mkdir(parents=True)
    (tmp_path / "pub/20260102_120059/24A/a.json").touch()
    assert remove_directory(tmp_path, "pub/20260102_120059")
    assert not (tmp_path / "pub").exists()
    assert not remove_directory(tmp_path, "pub/20260102_120059")


@pytest.mark.parametrize(
    "directory",
    [
        "pub",
        "pub/",
        "pub/..",
        "../pub/20260102_120059",
        "/pub/20260102_120059",
        "a/b/20260102_120059",
        ".partial/20260102_120059",
        "pub/20260102_120059/",
        "pub/20260102_120059/24A",
        "pub/20260102_120059\n",
        "pub/\u06620260102_120059",
        "",
    ],
)
def test_nothing_but_a_crawls_folder_is_removed(tmp_path, directory):
    """DEF-11: the form is strict."""
    (tmp_path / "pub/20260102_120059").mkdir(parents=True)
    with pytest.raises(UnexpectedError, match="nothing was deleted"):
        remove_directory(tmp_path, directory)
    assert (tmp_path / "pub/20260102_120059").is_dir()


def test_symbolic_links_are_not_followed(tmp_path):
    """DEF-11: neither one in the way nor one within."""
    store, outside = tmp_path / "store", tmp_path / "outside"
    (outside / "20260102_120059").mkdir(parents=True)
    (outside / "20260102_120059/keep").touch()
    store.mkdir()
    (store / "pub").symlink_to(outside)
    with pytest.raises(UnexpectedError, match="symbolic link"):
        remove_directory(store, "pub/20260102_120059")
    (store / "pub").unlink()
    (store / "pub").mkdir()
    (store / "pub/20260102_120059").symlink_to(outside)
    with pytest.raises(UnexpectedError, match="symbolic link"):
        remove_directory(store, "pub/20260102_120059")
    (store / "pub/20260102_120059").unlink()
    (store / "pub/20260102_120059").mkdir()
    (store / "pub/20260102_120059/link").symlink_to(outside)
    assert remove_directory(store, "pub/20260102_120059")
    assert (outside / "20260102_120059/keep").exists()


@pytest.mark.parametrize("version", ["../x", "2026-01-02T12:00:59", "2026-01-02 12:00:59/.."])
def test_a_folder_is_made_of_a_strict_data_version_alone(version):
    """DEF-11."""
    assert directory_of("pub", "2026-01-02 12:00:59") == "pub/20260102_120059"
    with pytest.raises(UnexpectedError, match="not a data version"):
        directory_of("pub", version)
