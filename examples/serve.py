"""A publisher's API on this machine: `python -m examples.serve DIR`.

Serves the pages of `DIR/<publication>/page-*.json` as `/<publication>/releases?page=1`, each with the address of the
next one in `links.next`, and every file under `/files/`. The second page answers every other request with 500, so that
who collects has to try again. Given a command after `--`, it serves for as long as that command runs:

    python -m examples.serve var/demo/sources -- registry dev

Does not belong here: making what is served (`generate`). For the demo alone: loopback only, and no protection at all.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import sys
import threading
import time
import urllib.parse
import urllib.request
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
PORT = 8123
FAILING_PAGE = 2


class Publisher(ThreadingHTTPServer):
    """The server: listens from the moment it is made, answers once `serve_forever` runs."""

    daemon_threads = True

    def __init__(self, directory: Path, port: int = PORT) -> None:
        """Listen.

        Args:
            directory: the folder of sources.
            port: where to listen; 0 for any free one.

        Raises:
            OSError: if the port is taken.
        """
        super().__init__((HOST, port), _Handler)
        self.directory = directory.resolve()
        self._asked = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where it is reached, without a slash at the end."""
        return f"http://{HOST}:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of who went away in the middle of an answer, which crawls that are cancelled do."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def fails_now(self) -> bool:
        """Whether this request, of the failing page, is to fail: every other one does."""
        with self._lock:
            self._asked += 1
            return self._asked % 2 == 1


class _Handler(BaseHTTPRequestHandler):
    server: Publisher
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        """Answer with an index, a page or a file."""
        url = urllib.parse.urlsplit(self.path)
        parts = [urllib.parse.unquote(part) for part in url.path.split("/") if part]
        match parts:
            case []:
                self._send_json({"sources": str(self.server.directory), "publications": self._publications()})
            case ["files", *rest] if "\0" not in url.path and "%00" not in url.path:
                self._send_file(self.server.directory.joinpath(*rest))
            case [name, "releases"] if name in self._publications():
                self._send_page(name, urllib.parse.parse_qs(url.query).get("page", ["1"])[0])
            case _:
                self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing: who collects keeps a log."""

    def _publications(self) -> list[str]:
        return sorted({path.parent.name for path in self.server.directory.glob("*/page-*.json")})

    def _send_page(self, name: str, number: str) -> None:
        pages = sorted((self.server.directory / name).glob("page-*.json"))
        page = int(number) if re.fullmatch("[0-9]{1,6}", number) else 0
        if not 1 <= page <= len(pages):
            self.send_error(HTTPStatus.NOT_FOUND)
        elif page == FAILING_PAGE and self.server.fails_now():
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, "Try again")
        else:
            package = json.loads(pages[page - 1].read_bytes())
            if page < len(pages):
                package["links"] = {"next": f"{self.server.url}/{name}/releases?page={page + 1}"}
            self._send_json(package)

    def _send_json(self, value: object) -> None:
        body = json.dumps(value, ensure_ascii=False).encode()
        self._start("application/json; charset=utf-8", len(body))
        self.wfile.write(body)

    def _send_file(self, path: Path) -> None:
        path = Path(os.path.realpath(path))
        if not path.is_relative_to(self.server.directory) or not path.is_file():
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        with path.open("rb") as file:
            self._start("application/octet-stream", path.stat().st_size)
            shutil.copyfileobj(file, self.wfile)

    def _start(self, kind: str, length: int) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()


def is_served(directory: Path, port: int) -> bool:
    """Whether a server of this module serves that folder there already."""
    # Proxies of the environment have no business on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{HOST}:{port}/", timeout=5) as response:
            found = json.loads(response.read())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("sources") == str(directory.resolve())


def remembered_port(directory: Path) -> int:
    """The port that the folder of sources was served at last: the catalogue says so too."""
    try:
        return int((directory.parent / "port").read_text())
    except (OSError, ValueError):
        return PORT


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m examples.serve", description="Serve the demo's sources.")
    parser.add_argument("directory", type=Path, help="the folder that `python -m examples.generate` wrote")
    parser.add_argument("--port", type=int, help=f"0 for a free one (as the demo served it, else {PORT})")
    parser.add_argument("--print-url", action="store_true", help="print the address once it answers")
    parser.epilog = "Given `-- COMMAND …` at the end, it serves while that command runs."
    given = sys.argv[1:] if arguments is None else arguments
    end = given.index("--") if "--" in given else len(given)
    options, command = parser.parse_args(given[:end]), given[end + 1 :]
    port = remembered_port(options.directory) if options.port is None else options.port
    try:
        server = Publisher(options.directory, port)
    except (OSError, OverflowError) as e:
        if not (command and is_served(options.directory, port)):
            print(f"{HOST}:{port} can't be used: {e}. Choose another with --port.", file=sys.stderr)
            if not command:
                return 1
        server = None
    if server and options.print_url:
        print(server.url, flush=True)
    if command:
        if server:
            _serve_beside(server)
        _become(command)
    if server:
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
    return 0


def _serve_beside(server: Publisher) -> None:
    """Serve from a child process, so that this one can become the command; the child ends when this one does."""
    parent = os.getpid()
    if os.fork():
        server.socket.close()
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command; then the child ends too
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


def _become(command: list[str]) -> None:
    try:
        os.execvp(command[0], command)
    except OSError as e:
        print(f"{command[0]}: {e.strerror}", file=sys.stderr)
        sys.exit(127)


if __name__ == "__main__":
    sys.exit(main())
