"""Arguments of the registry's own spiders, and the sources they name."""

from __future__ import annotations

import pytest

from registry_resources.collect.arguments import check_arguments, sample_size, split_urls
from registry_resources.collect.sources import expand, saved
from registry_resources.exceptions import UnexpectedError


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        ("https://x/a.json", ["https://x/a.json"]),
        (" a\n\tb  c ", ["a", "b", "c"]),
        ('["https://x/a b.json", "c"]', ["https://x/a b.json", "c"]),
        ("[ab]*.json", ["[ab]*.json"]),
        ("FILE:///x HTTP://y", ["FILE:///x", "HTTP://y"]),
    ],
)
def test_urls_are_words_or_a_json_list(text, sources):
    """A JSON list is for paths with spaces."""
    assert split_urls(text) == sources


@pytest.mark.parametrize("text", ["[1]", '[""]', "s3://bucket/x", '["ftp://user:secret@x/"]'])
def test_other_urls_are_refused(text):
    """And a password in one isn't shown."""
    with pytest.raises(UnexpectedError, match="urls of the spider bulk") as error:
        split_urls(text)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("250", 250), ("0", None), ("-1", None), ("1.5", None), ("", None)]
)
def test_a_sample_is_a_whole_number(text, size):
    """From 1 up."""
    assert sample_size({"sample": text}) == size


def test_known_arguments_are_accepted():
    """Both spiders, with all they take."""
    check_arguments("bulk", {"urls": "a", "sample": "3"})
    check_arguments("links_next", {"url": "https://x/", "next_path": "next", "sample": "3"})


def test_sources_come_in_the_order_they_are_named_and_sorted_within(tmp_path):
    """A folder is walked whole, a glob may cross folders, hidden files are passed over."""
    for name in ("b/2.json", "b/1.json", "a.json", ".git/config", "b/.x.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [
        source.location.removeprefix(f"{tmp_path}/")
        for source in expand(f"http://x/z.json {tmp_path} {tmp_path}/b/*.json {tmp_path}/a.json")
    ]
    assert names == ["http://x/z.json", "a.json", "b/1.json", "b/2.json", "b/1.json", "b/2.json", "a.json"]


def test_what_is_not_there_is_a_problem_not_an_omission(tmp_path):
    """I8: a glob without a match and a path that doesn't exist are told."""
    (tmp_path / "empty").mkdir()
    problems = [source.problem for source in expand(f"{tmp_path}/no.json {tmp_path}/*.gz {tmp_path}/empty")]
    assert problems == ["no such file or folder", "no file there", "no file there"]


def test_a_crawls_sources_are_listed_once(tmp_path):
    """A resumed crawl numbers them as before, whatever has come to the folder since."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/b.json").touch()
    first = list(saved(tmp_path / "sources.jsonl", str(tmp_path / "data")))
    (tmp_path / "data/a.json").touch()
    assert list(saved(tmp_path / "sources.jsonl", str(tmp_path / "data"))) == first
    assert (tmp_path / "sources.jsonl").stat().st_mode & 0o077 == 0


def test_names_that_are_no_utf_8_are_sources_too(tmp_path):
    """File systems allow any bytes."""
    import os

    path = os.fsencode(tmp_path) + b"/data"
    (tmp_path / "data").mkdir()
    os.close(os.open(path + b"/\xff.json", os.O_CREAT))
    (source,) = saved(tmp_path / "sources.jsonl", str(tmp_path / "data"))
    assert os.fsencode(source.location) == path + b"/\xff.json"
