"""Downloads to the disk instead of the memory: Scrapy's own handlers hold whole bodies, and a bulk file may be 100 GB.

Belongs here: the download handler of the registry's spiders, for http and https. Bodies are stored as they
came over the wire: what encoding or wrapping they have is told by their bytes later. Does not belong here: retries
(`retry.py`), redirects (Scrapy's middleware), and what bodies hold.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, cast

import requests
import urllib3
from scrapy.core.downloader.handlers.base import BaseDownloadHandler
from scrapy.http import Response

from registry_resources.collect.problems import DownloadError, RefusedDownloadError
from registry_resources.redaction import redact

if TYPE_CHECKING:
    from pathlib import Path

    from scrapy import Request
    from scrapy.crawler import Crawler

    from registry_resources.collect.spiders.base import CollectSpider

CONNECT_TIMEOUT = 30.0  # seconds
PIECE = 1 << 18  # bytes: small enough to notice soon that the crawl is ending
# The request's meta key under which the path of the body is found.
BODY = "body_path"
# The one under which a retry finds what is left of a download that was cut off.
REST = "body_rest"


class StreamingHandler(BaseDownloadHandler):
    """Downloads each body to a file of its own, in threads."""

    lazy = True

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._threads = ThreadPoolExecutor(max(1, crawler.settings.getint("CONCURRENT_REQUESTS")), "download")
        self._local = threading.local()

    async def download_request(self, request: Request) -> Response:
        """Download one request.

        Raises:
            DownloadError: if it failed and may succeed later.
            RefusedDownloadError: if it can't succeed.
            StoreError: if the body can't be written.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._fetch, request)

    async def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, request: Request) -> Response:
        # What an earlier try has left of this body, and the validator that tells whether it is still the same one.
        store = cast("CollectSpider", self.crawler.spider).store
        path, validator = request.meta.get(REST) or (store.temporary(), "")
        start = path.stat().st_size if validator and path.exists() else 0
        timeout = float(request.meta.get("download_timeout") or self.crawler.settings.getfloat("DOWNLOAD_TIMEOUT"))
        headers = {k.decode("latin-1"): v[-1].decode("latin-1") for k, v in request.headers.items() if v}
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": validator}
        started = time.monotonic()
        try:
            with self._session().request(
                request.method,
                request.url,
                headers=headers,
                data=request.body or None,
                timeout=(min(CONNECT_TIMEOUT, timeout), timeout),
                stream=True,
                allow_redirects=False,
            ) as answer:
                request.meta["download_latency"] = time.monotonic() - started
                if 200 <= answer.status_code < 300:
                    self._receive(request, answer, path, start)
                elif answer.status_code == 416:  # there is no such part any more
                    request.meta[REST] = None
                    path.unlink(missing_ok=True)
                # 206 is told as 200: the whole body is there.
                status = 200 if answer.status_code == 206 else answer.status_code
                return Response(request.url, status=status, headers=dict(answer.headers.items()), request=request)
        except _OtherPartError as error:
            request.meta[REST] = None
            path.unlink(missing_ok=True)
            raise DownloadError("the server sent another part of the body than was asked for") from error
        except (requests.exceptions.SSLError, requests.exceptions.InvalidProxyURL, ValueError) as error:
            # ValueError: the many faults of a URL.
            raise RefusedDownloadError(_cause(error)) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise DownloadError(_cause(error)) from error

    def _receive(self, request: Request, answer: requests.Response, path: Path, start: int) -> None:
        """Write a body to its file, after what is there already if that is still a part of it."""
        store = cast("CollectSpider", self.crawler.spider).store
        start = start if _continues(answer, start) else 0
        validator = _validator(answer)
        request.meta[REST] = (path, validator) if validator else None
        store.write(_Body(answer.raw), path, start=start, resumable=bool(validator))
        request.meta[REST] = None
        request.meta[BODY] = path

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
        session: requests.Session = self._local.session
        session.cookies.clear()
        return session


class _OtherPartError(Exception):
    """The server sent another part of a body than was asked for."""


def _validator(answer: requests.Response) -> str:
    """What tells whether a body is still the same (RFC 9110, 13.1.5: a strong ETag), if parts can be asked for."""
    if answer.headers.get("Accept-Ranges", "").lower() != "bytes" and answer.status_code != 206:
        return ""
    etag: str = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else ""


def _continues(answer: requests.Response, start: int) -> bool:
    """Whether an answer is the rest of a body from a position to its end; else it is the whole body.

    Raises:
        _OtherPartError: if it is neither.
    """
    if answer.status_code != 206:
        return False
    part = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", answer.headers.get("Content-Range", ""), re.ASCII)
    if not part or int(part[1]) != start or int(part[2]) + 1 != int(part[3]):
        raise _OtherPartError
    return True


class _Body:
    """The body as it comes over the wire. A connection that ends before it does is an error."""

    def __init__(self, raw: urllib3.BaseHTTPResponse) -> None:
        self._raw = raw

    def read(self, size: int = PIECE, /) -> bytes:
        return self._raw.read(min(size, PIECE), decode_content=False)


def _cause(error: BaseException) -> str:
    """The innermost reason of a failed download, without the layers of the libraries between."""
    reason: BaseException = error
    for _ in range(10):
        inner = next(
            (value for value in (getattr(reason, "reason", None), *reason.args) if isinstance(value, BaseException)),
            None,
        )
        if inner is None:
            break
        reason = inner
    text = str(reason)
    if isinstance(reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError):
        return re.sub(r"^\[Errno -?\d+\] ", "", text.rsplit(": ", 1)[-1])
    if isinstance(reason, urllib3.exceptions.IncompleteRead):
        text = f"the connection ended after {reason.partial} bytes, {reason.expected} too early"
    elif isinstance(reason, OSError) and reason.strerror:
        text = reason.strerror
    return redact(f"{type(reason).__name__}: {text}")
