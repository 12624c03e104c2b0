"""Secrets in texts: by their shape, and by their value."""

from __future__ import annotations

import io
import json
import logging
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_resources import redaction
from registry_resources.redaction import (
    RedactingFilter,
    install_redaction,
    redact,
    redact_value,
    register_secret,
    safe_url,
)

CANARY = "c4n4ry/+ \"é'=&"


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test registers its own secrets."""
    monkeypatch.setattr(redaction, "_secrets", set())
    monkeypatch.setattr(redaction, "_pattern", None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://user:canary@host:6800/logs", "http://user:***@host:6800/logs"),
        ("postgresql+psycopg2://u:canary@h/db", "postgresql+psycopg2://u:***@h/db"),
        ("amqp://:canary@h", "amqp://:***@h"),
        ("see postgres://u:can/ary@x@h:5432/db now", "see postgres://u:***@h:5432/db now"),
        ("https://canary@example.com/x", "https://***@example.com/x"),
        ("(http://a:canary@b) and 'http://c:canary@d'", "(http://a:***@b) and 'http://c:***@d'"),
        ("host=h user=u password=canary dbname=d", "host=h user=u password=*** dbname=d"),
        ("password='can ary' host=h", "password=*** host=h"),
        ("https://h/x?token=canary&page=2", "https://h/x?token=***&page=2"),
        ("https://h/x?api_key=canary#top", "https://h/x?api_key=***"),
        ('{"password": "canary", "a": 1}', '{"password": ***, "a": 1}'),
        ("{'API_TOKEN': 'canary', 'A': '1'}", "{'API_TOKEN': ***, 'A': '1'}"),
        ("Authorization: Bearer canary.x.y", "Authorization: ***"),
        ("{b'Cookie': [b'cf_clearance=canary; a=b']}", "{b'Cookie': [b'***']}"),
        ("DB_PASSWORD=canary", "DB_PASSWORD=***"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text, expected):
    """DEF-12, I6."""
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:6800/logs/p/s/j.log",
        "http://127.0.0.1:8080/a?mail=someone@example.com",
        "https://example.com/@user/page",
        "postgresql://user@host/db",
        "2024-01-01 10:00:00 [scrapy.core.engine] INFO: Spider opened",
        "The crawl had a 0.2 error rate",
        "Passwords are never shown.",
        "ocid=ocds-213czf-1, page: 3",
        "API_TOKEN=env:NAME, 'API_TOKEN': 'env:NAME', PASSWORD=(hidden)",
    ],
)
def test_what_is_no_secret_stays(text):
    """Or logs would be of no use."""
    assert redact(text) == text


def test_a_registered_secret_is_hidden_in_whatever_form():
    """As it is, as in a URL, as in JSON, as in Python."""
    register_secret(CANARY)
    for form in (CANARY, quote(CANARY), quote(CANARY, safe=""), json.dumps(CANARY), repr(CANARY)):
        assert "c4n4ry" not in redact(f"log {form} end")


def test_the_longer_of_two_secrets_is_hidden_whole():
    """One may begin with the other."""
    register_secret("secret")
    register_secret("secret-and-more")
    assert redact("a secret-and-more, a secret") == "a ***, a ***"


@pytest.mark.parametrize("value", ["", "1", "yes", "   ", " ab "])
def test_a_short_value_is_no_registered_secret(value):
    """It would blank out every log."""
    register_secret(value)
    assert redact("1 yes    ab ") == "1 yes    ab "


def test_a_secret_that_no_encoder_takes_is_registered():
    """An environment variable may hold any bytes."""
    register_secret("bytes\udcff")
    assert redact("x bytes\udcff") == "x ***"


@given(st.text())
def test_redacting_twice_is_redacting_once(text):
    """Texts pass several places that redact."""
    once = redact(text)
    assert redact(once) == once


@given(st.from_regex(r"[a-z0-9:/@?#=&'\" .-]{0,60}", fullmatch=True))
def test_redacting_texts_like_urls_twice_is_redacting_once(text):
    """The same, where it is more likely to go wrong."""
    once = redact(f"http://{text}")
    assert redact(once) == once


@pytest.mark.parametrize(
    "text", ["http://" + "a:" * 50_000, "token" * 50_000, "a_" * 50_000 + "password", "://" * 50_000]
)
def test_hostile_texts_take_no_time(text):
    """Logs carry remote text."""
    begin = time.process_time()
    redact(text)
    assert time.process_time() - begin < 5


def test_a_log_shows_no_secret_in_messages_arguments_or_tracebacks():
    """I6, also for children of the logger, and if a format is wrong."""
    register_secret("canary-1")
    stream = io.StringIO()
    logger = logging.getLogger("test_redaction")
    logger.propagate = False
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    try:
        install_redaction(logger)
        install_redaction(logger)
        assert [type(known) for known in handler.filters] == [RedactingFilter]
        logger.warning("plain canary-1")
        logger.getChild("child").warning("argument %s, %d%%", "canary-1", 5)
        logger.warning("wrong %d", "canary-1")
        try:
            int("canary-1")
        except ValueError:
            logger.exception("failed", stack_info=True)
    finally:
        logger.removeHandler(handler)
    text = stream.getvalue()
    assert "canary" not in text
    assert "argument ***, 5%" in text
    assert "ValueError: invalid literal for int() with base 10: '***'" in text
    assert "Traceback" in text


def test_a_safe_url_can_be_shown():
    """JOB-25 shows URLs in errors."""
    assert safe_url("http://u:canary@h:1/x?access_token=canary") == "http://u:***@h:1/x?access_token=***"


def test_secrets_are_hidden_in_every_text_of_a_value() -> None:
    """I6: notes carry examples of log lines."""
    value = {"count": 2, "examples": ["https://u:pw-canary@h.example/x", {"b": ("token=canary", None)}]}
    assert redact_value(value) == {"count": 2, "examples": ["https://u:***@h.example/x", {"b": ["token=***", None]}]}
