"""When a failed download is tried again."""

from __future__ import annotations

import datetime
import time

import pytest

from registry_resources.collect.retry import retry_after

NOW = datetime.datetime(2015, 10, 21, 7, 27, 0, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 60),
        ("Wed, 21 Oct 2015 07:26:00 GMT", 0),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("9" * 50, None),
        ("٣", None),
    ],
)
def test_retry_after_is_a_number_of_seconds_or_a_date(text, seconds):
    """RFC 9110, section 10.2.3; its example of a date."""
    assert retry_after(text, NOW) == seconds


def test_a_server_is_given_the_time_it_asks_for(crawls, publisher, answer):
    """A 429 with Retry-After: 1 is tried again a second later, not at once."""
    publisher.add("/1", answer(b"", 429, {"Retry-After": "1"}), b"{}")
    started = time.monotonic()
    log = crawls.run(urls=publisher.url("/1"))

    assert log.errors == 0
    assert time.monotonic() - started > 1


def test_a_server_that_asks_for_too_much_is_given_up(crawls, publisher, answer):
    """RETRY_AFTER_MAX: a day's wait would hold the crawl up."""
    url = publisher.add("/1", answer(b"", 503, {"Retry-After": "86400"}), b"{}")
    log = crawls.run(urls=url)

    assert publisher.requests == ["/1"]
    assert log.errors == 1


def test_throttling_is_set_by_the_settings_bundle(crawls, publisher):
    """DOWNLOAD_DELAY spreads requests, and AutoThrottle works with the downloads of this project."""
    urls = [publisher.add(f"/{n}", b"{}") for n in range(6)]
    started = time.monotonic()
    settings = {"DOWNLOAD_DELAY": "0.3", "RANDOMIZE_DOWNLOAD_DELAY": "0", "AUTOTHROTTLE_ENABLED": "1"}
    settings |= {"AUTOTHROTTLE_START_DELAY": "0.3", "AUTOTHROTTLE_DEBUG": "1"}
    log = crawls.run(urls=" ".join(urls), settings=settings)

    assert (log.items, log.errors) == (6, 0)
    assert time.monotonic() - started > 1.5
    assert "slot: 127.0.0.1" in crawls.text()


def test_a_download_that_was_cut_off_goes_on_where_it_ended(crawls, publisher, answer):
    """RFC 9110, 14.2: the rest is asked for, if the server gives parts and the body is still the same."""
    body = bytes(range(32, 127)) * 5_000
    body = b"[" + body.replace(b'"', b" ") + b"]"
    url = publisher.add("/big", answer(body, ranges='"v1"', cut=300_000), answer(body, ranges='"v1"'))

    log = crawls.run(urls=url)

    assert list(crawls.files().values()) == [body]
    assert log.errors == 0
    start = int(publisher.headers[1]["Range"].removeprefix("bytes=").removesuffix("-"))
    assert 0 < start <= 300_000


def test_a_download_that_changed_meanwhile_begins_anew(crawls, publisher, answer):
    """RFC 9110, 13.1.5: If-Range gives the whole body if it is another one."""
    old, new = b"[" + b"1" * 400_000 + b"]", b"[" + b"2" * 400_000 + b"]"
    url = publisher.add("/big", answer(old, ranges='"v1"', cut=300_000), answer(new, ranges='"v2"'))

    crawls.run(urls=url)

    assert publisher.headers[1]["If-Range"] == '"v1"'
    assert list(crawls.files().values()) == [new]


def test_a_download_without_a_strong_validator_begins_anew(crawls, publisher, answer):
    """A weak ETag may stand for other bytes."""
    body = b"[" + b"1" * 400_000 + b"]"
    url = publisher.add("/big", answer(body, ranges='W/"v1"', cut=300_000), answer(body, ranges='W/"v1"'))

    crawls.run(urls=url)

    assert "Range" not in publisher.headers[1]
    assert list(crawls.files().values()) == [body]


def test_a_server_that_sends_another_part_is_not_believed(crawls, publisher, answer):
    """Else two parts that don't fit would become one file."""
    body = b"[" + b"1" * 400_000 + b"]"
    wrong = answer(b"2" * 100, 206, {"ETag": '"v1"', "Content-Range": "bytes 5-104/400002"})
    url = publisher.add("/big", answer(body, ranges='"v1"', cut=300_000), wrong, answer(body, ranges='"v1"'))

    crawls.run(urls=url)

    assert list(crawls.files().values()) == [body]


def test_a_download_goes_on_also_after_tries_that_gave_nothing(crawls, publisher, answer):
    """What is there stays there while the server answers with errors."""
    body = b"[" + b"1" * 400_000 + b"]"
    url = publisher.add(
        "/big", answer(body, ranges='"v1"', cut=300_000), answer(b"", 503), answer(body, ranges='"v1"')
    )

    crawls.run(urls=url)

    assert "Range" in publisher.headers[2]
    assert list(crawls.files().values()) == [body]


def test_what_is_left_of_a_download_that_is_given_up_is_deleted(crawls, publisher, answer):
    """It would fill the disk until the crawl ends."""
    body = b"[" + b"1" * 400_000 + b"]"
    log = crawls.run(
        urls=publisher.add("/big", answer(body, ranges='"v1"', cut=300_000)), settings={"RETRY_TIMES": "0"}
    )

    assert log.errors == 1
    assert crawls.files() == {}
    assert list((crawls.settings.files_store / ".partial").iterdir()) == []
