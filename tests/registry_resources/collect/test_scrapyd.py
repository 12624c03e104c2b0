"""Scheduling crawls once, reading their logs, and losing them, with a scripted Scrapyd."""

from __future__ import annotations

import os
import re
import threading
import time
from typing import Any

import psutil
import pytest

from registry_assets.process_manager.rules.acceptance import rejection
from registry_resources.collect.backend import CrawlProgress, CrawlState
from registry_resources.collect.scrapyd import ScrapydBackend
from registry_resources.exceptions import RecoverableError, UnexpectedError
from registry_resources.settings import Settings
from tests.services.scripted_scrapyd import Fault, ScriptedScrapyd
from tests.support.scrapyd import (
    CLOSED,
    CRAWL,
    CREATED,
    END,
    HEALTHY,
    ITEM,
    START,
    STATS,
    make,
    outcome,
    request,
)


class TestScheduling:
    """COL-02, COL-03: a crawl is asked for once."""

    def test_sends_what_kingfisher_collect_needs(self, scrapyd: ScriptedScrapyd, remote: ScrapydBackend) -> None:
        """COL-02: form fields, the step, arguments, and one `setting` for each setting."""
        wanted = request(arguments={"from_date": "2024-01-01", "sample": "5"}, settings={"A": "1", "B": "x=y z"})
        context = remote.schedule(wanted)
        assert scrapyd.asked("schedule.json") == [
            {
                "project": ["kingfisher"],
                "spider": ["acme"],
                "jobid": [CRAWL],
                "steps": ["compile"],
                "from_date": ["2024-01-01"],
                "sample": ["5"],
                "setting": ["A=1", "B=x=y z"],
            }
        ]
        log = f"{scrapyd.url}/logs/kingfisher/acme/{CRAWL}.log"
        assert context == {"spider": "acme", "job_id": CRAWL, "scrapy_log": log}

    def test_asks_once_however_often_it_is_called(self, scrapyd: ScriptedScrapyd, kingfisher: Settings) -> None:
        """Also from another process, and after Scrapyd has forgotten the crawl."""
        for state in ("pending", "running", "finished", None):
            make(kingfisher).schedule(request())
            scrapyd.state = state
        make(kingfisher).schedule(request())
        assert len(scrapyd.asked("schedule.json")) == 1

    def test_finds_again_what_was_asked_for_before_the_answer_came(
        self, scrapyd: ScriptedScrapyd, kingfisher: Settings
    ) -> None:
        """A crash between asking and remembering: Scrapyd doesn't look for the id itself (observed of it)."""
        scrapyd.fault("schedule.json", Fault(reset=True, act=True))
        with pytest.raises(RecoverableError):
            make(kingfisher).schedule(request())
        make(kingfisher).schedule(request())
        assert len(scrapyd.asked("schedule.json")) == 1

    def test_finds_by_its_log_what_scrapyd_has_forgotten(self, scrapyd: ScriptedScrapyd, kingfisher: Settings) -> None:
        """Asked, no answer, ran, and then Scrapyd was restarted: that crawl is lost, and isn't asked for again."""
        scrapyd.fault("schedule.json", Fault(reset=True, act=True))
        with pytest.raises(RecoverableError):
            make(kingfisher).schedule(request())
        scrapyd.state, scrapyd.log = None, HEALTHY
        assert outcome(make(kingfisher))[0] == "fail"
        assert len(scrapyd.asked("schedule.json")) == 1

    def test_looks_twice_if_the_question_may_still_be_under_way(
        self, scrapyd: ScriptedScrapyd, kingfisher: Settings
    ) -> None:
        """It was sent, and is handled only after the first look."""
        scrapyd.fault("schedule.json", Fault(hang=True))
        with pytest.raises(RecoverableError):
            make(kingfisher).schedule(request())
        scrapyd.fault("log", Fault(status=404, then=lambda server: setattr(server, "state", "pending")))
        make(kingfisher).schedule(request())
        assert len(scrapyd.asked("schedule.json")) == 1

    def test_names_the_spiders_that_exist(self, remote: ScrapydBackend) -> None:
        """The refusal comes with HTTP 200 (observed of Scrapyd)."""
        with pytest.raises(
            UnexpectedError, match=r"no spider 'nope'\. There are: acme, other\. They are of kingfisher"
        ):
            remote.schedule(request("nope"))

    def test_asks_again_after_a_refusal(self, scrapyd: ScriptedScrapyd, remote: ScrapydBackend) -> None:
        """Nothing was scheduled."""
        with pytest.raises(UnexpectedError):
            remote.schedule(request("nope"))
        scrapyd.spiders.append("nope")
        remote.schedule(request("nope"))
        assert scrapyd.state == "pending"

    @pytest.mark.parametrize(
        "wrong",
        [
            {"arguments": {"jobid": "x"}},
            {"arguments": {"setting": "A=1"}},
            {"arguments": {"project": "other"}},
            {"arguments": {"keep_collection_open": "true"}},
            {"arguments": {"steps": "compile,check"}},
            {"arguments": {"a b": "x"}},
            {"arguments": {"a": "x\0y"}},
            {"settings": {"A=B": "canary-value"}},
            {"settings": {"LOG_LEVEL": "warning"}},
            {"settings": {"LOG_LEVEL": "ERROR"}},
            {"settings": {"": "canary-value"}},
            {"settings": {"A": "canary\0value"}},
        ],
    )
    def test_refuses_what_scrapyd_would_misunderstand(
        self, wrong: Any, scrapyd: ScriptedScrapyd, remote: ScrapydBackend
    ) -> None:
        """A name that is Scrapyd's own, or a value that no process can be started with."""
        with pytest.raises(UnexpectedError) as raised:
            remote.schedule(request(**wrong))
        assert "canary" not in str(raised.value)
        assert scrapyd.requests == []

    def test_the_first_call_may_take_long(self, scrapyd: ScriptedScrapyd, kingfisher: Settings) -> None:
        """Scrapyd lists the spiders first, which takes seconds (observed of it): a minute is allowed."""
        backend = ScrapydBackend(kingfisher)
        assert (backend._client.timeout, backend._client._schedule_timeout) == (10, 60)


class TestLogs:
    """Only what is new is fetched, and nothing of it is held."""

    def test_a_growing_log_is_fetched_once(self, scrapyd: ScriptedScrapyd, remote: ScrapydBackend) -> None:
        """Each byte once, whatever the pieces are."""
        remote.schedule(request())
        scrapyd.state = "running"
        for end in range(0, len(HEALTHY), 97):
            scrapyd.log = HEALTHY[:end]
            remote.status(CRAWL)
        scrapyd.state, scrapyd.log = "finished", HEALTHY
        assert remote.status(CRAWL).state == CrawlState.FINISHED
        log = remote.log(CRAWL)
        assert (log.process_id, log.data_version, log.items) == (7, "2026-01-02 03:04:06", 4)
        assert scrapyd.fetched == len(HEALTHY)

    def test_a_proxy_without_ranges_is_put_up_with(self, scrapyd: ScriptedScrapyd, remote: ScrapydBackend) -> None:
        """What was read before is passed over."""
        remote.schedule(request())
        scrapyd.ranges = False
        scrapyd.state, scrapyd.log = "running", HEALTHY[:300]
        remote.status(CRAWL)
        scrapyd.state, scrapyd.log = "finished", HEALTHY
        assert remote.status(CRAWL).state == CrawlState.FINISHED
        assert rejection(remote.log(CRAWL), makes_collection=True) is None
        assert remote._logs[CRAWL].offset == len(HEALTHY)

    def test_a_log_that_breaks_off_goes_on_where_it_did(
        self, scrapyd: ScriptedScrapyd, remote: ScrapydBackend
    ) -> None:
        """Nothing is counted twice."""
        remote.schedule(request())
        scrapyd.state, scrapyd.log = "finished", HEALTHY
        scrapyd.fault("log", Fault(HEALTHY, headers={"Content-Type": "text/plain"}, cut=500))
        with pytest.raises(RecoverableError, match="broke off"):
            remote.status(CRAWL)
        assert remote.status(CRAWL).state == CrawlState.FINISHED
        assert remote.log(CRAWL).items == 4

    def test_a_log_that_became_shorter_is_read_anew(self, scrapyd: ScriptedScrapyd, remote: ScrapydBackend) -> None:
        """It is another one."""
        remote.schedule(request())
        scrapyd.state, scrapyd.log = "running", HEALTHY.replace(b"collection 7", b"collection 5") + b"x" * 10_000
        remote.status(CRAWL)
        scrapyd.state, scrapyd.log = "finished", HEALTHY
        assert remote.status(CRAWL).state == CrawlState.RUNNING
        assert remote.status(CRAWL).state == CrawlState.FINISHED
        assert remote.log(CRAWL).process_id == 7

    def test_no_log_is_waited_for_and_then_a_failure(self, scrapyd: ScriptedScrapyd, kingfisher: Settings) -> None:
        """COL-05, better: its 404 is a failure only after a time, which goes on counting in another process."""
        make(kingfisher).schedule(request())
        scrapyd.state = "running"
        assert make(kingfisher).status(CRAWL).state == CrawlState.RUNNING
        time.sleep(0.2)
        assert make(kingfisher).status(CRAWL).state == CrawlState.RUNNING
        time.sleep(0.2)
        progress = make(kingfisher).status(CRAWL)
        assert progress.state == CrawlState.LOST
        assert "no log has been written" in progress.reason

    def test_a_log_that_comes_late_is_read(self, scrapyd: ScriptedScrapyd, remote: ScrapydBackend) -> None:
        """Observed of Scrapyd: 2 to 3 seconds after the process."""
        remote.schedule(request())
        scrapyd.state = "running"
        assert remote.status(CRAWL).reason == "running: its log has not begun yet"
        scrapyd.log = HEALTHY
        assert remote.status(CRAWL) == CrawlProgress(CrawlState.RUNNING, 4)

    def test_a_clock_that_was_set_back_does_not_lose_a_crawl(
        self, scrapyd: ScriptedScrapyd, kingfisher: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is remembered from the future is no measure."""
        backend = make(kingfisher)
        backend.schedule(request())
        scrapyd.state = "running"
        with monkeypatch.context() as patch:
            patch.setattr("registry_resources.collect.scrapyd.time.time", lambda: time.monotonic() + 4e9)
            backend.status(CRAWL)
        assert backend.status(CRAWL).state == CrawlState.RUNNING
        time.sleep(0.4)
        assert backend.status(CRAWL).state == CrawlState.LOST

    def test_a_log_that_was_deleted_early_is_a_failure(self, scrapyd: ScriptedScrapyd, kingfisher: Settings) -> None:
        """Observed of Scrapyd: it keeps the logs of the last five crawls of a spider."""
        backend = make(kingfisher)
        backend.schedule(request())
        scrapyd.state, scrapyd.log = "running", HEALTHY[:300]
        backend.status(CRAWL)
        scrapyd.state, scrapyd.log = "finished", None
        for again in (backend, make(kingfisher)):
            assert "was deleted before it was read to its end" in again.status(CRAWL).reason

    def test_a_log_that_was_read_to_its_end_may_be_deleted(
        self, scrapyd: ScriptedScrapyd, remote: ScrapydBackend
    ) -> None:
        """All of it is known."""
        remote.schedule(request())
        scrapyd.state, scrapyd.log = "running", HEALTHY
        remote.status(CRAWL)
        scrapyd.state, scrapyd.log = "finished", None
        assert remote.status(CRAWL).state == CrawlState.FINISHED
        assert rejection(remote.log(CRAWL), makes_collection=True) is None

    def test_a_long_log_is_not_held_in_memory(self, scrapyd: ScriptedScrapyd, kingfisher: Settings) -> None:
        """50 MB of items, and a line of 40 MB; a whole GB is no different, and takes longer."""
        block = ITEM.encode() * 4000
        pieces = [
            (START + CREATED).encode(),
            *[block] * 130,
            b"x" * 40_000_000,
            ("\n" + CLOSED + STATS + END).encode(),
        ]
        scrapyd.length = sum(map(len, pieces))
        scrapyd.stream = lambda start: iter(pieces)
        scrapyd.state = "finished"
        backend = make(kingfisher, read=300)
        before, highest, done = psutil.Process().memory_info().rss, [0], threading.Event()

        def watch() -> None:
            while not done.wait(0.02):
                highest.append(psutil.Process().memory_info().rss)

        thread = threading.Thread(target=watch)
        thread.start()
        assert outcome(backend) == ("accept", "")
        done.set()
        thread.join()
        assert scrapyd.length > 85e6
        assert backend._logs[CRAWL].offset == scrapyd.length
        assert max(highest) - before < 60e6

    def test_reading_takes_turns(self, scrapyd: ScriptedScrapyd, kingfisher: Settings) -> None:
        """However long a log is, a run can be cancelled and shows how far it is."""
        backend = make(kingfisher, read=0)
        backend.schedule(request())
        scrapyd.state, scrapyd.log = "finished", HEALTHY * 3000
        progress = backend.status(CRAWL)
        assert progress.state == CrawlState.RUNNING
        assert progress.reason == "finished: its log is being read"
        turns = 1
        while backend.status(CRAWL).state != CrawlState.FINISHED:
            turns += 1
        assert turns > 3


class TestBeingLost:
    """ASK-04: a crawl that Scrapyd forgot has failed, and is told with all that is known."""

    @pytest.mark.parametrize(
        ("log", "text"),
        [
            (None, "It has no log"),
            (START + CREATED + ITEM, "Its log has no end .* may still run without Scrapyd"),
            (HEALTHY.decode(), r"Its log says that it ended nonetheless \(finished\)"),
        ],
    )
    def test_is_told_with_what_its_log_says(
        self, log: str | None, text: str, scrapyd: ScriptedScrapyd, kingfisher: Settings
    ) -> None:
        """COL-04: observed of Scrapyd, a restart makes running and finished crawls unknown, while they go on."""
        make(kingfisher).schedule(request())
        scrapyd.state, scrapyd.log = None, log.encode() if log else None
        progress = make(kingfisher).status(CRAWL)
        assert progress.state == CrawlState.LOST
        assert "it was restarted" in progress.reason
        assert re.search(text, progress.reason)

    def test_what_is_known_of_it_can_be_wiped(self, scrapyd: ScriptedScrapyd, kingfisher: Settings) -> None:
        """The folder is remembered at the first sight of the log."""
        make(kingfisher).schedule(request())
        scrapyd.state, scrapyd.log = "running", (START + CREATED).encode()
        make(kingfisher).status(CRAWL)
        scrapyd.state, scrapyd.log = None, None
        assert make(kingfisher).context(CRAWL) == {
            "spider": "acme",
            "job_id": CRAWL,
            "scrapy_log": f"{scrapyd.url}/logs/kingfisher/acme/{CRAWL}.log",
            "process_id": 7,
            "data_version": "2026-01-02 03:04:06",
            "directory": "acme/20260102_030406",
        }

    def test_an_id_that_was_never_scheduled_is_lost(self, remote: ScrapydBackend) -> None:
        """As the contract of backends has it."""
        assert remote.status("never").state == CrawlState.LOST
        assert remote.context("never") == {}


def test_a_file_that_may_not_be_looked_at_fails_no_crawl(
    scrapyd: ScriptedScrapyd, remote: ScrapydBackend, kingfisher: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file store is of another user, who may have its own idea of permissions."""
    folder = kingfisher.files_store / "acme" / "20260102_030406" / "0A1"
    folder.mkdir(parents=True)
    for name in ("1.json", "2.json"):
        (folder / name).write_text("{}")
    look = os.lstat

    def lstat(path: Any) -> os.stat_result:
        if str(path).endswith("2.json"):
            raise PermissionError(13, "Permission denied", path)
        return look(path)

    remote.schedule(request())
    scrapyd.state, scrapyd.log = "finished", HEALTHY
    monkeypatch.setattr(os, "lstat", lstat)
    assert remote.status(CRAWL) == CrawlProgress(CrawlState.FINISHED, 2, 2)
