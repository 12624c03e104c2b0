"""A stand-in for Scrapyd on the loopback: it answers as a real one was observed to, or as badly as it is told to.

Use it as a context manager:

    with ScriptedScrapyd() as scrapyd:
        scrapyd.state = "running"                                    # of whatever job is asked for
        scrapyd.log = b"…"                                           # None: 404
        scrapyd.fault("status.json", Fault(status=502))              # once; `times=None`: always
        scrapyd.asked("cancel.json")                                 # the forms that were sent

Does not belong here: a Scrapyd that runs crawls (`real_scrapyd.py`).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from tests.services.loopback import Service

NOT_FOUND = b"\n<html>\n  <head><title>404 - No Such Resource</title></head>\n  <body></body>\n</html>\n"


@dataclass
class Fault:
    """One wrong answer.

    Attributes:
        body: the body; a dict is sent as JSON.
        status: the HTTP status.
        headers: further headers.
        cut: send only so many bytes of the body, then break off.
        hang: never answer.
        reset: break off before any answer.
        act: whether what was asked for is done all the same.
        drip: seconds between single bytes of the body.
        then: called with the server before the answer.
    """

    body: bytes | Mapping[str, Any] = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    hang: bool = False
    reset: bool = False
    act: bool = False
    drip: float = 0
    then: Callable[[ScriptedScrapyd], None] | None = None


class ScriptedScrapyd(Service):
    """The server.

    Attributes:
        state: where every job is: `pending`, `running`, `finished` or None; anything else is answered as it stands.
        jobs: how many jobs have the id, if the state isn't None.
        job: the id that is listed: the latest that was asked for.
        log: what the log holds. None: there is none (404).
        log_age: seconds since it was written to.
        stream: gives `length` bytes of the log instead, piece by piece, from an offset on.
        ranges: whether parts of the log can be asked for.
        spiders: those of the project.
        interrupts: how many interrupts a running job got.
        ends_after: interrupts after which it has finished.
        fetched: bytes of logs that were sent.
    """

    def __init__(self, *, user: str = "", password: str = "") -> None:
        self.state: Any = None
        self.jobs = 1
        self.job = "crawl-1"
        self.log: bytes | None = None
        self.log_age = 0.0
        self.stream: Callable[[int], Any] | None = None
        self.length = 0
        self.ranges = True
        self.spiders = ["acme", "other"]
        self.interrupts = 0
        self.ends_after = 1
        self.fetched = 0
        self.requests: list[tuple[str, dict[str, list[str]]]] = []
        self.authorized = True
        self._login = f"{user}:{password}" if user else ""
        self._faults: dict[str, list[tuple[Fault, int | None]]] = {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server._serve(self, urlsplit(self.path).query)

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_POST(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                server._serve(self, self.rfile.read(size).decode())

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        super().__init__(Handler)

    @property
    def url(self) -> str:
        """Where it is, with the user and password that it wants."""
        login = f"{self._login}@" if self._login else ""
        return f"http://{login}127.0.0.1:{self.port}"

    def fault(self, name: str, fault: Fault, times: int | None = 1) -> None:
        """Answer a request wrongly so many times (None: always). `log` stands for every log."""
        self._faults.setdefault(name, []).append((fault, times))

    def asked(self, name: str) -> list[dict[str, list[str]]]:
        """What was sent to a name, each time."""
        return [form for asked, form in self.requests if asked == name]

    def _serve(self, handler: BaseHTTPRequestHandler, form: str) -> None:
        path = urlsplit(handler.path).path
        name = "log" if path.startswith("/logs/") else path.strip("/")
        sent = parse_qs(form, keep_blank_values=True)
        self.requests.append((name if name != "log" or handler.command != "HEAD" else "log HEAD", sent))
        fault = self._next_fault(name)
        try:
            if fault:
                if fault.act:
                    self._answer(name, dict(parse_qsl(form)))
                if fault.then:
                    fault.then(self)
                self._send_fault(handler, fault)
            elif name == "log":
                self._send_log(handler)
            else:
                answer = self._answer(name, dict(parse_qsl(form)))
                body = NOT_FOUND if answer is None else json.dumps(answer | {"node_name": "test"}).encode()
                self._send(handler, 404 if answer is None else 200, body, {"Content-Type": "application/json"})
        except OSError:
            handler.close_connection = True

    def _next_fault(self, name: str) -> Fault | None:
        waiting = self._faults.get(name)
        if not waiting:
            return None
        fault, times = waiting[0]
        if times == 1:
            waiting.pop(0)
        elif times is not None:
            waiting[0] = (fault, times - 1)
        return fault

    def _answer(self, name: str, form: Mapping[str, str]) -> dict[str, Any] | None:
        if name == "status.json":
            return {"currstate": self.state, "status": "ok"}
        if name == "daemonstatus.json":
            return {"pending": 0, "running": 1, "finished": 2, "status": "ok"}
        if name == "listspiders.json":
            return {"spiders": self.spiders, "status": "ok"}
        if name == "listjobs.json":
            job = {"id": self.job, "project": "kingfisher", "spider": "acme", "start_time": "2026-01-02 03:04:05.6"}
            lists: dict[str, Any] = {"pending": [], "running": [], "finished": []}
            if self.state in lists:
                lists[self.state] = [job] * self.jobs
            return {**lists, "status": "ok"}
        if name == "schedule.json":
            if form.get("spider") not in self.spiders:
                return {"status": "error", "message": f"spider '{form.get('spider')}' not found"}
            self.state, self.job = "pending", form["jobid"]
            return {"jobid": form["jobid"], "status": "ok"}
        if name == "cancel.json":
            previous = self.state if self.state in {"pending", "running"} else None
            if previous == "pending":
                self.state = None
            elif previous == "running":
                self.interrupts += 1
                if self.interrupts >= self.ends_after:
                    self.state = "finished"
            return {"prevstate": previous, "status": "ok"}
        return None

    def _send_log(self, handler: BaseHTTPRequestHandler) -> None:
        if self.log is None and self.stream is None:
            self._send(handler, 404, NOT_FOUND, {"Content-Type": "text/html"})
            return
        size = self.length if self.stream else len(self.log or b"")
        now = time.time()
        headers = {"Content-Type": "text/plain", "Date": formatdate(now, usegmt=True)}
        headers["Last-Modified"] = formatdate(now - self.log_age, usegmt=True)
        found = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", "")) if self.ranges else None
        start, status = int(found[1]) if found else 0, 206 if found else 200
        if found and start >= size:
            self._send(handler, 416, b"", {**headers, "Content-Range": f"bytes */{size}"})
            return
        if found:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        if handler.command == "HEAD":
            self._send(handler, status, b"", headers, size)
        elif self.stream:
            self._send(handler, status, b"", headers, size - start)
            for piece in self.stream(start):
                handler.wfile.write(piece)
                self.fetched += len(piece)
        else:
            body = (self.log or b"")[start:]
            self.fetched += len(body)
            self._send(handler, status, body, headers)

    def _send_fault(self, handler: BaseHTTPRequestHandler, fault: Fault) -> None:
        if fault.hang:
            self.stopping.wait()
        if fault.hang or fault.reset:
            handler.close_connection = True
            return
        body = fault.body if isinstance(fault.body, bytes) else json.dumps(fault.body).encode()
        headers = {"Content-Type": "application/json", **fault.headers}
        if fault.cut is None and not fault.drip:
            self._send(handler, fault.status, body, headers)
            return
        self._send(handler, fault.status, b"", headers, len(body))
        for byte in body[: fault.cut]:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            if fault.drip and self.stopping.wait(fault.drip):
                return
        handler.close_connection = True

    def _send(
        self,
        handler: BaseHTTPRequestHandler,
        status: int,
        body: bytes,
        headers: Mapping[str, str],
        length: int | None = None,
    ) -> None:
        handler.send_response_only(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)
            handler.wfile.flush()
