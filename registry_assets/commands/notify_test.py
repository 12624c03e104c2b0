"""`registry notify-test`: sends a test message by each way that is configured, and says what was answered.

Does not belong here: the ways (`registry_resources.notify`), or what else is told by them.
"""

from __future__ import annotations

import sys

import click

from registry_assets.commands.common import json_option, print_json, shown
from registry_resources.exceptions import ConfigurationError, RecoverableError


@click.command("notify-test", short_help="Send a test message by each configured way.")
@json_option
def notify_test(*, as_json: bool) -> None:
    """Send a test message by e-mail and to the webhook, whichever is configured, and say what was answered.

    The exit code is 1 if one of them did not take it, or if none is configured.
    """
    import uuid  # noqa: PLC0415 - not before it is needed

    from registry_resources.database import utcnow  # noqa: PLC0415
    from registry_resources.notify import Message, channels  # noqa: PLC0415
    from registry_resources.settings import Settings  # noqa: PLC0415

    settings = Settings.from_env()
    ways = channels(settings)
    if not ways:
        raise ConfigurationError(
            "Notifications go to the log only. Set REGISTRY_SMTP_URL, REGISTRY_MAIL_FROM and REGISTRY_MAIL_TO, or "
            "REGISTRY_WEBHOOK_URL, to be sent them."
        )
    message = Message(
        str(uuid.uuid4()),
        utcnow(),
        "Registry: a test",
        f"This is a test of the notifications of the registry at {settings.dagster_url}. Nothing has happened.\n",
    )
    answers = []
    for name, channel in ways.items():
        try:
            answer, sent = channel.send(message), True
        except RecoverableError as error:
            answer, sent = str(error), False
        answers.append({"channel": name, "where": channel.where, "sent": sent, "answer": answer})
        if not as_json:
            click.echo(shown(f"{name} to {channel.where}: {answer}"), err=not sent)
    if as_json:
        print_json(answers)
    if not all(answer["sent"] for answer in answers):
        sys.exit(1)
