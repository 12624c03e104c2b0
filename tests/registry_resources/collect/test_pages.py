"""Reading the link to the next page, whatever else a page holds."""

from __future__ import annotations

import resource

import pytest

from registry_resources.collect.pages import SMALL, read_page
from registry_resources.collect.problems import BadContentError

LINKS = b'"links": {"next": "x"}'


@pytest.fixture
def page(tmp_path):
    def read(body, next_path="links.next"):
        (tmp_path / "page.json").write_bytes(body)
        link = read_page(tmp_path / "page.json", next_path)
        return link.value, link.place

    return read


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b'"links": {"next": "y"}, ',
        b'"links.next": "y", ',
        b'"a": {"links": {"next": "y"}}, ',
        b'"a": [{"links": {"next": "y"}}], ',
        b'"links": [{"next": "y"}], ',
        b'"links": {"a": {"next": "y"}, "b": [{"next": "z"}]}, ',
        b'"a": 123456789012345678901234567890, ',
        b'"a": 1e999, ',
        b'"a": NaN, "b": -Infinity, ',
        b'"a": "\\ud800\\u0000", ',
        b'"a": {"": {"": []}}, ',
    ],
)
def test_the_link_is_the_one_at_its_path(page, before):
    """Not one deeper, nor in an array, nor of a key with a dot; the last one of several (RFC 8259, section 4)."""
    assert page(b"{" + before + LINKS + b"}") == ("x", True)
    assert page(b"\xef\xbb\xbf {" + before + LINKS + b"}\n") == ("x", True)


@pytest.mark.parametrize(
    ("body", "path", "found"),
    [
        (b"{}", "links.next", ("", False)),
        (b'{"links": null}', "links.next", ("", False)),
        (b'{"links": []}', "links.next", ("", False)),
        (b'{"links": {}}', "links.next", ("", True)),
        (b'{"links": {"prev": "y"}}', "links.next", ("", True)),
        (b'{"links": {"next": null}}', "links.next", ("", True)),
        (b'{"links": {"next": " "}}', "links.next", ("", True)),
        (b'{"next": "x"}', "next", ("x", True)),
        (b'{"next": null}', "next", ("", True)),
        (b'{"a": {"next": "y"}}', "next", ("", False)),
        (b'{"a": {"b": {"c": "x"}, "c": "y"}, "c": "z"}', "a.b.c", ("x", True)),
        (b'{"a": NaN, "links": {}}', "links.next", ("", True)),
        (b'{"a": NaN}', "links.next", ("", False)),
    ],
)
def test_a_page_without_a_link_may_have_a_place_for_it(page, body, path, found):
    """Which tells the last page from one that never had links."""
    assert page(body, path) == found


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[]", "a JSON array"),
        (b'"text"', "no object"),
        (b"{", "not valid JSON"),
        (b"{} {}", "not valid JSON"),
        (b'{"a": "\xff"}', "not valid JSON"),
        (b"NaN", "not valid JSON"),
        (b'{"links": {"next": 3}}', "links.next is no text"),
        (b'{"links": {"next": {"href": "x"}}}', "links.next is no text"),
        (b'{"a": NaN' + b" " * SMALL + b"}", "not valid JSON"),
    ],
)
def test_other_pages_are_refused(page, body, message):
    """In one line."""
    with pytest.raises(BadContentError, match=message) as error:
        page(body)
    assert "\n" not in str(error.value)


def test_a_page_may_be_deep(page):
    """A hostile one is 100,000 arrays deep: a parser that names the path of each would need 25 GB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert page(b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b", " + LINKS + b"}") == ("x", True)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB
