"""Sending messages by e-mail. Does not belong here: what they say, or trying again."""

from __future__ import annotations

import contextlib
import smtplib
import ssl
from email.message import EmailMessage
from email.policy import SMTP

from registry_resources.exceptions import RecoverableError
from registry_resources.notify.message import TIMEOUT, Message
from registry_resources.redaction import redact, register_secret
from registry_resources.settings import MailSettings


class Mail:
    """A mail server that takes messages for some recipients.

    Attributes:
        name: what this way is called.
        where: where messages go, for people.
    """

    name = "e-mail"

    def __init__(self, settings: MailSettings, timeout: float = TIMEOUT) -> None:
        """Prepare to send. Connects to nothing.

        Args:
            settings: where and how.
            timeout: seconds to connect, and to wait for each answer.
        """
        self._settings = settings
        self._timeout = timeout
        register_secret(settings.password)
        security = {"tls": " with TLS", "starttls": " with STARTTLS"}.get(settings.security, " without TLS")
        self.where = f"{', '.join(settings.recipients)} through {settings.host}:{settings.port}{security}"

    def send(self, message: Message) -> str:
        """Send a message once, and return what was answered.

        Raises:
            RecoverableError: if no recipient is known to have it.
        """
        settings = self._settings
        try:
            with contextlib.ExitStack() as stack:
                server = self._connect()
                stack.callback(_leave, server)
                if settings.user:
                    server.login(settings.user, settings.password)
                refused = server.send_message(self.compose(message), settings.sender, list(settings.recipients))
        except (OSError, smtplib.SMTPException, UnicodeError) as error:
            where = f"{settings.host}:{settings.port}"
            raise RecoverableError(f"The mail server {where} took no message: {_cause(error)}") from None
        if refused:
            answers = "; ".join(f"{address}: {_answer(*answer)}" for address, answer in refused.items())
            return f"taken, but not for {answers}"
        return "taken"

    def compose(self, message: Message) -> EmailMessage:
        """Write the e-mail. Whoever gets it twice sees one, by its Message-ID; no autoresponder answers it."""
        mail = EmailMessage(policy=SMTP)
        mail["Subject"] = " ".join(message.subject.split())
        mail["From"] = self._settings.sender
        mail["To"] = ", ".join(self._settings.recipients)
        mail["Date"] = message.created
        mail["Message-ID"] = f"<{message.number}@{self._settings.sender.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text, cte="quoted-printable")  # any mail server takes that
        return mail

    def _connect(self) -> smtplib.SMTP:
        settings = self._settings
        if settings.security == "tls":
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(settings.host, settings.port, timeout=self._timeout, context=context)
        server = smtplib.SMTP(settings.host, settings.port, timeout=self._timeout)
        if settings.security == "starttls":
            try:
                server.starttls(context=ssl.create_default_context())
            except BaseException:
                server.close()
                raise
        return server


def _leave(server: smtplib.SMTP) -> None:
    """Say goodbye: what the server answers to that is of no interest, since it has taken the message or not."""
    with contextlib.suppress(OSError, smtplib.SMTPException):
        server.quit()
    server.close()


def _cause(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "; ".join(f"{address}: {_answer(*answer)}" for address, answer in error.recipients.items())
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"{_answer(error.smtp_code, error.smtp_error)}. Check the user and password in REGISTRY_SMTP_URL."
    if isinstance(error, smtplib.SMTPResponseException):
        return _answer(error.smtp_code, error.smtp_error)
    # smtplib says of a server that gives no answer that it closed the connection.
    if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
        return "it gave no answer in time"
    return redact(" ".join(str(error).split())) or type(error).__name__


def _answer(code: int, text: bytes | str) -> str:
    said = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return redact(f"{code} {' '.join(said.split())[:200]}")
