"""Keeping secrets out of whatever people or logs see (I6, DEF-12).

Belongs here: recognising secrets in texts and hiding them. Does not belong here: where secrets are kept or used.

Two ways of recognising one: by its shape (a password in a URL, a `token=`, an `Authorization` header), and by its
value, if whoever resolved it called `register_secret`. Texts are redacted where they leave the registry: logs, notes,
metadata, errors, the command line.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus

HIDDEN = "***"

MINIMUM = 4
"""Values shorter than this, in characters, are not hidden wherever they occur: `1` would blank out half of any log."""

# The user's part of a URL goes up to the last @ before a space or quote, since passwords hold @ and / though they
# should not. A port followed by a path is no password.
_URL_PASSWORD = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s:/@?#'\"<>]*):(?!\d{1,5}[/?#])[^\s'\"<>]*@")
# A user alone is as often a token.
_URL_TOKEN = re.compile(r"((?:https?|ftp)://)[^\s:/@?#'\"<>]+@", re.IGNORECASE)
_NAMES = (
    r"pass(?:word|wd|phrase)?|pwd|secret|(?:access|auth|refresh|session|api|csrf|id)?[_-]?token|api[_-]?key|"
    r"(?:access|secret|private|client)[_-]?(?:key|secret)|credentials?|signature|cf[_-]clearance|session[_-]?id"
)
# password=x, "password": "x", ?token=x, 'api_key': 'x', cf_clearance=x; the name may have a prefix (DB_PASSWORD).
_NAMED = re.compile(
    rf"(?<![A-Za-z])((?:[A-Za-z0-9]{{1,30}}[_-]){{0,4}}(?:{_NAMES})[\"']?\s{{0,3}}(?:=>?|:)\s{{0,3}})"
    # Which variable holds a secret is none, and neither is what stands for one already.
    r"(?![\"']?(?:env:|\(hidden\)))"
    r"(?:\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|[^\s&;,'\"<>)\]}]+)",
    re.IGNORECASE,
)
_HEADER = re.compile(
    r"((?:authorization|proxy-authorization|cookie|set-cookie|x-api-key)[\"']?\s{0,3}[:=]\s{0,3}[\[(]?(?:b(?=[\"']))?[\"']?)"
    r"[^\n\"'\])]+",
    re.IGNORECASE,
)
_LOCK = threading.Lock()
_secrets: set[str] = set()
_pattern: re.Pattern[str] | None = None


def register_secret(value: str) -> None:
    """Hide a value wherever it occurs from now on, in this process, also when it is quoted as in a URL or in JSON.

    Args:
        value: the secret. Shorter than 4 characters, it is left alone.
    """
    global _pattern  # noqa: PLW0603 - the secrets are the process's
    if len(value.strip()) < MINIMUM:
        return
    with _LOCK:
        if value in _secrets:
            return
        _secrets.add(value)
        forms = {form for secret in _secrets for form in _forms(secret)}
        # The longest first, or a secret that begins with another one would show its end.
        _pattern = re.compile("|".join(re.escape(form) for form in sorted(forms, key=lambda form: (-len(form), form))))


def _forms(secret: str) -> set[str]:
    safe = secret.encode("utf-8", "replace").decode()
    escaped = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    return {secret, secret.strip(), quote(safe), quote(safe, safe=""), quote_plus(safe)} | escaped


def redact(text: str) -> str:
    """Hide the secrets in a text. Redacting twice is redacting once."""
    if _pattern is not None:
        text = _pattern.sub(HIDDEN, text)
    if "://" in text:
        text = _URL_PASSWORD.sub(rf"\1:{HIDDEN}@", text)
        text = _URL_TOKEN.sub(rf"\1{HIDDEN}@", text)
    if "=" in text or ":" in text:
        text = _HEADER.sub(rf"\1{HIDDEN}", text)
        text = _NAMED.sub(rf"\1{HIDDEN}", text)
    return text


def redact_value(value: Any) -> Any:
    """Hide the secrets in a JSON value, text by text: to redact the whole could break it."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(str(name)): redact_value(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_value(item) for item in value]
    return value


def safe_url(url: str) -> str:
    """Give a URL that can be shown: without passwords, tokens, or any other part that `redact` hides."""
    return redact(url)


class RedactingFilter(logging.Filter):
    """Hides secrets in whatever passes a handler or a logger: the message, its arguments, and tracebacks."""

    _formatter = logging.Formatter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record in place, and let it pass."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = f"{record.msg} {record.args}"  # a wrong format is told as it stands, rather than lost
        record.msg, record.args = redact(message), None
        if record.exc_info and not record.exc_text:
            record.exc_text = self._formatter.formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return True


def install_redaction(logger: logging.Logger | None = None) -> None:
    """Redact what a logger's handlers write, including what its children send up. Repeating it changes nothing.

    Args:
        logger: the root logger, if None. Its handlers must be there already.
    """
    for handler in (logger or logging.getLogger()).handlers:
        if not any(isinstance(known, RedactingFilter) for known in handler.filters):
            handler.addFilter(RedactingFilter())
