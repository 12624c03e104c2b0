"""The settings of notifications: all of a way's, or none, and no secret shown."""

from __future__ import annotations

import re

import pytest

from registry_resources.exceptions import ConfigurationError
from registry_resources.settings import MailSettings, Settings

MAIL = {
    "REGISTRY_SMTP_URL": "smtp://robot%40example.org:can%2Fary-1@mail.example.org:587?starttls",
    "REGISTRY_MAIL_FROM": "Registry <registry@example.org>",
    "REGISTRY_MAIL_TO": "a@example.org, B <b@example.org>",
}


def test_mail_is_read_from_three_variables() -> None:
    """What is special in a password is quoted, as in any URL."""
    settings = Settings.from_env(MAIL)
    assert settings.mail == MailSettings(
        host="mail.example.org",
        port=587,
        security="starttls",
        user="robot@example.org",
        password="can/ary-1",
        sender="registry@example.org",
        recipients=("a@example.org", "b@example.org"),
    )
    assert "ary-1" not in repr(settings)


@pytest.mark.parametrize(
    ("url", "port", "security"),
    [("smtp://127.0.0.1", 25, ""), ("smtps://h", 465, "tls"), ("smtp://h:2525/?starttls=1", 2525, "starttls")],
)
def test_the_address_of_the_mail_server_says_how_it_is_spoken_to(url: str, port: int, security: str) -> None:
    mail = Settings.from_env({**MAIL, "REGISTRY_SMTP_URL": url}).mail
    assert mail is not None
    assert (mail.port, mail.security, mail.user) == (port, security, "")


def test_a_webhook_needs_one_variable_that_is_not_shown() -> None:
    """I6: who knows such an address can write there."""
    settings = Settings.from_env({"REGISTRY_WEBHOOK_URL": "https://hooks.example.org/services/canary-2"})
    assert settings.webhook_url == "https://hooks.example.org/services/canary-2"
    assert settings.mail is None
    assert "canary" not in repr(settings)


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        (
            {"REGISTRY_SMTP_URL": MAIL["REGISTRY_SMTP_URL"]},
            "SMTP_URL set, but not REGISTRY_MAIL_FROM, REGISTRY_MAIL_TO",
        ),
        ({"REGISTRY_MAIL_TO": "a@b.c"}, "REGISTRY_MAIL_TO set, but not REGISTRY_SMTP_URL, REGISTRY_MAIL_FROM"),
        ({**MAIL, "REGISTRY_SMTP_URL": "mail.example.org:587"}, "REGISTRY_SMTP_URL is no URL of a mail server"),
        ({**MAIL, "REGISTRY_SMTP_URL": "smtp://u:ca#nary@h:25"}, "REGISTRY_SMTP_URL is no URL of a mail server"),
        ({**MAIL, "REGISTRY_SMTP_URL": "smtp://h:25?tls"}, "REGISTRY_SMTP_URL is no URL of a mail server"),
        ({**MAIL, "REGISTRY_MAIL_TO": "nobody"}, "REGISTRY_MAIL_TO is 'nobody', where 'nobody' is no e-mail address"),
        ({**MAIL, "REGISTRY_MAIL_TO": "a@b.c,"}, "where '' is no e-mail address"),
        ({**MAIL, "REGISTRY_MAIL_TO": "a@b.c\r\nBcc: d@e.f"}, "is no e-mail address"),
        ({**MAIL, "REGISTRY_MAIL_FROM": "a@b.c,d@e.f"}, "REGISTRY_MAIL_FROM holds several addresses"),
        ({"REGISTRY_WEBHOOK_URL": "hooks.example.org"}, "REGISTRY_WEBHOOK_URL is no URL that begins with http://"),
    ],
)
def test_half_of_a_way_is_told_with_the_remedy(environ: dict[str, str], says: str) -> None:
    """Without a secret in the text."""
    with pytest.raises(ConfigurationError, match=re.escape(says)) as error:
        Settings.from_env(environ)
    assert "nary" not in str(error.value)
