"""A stand-in for Kingfisher Process: a real HTTP server over a real PostgreSQL with the same tables and indices.

It answers as Kingfisher Process was observed to answer, does what its workers do at once when a test asks for it, and
fails in every way that tests need. Use it as a context manager, with the URL of an empty database:

    with KingfisherProcess(url) as process:
        root, compiled = process.create("ruritania", "2026-01-02 03:04:05")
        process.load(root, "a.json", [release(1), release(2)])
        process.close(root)
        process.merge(root)
        process.complete(root)
        process.fail("/tree/", Fault(status=500), Fault(hang=True))   # the next two answers, then good ones
        process.url, process.requests

Belongs here: the HTTP side and the faults. The tables and workers are in `kingfisher_process_store.py`.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.services.kingfisher_process_store import DuplicateError, Store

SERVER_ERROR = (
    '\n<!doctype html>\n<html lang="en">\n<head>\n  <title>Server Error (500)</title>\n</head>\n'
    "<body>\n  <h1>Server Error (500)</h1><p></p>\n</body>\n</html>\n"
)
NOT_FOUND = SERVER_ERROR.replace("Server Error (500)", "Not Found")
LOGIN = '<html><head><title>Sign in</title></head><body><form><input name="password"></form></body></html>'
SOURCE_ID = re.compile(r"([a-z]+_)*[a-z]+")


@dataclass
class Fault:
    """One bad answer, instead of the good one.

    Attributes:
        status: the HTTP status.
        body: the body.
        kind: the content type.
        headers: further headers.
        cut: send the good answer, but close the connection after so many bytes of the body.
        hang: send nothing, or after `cut` nothing more, until the server stops.
        drop: close the connection without a word.
        pace: send the good answer a byte at a time, with so many seconds between.
        pause: send the good answer after so many seconds.
    """

    status: int = 200
    body: str | bytes = ""
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    hang: bool = False
    drop: bool = False
    pace: float = 0
    pause: float = 0


@dataclass
class Answer:
    """One good answer. `json` is None for an empty body; text is sent as HTML."""

    status: int = 200
    json: Any = None
    html: str = ""
    headers: dict[str, str] = field(default_factory=dict)


class KingfisherProcess(Store):
    """The server. What tests do with collections is inherited.

    Attributes:
        requests: method and path of all requests so far.
        wiper: `at once`, `late` (after `wipe` is called), or `never`.
    """

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url)
        self.requests: list[str] = []
        self.wiper = "at once"
        self._faults: list[tuple[str, Fault]] = []
        self._lock = threading.Lock()
        self._start(0)

    def _start(self, port: int) -> None:
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                service._handle(self)

            do_GET = do_POST = do_DELETE = do_OPTIONS = handle_any  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._server = _Server(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self.disconnect()

    @property
    def port(self) -> int:
        """The port."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """What KINGFISHER_PROCESS_URL would be."""
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Refuse connections."""
        self._server.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def start_again(self) -> None:
        """Accept them again, on the same port."""
        self._start(self.port)

    def fail(self, path: str, *faults: Fault) -> None:
        """Answer the next requests whose path has this in it badly, each fault once."""
        with self._lock:
            self._faults += [(path, fault) for fault in faults]

    def _fault(self, path: str) -> Fault | None:
        with self._lock:
            for number, (part, fault) in enumerate(self._faults):
                if part in path:
                    del self._faults[number]
                    return fault
        return None

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length)
        with self._lock:
            self.requests.append(f"{handler.command} {handler.path}")
        fault = self._fault(handler.path)
        try:
            if fault and fault.pause:
                self._server.stopping.wait(fault.pause)
            if fault is None or fault.cut is not None or fault.pace or fault.pause:
                self._send(handler, self.answer(handler.command, handler.path, body), fault)
            else:
                self._send_fault(handler, fault)
        except OSError:
            handler.close_connection = True

    def _send_fault(self, handler: BaseHTTPRequestHandler, fault: Fault) -> None:
        if fault.hang:
            while not self._server.stopping.wait(0.05):
                pass
        if fault.hang or fault.drop:
            handler.close_connection = True
            return
        data = fault.body if isinstance(fault.body, bytes) else fault.body.encode()
        handler.send_response(fault.status)
        for name, value in {"Content-Type": fault.kind, "Content-Length": str(len(data)), **fault.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)

    def _send(self, handler: BaseHTTPRequestHandler, answer: Answer, fault: Fault | None) -> None:
        data = answer.html.encode()
        kind = "text/html; charset=utf-8"
        if answer.json is not None:
            data, kind = (
                json.dumps(answer.json, separators=(",", ":"), ensure_ascii=False).encode(),
                "application/json",
            )
        handler.send_response(answer.status)
        if data or answer.html:
            handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(data)))
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        if fault and fault.pace:
            for byte in data:
                if self._server.stopping.wait(fault.pace):
                    break
                handler.wfile.write(bytes([byte]))
        elif fault and fault.cut is not None:
            handler.wfile.write(data[: fault.cut])
            while fault.hang and not self._server.stopping.wait(0.05):
                pass
            handler.close_connection = True
        else:
            handler.wfile.write(data)

    def answer(self, method: str, path: str, body: bytes = b"") -> Answer:
        """Return the good answer to a request."""
        parts = urlsplit(path)
        if not parts.path.endswith("/"):
            return Answer(301, headers={"Location": f"{parts.path}/"}, html=" ")
        if parts.path == "/api/collections/":
            return self._allowed(method, "POST") or self._create(body)
        match = re.fullmatch(r"/api/collections/(\d+)/(?:(tree|metadata|notes|close)/)?", parts.path)
        if match is None:
            return Answer(404, html=NOT_FOUND)
        number, what = int(match[1]), match[2]
        if what is None:
            return self._allowed(method, "DELETE") or self._delete(number)
        if what == "close":
            return self._allowed(method, "POST") or self._close(number, body)
        if method == "OPTIONS":
            return Answer(json={"name": what.title()})
        levels = parse_qs(parts.query).get("level", [])
        return (
            self._allowed(method, "GET", "HEAD")
            or {
                "tree": lambda: self._tree(number),
                "metadata": lambda: self._metadata(number),
                "notes": lambda: self._notes(number, levels),
            }[what]()
        )

    def _allowed(self, method: str, *allowed: str) -> Answer | None:
        if method in allowed:
            return None
        return Answer(405, {"detail": f'Method "{method}" not allowed.'}, headers={"Allow": ", ".join(allowed)})

    def _create(self, body: bytes) -> Answer:
        asked = json.loads(body or b"{}")
        if missing := [name for name in ("source_id", "data_version") if name not in asked]:
            return Answer(400, {name: ["This field is required."] for name in missing})
        if not SOURCE_ID.fullmatch(asked["source_id"]):
            return Answer(500, html=SERVER_ERROR)
        chosen = {name: bool(asked.get(name)) for name in ("sample", "upgrade", "compile")}
        try:
            ids = self.create_all(asked["source_id"], asked["data_version"], job=asked.get("job", ""), **chosen)
        except DuplicateError:
            return Answer(500, html=SERVER_ERROR)
        return Answer(json=ids)

    def _close(self, number: int, body: bytes) -> Answer:
        if not self.exists(number):
            return Answer(404, {"detail": "No Collection matches the given query."})
        asked = json.loads(body or b"{}")
        stats = asked.get("stats") or {}
        self.close(number, stats.get("kingfisher_process_expected_files_count"), asked.get("reason"), stats)
        return Answer(202)

    def _delete(self, number: int) -> Answer:
        if self.wiper == "at once":
            threading.Timer(0.04, self.wipe, (number,)).start()
        return Answer(202)

    def _tree(self, number: int) -> Answer:
        tree = self.tree(number)
        return Answer(json=tree) if tree else Answer(404, {"detail": "Not found."})

    def _metadata(self, number: int) -> Answer:
        kind = self.kind_of(number)
        if kind is None:
            return Answer(404, {"detail": "No Collection matches the given query."})
        if kind != "compile-releases":
            return Answer(400, "The collection must be a compiled collection")
        return Answer(json=self.metadata(number))

    def _notes(self, number: int, levels: list[str]) -> Answer:
        kind = self.kind_of(number)
        if kind is None:
            return Answer(404, {"detail": "No Collection matches the given query."})
        if kind:
            return Answer(400, "The collection must be a root collection")
        known = ("INFO", "ERROR", "WARNING")
        return Answer(json=self.notes(number, [each for each in known if not levels or each in levels]))

    def wait_until_wiped(self, number: int) -> None:
        """Wait for the wiper's work."""
        deadline = time.monotonic() + 5
        while self.exists(number):
            assert time.monotonic() < deadline
            time.sleep(0.01)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    allow_reuse_address = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.stopping = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error of the server; what is one is shown with the test that fails."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)
