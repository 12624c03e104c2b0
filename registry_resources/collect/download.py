"""Downloads to the disk instead of the memory: Scrapy's own handlers hold whole bodies, and a bulk file may be 100 GB.

Belongs here: the download handler of the registry's spiders, for http and https. Bodies are stored as they
came over the wire: what encoding or wrapping they have is told by their bytes later. Does not belong here: retries
(`retry.py`), redirects (Scrapy's middleware), and what bodies hold.
"""

from __future__ import annotations

import asyncio
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
    from scrapy import Request
    from scrapy.crawler import Crawler

    from registry_resources.collect.spiders.base import CollectSpider

CONNECT_TIMEOUT = 30.0  # seconds
PIECE = 1 << 18  # bytes: small enough to notice soon that the crawl is ending
# The request's meta key under which the path of the body is found.
BODY = "body_path"


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
        store = cast("CollectSpider", self.crawler.spider).store
        path = store.temporary()
        timeout = float(request.meta.get("download_timeout") or self.crawler.settings.getfloat("DOWNLOAD_TIMEOUT"))
        started = time.monotonic()
        try:
            with self._session().request(
                request.method,
                request.url,
                headers={k.decode("latin-1"): v[-1].decode("latin-1") for k, v in request.headers.items() if v},
                data=request.body or None,
                timeout=(min(CONNECT_TIMEOUT, timeout), timeout),
                stream=True,
                allow_redirects=False,
            ) as answer:
                request.meta["download_latency"] = time.monotonic() - started
                if 200 <= answer.status_code < 300:
                    store.write(_Body(answer.raw), path)
                    request.meta[BODY] = path
                headers = dict(answer.headers.items())
                return Response(request.url, status=answer.status_code, headers=headers, request=request)
        except (requests.exceptions.SSLError, requests.exceptions.InvalidProxyURL, ValueError) as error:
            # ValueError: the many faults of a URL.
            raise RefusedDownloadError(_cause(error)) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise DownloadError(_cause(error)) from error

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
        session: requests.Session = self._local.session
        session.cookies.clear()
        return session


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
        text = text.rsplit(": ", 1)[-1]
    elif isinstance(reason, urllib3.exceptions.IncompleteRead):
        text = f"the connection ended after {reason.partial} bytes, {reason.expected} too early"
    elif isinstance(reason, OSError) and reason.strerror:
        text = reason.strerror
    return redact(f"{type(reason).__name__}: {text}")
