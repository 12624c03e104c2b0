"""The sensor that tells people what changed: in the log always, by e-mail and to a webhook if they are configured.

Does not belong here: what is told (`process_manager.notifications`), or when it is sent (`process_manager.outbox`).
"""

from __future__ import annotations

import datetime
import logging

import dagster as dg

from registry_assets.process_manager import notifications, outbox
from registry_resources.dagster_resources import DatabaseResource, SettingsResource
from registry_resources.database import utcnow
from registry_resources.notify import channels
from registry_resources.redaction import redact

logger = logging.getLogger(__name__)

GATHERED_FOR = datetime.timedelta(minutes=10)
"""After people were told of something, what changes within this time is told together: what is common to many
publications, such as a full disk, fails them one after the other."""

KEYS_SHOWN = 20
"""How many publications a tick names at most."""


@dg.sensor(
    name="notifications",
    description=(
        "Tells people when a publication fails for the first time or for another cause, when a version of it is kept "
        "from readers, when it keeps failing for one cause, and when it recovers. The same is told once: in the log, "
        "and by e-mail or to a webhook if they are configured, every ten minutes at most. What can't be sent is tried "
        "again for a week."
    ),
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def notify(
    context: dg.SensorEvaluationContext, settings: SettingsResource, database: DatabaseResource
) -> dg.SkipReason:
    """Find out what changed, and send what waits. Starts no runs."""
    found = settings.read()
    ways = channels(found)

    def say(line: str) -> None:
        # At a level that is shown by whatever logging there is. Dagster keeps its own copy with the tick.
        context.log.warning(redact(line))
        logger.warning(redact(line))

    now, last = utcnow(), _last(context.cursor)
    until = last + GATHERED_FOR if last and last <= now else now
    opened = database.open(found)
    try:
        news = notifications.record(opened, list(ways), found.dagster_url, say, now) if until <= now else []
        if news:
            context.update_cursor(now.isoformat())
        sendings = outbox.deliver(opened, ways)
    finally:
        opened.dispose()
    for sending in sendings:
        if not sending.sent:
            say(f"{sending.channel}: {sending.detail}")
    parts = [f"{item.key} {item.event.kind.value}" for item in news[:KEYS_SHOWN]]
    if len(news) > KEYS_SHOWN:
        parts.append(f"… and {len(news) - KEYS_SHOWN:,} more")
    parts += [f"{sending.channel}: {sending.detail}" for sending in sendings]
    if until > now:
        parts.append(f"What changes until {until:%H:%M} UTC is told together then.")
    return dg.SkipReason("; ".join(parts) or "Nothing has changed since people were told.")


def _last(cursor: str | None) -> datetime.datetime | None:
    """When people were told last."""
    try:
        last = datetime.datetime.fromisoformat(cursor or "")
    except ValueError:
        return None
    return last if last.tzinfo else None
