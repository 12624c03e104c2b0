"""The ways of sending, against real servers with every fault of such servers."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from registry_resources.exceptions import RecoverableError
from registry_resources.notify import Mail, Message, Webhook, channels
from registry_resources.settings import Settings
from tests.services.hook import PATH, Hook
from tests.services.mailbox import Mailbox

NOW = datetime.datetime(2026, 11, 24, 10, 9, 13, tzinfo=datetime.UTC)
MESSAGE = Message(
    "0b3f9c1e-0000-4000-8000-000000000001",
    NOW,
    "Registry: Köpenick\r\nBcc: x@example.org failed",
    "Köpenick failed: <!channel> & “more”\n.\nafter a line with a dot\n" + "x" * 2_000 + "\n",
    [{"kind": "failed", "job": 41}],
)
LOGIN = ("robot", "canary-of-a-mailbox")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of localhost with its key, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + built.public_bytes(serialization.Encoding.PEM))
    return path


def mail(server: Mailbox, timeout: float = 5) -> Mail:
    return mail_to(server.url, timeout)


def mail_to(url: str, timeout: float = 5) -> Mail:
    environ = {
        "REGISTRY_SMTP_URL": url,
        "REGISTRY_MAIL_FROM": "registry@example.org",
        "REGISTRY_MAIL_TO": "a@example.org, b@example.org",
    }
    settings = Settings.from_env(environ).mail
    assert settings is not None
    return Mail(settings, timeout)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_a_mail_says_who_what_and_when_and_can_be_told_from_its_copy() -> None:
    """Nothing in its texts makes another header; lines of any length and a dot alone arrive as they were."""
    with Mailbox() as server:
        assert mail(server).send(MESSAGE) == "taken"
    (got,) = server.messages
    assert got.envelope == ("registry@example.org", ["a@example.org", "b@example.org"])
    assert got["Subject"] == "Registry: Köpenick Bcc: x@example.org failed"
    assert (got["From"], got["To"]) == ("registry@example.org", "a@example.org, b@example.org")
    assert got["Bcc"] is None
    assert got["Message-ID"] == "<0b3f9c1e-0000-4000-8000-000000000001@example.org>"
    assert got["Date"].datetime == NOW
    assert got["Auto-Submitted"] == "auto-generated"
    assert got.get_content().replace("\r\n", "\n") == MESSAGE.text


@pytest.mark.parametrize("tls", [False, True])
def test_a_password_goes_over_tls_where_that_is_asked_for(
    certificate: Path, tls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By STARTTLS, or from the first byte; the certificate is verified."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with Mailbox(certificate=certificate, tls=tls, login=LOGIN) as server:
        assert mail(server).send(MESSAGE) == "taken"
    assert server.secured
    assert len(server.messages) == 1


@pytest.mark.parametrize("tls", [False, True])
def test_nothing_is_said_to_a_server_with_an_unknown_certificate(certificate: Path, tls: bool) -> None:
    """I6: a password would go to whoever it is."""
    with Mailbox(certificate=certificate, tls=tls, login=LOGIN) as server:
        with pytest.raises(RecoverableError, match=r"took no message: .*certificate verify failed"):
            mail(server).send(MESSAGE)
        assert server.messages == []


def test_nothing_is_said_to_a_server_that_has_no_starttls() -> None:
    """Where the setting asks for it."""
    with Mailbox(login=LOGIN) as server, pytest.raises(RecoverableError, match="STARTTLS extension not supported"):
        mail_to(f"{server.url}?starttls").send(MESSAGE)


def test_a_wrong_password_is_told_and_not_shown() -> None:
    """I6: also if the server repeats it."""
    with Mailbox(login=LOGIN) as server, pytest.raises(RecoverableError) as error:
        mail_to(server.url.replace("canary", "wrong-canary")).send(MESSAGE)
    assert "535 no, robot with *** is unknown. Check the user and password in REGISTRY_SMTP_URL." in str(error.value)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("hang", "it gave no answer in time"),
        ("hang-after-data", "it gave no answer in time"),
        ("drop", "Connection unexpectedly closed"),
        ("refuse", "a@example.org: 550 no such person; b@example.org: 550 no such person"),
        ("busy", "421 too busy"),
    ],
)
def test_a_mail_server_that_takes_no_message_is_told_with_the_cause(fault: str, says: str) -> None:
    """And in bounded time."""
    start = time.monotonic()
    with Mailbox(fault) as server:
        with pytest.raises(RecoverableError) as error:
            mail(server, timeout=0.5 if fault.startswith("hang") else 30).send(MESSAGE)
        assert time.monotonic() - start < 15
    assert str(error.value) == f"The mail server localhost:{server.port} took no message: {says}"


def test_a_message_that_was_taken_is_sent(closed_port: int) -> None:
    """Whatever the server says to the goodbye. A recipient that it refused is told of, and gets no copy by trying."""
    with Mailbox("bye") as server:
        assert mail(server).send(MESSAGE) == "taken"
    with Mailbox("refuse-first") as server:
        assert mail(server).send(MESSAGE) == "taken, but not for a@example.org: 550 no such person"
    with pytest.raises(RecoverableError, match=f"127.0.0.1:{closed_port} took no message: .*refused"):
        mail_to(f"smtp://127.0.0.1:{closed_port}").send(MESSAGE)


def test_a_webhook_gets_text_for_people_and_fields_for_programs() -> None:
    """`text` is what Slack shows, and nothing in it is taken for a mention of everybody."""
    with Hook() as hook:
        assert Webhook(hook.url).send(MESSAGE) == "taken (200)"
    (post,) = hook.posts
    assert post.path == PATH
    assert post.headers["Idempotency-Key"] == MESSAGE.number
    assert post.headers["Content-Type"] == "application/json"
    assert post.body == {
        "text": MESSAGE.text.replace("&", "&amp;").replace("<!channel>", "&lt;!channel&gt;"),
        "id": MESSAGE.number,
        "created": "2026-11-24T10:09:13+00:00",
        "subject": MESSAGE.subject,
        "events": [{"kind": "failed", "job": 41}],
    }


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (500, "it answered 500 Internal Server Error"),
        (404, "it answered 404 Not Found"),
        (302, "it answered 302 Found"),
        ("hang", "it gave no answer in time"),
        ("hang-after", "it gave no answer in time"),
        ("drop", "it can't be reached"),
    ],
)
def test_a_webhook_that_takes_no_message_is_told_with_the_cause(fault: int | str, says: str) -> None:
    """In bounded time, and without its address, which is a secret (I6)."""
    start = time.monotonic()
    with Hook(fault) as hook:
        with pytest.raises(RecoverableError) as error:
            Webhook(hook.url, timeout=0.5 if str(fault).startswith("hang") else 30).send(MESSAGE)
        assert time.monotonic() - start < 15
        host = hook.url.removesuffix(PATH)
    assert str(error.value) == f"The webhook at {host} took no message: {says}"


def test_a_webhook_that_is_not_there_is_told(closed_port: int) -> None:
    """Without the user and password that its address may hold."""
    channel = Webhook(f"http://user:canary-of-a-user@127.0.0.1:{closed_port}{PATH}")
    with pytest.raises(RecoverableError) as error:
        channel.send(MESSAGE)
    assert str(error.value) == f"The webhook at http://127.0.0.1:{closed_port} took no message: it can't be reached"
    assert "canary" not in channel.where


def test_the_ways_are_those_that_are_configured() -> None:
    """Neither, one, or both."""
    assert channels(Settings.from_env({})) == {}
    both = {
        "REGISTRY_SMTP_URL": "smtp://localhost",
        "REGISTRY_MAIL_FROM": "registry@example.org",
        "REGISTRY_MAIL_TO": "a@example.org",
        "REGISTRY_WEBHOOK_URL": f"https://hooks.example.org{PATH}",
    }
    assert {name: way.where for name, way in channels(Settings.from_env(both)).items()} == {
        "e-mail": "a@example.org through localhost:25 without TLS",
        "webhook": "https://hooks.example.org",
    }
