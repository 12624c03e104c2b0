"""The HTTP client of Scrapyd: sends one request, and tells apart every way in which it can go wrong.

Belongs here: requests, time limits, and what an answer that is no answer means. Does not belong here: what crawls are
(`scrapyd.py`), or reading their logs (`scrapyd_log.py`). Scrapyd answers its own errors with HTTP 200 and
`"status": "error"`; a proxy before it may answer anything.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import requests
import urllib3
from requests.auth import HTTPBasicAuth

from registry_resources.exceptions import ConfigurationError, RecoverableError, UnexpectedError
from registry_resources.redaction import redact, register_secret

TIMEOUT = 10.0  # seconds to connect, and to wait for each part of an answer
SCHEDULE_TIMEOUT = 60.0  # seconds: Scrapyd lists the project's spiders first, in a process that it waits for
ANSWER_TIME = 120.0  # seconds that an answer may take as a whole
MAX_ANSWER = 32 * 1024 * 1024  # bytes: a queue of 50,000 crawls is about as long
STATES = ("pending", "running", "finished")

_TITLE = re.compile(rb"<title[^>]{0,200}>([^<]{1,200})", re.IGNORECASE)
# What Scrapyd says if its machine is short of something: this may pass.
_PASSING = re.compile(r"(?:\w+\.)?(?:OperationalError|OSError|BlockingIOError|MemoryError|TimeoutError)\b")


class NotReachedError(RecoverableError):
    """The request surely never arrived, so sending it again can do nothing twice."""


class RefusedError(UnexpectedError):
    """Scrapyd understood the request, and refused it.

    Attributes:
        message: what it said.
    """

    def __init__(self, text: str, message: str) -> None:
        super().__init__(text)
        self.message = message


class ScrapydClient:
    """Talks to one project of one Scrapyd.

    Args:
        url: where it is (`SCRAPYD_URL`), without a slash at the end. A user and password in it are sent, never shown.
        project: the project (`SCRAPYD_PROJECT`).
        timeout: seconds to connect, and to wait for each part of an answer.
        schedule_timeout: the same for scheduling.

    Raises:
        ConfigurationError: if the URL is none.

    Attributes:
        url: where it is, as it may be shown.
    """

    def __init__(
        self, url: str, project: str, *, timeout: float = TIMEOUT, schedule_timeout: float = SCHEDULE_TIMEOUT
    ) -> None:
        try:
            parts = urlsplit(url)
            parts.port  # noqa: B018 - a port that is none raises
        except ValueError as error:
            raise ConfigurationError("SCRAPYD_URL is no URL. Set it like http://127.0.0.1:6800.") from error
        self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self.project = project
        self.timeout = timeout
        self._schedule_timeout = schedule_timeout
        self._auth: HTTPBasicAuth | None = None
        if parts.username or parts.password:
            user, password = unquote(parts.username or ""), unquote(parts.password or "")
            register_secret(password or user)
            self._auth = HTTPBasicAuth(user.encode(), password.encode())

    def state(self, crawl: str) -> str | None:
        """Where a crawl is: `pending`, `running`, `finished`, or None if Scrapyd doesn't know it.

        Raises:
            RecoverableError: if Scrapyd can't tell for now.
            UnexpectedError: if it answers what no Scrapyd does.
        """
        answer = self._call("GET", "status.json", params={"project": self.project, "job": crawl})
        if "currstate" not in answer or (answer["currstate"] is not None and answer["currstate"] not in STATES):
            raise UnexpectedError(
                f"Unknown status {_short(answer.get('currstate'))} of the crawl {crawl}. {self._who}."
            )
        return None if answer["currstate"] is None else str(answer["currstate"])

    def jobs(self, crawl: str) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """Every job of an id, as its state and what Scrapyd tells of it. Two can have one id (observed of Scrapyd).

        Raises:
            RecoverableError: if Scrapyd can't tell for now.
            UnexpectedError: if it answers what no Scrapyd does.
        """
        answer = self._call("GET", "listjobs.json", params={"project": self.project})
        found = []
        for state in STATES:
            jobs = answer.get(state)
            if not isinstance(jobs, list) or not all(isinstance(job, dict) for job in jobs):
                raise UnexpectedError(f"What Scrapyd lists as {state} is no list of jobs. {self._who}.")
            found += [(state, job) for job in jobs if job.get("id") == crawl]
        return found

    def spiders(self) -> list[str]:
        """The spiders of the project.

        Raises:
            RecoverableError: if Scrapyd can't tell for now.
            UnexpectedError: if it has no such project, or answers what no Scrapyd does.
        """
        answer = self._call(
            "GET", "listspiders.json", params={"project": self.project}, timeout=self._schedule_timeout
        )
        spiders = answer.get("spiders")
        if not isinstance(spiders, list) or not all(isinstance(spider, str) for spider in spiders):
            raise UnexpectedError(f"What Scrapyd lists as spiders are no names. {self._who}.")
        return sorted(spiders)

    def daemon_status(self) -> str:
        """What Scrapyd says of itself, in words.

        Raises:
            RecoverableError: if it doesn't for now.
            UnexpectedError: if it answers what no Scrapyd does.
        """
        answer = self._call("GET", "daemonstatus.json")
        return ", ".join(f"{answer.get(state)} {state}" for state in STATES)

    def schedule(self, crawl: str, spider: str, arguments: Mapping[str, str], settings: Mapping[str, str]) -> None:
        """Ask for a crawl. Scrapyd doesn't look whether it has one of that id already: look before.

        Raises:
            NotReachedError: if it was surely not asked.
            RecoverableError: if it may have been asked.
            RefusedError: if it refused.
            UnexpectedError: if it answers what no Scrapyd does.
        """
        form = [("project", self.project), ("spider", spider), ("jobid", crawl), *arguments.items()]
        form += [("setting", f"{name}={value}") for name, value in settings.items()]
        answer = self._call("POST", "schedule.json", form=form, timeout=self._schedule_timeout)
        if answer.get("jobid") != crawl:
            raise UnexpectedError(f"Scrapyd gave the crawl {crawl} another id. {self._who}.")

    def cancel(self, crawl: str) -> str | None:
        """Interrupt a crawl. Each call interrupts a running one again, and the second time kills it.

        Returns:
            Where it was, or None if nothing of that id was pending or running.

        Raises:
            NotReachedError: if it was surely not interrupted.
            RecoverableError: if it may have been interrupted.
            UnexpectedError: if Scrapyd answers what no Scrapyd does.
        """
        previous = self._call("POST", "cancel.json", form=[("project", self.project), ("job", crawl)]).get("prevstate")
        if previous is not None and previous not in STATES:
            raise UnexpectedError(f"Unknown previous status {_short(previous)} of the crawl {crawl}. {self._who}.")
        return None if previous is None else str(previous)

    def log_url(self, spider: str, crawl: str) -> str:
        """Where a crawl's log is read, without secrets."""
        return f"{self.url}/logs/{quote(self.project, safe='')}/{quote(spider, safe='')}/{quote(crawl, safe='')}.log"

    @contextmanager
    def open(self, method: str, url: str, *, offset: int = 0, accept: Sequence[int] = (200,)) -> Iterator[Any]:
        """Send a request for a file, and give its answer, whose body isn't read yet.

        Args:
            method: GET or HEAD.
            url: the address.
            offset: the byte to begin with.
            accept: the statuses that the caller understands.

        Raises:
            RecoverableError: if it can't be had for now.
            UnexpectedError: if it can't be had.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        with self._failures(url, self.timeout), self._send(method, url, headers=headers) as response:
            if response.status_code not in accept:
                self._check(response, url)
            yield response

    def _call(
        self,
        method: str,
        name: str,
        *,
        params: Mapping[str, str] | None = None,
        form: Sequence[tuple[str, str]] | None = None,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        timeout = self.timeout if timeout is None else timeout
        with (
            self._failures(name, timeout),
            self._send(method, f"{self.url}/{name}", timeout=timeout, params=params, form=form) as response,
        ):
            self._check(response, name)
            body = b"".join(pieces(response, MAX_ANSWER, max(ANSWER_TIME, timeout)))
        return self._parse(body, name)

    def _send(
        self,
        method: str,
        url: str,
        *,
        timeout: float | None = None,
        params: Mapping[str, str] | None = None,
        form: Sequence[tuple[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        return requests.request(
            method,
            url,
            params=params,
            data=list(form) if form else None,
            # A kept connection may be that of a Scrapyd that was restarted meanwhile.
            headers={"Connection": "close", "Accept-Encoding": "identity", **(headers or {})},
            auth=self._auth,
            timeout=(self.timeout, self.timeout if timeout is None else timeout),
            allow_redirects=False,
            stream=True,
        )

    @contextmanager
    def _failures(self, what: str, timeout: float) -> Iterator[None]:
        """Tell what an exception of the connection means. Its own text holds whole URLs, so it isn't repeated."""
        try:
            yield
        except requests.exceptions.ConnectTimeout as error:
            raise NotReachedError(f"{self._at} can't be reached within {self.timeout:g} seconds.") from error
        except (requests.exceptions.SSLError, urllib3.exceptions.SSLError) as error:
            raise NotReachedError(f"{self._at} has no certificate that is trusted here. Correct it.") from error
        except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError) as error:
            raise RecoverableError(f"{self._at} doesn't answer within {timeout:g} seconds ({what}).") from error
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, UnicodeError) as error:
            raise ConfigurationError("SCRAPYD_URL is no URL. Set it like http://127.0.0.1:6800.") from error
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            text = str(error)
            if "Connection refused" in text:
                raise NotReachedError(f"{self._at} refuses connections. Is it running?") from error
            if "NameResolutionError" in text or "Name or service not known" in text:
                raise NotReachedError(f"{self._at} can't be found: its name has no address.") from error
            if "NewConnectionError" in text or "ProxyError" in text:
                raise NotReachedError(f"{self._at} can't be reached.") from error
            raise RecoverableError(f"{self._at} broke off its answer ({what}).") from error

    def _check(self, response: requests.Response, what: str) -> None:
        """Tell what a status other than 200 means."""
        code = response.status_code
        if code == 200:
            return
        said = f"{self._at} answers {code} {_short(response.reason)} ({what})"
        if code >= 500 or code in {408, 425, 429}:
            raise RecoverableError(f"{said}.")
        if code in {401, 403}:
            raise ConfigurationError(f"{said}: it wants another user or password. Correct those in SCRAPYD_URL.")
        if 300 <= code < 400:
            target = redact(response.headers.get("Location", "").partition("?")[0])[:200]
            raise UnexpectedError(f"{said}, and sends us to {target or 'nowhere'}. Is that a login page? {self._who}.")
        raise UnexpectedError(f"{said}, which no Scrapyd does. {self._who}.")

    def _parse(self, body: bytes, name: str) -> dict[str, Any]:
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError) as error:
            if re.search(rb"<html|<!doctype", body[:1000], re.IGNORECASE):
                title = _TITLE.search(body[:10_000])
                named = f" ({_short(title[1].decode(errors='replace').strip())})" if title else ""
                text = f"{self._at} answers {name} with an HTML page{named}: a login page, or a proxy's."
                raise RecoverableError(text) from error
            part = "only a part of an answer" if body.strip() else "an empty answer"
            raise RecoverableError(f"{self._at} gives {part} ({name}).") from error
        if isinstance(answer, dict) and answer.get("status") == "ok":
            return answer
        if isinstance(answer, dict) and answer.get("status") == "error":
            message = redact(str(answer.get("message")))[-1000:]
            if _PASSING.match(message):
                raise RecoverableError(f"{self._at} has a problem of its own ({name}): {message}")
            remedy = ""
            if re.match(r"project '.*' not found", message):
                remedy = " Correct SCRAPYD_PROJECT, or deploy the project there."
            raise RefusedError(f"{self._at} says: {message}.{remedy}", message)
        raise UnexpectedError(f"{self._at} answers {name} as no Scrapyd does: {_short(answer)}. {self._who}.")

    @property
    def _at(self) -> str:
        return f"Scrapyd ({self.url})"

    @property
    def _who(self) -> str:
        return f"Check that SCRAPYD_URL is where Scrapyd is ({self.url})"


def pieces(response: Any, most: int, seconds: float) -> Iterator[bytes]:
    """The body of an answer, as it comes.

    Args:
        response: the answer, whose body isn't read yet.
        most: bytes that it may have.
        seconds: how long it may take as a whole, however slowly it drips.

    Raises:
        RecoverableError: if it is longer, or takes longer.
    """
    deadline = time.monotonic() + seconds
    size = 0
    while piece := response.raw.read1(1 << 20, decode_content=True):
        size += len(piece)
        if size > most:
            raise RecoverableError(f"Scrapyd's answer is longer than {most // 2**20} MiB.")
        yield piece
        if time.monotonic() > deadline:
            raise RecoverableError(f"Scrapyd's answer takes longer than {seconds:g} seconds.")


def _short(value: object) -> str:
    return redact(repr(value) if not isinstance(value, str) else value)[:200]
