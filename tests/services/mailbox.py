"""A real mail server on the loopback: takes messages, signs people in, speaks TLS, and has a mail server's faults.

with Mailbox() as server:
    server.url, server.messages       # where it is, and what it took: parsed e-mails, with `envelope`
Mailbox(fault="refuse")               # see FAULTS
Mailbox(certificate=path)             # offers STARTTLS; with tls=True it speaks TLS from the first byte
Mailbox(login=("user", "password"))   # takes messages of this user only
"""

from __future__ import annotations

import base64
import email
import email.policy
import socketserver
import ssl
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from tests.services.loopback import Service, TCPServer

FAULTS = {
    "hang": "accepts the connection, and says nothing",
    "hang-after-data": "takes the message, and does not say so",
    "drop": "closes the connection at once",
    "refuse": "refuses every recipient",
    "refuse-first": "refuses the first recipient",
    "busy": "has no time, which passes",
    "bye": "takes the message, and answers nonsense to the goodbye",
}


class Mailbox(Service):
    """The server.

    Attributes:
        messages: what it took, oldest first; each has `envelope`: sender and recipients.
        fault: what it does wrong for now; may be changed while it runs.
        secured: whether the latest message came over TLS.
    """

    def __init__(
        self,
        fault: str = "",
        *,
        certificate: Path | None = None,
        tls: bool = False,
        login: tuple[str, str] | None = None,
    ) -> None:
        self.fault = fault
        self.login = login
        self.tls = tls
        self.messages: list[Any] = []
        self.secured = False
        self.context: ssl.SSLContext | None = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate)
        mailbox = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                conversation = Conversation(mailbox, self.request)
                try:
                    conversation.hold()
                finally:
                    conversation.connection.close()

        super().__init__(Handler, TCPServer)

    @property
    def url(self) -> str:
        """How REGISTRY_SMTP_URL names it."""
        user = f"{self.login[0]}:{self.login[1]}@" if self.login else ""
        if self.tls:
            return f"smtps://{user}localhost:{self.port}"
        return f"smtp://{user}localhost:{self.port}{'?starttls' if self.context else ''}"


class Conversation:
    """One connection."""

    def __init__(self, mailbox: Mailbox, connection: Any) -> None:
        self.mailbox = mailbox
        self.connection = connection
        self.secured = False
        self.signed_in = mailbox.login is None
        self.sender = ""
        self.recipients: list[str] = []

    def hold(self) -> None:
        fault = self.mailbox.fault
        if fault == "drop":
            return
        if fault == "hang":
            self.mailbox.stopping.wait(20)
            return
        if self.mailbox.tls:
            self._secure()
        self.reader = self.connection.makefile("rb")
        self._say("421 too busy" if fault == "busy" else "220 mailbox")
        while line := self.reader.readline().decode().strip():
            verb, _, rest = line.partition(" ")
            if not self._answer(verb.upper(), rest):
                return

    def _answer(self, verb: str, rest: str) -> bool:
        fault = self.mailbox.fault
        if verb == "EHLO":
            offers = ["mailbox", *(["STARTTLS"] if self.mailbox.context and not self.secured else [])]
            offers += ["AUTH PLAIN"] if self.mailbox.login else []
            self._say(*(f"250{'-' if i < len(offers) - 1 else ' '}{offer}" for i, offer in enumerate(offers)))
        elif verb == "STARTTLS" and self.mailbox.context:
            self._say("220 go on")
            self._secure()
            self.reader = self.connection.makefile("rb")
        elif verb == "AUTH":
            _, user, password = base64.b64decode(rest.split()[1]).decode().split("\0")
            self.signed_in = (user, password) == self.mailbox.login
            self._say("235 welcome" if self.signed_in else f"535 no, {user} with {password} is unknown")
        elif not self.signed_in:
            self._say("530 sign in first")
        elif verb == "MAIL":
            self.sender = rest.partition("<")[2].partition(">")[0]
            self._say("250 good")
        elif verb == "RCPT":
            self.recipients.append(rest.partition("<")[2].partition(">")[0])
            refused = fault == "refuse" or (fault == "refuse-first" and len(self.recipients) == 1)
            if refused:
                self.recipients.pop() if fault == "refuse" else None
            self._say("550 no such person" if refused else "250 good")
        elif verb == "DATA":
            self._say("354 go on")
            self._take()
            if fault == "hang-after-data":
                self.mailbox.stopping.wait(20)
                return False
            self._say("250 taken")
        elif verb == "QUIT":
            self._say("999 what?" if fault == "bye" else "221 bye")
            return False
        else:
            self._say("250 good" if verb in {"RSET", "NOOP"} else "502 what?")
        return True

    def _take(self) -> None:
        lines = []
        while (line := self.reader.readline()) != b".\r\n":
            lines.append(line[1:] if line.startswith(b".") else line)
        message = email.message_from_bytes(b"".join(lines), _class=EmailMessage, policy=email.policy.default)
        message.envelope = (self.sender, self.recipients)  # type: ignore[attr-defined]
        self.mailbox.secured = self.secured
        self.mailbox.messages.append(message)

    def _secure(self) -> None:
        assert self.mailbox.context
        plain = self.connection
        try:
            self.connection = self.mailbox.context.wrap_socket(plain, server_side=True)
        finally:
            plain.close()
        self.secured = True

    def _say(self, *lines: str) -> None:
        self.connection.sendall("".join(f"{line}\r\n" for line in lines).encode())
