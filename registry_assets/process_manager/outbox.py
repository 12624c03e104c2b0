"""The messages that wait to be sent, and sending them: at least once each, whatever dies or does not answer.

A message that arrives twice carries the same number. Belongs here: who sends what when, and trying again.
Does not belong here: what is told (`notifications.py`), or the ways of sending (`registry_resources.notify`).
"""

from __future__ import annotations

import datetime
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from registry_assets.process_manager import digest
from registry_assets.process_manager.digest import News
from registry_resources.database import Database, Notice, utcnow
from registry_resources.exceptions import RecoverableError
from registry_resources.notify import Channel, Message
from registry_resources.redaction import redact

LEASE = datetime.timedelta(minutes=5)
"""A message is sent again if whoever began to send it has not said within this time what became of it."""

FIRST_WAIT = datetime.timedelta(minutes=1)
LONGEST_WAIT = datetime.timedelta(hours=1)
"""Before a message is sent again. The wait doubles each time."""

GIVEN_UP_AFTER = datetime.timedelta(days=7)
"""A message that could not be sent for so long is thrown away: what it told is in the log, and old by then."""

SENDING_TIME = 25.0
"""Seconds after which no other message is begun: a sensor has 60, and one message may take 20 if nobody answers."""


@dataclass(frozen=True)
class Sending:
    """What became of a message.

    Attributes:
        channel: the way.
        sent: whether it was taken.
        detail: what was answered, or what went wrong and when it is tried again.
    """

    channel: str
    sent: bool
    detail: str


def write(session: Session, channels: Collection[str], news: Sequence[News], now: datetime.datetime) -> None:
    """Write a message for each way."""
    subject, text, events = digest.subject(news), digest.text(news), [item.fields for item in news]
    for channel in channels:
        session.add(
            Notice(number=str(uuid.uuid4()), channel=channel, subject=subject, text=text, events=events, next_try=now)
        )


def deliver(
    database: Database,
    channels: Mapping[str, Channel],
    clock: Callable[[], datetime.datetime] = utcnow,
) -> list[Sending]:
    """Send the messages that wait, those first that were tried least often.

    After one that could not be sent by a way, no other is tried by it this time: it would wait as long for nothing.

    Args:
        database: the registry's database.
        channels: the ways that are configured, by name. What waits for another one stays, up to a week.
        clock: tells the time.
    """
    sendings: list[Sending] = []
    end = time.monotonic() + SENDING_TIME
    statement = select(Notice).where(Notice.next_try <= clock()).order_by(Notice.attempts, Notice.id)
    with database.session(read_only=True) as session:
        due = list(session.scalars(statement))
    failed: set[str] = set()
    for notice in due:
        if notice.channel in failed or time.monotonic() > end:
            continue
        channel = channels.get(notice.channel)
        if channel is None:
            if clock() - notice.created > GIVEN_UP_AFTER:
                sendings.append(_give_up(database, notice, "it is not configured any more"))
        elif _claim(database, notice, clock()):
            sending = _send(database, channel, notice, clock)
            sendings.append(sending)
            if not sending.sent:
                failed.add(notice.channel)
    return sendings


def _claim(database: Database, notice: Notice, now: datetime.datetime) -> bool:
    """Be the only one to send a message, for a while."""
    statement = (
        update(Notice)
        .where(Notice.id == notice.id, Notice.attempts == notice.attempts)
        .values(attempts=notice.attempts + 1, next_try=now + LEASE)
        .returning(Notice.id)
    )
    with database.session() as session:
        return session.scalar(statement) is not None


def _send(database: Database, channel: Channel, notice: Notice, clock: Callable[[], datetime.datetime]) -> Sending:
    message = Message(notice.number, notice.created, notice.subject, notice.text, notice.events)
    try:
        answer = channel.send(message)
    except Exception as error:  # noqa: BLE001 - whatever happened, it is tried again, and others are not kept waiting
        cause = redact(str(error)) if isinstance(error, RecoverableError) else f"{type(error).__name__}: {error}"
        return _put_off(database, notice, redact(cause), clock())
    with database.session() as session:
        session.execute(delete(Notice).where(Notice.id == notice.id))
    return Sending(notice.channel, sent=True, detail=answer)


def _put_off(database: Database, notice: Notice, cause: str, now: datetime.datetime) -> Sending:
    if now - notice.created > GIVEN_UP_AFTER:
        return _give_up(database, notice, cause)
    next_try = now + wait(notice.attempts + 1)
    with database.session() as session:
        session.execute(update(Notice).where(Notice.id == notice.id).values(next_try=next_try, error=cause))
    return Sending(notice.channel, sent=False, detail=f"{cause} (next try at {next_try:%H:%M:%S} UTC)")


def _give_up(database: Database, notice: Notice, cause: str) -> Sending:
    with database.session() as session:
        session.execute(delete(Notice).where(Notice.id == notice.id))
    days = GIVEN_UP_AFTER.days
    return Sending(notice.channel, sent=False, detail=f"given up after {days} days: {notice.subject}: {cause}")


def wait(attempts: int) -> datetime.timedelta:
    """How long to wait after so many attempts."""
    doublings = min(attempts - 1, 10)
    return min(FIRST_WAIT * (1 << doublings), LONGEST_WAIT)


def waiting(session: Session) -> list[tuple[str, int, str]]:
    """Say of each way how many messages wait that could not be sent yet, and why the latest could not."""
    statement = select(Notice).where(Notice.error != "").order_by(Notice.channel, Notice.modified)
    found: dict[str, tuple[int, str]] = {}
    for notice in session.scalars(statement):
        found[notice.channel] = (found.get(notice.channel, (0, ""))[0] + 1, notice.error)
    return [(channel, count, error) for channel, (count, error) in found.items()]
