"""A real HTTP server on the loopback, in the part of a publisher: good pages, and every fault that publishers have.

Use it as a context manager, or through a fixture:

    @pytest.fixture
    def publisher():
        with Publisher() as server:
            yield server

    publisher.add("/a.json", b"{}")                      # a body
    publisher.add("/b.json", Answer(status=404))         # a fault
    publisher.add("/c.json", Answer(status=500), b"{}")  # one fault, then good (the last answer is repeated)
    publisher.add_pages("/api", 5)                       # OCDS pages linked by links.next
    publisher.url("/a.json"), publisher.requests         # where it is, and the paths asked for so far
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.services.loopback import Service


@dataclass
class Answer:
    """One answer.

    Attributes:
        body: the body.
        status: the HTTP status.
        headers: further headers. `Content-Length` is added unless it is given as None.
        delay: seconds before anything is sent.
        cut: send only so many bytes of the body, then close the connection.
        pace: seconds between pieces of 64 KiB of the body.
        gate: wait for this event before anything is sent.
        ranges: the ETag with which parts of the body can be asked for.
        stream: writes the body, instead of `body`; its size is `length`.
        length: the `Content-Length`, instead of the body's.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str | None] = field(default_factory=dict)
    delay: float = 0
    cut: int | None = None
    pace: float = 0
    gate: threading.Event | None = None
    ranges: str = ""
    stream: Callable[[Any], None] | None = None
    length: int | None = None


class Publisher(Service):
    """The server."""

    def __init__(self) -> None:
        self._answers: dict[str, list[Answer]] = {}
        self._lock = threading.Lock()
        self.requests: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                publisher._serve(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        super().__init__(Handler)

    def url(self, path: str = "") -> str:
        """The URL of a path."""
        return f"http://127.0.0.1:{self.port}{path}"

    def add(self, path: str, *answers: bytes | Answer) -> str:
        """Answer a path (with its query) with each answer in turn, the last one again and again. Returns its URL."""
        self._answers[path] = [Answer(a) if isinstance(a, bytes) else a for a in answers]
        return self.url(path)

    def add_pages(self, path: str, pages: int, *, per_page: int = 2, relative: bool = False, last: Any = None) -> str:
        """Offer OCDS release packages linked by `links.next`. Returns the first one's URL."""
        for number in range(1, pages + 1):
            name = path if number == 1 else f"{path}?page={number}"
            following = f"{path}?page={number + 1}"
            links = {"next": following if relative else self.url(following)} if number < pages else {"next": last}
            self.add(name, json.dumps(release_package(number * per_page, per_page) | {"links": links}).encode())
        return self.url(path)

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        with self._lock:
            self.requests.append(handler.path)
            self.headers.append(dict(handler.headers.items()))
            answers = self._answers.get(handler.path, [Answer(b"not found", 404)])
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer.gate:
            while not answer.gate.wait(0.05):
                if self.stopping.is_set():
                    return
        if answer.delay:
            self.stopping.wait(answer.delay)
        try:
            self._send(handler, answer)
        except OSError:
            handler.close_connection = True

    def _send(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        headers = {"Content-Type": "application/json", "Content-Length": str(len(answer.body)), **answer.headers}
        if answer.ranges:
            headers |= {"ETag": answer.ranges, "Accept-Ranges": "bytes"}
            asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
            if asked and handler.headers.get("If-Range") == answer.ranges:
                start, size = int(asked[1]), len(answer.body)
                answer = replace(answer, status=206, body=answer.body[start:])
                headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
                headers["Content-Length"] = str(size - start)
        if answer.length is not None:
            headers["Content-Length"] = str(answer.length)
        handler.send_response(answer.status)
        for name, value in headers.items():
            if value is not None:
                handler.send_header(name, value)
        handler.end_headers()
        if answer.stream:
            answer.stream(handler.wfile.write)
        body = answer.body if answer.cut is None else answer.body[: answer.cut]
        for start in range(0, len(body), 65536):
            if answer.pace:
                time.sleep(answer.pace)
            handler.wfile.write(body[start : start + 65536])
        handler.wfile.flush()
        if answer.cut is not None or headers.get("Content-Length") is None:
            handler.close_connection = True


def release(number: int) -> dict[str, Any]:
    """A small release."""
    return {
        "ocid": f"ocds-213czf-{number:06d}",
        "id": f"{number}-1",
        "date": f"202{number % 4}-01-02T03:04:05Z",
        "tag": ["tender"],
        "initiationType": "tender",
        "tender": {"id": str(number), "title": f"Works {number}"},
    }


def release_package(first: int = 1, count: int = 2) -> dict[str, Any]:
    """A small release package."""
    return {
        "uri": "https://publisher.example/package.json",
        "version": "1.1",
        "publishedDate": "2024-01-02T03:04:05Z",
        "publisher": {"name": "A publisher"},
        "releases": [release(first + offset) for offset in range(count)],
    }
