"""The demo's API: pages that name the next, one that fails every other time, and a command to serve beside."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests

from examples import serve
from tests.support.ports import free_port

SERVE = Path(serve.__file__)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    directory = tmp_path / "demo" / "sources"
    (directory / "zenda").mkdir(parents=True)
    for page in (1, 2, 3):
        (directory / "zenda" / f"page-{page:03}.json").write_text(json.dumps({"releases": [{"ocid": f"o-{page}"}]}))
    (tmp_path / "demo" / "secret.txt").write_text("not to be served")
    return directory


@pytest.fixture
def publisher(sources: Path):
    server = serve.Publisher(sources, 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def get(url: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, timeout=60)


def test_pages_name_the_next_until_the_last(publisher):
    """The API of OCDS publishers: `links.next`, absent from the last page."""
    url, ocids, statuses = f"{publisher.url}/zenda/releases", [], []
    while url:
        response = get(url)
        statuses.append(response.status_code)
        if response.ok:
            page = response.json()
            ocids += [release["ocid"] for release in page["releases"]]
            url = page.get("links", {}).get("next")
    assert ocids == ["o-1", "o-2", "o-3"]
    # The second page fails first, so that who collects has to try again.
    assert statuses == [200, 500, 200, 200]


@pytest.mark.parametrize("page", ["0", "4", "-1", "x", "9" * 5000, "\u0663"])
def test_a_page_that_is_not_there_is_not_found(publisher, page: str):
    assert get(f"{publisher.url}/zenda/releases?page={page}").status_code == 404


@pytest.mark.parametrize(
    "path", ["/files/../secret.txt", "/files/%2e%2e/secret.txt", "/files//etc/passwd", "/files/a%00b", "/x"]
)
def test_nothing_outside_the_sources_is_served(publisher, path: str):
    host, port = publisher.server_address[:2]
    with socket.create_connection((host, port), timeout=60) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 404 ")


def test_files_are_served_as_they_are(publisher, sources: Path):
    assert (
        get(f"{publisher.url}/files/zenda/page-001.json").content == (sources / "zenda" / "page-001.json").read_bytes()
    )


def test_a_server_is_known_by_what_it_serves(publisher, sources: Path, tmp_path: Path):
    port = publisher.server_address[1]
    assert serve.is_served(sources, port)
    assert not serve.is_served(tmp_path, port)
    assert not serve.is_served(sources, free_port())


def test_the_port_is_the_one_of_last_time(sources: Path):
    assert serve.remembered_port(sources) == serve.PORT
    (sources.parent / "port").write_text("4321\n")
    assert serve.remembered_port(sources) == 4321


def test_it_serves_for_as_long_as_the_command_runs(sources: Path):
    """`serve DIR -- COMMAND`: the command's exit code is the command line's, and the port is free afterwards."""
    port = free_port()
    asks = "import sys, urllib.request as u; u.build_opener(u.ProxyHandler({})).open(sys.argv[1]); sys.exit(7)"
    url = f"http://{serve.HOST}:{port}/zenda/releases"
    line = [sys.executable, SERVE, sources, "--port", str(port), "--", sys.executable, "-c", asks, url]
    assert subprocess.run(line, timeout=120, check=False).returncode == 7
    for _ in range(100):
        if not serve.is_served(sources, port):
            break
        time.sleep(0.1)
    assert not serve.is_served(sources, port)


def test_a_command_that_is_killed_takes_the_server_along(sources: Path):
    port = free_port()
    line = [sys.executable, SERVE, sources, "--port", str(port), "--print-url", "--", "sleep", "60"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().strip() == f"http://{serve.HOST}:{port}"
        while not serve.is_served(sources, port):
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while serve.is_served(sources, port):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_command_runs_also_if_another_serves_already(publisher, sources: Path):
    """`make dev` while the demo runs: the same sources are served at that port, so nothing is said."""
    line = [sys.executable, SERVE, sources, "--port", str(publisher.server_address[1]), "--", "echo", "ran"]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=120, check=True)
    assert (ended.stdout, ended.stderr) == ("ran\n", "")


def test_a_port_that_something_else_has_is_said(sources: Path, tmp_path: Path):
    with socket.socket() as other:
        other.bind((serve.HOST, 0))
        other.listen()
        line = [sys.executable, SERVE, sources, "--port", str(other.getsockname()[1])]
        ended = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert "Choose another with --port" in ended.stderr
    assert "Traceback" not in ended.stderr
