"""The ways by which people are told of something: e-mail and a webhook.

Belongs here: which ways there are, and which of them the settings ask for.
Does not belong here: what is told, or when.
"""

from __future__ import annotations

from registry_resources.notify.mail import Mail
from registry_resources.notify.message import Channel, Message
from registry_resources.notify.webhook import Webhook
from registry_resources.settings import Settings

__all__ = ["Channel", "Mail", "Message", "Webhook", "channels"]


def channels(settings: Settings) -> dict[str, Channel]:
    """Return the ways that are configured, by name. Connects to nothing."""
    found: list[Channel] = []
    if settings.mail:
        found.append(Mail(settings.mail))
    if settings.webhook_url:
        found.append(Webhook(settings.webhook_url))
    return {channel.name: channel for channel in found}
