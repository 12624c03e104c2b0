"""A real HTTP server on the loopback that takes what is posted to it, in the part of a webhook.

with Hook() as hook:
    hook.url, hook.posts     # where it is, and what it took: headers and JSON
hook.fault = 500             # answers this status from now on, taking nothing; "hang", "drop" and "hang-after" too
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple

from tests.services.loopback import Service

PATH = "/services/canary-of-a-webhook"


class Post(NamedTuple):
    """Something posted."""

    path: str
    headers: Mapping[str, str]
    body: Any


class Hook(Service):
    """The server.

    Attributes:
        posts: what it took, oldest first.
        asked: how often something was posted.
        fault: what it does wrong for now: a status, `hang`, `drop`, or `hang-after` it took what was posted.
    """

    def __init__(self, fault: int | str = "") -> None:
        self.fault = fault
        self.posts: list[Post] = []
        self.asked = 0
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.asked += 1
                if hook.fault in {"hang", "drop"}:
                    hook.stopping.wait(20 if hook.fault == "hang" else 0)
                    return
                if not isinstance(hook.fault, int):
                    hook.posts.append(Post(self.path, dict(self.headers), body))
                if hook.fault == "hang-after":
                    hook.stopping.wait(20)
                    return
                self.send_response(hook.fault if isinstance(hook.fault, int) else 200)
                if hook.fault == 302:
                    self.send_header("Location", "/login")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(Handler)

    @property
    def url(self) -> str:
        """How REGISTRY_WEBHOOK_URL names it."""
        return f"http://127.0.0.1:{self.port}{PATH}"
