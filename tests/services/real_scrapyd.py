"""A real Scrapyd on the loopback, with the invented project `acme_bot` deployed as an egg.

    with RealScrapyd(tmp_path) as scrapyd:
        scrapyd.url, scrapyd.files                                   # where it is, and where its crawls write
        scrapyd.stop(); scrapyd.kill(); scrapyd.start()              # its crawls go on meanwhile

What it started is gone when it ends, crawls included. Does not belong here: faults that no real one has on demand
(`scripted_scrapyd.py`).
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Self

import psutil
import requests

from tests.support.ports import free_port

PROJECT = "acme_project"
_BOT = Path(__file__).with_name("acme_bot")
_CONFIG = """\
[scrapyd]
bind_address = 127.0.0.1
http_port = {port}
poll_interval = 0.2
max_proc = 1
jobs_to_keep = 1
eggs_dir = {folder}/eggs
logs_dir = {folder}/logs
dbs_dir = {folder}/dbs
items_dir =
"""


class RealScrapyd:
    """The server.

    Args:
        folder: where it keeps everything.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = folder / "files"
        self._process: subprocess.Popen[bytes] | None = None
        self._crawls: list[psutil.Process] = []
        self.url = f"http://127.0.0.1:{free_port()}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "scrapyd.conf").write_text(_CONFIG.format(port=self.url.rpartition(":")[2], folder=folder))

    def __enter__(self) -> Self:
        self.start()
        with io.BytesIO(_egg()) as egg:
            answer = requests.post(
                f"{self.url}/addversion.json",
                data={"project": PROJECT, "version": "1"},
                files={"egg": egg},
                timeout=60,
            ).json()
        assert answer["status"] == "ok", answer
        return self

    def __exit__(self, *error: object) -> None:
        if self._process:
            self._end(signal.SIGKILL)
        for crawl in self._crawls:
            with contextlib.suppress(psutil.NoSuchProcess):
                crawl.kill()
        psutil.wait_procs(self._crawls, 10)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "scrapyd", "--pidfile="],
                cwd=self.folder,
                stdout=output,
                stderr=output,
                env={**os.environ, "FILES_STORE": str(self.files), "PYTHONWARNINGS": "ignore"},
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(requests.RequestException):
                requests.get(f"{self.url}/daemonstatus.json", timeout=10).raise_for_status()
                return
            assert self._process.poll() is None, (self.folder / "output.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it as a service manager would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        assert self._process
        with contextlib.suppress(psutil.NoSuchProcess):
            self._crawls += psutil.Process(self._process.pid).children(recursive=True)
        self._process.send_signal(number)
        self._process.wait(30)
        self._process = None


def _egg() -> bytes:
    """The project as Scrapyd wants it: a ZIP file with an entry point."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as egg:
        egg.writestr("EGG-INFO/PKG-INFO", "Metadata-Version: 1.0\nName: acme-bot\nVersion: 1\n")
        egg.writestr("EGG-INFO/entry_points.txt", "[scrapy]\nsettings = acme_bot.settings\n")
        for path in sorted(_BOT.rglob("*.py")):
            egg.write(path, f"acme_bot/{path.relative_to(_BOT)}")
    return buffer.getvalue()
