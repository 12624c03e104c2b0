"""What the servers of tests have in common: a free port of the loopback, a thread a request, and an orderly end.

Belongs here: starting and stopping. Does not belong here: what a server answers.
"""

from __future__ import annotations

import socketserver
import threading
from http.server import HTTPServer
from typing import Any, Self


class TCPServer(socketserver.ThreadingTCPServer):
    """Takes connections.

    Attributes:
        stopping: set when the test is over, so that nobody is kept waiting.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.stopping = threading.Event()

    def handle_error(self, *_: Any) -> None:
        """A client that goes away, or doesn't trust a certificate, is no error of the server."""


class WebServer(TCPServer, HTTPServer):
    """Takes HTTP requests."""


class Service:
    """A server that runs while it is used as a context manager.

    Args:
        handler: what answers.
        server: what it answers to.
    """

    def __init__(self, handler: type[socketserver.BaseRequestHandler], server: type[TCPServer] = WebServer) -> None:
        self._server = server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def port(self) -> int:
        """Where it is."""
        return int(self._server.server_address[1])

    @property
    def stopping(self) -> threading.Event:
        """Set when the test is over."""
        return self._server.stopping

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
