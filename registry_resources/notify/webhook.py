"""Posting messages to a webhook. Does not belong here: what they say, or trying again."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import requests

from registry_resources.exceptions import RecoverableError
from registry_resources.notify.message import TIMEOUT, Message
from registry_resources.redaction import register_secret

SECRET_LENGTH = 16
"""A path shorter than this, in characters, is no secret."""


class Webhook:
    """An address that takes messages as JSON, such as an incoming webhook of Slack or Mattermost.

    Attributes:
        name: what this way is called.
        where: where messages go, for people. A path may be a secret, so only the host is shown.
    """

    name = "webhook"

    def __init__(self, url: str, timeout: float = TIMEOUT) -> None:
        """Prepare to post. Connects to nothing.

        Args:
            url: the address.
            timeout: seconds to connect, and to wait for an answer.
        """
        self._url = url
        self._timeout = timeout
        parts = urlsplit(url)
        self.where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        for secret in (url, parts.path.lstrip("/"), parts.query, parts.password or ""):
            if len(secret) >= SECRET_LENGTH or secret == parts.password:
                register_secret(secret)

    def send(self, message: Message) -> str:
        """Post a message once, and return what was answered.

        Raises:
            RecoverableError: if the answer is not one of success.
        """
        headers = {"Idempotency-Key": message.number, "User-Agent": "ocds-data-registry"}
        try:
            with requests.post(
                self._url,
                json=compose(message),
                headers=headers,
                timeout=self._timeout,
                # A redirected POST would lose its body, and whatever answers then has not seen the message.
                allow_redirects=False,
                stream=True,  # the answer's body is of no interest, however long it is
            ) as response:
                status, reason = response.status_code, response.reason
        except (requests.RequestException, ValueError) as error:
            raise RecoverableError(f"The webhook at {self.where} took no message: {_cause(error)}") from None
        if not 200 <= status < 300:
            raise RecoverableError(f"The webhook at {self.where} took no message: it answered {status} {reason}")
        return f"taken ({status})"


def compose(message: Message) -> dict[str, Any]:
    """Write the JSON. `text` is what Slack and Mattermost show; the rest is for programs."""
    return {
        "text": escape(message.text),
        "id": message.number,
        "created": message.created.isoformat(timespec="seconds"),
        "subject": message.subject,
        "events": list(message.events),
    }


def escape(text: str) -> str:
    """Keep Slack from taking a publisher's text for a mention of everybody, or for a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cause(error: Exception) -> str:
    """Say what went wrong in our own words: those of `requests` hold the address."""
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate can't be verified"
    if isinstance(error, requests.exceptions.Timeout):
        return "it gave no answer in time"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "it can't be reached"
    return type(error).__name__
