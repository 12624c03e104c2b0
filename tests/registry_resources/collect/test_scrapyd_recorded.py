"""What a real Scrapyd was recorded to answer is understood: every recorded exchange of the calls that are used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from registry_resources.collect.scrapyd_client import RefusedError, ScrapydClient
from registry_resources.collect.scrapyd_log import RemoteLog
from tests.services.scripted_scrapyd import Fault, ScriptedScrapyd

CALLS: dict[str, Callable[[ScrapydClient, str], Any]] = {
    "status.json": lambda client, job: client.state(job),
    "listjobs.json": lambda client, job: client.jobs(job),
    "listspiders.json": lambda client, job: client.spiders(),
    "daemonstatus.json": lambda client, job: client.daemon_status(),
    "cancel.json": lambda client, job: client.cancel(job),
    "schedule.json": lambda client, job: client.schedule(job, "acme", {}, {}),
}


def exchanges(shared: Path, *names: str) -> list[tuple[str, dict[str, Any]]]:
    """The recorded exchanges that have an answer of one of these."""
    found = []
    for path in sorted((shared / "contract" / "recorded").glob("*.json")):
        exchange = json.loads(path.read_text())
        if not isinstance(exchange, dict) or not isinstance(exchange.get("response"), dict):
            continue
        name = urlsplit(str(exchange.get("request", {}).get("url"))).path
        if any(name.endswith(end) for end in names):
            found.append((path.name, exchange))
    return found


def test_every_recorded_answer_is_understood(shared: Path, scrapyd: ScriptedScrapyd) -> None:
    """Its errors come with status 200; a state that is null is one."""
    client = ScrapydClient(scrapyd.url, "kingfisher")
    refused, states = 0, set()
    found = exchanges(shared, *CALLS)
    for file, exchange in found:
        name = urlsplit(exchange["request"]["url"]).path.strip("/")
        body = exchange["response"]["body"].encode()
        answer = json.loads(body)
        scrapyd.fault(name, Fault(body, exchange["response"]["status"]))
        job = str(answer.get("jobid", "x"))
        if answer["status"] == "error":
            refused += 1
            with pytest.raises(RefusedError) as raised:
                CALLS[name](client, job)
            assert raised.value.message == answer["message"], file
            continue
        result = CALLS[name](client, job)
        if name == "status.json":
            assert result == answer["currstate"], file
            states.add(result)
        elif name == "cancel.json":
            assert result == answer["prevstate"], file
    assert len(found) > 60
    assert refused > 8
    assert states == {"pending", "running", "finished", None}


def test_every_recorded_answer_about_a_log_is_understood(shared: Path, scrapyd: ScriptedScrapyd) -> None:
    """404 while there is none, 206 for a part, 416 past the end."""
    statuses = set()
    for file, exchange in exchanges(shared, ".log"):
        response, asked = exchange["response"], exchange["request"].get("headers") or {}
        offset = asked.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-")
        if exchange["request"]["method"] != "GET" or not offset.isdigit() or "If-Modified-Since" in asked:
            continue
        headers = {
            name: value
            for name, value in response["headers"].items()
            if name in {"Content-Type", "Content-Range", "Last-Modified"}
        }
        log = RemoteLog(ScrapydClient(scrapyd.url, "kingfisher"), "acme", "x")
        log.offset = int(offset)
        scrapyd.fault("log", Fault(response["body"].encode(), response["status"], headers))
        complete = log.read()
        statuses.add(response["status"])
        assert log.missing == (response["status"] == 404), file
        # Past the end, the file is another one: it is read anew, the next time.
        assert (complete, log.offset > 0) == (
            (False, False) if response["status"] == 416 else (True, not log.missing)
        ), file
    assert statuses == {200, 206, 404, 416}
