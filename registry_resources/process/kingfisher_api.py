"""Kingfisher Process' HTTP API: asking, and telling its ways of not answering apart.

Belongs here: requests, timeouts, and what each bad answer means. Does not belong here: what the answers mean for a
job (`kingfisher.py`), or the database (`kingfisher_database.py`).
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ijson
import requests
import urllib3

from registry_resources.exceptions import RecoverableError, UnexpectedError
from registry_resources.redaction import safe_url

LIMIT = 16 << 20
"""Bytes of an answer that is read as a whole: a tree has about 500 bytes a collection."""

_PASSING = frozenset({408, 425, 429})  # statuses below 500 that may pass by themselves


@dataclass(frozen=True)
class Timeouts:
    """Seconds.

    Attributes:
        connect: to connect.
        read: for an answer to begin, to go on, and to end.
        metadata: the same for metadata, for which Kingfisher Process once took an hour (PRO-04), and for notes: there
            may be one for each ocid, and none is sent before all are gathered.
    """

    connect: float = 10.0
    read: float = 120.0
    metadata: float = 3 * 3600.0


class KingfisherApi:
    """The API at one address. Every path ends with a slash: without it the answer is a redirect, or an error.

    Args:
        url: `KINGFISHER_PROCESS_URL`, without a slash at the end.
        timeouts: how long to wait.
    """

    def __init__(self, url: str, timeouts: Timeouts | None = None) -> None:
        self._url = url
        self._timeouts = timeouts or Timeouts()

    def tree(self, collection: int) -> Sequence[Mapping[str, Any]] | None:
        """The collection and those derived from it, the original one first; None if there is none of this id.

        Raises:
            RecoverableError: if it can't be told for now.
            UnexpectedError: if the answer isn't one of Kingfisher Process.
        """
        try:
            tree = self._json("GET", f"{collection}/tree", self._timeouts.read)
        except GoneError:
            return None
        if not isinstance(tree, list) or not tree or not all(_is_collection(each) for each in tree):
            raise UnexpectedError(self._told(f"{collection}/tree", "its answer is no list of collections"))
        return tree

    def metadata(self, collection: int) -> Mapping[str, Any]:
        """Metadata of a compiled collection. May be empty, and each value may be missing or None.

        Raises:
            GoneError: if there is none of this id.
            RecoverableError: if it can't be told for now.
            UnexpectedError: if the answer isn't one of Kingfisher Process, or the collection isn't a compiled one.
        """
        metadata = self._json("GET", f"{collection}/metadata", self._timeouts.metadata)
        if not isinstance(metadata, dict):
            raise UnexpectedError(self._told(f"{collection}/metadata", "its answer is no object"))
        return metadata

    def notes(self, collection: int, level: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Texts and data of the notes of one level (`ERROR` …) of an original collection, read as they arrive.

        There may be one for each ocid, with a line for each repeated id, so they are never held as a whole.

        Raises:
            GoneError: if there is none of this id.
            RecoverableError: if they can't be told for now, or break off.
            UnexpectedError: if the answer isn't one of Kingfisher Process.
        """
        path = f"{collection}/notes"
        with self._answer("GET", path, self._timeouts.metadata, {"level": level}) as response:
            self._require_json(response, path)
            try:
                stream = _Stream(self._pieces(response, path, self._timeouts.metadata))
                for item in ijson.items(stream, f"{level}.item", use_float=True):
                    text, data = item if isinstance(item, list) and len(item) == 2 else (None, None)
                    if not isinstance(text, str) or not isinstance(data, dict):
                        raise UnexpectedError(self._told(path, "a note is no pair of text and data"))
                    yield text, data
            except ijson.JSONError as error:
                raise RecoverableError(self._told(path, "its answer breaks off, or is not valid JSON")) from error

    def delete(self, collection: int) -> None:
        """Ask that a collection and those derived from it be deleted, which then goes on by itself. Twice is once.

        Raises:
            RecoverableError: if it can't be asked for now.
            UnexpectedError: if it is refused.
        """
        with self._answer("DELETE", str(collection), self._timeouts.read):
            pass

    def _json(self, method: str, path: str, seconds: float) -> Any:
        with self._answer(method, path, seconds) as response:
            self._require_json(response, path)
            body = self._body(response, path, seconds)
        try:
            return json.loads(body)
        except ValueError as error:
            raise RecoverableError(self._told(path, "its answer breaks off, or is not valid JSON")) from error

    def _body(self, response: requests.Response, path: str, seconds: float) -> bytes:
        pieces, size = [], 0
        for piece in self._pieces(response, path, seconds):
            pieces.append(piece)
            size += len(piece)
            if size > LIMIT:
                raise UnexpectedError(self._told(path, f"its answer is over {LIMIT >> 20} MiB"))
        return b"".join(pieces)

    def _pieces(self, response: requests.Response, path: str, seconds: float) -> Iterator[bytes]:
        """The answer as it arrives: asked for pieces of a size, requests would wait for each to be full."""
        deadline = time.monotonic() + seconds
        while piece := response.raw.read1(1 << 16, decode_content=True):
            yield piece
            if time.monotonic() > deadline:
                raise RecoverableError(self._told(path, "its answer comes too slowly"))

    @contextmanager
    def _answer(
        self, method: str, path: str, seconds: float, parameters: Mapping[str, str] | None = None
    ) -> Iterator[requests.Response]:
        """Send a request, and give the answer if its status is good."""
        try:
            with requests.request(
                method,
                f"{self._url}/api/collections/{path}/",
                params=parameters,
                timeout=(self._timeouts.connect, seconds),
                headers={"Accept": "application/json"},
                allow_redirects=False,  # what redirects here is not the API, and a redirect would undo a DELETE
                stream=True,
            ) as response:
                if not response.ok or response.is_redirect:
                    raise self._refusal(response, path)
                yield response
        except requests.Timeout as error:
            what = "can't be connected to" if isinstance(error, requests.ConnectTimeout) else "doesn't answer"
            wait = self._timeouts.connect if isinstance(error, requests.ConnectTimeout) else seconds
            raise RecoverableError(self._told(path, f"it {what} within {wait:g} seconds")) from error
        except urllib3.exceptions.ReadTimeoutError as error:
            raise RecoverableError(self._told(path, f"it doesn't go on within {seconds:g} seconds")) from error
        except urllib3.exceptions.HTTPError as error:
            raise RecoverableError(self._told(path, "the connection broke in the middle of its answer")) from error
        except requests.ConnectionError as error:
            raise RecoverableError(self._told(path, _connection(str(error)))) from error
        except requests.RequestException as error:
            # Such as an address that is none: the message may hold it with its password, so only its kind is told.
            raise UnexpectedError(self._told(path, f"the request can't be sent ({type(error).__name__})")) from None

    def _refusal(self, response: requests.Response, path: str) -> Exception:
        """Say what a status means: gone, for good, or for now."""
        status, html = response.status_code, _is_html(response)
        said = ""
        if not html:
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                said = response.raw.read(300, decode_content=True).decode("utf-8", "replace").strip()
        if status == 404 and not html:
            return GoneError(self._told(path, "there is no such collection (404)"))
        if status >= 500 or status in _PASSING:
            return RecoverableError(self._told(path, f"it answered {status} {response.reason or ''}".rstrip()))
        if response.is_redirect:
            target = safe_url(response.headers.get("Location", ""))
            return RecoverableError(
                self._told(
                    path, f"it redirects to {target[:200]}: a login page, or KINGFISHER_PROCESS_URL is outdated"
                )
            )
        if status in {401, 403}:
            return UnexpectedError(
                self._told(path, f"it wants a login ({status}): put user and password into KINGFISHER_PROCESS_URL")
            )
        if html:
            return UnexpectedError(
                self._told(path, f"it answered {status} with a web page: correct KINGFISHER_PROCESS_URL")
            )
        return UnexpectedError(self._told(path, f"it answered {status}: {said}"))

    def _require_json(self, response: requests.Response, path: str) -> None:
        if _is_html(response):
            raise RecoverableError(self._told(path, "it answered with a web page, such as a login, instead of JSON"))

    def _told(self, path: str, what: str) -> str:
        return f"Kingfisher Process at {safe_url(self._url)}, asked for {path}: {what}"


class GoneError(UnexpectedError):
    """There is no collection of this id, or not any more: asking again does not help (DEF-13)."""


class _Stream:
    """An answer as a file to be read, so that nothing of it is held."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def read(self, size: int = -1) -> bytes:
        """The next piece, of whatever size; empty at the end."""
        return next(self._pieces, b"") if size else b""


def _is_html(response: requests.Response) -> bool:
    return "html" in response.headers.get("Content-Type", "").lower()


def _is_collection(value: object) -> bool:
    return (
        isinstance(value, dict)
        and type(value.get("id")) is int
        and isinstance(value.get("transform_type"), str)
        and all(value.get(name) is None or isinstance(value[name], str) for name in ("store_end_at", "completed_at"))
    )


def _connection(said: str) -> str:
    if "SSL" in said:
        return "TLS fails: look at its certificate, and at http or https in KINGFISHER_PROCESS_URL"
    if "refused" in said:
        return "it refuses connections: is it running?"
    if "NameResolution" in said or "resolve" in said:
        return "its host's name isn't known"
    return "the connection failed or broke"
