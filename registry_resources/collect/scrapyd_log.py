"""Reads the log of a crawl from Scrapyd while it grows: only what is new is fetched, and none of it is kept.

Belongs here: parts of files over HTTP, and logs that are missing, cut short or replaced. Does not belong here: what a
log says (`crawl_log.py`).
"""

from __future__ import annotations

import re
import time
from email.utils import parsedate_to_datetime
from typing import Any

from registry_resources.collect.crawl_log import CrawlLog, CrawlLogReader
from registry_resources.collect.scrapyd_client import ScrapydClient, pieces
from registry_resources.exceptions import RecoverableError, UnexpectedError

READ_TIME = 30.0  # seconds of reading at once: in between, a run can be cancelled, and shows how far it is
PIECE_TIME = 3600.0  # seconds that one answer may take at most, so that what READ_TIME leaves over is cut off too
PLENTY = 1 << 50  # bytes: however long a log is, it is read


class RemoteLog:
    """One crawl's log.

    Args:
        client: the client.
        spider: the crawl's spider.
        crawl: its id.

    Attributes:
        url: where it is, without secrets.
        missing: whether it wasn't there when it was last looked for.
        offset: how many bytes were read.
    """

    def __init__(self, client: ScrapydClient, spider: str, crawl: str) -> None:
        self._client = client
        self.url = client.log_url(spider, crawl)
        self.missing = True
        self.offset = 0
        self._reader = CrawlLogReader()

    def read(self, seconds: float = READ_TIME) -> bool:
        """Read what is new.

        Args:
            seconds: stop after so many. What was read is kept, so that the next call goes on from there.

        Returns:
            Whether everything was read that was there.

        Raises:
            RecoverableError: if it can't be read for now. What was read before is kept.
            UnexpectedError: if the answer is none that Scrapyd gives.
        """
        deadline = time.monotonic() + seconds
        with self._client.open("GET", self.url, offset=self.offset, accept=(200, 206, 404, 416)) as response:
            self.missing = response.status_code == 404
            if self.missing:
                return True
            if response.status_code == 416:
                return not self._was_replaced(response)
            skip = self._skip(response)
            for piece in pieces(response, PLENTY, PIECE_TIME):
                new = piece[skip:]
                skip -= len(piece) - len(new)
                self._reader.feed(new)
                self.offset += len(new)
                if time.monotonic() > deadline:
                    return False
        return True

    def exists(self) -> bool:
        """Whether there is a log, without reading it."""
        with self._client.open("HEAD", self.url, accept=(200, 404)) as response:
            return bool(response.status_code == 200)

    def age(self) -> float | None:
        """Seconds since something was written to it, by the clock of the server that has it. None if there is none."""
        with self._client.open("HEAD", self.url, accept=(200, 404)) as response:
            if response.status_code == 404:
                return None
            try:
                now, then = (parsedate_to_datetime(response.headers[name]) for name in ("Date", "Last-Modified"))
            except (KeyError, ValueError):
                return 0.0  # nobody can tell, so it may have been just now
            return (now - then).total_seconds()

    def result(self) -> CrawlLog:
        """What it says, as far as it was read."""
        return self._reader.result()

    def _skip(self, response: Any) -> int:
        """How many bytes of the answer were read before."""
        if "html" in response.headers.get("Content-Type", "").lower():
            raise RecoverableError(
                f"There is an HTML page instead of the log ({self.url}): a login page, or a proxy's."
            )
        if response.status_code == 200:
            return self.offset
        found = re.match(r"bytes (\d{1,18})-", response.headers.get("Content-Range", ""))
        if response.headers.get("Content-Encoding", "identity") != "identity" or not found:
            raise UnexpectedError(
                f"A part of the log was asked for, and something else came ({self.url}). If there is a proxy before "
                "Scrapyd, let it pass on `Range`, and compress nothing."
            )
        if int(found[1]) != self.offset:
            raise UnexpectedError(f"Another part of the log came than was asked for ({self.url}).")
        return 0

    def _was_replaced(self, response: Any) -> bool:
        """Whether the file is shorter than what was read of it: then it is another one, and is read anew."""
        found = re.fullmatch(r"bytes \*/(\d{1,18})", response.headers.get("Content-Range", ""))
        if not found or int(found[1]) >= self.offset:
            return False
        self.offset = 0
        self._reader = CrawlLogReader()
        return True
