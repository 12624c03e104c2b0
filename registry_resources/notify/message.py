"""What is sent, and what every way of sending can do. Does not belong here: any of the ways."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

TIMEOUT = 10.0
"""Seconds to connect, and to wait for each answer. A sensor has 60 s for everything."""


@dataclass(frozen=True)
class Message:
    """One message, which may tell of several publications. Its texts hold no secrets.

    Attributes:
        number: a UUID, the same each time the message is sent, so that whoever gets it twice can tell.
        created: when it was written, aware.
        subject: one line.
        text: all of it, for people.
        events: the same for programs: objects of texts and numbers.
    """

    number: str
    created: datetime.datetime
    subject: str
    text: str
    events: Sequence[Mapping[str, Any]] = ()


class Channel(Protocol):
    """A way of sending messages.

    Attributes:
        name: what it is called.
        where: where messages go, for people, without secrets.
    """

    name: str
    where: str

    def send(self, message: Message) -> str:
        """Send a message once, and return what was answered.

        Raises:
            RecoverableError: if it is not known to have arrived. It may have arrived all the same.
        """
