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
