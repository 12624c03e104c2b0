"""What the lines of Kingfisher Collect tell the reader of crawl logs, and only they."""

from __future__ import annotations

import re

import pytest

from tests.support.crawl_logs import RECORDED, read
from tests.support.scrapyd import ASKED


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Created collection 7 in Kingfisher Process (2026-01-02 03:04:06)"], (7, False)),
        (
            [
                "Created collection 7 in Kingfisher Process (2026-01-02 03:04:06)",
                "Closed collection 7 in Kingfisher Process",
            ],
            (7, True),
        ),
        (
            [
                "Created collection 7 in Kingfisher Process (2026-01-02 03:04:06)",
                "Created collection 8 in Kingfisher Process (2026-01-02 03:04:07)",
                "Closed collection 8 in Kingfisher Process",
            ],
            (7, False),
        ),
        (["Closed collection 7 in Kingfisher Process"], (None, False)),
    ],
)
def test_the_lines_of_kingfisher_collect_are_read_strictly(lines, expected):
    """DEF-11: the first collection counts, and only its own closing does."""
    log = read("".join(f"2026-01-02 03:04:07 [acme] INFO: {line}\n" for line in lines))
    assert (log.process_id, log.collection_closed) == expected


@pytest.mark.parametrize("name", RECORDED)
def test_every_recorded_crawl_began_at_its_data_version_whatever_tells_it(shared, name):
    """The request for a collection, or the statistics: also without a collection, or if the crawl was cancelled."""
    text = (shared / "contract" / "recorded" / f"{name}.log").read_text()
    asked = re.search(r"'data_version': '(.*?)'", text)
    log = read(text)
    version = asked[1] if asked else log.data_version
    assert log.began == version
    if log.stats:
        told = ("Created collection", "Sending synchronous")
        rest = [line for line in text.split("\n") if not any(words in line for words in told)]
        assert read("\n".join(rest)).began == version


@pytest.mark.parametrize(
    ("line", "began"),
    [
        (ASKED, "2026-01-02 03:04:06"),
        (ASKED.replace("2026-01-02 03:04:06'", "2026-01-02 03:04:66'"), None),
        (ASKED.replace("/collections/ with", "/collections/7/close/ with"), None),
        (ASKED.replace("DEBUG", "INFO"), None),
        ("2026-01-02 03:04:07 [x] DEBUG: Crawled (200) <GET x> (referer: None)\n" + ASKED, None),
    ],
)
def test_the_request_for_a_collection_is_read_strictly(line, began):
    """DEF-11: it names a folder to be deleted, so it counts only before any request, and if its moment is one."""
    assert read(line).began == began


def test_a_collection_is_believed_only_before_the_first_request():
    """Later, a log holds text of remote servers, which may have lines of any kind."""
    created = "2026-01-02 03:04:07 [acme] INFO: Created collection 7 in Kingfisher Process (2026-01-02 03:04:06)\n"
    crawled = (
        "2026-01-02 03:04:07 [scrapy.core.engine] DEBUG: Crawled (200) <GET https://acme.example/> (referer: None)\n"
    )
    assert read(created + crawled).process_id == 7
    assert read(crawled + created).process_id is None


def test_a_crawl_that_was_told_to_end_says_so():
    """Its log shows an interrupt that was never answered for."""
    closing = "2026-01-02 03:04:07 [scrapy.core.engine] INFO: Closing spider (shutdown)\n"
    assert read(closing).closing
    assert not read(closing.replace("scrapy.core.engine", "acme")).closing
