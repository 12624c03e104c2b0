"""Every wrong answer of a Scrapyd ends in waiting, trying again, or failing, and is told as what it is."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry_resources.collect.scrapyd import ScrapydBackend
from registry_resources.redaction import redact
from tests.services.scripted_scrapyd import Fault, ScriptedScrapyd
from tests.support.scrapyd import (
    CLOSED,
    CRAWL,
    CREATED,
    ERROR,
    HEALTHY,
    ITEM,
    LOGIN,
    START,
    faulty,
    make,
    outcome,
    request,
    scheduled,
    settings_for,
    without,
)

UNREACHABLE = (
    "2026-01-02 03:04:07 [scrapy.utils.signal] ERROR: Error caught on signal handler: "
    "<bound method KingfisherProcessAPI2.spider_opened of <an object>>\n"
    "Traceback (most recent call last):\nConnectionError: Failed to establish a new connection\n"
)
SCENARIOS: dict[str, tuple[Callable[[ScriptedScrapyd], None], str, str]] = {
    # What a working Scrapyd says.
    "never seen": (scheduled(None), "wait", "pending"),
    "pending": (scheduled("pending"), "wait", "pending"),
    "running without a log yet": (scheduled("running"), "wait", "its log has not begun"),
    "running with an empty log": (scheduled("running", b""), "wait", ""),
    "running with half a line": (scheduled("running", START + CREATED[:40]), "wait", ""),
    "finished well": (scheduled("finished", HEALTHY), "accept", ""),
    "finished without a log": (scheduled("finished"), "fail", "finished, but there is no log .*jobs_to_keep"),
    # Losses that look like success.
    "collection never made, Process unreachable": (
        scheduled("finished", without(CREATED, CLOSED).replace(ITEM, UNREACHABLE + ITEM)),
        "fail",
        "couldn't reach Kingfisher Process.*ConnectionError: Failed",
    ),
    "collection refused": (
        scheduled(
            "finished",
            without(CREATED, CLOSED).replace(
                ITEM,
                "2026-01-02 03:04:07 [acme] CRITICAL: Failed to create collection: status=503 response='no'\n" + ITEM,
            ),
        ),
        "fail",
        r"Kingfisher Process refused \(503\) to make a collection",
    ),
    "extension not configured": (
        scheduled("finished", without(CREATED, CLOSED)),
        "fail",
        "Kingfisher Collect isn't configured to. Set KINGFISHER_API2_URL, RABBIT_URL",
    ),
    "collection never closed": (scheduled("finished", without(CLOSED)), "fail", "collection 7 waits for more files"),
    "another collection closed": (
        scheduled("finished", without(CLOSED).replace(ITEM, ITEM + CLOSED.replace("n 7", "n 8"))),
        "fail",
        "collection 7 waits",
    ),
    "log level hides everything": (
        scheduled("finished", "2026-01-02 03:04:07 [acme] ERROR: status=500 message='' request=<GET x>\n"),
        "fail",
        "LOG_LEVEL to INFO or DEBUG",
    ),
    "killed": (scheduled("finished", START + CREATED + ITEM), "fail", "its log has no end"),
    "cancelled by somebody else": (
        scheduled("finished", without(CLOSED).replace("(finished)", "(shutdown)").replace("'finished'", "'shutdown'")),
        "fail",
        "wasn't finished: shutdown",
    ),
    "collected nothing": (scheduled("finished", without(ITEM, " 'item_scraped_count': 4,\n")), "fail", "no files"),
    "more errors than files": (
        scheduled("finished", without().replace("'log_count/INFO': 9", "'log_count/ERROR': 9")),
        "fail",
        "error rate",
    ),
    "asked for twice under one id": (scheduled("finished", HEALTHY, jobs=2), "fail", "2 crawls with the id crawl-1"),
    # What a log may hold.
    "hostile lines": (
        scheduled(
            "finished",
            without().replace(
                ITEM,
                ITEM
                + "2026-01-02 03:04:08 [acme] INFO: Created collection 8 in Kingfisher Process (2020-01-01 00:00:00)\n"
                + "2026-01-02 03:04:08 [acme] INFO: Spider arguments: __import__('os').abort()\n"
                + "{" * 5000
                + "\n\x00\x1b[2J\n",
            ),
        ),
        "accept",
        "",
    ),
    "a collection forged after the first request": (
        scheduled("finished", without(CREATED, CLOSED).replace(ITEM, ITEM + CREATED)),
        "fail",
        "made no collection",
    ),
    "a collection that is no number": (
        scheduled("finished", HEALTHY.decode().replace("collection 7", "collection 7; DROP")),
        "fail",
        "made no collection",
    ),
    "a data version that is no date": (
        scheduled("finished", HEALTHY.decode().replace("(2026-01-02 03:04:06)", "(../../../etc)")),
        "fail",
        "made no collection",
    ),
    "bytes that are no text": (scheduled("finished", HEALTHY.replace(b"acme.example", b"\xff\xfe")), "accept", ""),
    # Answers that are none.
    "500": (faulty("status.json", Fault(status=500)), "retry", "answers 500 Internal Server Error"),
    "502 of a proxy": (faulty("status.json", Fault(LOGIN, 502)), "retry", "answers 502"),
    "503 to the log": (faulty("log", Fault(status=503)), "retry", "answers 503"),
    "429": (faulty("status.json", Fault(status=429)), "retry", "answers 429"),
    "never answering": (faulty("status.json", Fault(hang=True)), "retry", "doesn't answer within 2 seconds"),
    "log never answering": (faulty("log", Fault(hang=True)), "retry", "doesn't answer within 2 seconds"),
    "breaking off before the answer": (faulty("status.json", Fault(reset=True)), "retry", "broke off"),
    "half a body": (
        faulty("status.json", Fault({"currstate": "running", "status": "ok"}, cut=9)),
        "retry",
        "broke off",
    ),
    "half a body of the whole length": (
        faulty("status.json", Fault(b'{"currstate": "runn')),
        "retry",
        "only a part of an answer",
    ),
    "an empty body": (faulty("status.json", Fault(b"")), "retry", "gives an empty answer"),
    "a login page": (faulty("status.json", Fault(LOGIN)), "retry", r"HTML page \(Sign in\): a login page"),
    "a login page for a log": (
        faulty("log", Fault(LOGIN, headers={"Content-Type": "text/html"})),
        "retry",
        "HTML page instead of the log",
    ),
    "sent to a login page": (
        faulty("status.json", Fault(status=302, headers={"Location": "https://sso.example/?token=canary-1"})),
        "fail",
        "sends us to https://sso.example/. Is that a login page",
    ),
    "401": (faulty("status.json", Fault(status=401)), "fail", "another user or password"),
    "403 to the log": (faulty("log", Fault(status=403)), "fail", "another user or password"),
    "404, another service": (faulty("status.json", Fault(status=404)), "fail", "which no Scrapyd does"),
    "a list": (faulty("status.json", Fault(b"[1, 2]")), "fail", "as no Scrapyd does"),
    "no status": (faulty("status.json", Fault({"currstate": "running"})), "fail", "as no Scrapyd does"),
    "no current state": (faulty("status.json", Fault({"status": "ok"})), "fail", "Unknown status None"),
    "a state that is unknown": (
        faulty("status.json", Fault({"status": "ok", "currstate": "zombie"})),
        "fail",
        "zombie",
    ),
    "a state that is a list": (
        faulty("status.json", Fault({"status": "ok", "currstate": ["running"]})),
        "fail",
        "Unknown",
    ),
    "jobs that are no list": (
        faulty("listjobs.json", Fault({"status": "ok", "pending": 3}), state=None),
        "fail",
        "no list",
    ),
    "JSON 100,000 deep": (faulty("status.json", Fault(b"[" * 100_000)), "retry", "only a part"),
    "the wrong project": (
        faulty("status.json", Fault({**ERROR, "message": "project 'kingfisher' not found"})),
        "fail",
        "Correct SCRAPYD_PROJECT",
    ),
    "a queue that is locked": (
        faulty(
            "schedule.json", Fault({**ERROR, "message": "OperationalError: database is locked"}), state=None, log=None
        ),
        "retry",
        "database is locked",
    ),
    "another id than was given": (
        faulty("schedule.json", Fault({"status": "ok", "jobid": "b"}), state=None, log=None),
        "fail",
        "another id",
    ),
    "another part of the log": (
        faulty("log", Fault(HEALTHY, 206, {"Content-Range": "bytes 7-9/99", "Content-Type": "text/plain"})),
        "fail",
        "Another part of the log",
    ),
    "a proxy that compresses": (
        faulty("log", Fault(b"", 206, {"Content-Encoding": "br", "Content-Range": "bytes 0-1/2"})),
        "fail",
        "compress nothing",
    ),
    "listing for ever": (faulty("listjobs.json", Fault(hang=True), state=None, times=None), "retry", "doesn't answer"),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_answer_leads_to_waiting_trying_again_or_failing(
    name: str, scrapyd: ScriptedScrapyd, remote: ScrapydBackend
) -> None:
    """COL-04, COL-05, COL-07, COL-09, DEF-10, DEF-11, DEF-13."""
    arrange, kind, text = SCENARIOS[name]
    arrange(scrapyd)
    found = outcome(remote)
    assert found[0] == kind, found
    assert re.search(text, found[1], re.DOTALL), found
    assert "canary" not in found[1]


@pytest.mark.parametrize(
    "name", [name for name, (_, kind, _) in SCENARIOS.items() if kind == "retry" and "for ever" not in name]
)
def test_what_may_pass_leaves_nothing_behind_once_it_has_passed(
    name: str, scrapyd: ScriptedScrapyd, remote: ScrapydBackend
) -> None:
    """Asked again, the crawl is found, and it was asked for once."""
    SCENARIOS[name][0](scrapyd)
    assert outcome(remote)[0] == "retry"
    assert outcome(remote)[0] == "wait"
    assert scrapyd.state in {"pending", "running"}
    assert len(scrapyd.asked("schedule.json")) <= 1 + (name == "a queue that is locked")


def test_a_scrapyd_that_is_down_is_told_as_that(tmp_path: Path) -> None:
    """Nothing listens there."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        backend = make(settings_for(tmp_path, f"http://127.0.0.1:{unused.getsockname()[1]}"))
        kind, text = outcome(backend)
    assert (kind, "refuses connections" in text) == ("retry", True)


def test_a_name_without_an_address_is_told_as_that(tmp_path: Path) -> None:
    """`.invalid` never has one."""
    kind, text = outcome(make(settings_for(tmp_path, "http://scrapyd.invalid:6800")))
    assert kind == "retry"
    assert "scrapyd.invalid:6800" in text


def test_what_drips_is_cut_off(scrapyd: ScriptedScrapyd, remote: ScrapydBackend, monkeypatch: Any) -> None:
    """Each byte arrives in time, the answer as a whole never does."""
    monkeypatch.setattr("registry_resources.collect.scrapyd_client.ANSWER_TIME", 0.5)
    scrapyd.state = "running"
    scrapyd.fault("status.json", Fault(b" " * 10_000, drip=0.02))
    began = time.monotonic()
    kind, text = outcome(remote)
    assert (kind, "takes longer than" in text) == ("retry", True)
    assert time.monotonic() - began < 5


def test_an_answer_without_end_is_cut_off(scrapyd: ScriptedScrapyd, remote: ScrapydBackend, monkeypatch: Any) -> None:
    """It is never held whole."""
    monkeypatch.setattr("registry_resources.collect.scrapyd_client.MAX_ANSWER", 1 << 20)
    scrapyd.state = "running"
    scrapyd.fault("status.json", Fault(b" " * (3 << 20)))
    kind, text = outcome(remote)
    assert (kind, "longer than 1 MiB" in text) == ("retry", True)


def test_no_secret_is_ever_told(tmp_path: Path) -> None:
    """DEF-12, I6: the password of the URL and the values of settings are in no context, file, reason or error."""
    seen = []
    with ScriptedScrapyd(user="canary-user", password="canary-p%40ss") as scrapyd:
        settings = settings_for(tmp_path, scrapyd.url)
        backend = make(settings)
        wanted = request(settings={"CF_CLEARANCE": "canary-cookie-1", "USER_AGENT": "canary agent 2"})
        seen.append(json.dumps(dict(backend.schedule(wanted))))
        assert scrapyd.asked("schedule.json")[0]["setting"][0] == "CF_CLEARANCE=canary-cookie-1"
        scrapyd.state = "running"
        scrapyd.log = START.encode()
        seen.append(repr(backend.status(CRAWL)))
        for arrange, _, _ in SCENARIOS.values():
            arrange(scrapyd)
            seen.append(redact(repr(outcome(backend))))
        scrapyd.fault("status.json", Fault({**ERROR, "message": "canary-cookie-1 and canary agent 2"}), None)
        scrapyd._faults["status.json"] = scrapyd._faults["status.json"][-1:]
        seen.append(redact(outcome(backend)[1]))
    written = b"".join(path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file())
    assert "canary" not in "".join(seen)
    assert b"canary" not in written
