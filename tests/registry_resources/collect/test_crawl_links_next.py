"""The spider links_next, run for real against a server on the loopback."""

from __future__ import annotations

import json

from registry_assets.process_manager.rules.acceptance import rejection


def test_all_pages_are_stored_in_order(crawls, publisher):
    """Issue's first need: a chain of pages linked by links.next is stored page by page."""
    log = crawls.run(spider="links_next", url=publisher.add_pages("/api", 5))

    files = crawls.files()
    assert list(files) == [f"page-00000{n}.json" for n in range(1, 6)]
    assert [json.loads(body)["releases"][0]["ocid"] for body in files.values()] == [
        f"ocds-213czf-{n:06d}" for n in (2, 4, 6, 8, 10)
    ]
    assert (log.finish_reason, log.items, log.errors, log.error_rate) == ("finished", 5, 0, 0)
    assert rejection(log) is None


def test_relative_links_are_resolved_against_the_page(crawls, publisher):
    """RFC 3986: a relative reference is resolved against the URL of the page it stands in."""
    crawls.run(spider="links_next", url=publisher.add_pages("/api/releases", 3, relative=True))

    assert publisher.requests == ["/api/releases", "/api/releases?page=2", "/api/releases?page=3"]


def test_the_link_is_found_at_a_path_of_ones_own(crawls, publisher):
    """The argument next_path names the keys that lead to the link."""
    publisher.add("/2", b'{"releases": [], "paging": {"after": {}}}')
    url = publisher.add("/1", b'{"releases": [], "paging": {"after": {"href": "/2"}}}')

    log = crawls.run(spider="links_next", url=url, next_path="paging.after.href")

    assert (log.items, log.errors) == (2, 0)


def test_a_first_page_without_links_stops_prematurely(crawls, publisher):
    """COL-09: where a link is expected and missing, the crawl is incomplete, whatever its error rate."""
    log = crawls.run(spider="links_next", url=publisher.add("/1", b'{"releases": []}'))

    assert log.missing_next_link
    assert "The crawl stopped prematurely" in rejection(log)
    assert "use the spider bulk" in rejection(log)


def test_a_single_page_that_says_it_is_the_last_is_complete(crawls, publisher):
    """A page with a place for links, and no next one there, is the last page, also if it is the first."""
    log = crawls.run(spider="links_next", url=publisher.add_pages("/api", 1))

    assert (log.items, rejection(log)) == (1, None)


def test_a_page_that_fails_stops_the_chain_however_few_errors_there_are(crawls, publisher, answer):
    """COL-09: one error in 30 pages is a rate under 15 %, but the pages behind it are lost."""
    url = publisher.add_pages("/api", 40)
    publisher.add("/api?page=31", answer(b"", 404))

    log = crawls.run(spider="links_next", url=url)

    assert (log.items, log.errors) == (30, 1)
    assert log.error_rate < 0.15
    assert "The crawl stopped prematurely" in rejection(log)
    assert "status=404" in rejection(log)
    assert "page=31" in rejection(log)


def test_a_loop_of_links_is_an_error(crawls, publisher):
    """A page whose next page was read already would be followed for ever."""
    publisher.add("/2", b'{"n": 2, "links": {"next": "/1"}}')
    log = crawls.run(spider="links_next", url=publisher.add("/1", b'{"n": 1, "links": {"next": "/2"}}'))

    assert publisher.requests == ["/1", "/2"]
    assert "a loop" in rejection(log)


def test_a_page_that_repeats_an_earlier_one_is_an_error(crawls, publisher):
    """A server that ignores the page's number gives the same page at ever new URLs."""
    for number in range(1, 4):
        publisher.add(f"/{number}", b'{"releases": [], "links": {"next": "/%d"}}' % 9)
    publisher.add("/9", b'{"releases": [], "links": {"next": "/9x"}}')
    publisher.add("/9x", b'{"releases": [], "links": {"next": "/9x"}}')

    log = crawls.run(spider="links_next", url=publisher.url("/1"))

    assert publisher.requests == ["/1", "/9", "/9x"]
    assert log.missing_next_link


def test_pages_that_are_not_json_objects_are_errors(crawls, publisher):
    """An HTML page, a cut-off page and an array are each told as what they are."""
    for number, (body, meaning) in enumerate(
        [(b"<!DOCTYPE html><html></html>", "an HTML page"), (b'{"a": [1,', "not valid JSON"), (b"[]", "a JSON array")]
    ):
        log = crawls.run(f"job-{number}", "links_next", url=publisher.add(f"/{number}", body))

        assert meaning in rejection(log), crawls.text(f"job-{number}")
        assert log.errors == 1


def test_a_link_to_a_file_of_this_machine_is_refused(crawls, publisher):
    """A publisher must not make the registry read its own files."""
    log = crawls.run(spider="links_next", url=publisher.add("/1", b'{"links": {"next": "file:///etc/passwd"}}'))

    assert crawls.files() == {}
    assert "no http or https URL" in rejection(log)


def test_a_redirect_to_a_file_of_this_machine_is_refused(crawls, publisher, answer):
    """Nor may a redirect."""
    url = publisher.add("/1", answer(status=302, headers={"Location": "file:///etc/passwd"}))
    log = crawls.run(spider="links_next", url=url)

    assert crawls.files() == {}
    assert log.errors == 1


def test_a_sample_ends_after_so_many_pages_and_is_not_accepted(crawls, publisher):
    """DEF-14: a trial is stored apart, and never accepted as the whole."""
    log = crawls.run(spider="links_next", url=publisher.add_pages("/api", 9), sample="3")

    assert len(crawls.files()) == 3
    assert crawls.backend.context("job-1")["directory"].startswith("pub_sample/")
    assert log.finish_reason == "sample"
    assert rejection(log).startswith("The crawl wasn't finished: sample. Remove `sample`")


def test_compressed_pages_are_stored_plain(crawls, publisher, answer):
    """What comes with Content-Encoding: gzip is stored expanded."""
    import gzip

    body = gzip.compress(b'{"links": {}}')
    crawls.run(spider="links_next", url=publisher.add("/1", answer(body, headers={"Content-Encoding": "gzip"})))

    assert crawls.files() == {"page-000001.json": b'{"links": {}}'}
