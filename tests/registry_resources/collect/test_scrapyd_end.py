"""Cancelling crawls of Scrapyd, and deleting what they wrote, with a scripted Scrapyd."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import pytest

from registry_assets.sensors.watch import BUDGET
from registry_resources.collect.backend import CrawlState
from registry_resources.collect.scrapyd import ScrapydBackend
from registry_resources.collect.scrapyd_end import Limits
from registry_resources.exceptions import RecoverableError, UnexpectedError
from registry_resources.settings import Settings
from tests.services.scripted_scrapyd import Fault, ScriptedScrapyd
from tests.support.scrapyd import (
    ASKED,
    CLOSED,
    CRAWL,
    CREATED,
    HEALTHY,
    START,
    STATS,
    make,
    request,
    scheduled,
    without,
)


def begin_and_interrupt(scrapyd: ScriptedScrapyd) -> None:
    """A job that was pending begins, and is interrupted at once."""
    scrapyd.state = "running"
    scrapyd.interrupts += 1


class TestCancelling:
    """Exactly one interrupt, and waiting for the end (observed of Scrapyd: a second one kills)."""

    def running(self, scrapyd: ScriptedScrapyd, settings: Settings, **more: Any) -> ScrapydBackend:
        backend = make(settings)
        backend.schedule(request())
        scheduled("running", **{"log": START + CREATED, **more})(scrapyd)
        return backend

    def test_one_interrupt_ends_it(self, scrapyd: ScriptedScrapyd, kingfisher: Settings) -> None:
        """It returns when the crawl has ended, and again does nothing."""
        backend = self.running(scrapyd, kingfisher)
        backend.cancel(CRAWL)
        backend.cancel(CRAWL)
        make(kingfisher).cancel(CRAWL)
        assert scrapyd.interrupts == 1
        assert scrapyd.state == "finished"

    def test_a_crawl_that_takes_long_to_end_is_not_interrupted_again(
        self, scrapyd: ScriptedScrapyd, kingfisher: Settings
    ) -> None:
        """Whoever calls again waits on, also in another process."""
        backend = self.running(scrapyd, kingfisher, ends_after=99)
        for who in (backend, make(kingfisher, force=900)):
            who._limits = dataclasses.replace(who._limits, force=900)
            with pytest.raises(RecoverableError, match="was told to end, and hasn't yet"):
                who.cancel(CRAWL)
        assert scrapyd.interrupts == 1

    def test_waiting_for_the_end_leaves_time_within_a_minute(self) -> None:
        """ASK-02; and a sensor that began to wait after half a minute is stopped by Dagster after a whole one."""
        assert BUDGET + Limits().ended + Limits().pause < 60

    def test_a_crawl_that_never_ends_is_killed_in_the_end(
        self, scrapyd: ScriptedScrapyd, kingfisher: Settings
    ) -> None:
        """I4: by a second interrupt, after much longer than it may take."""
        backend = self.running(scrapyd, kingfisher, ends_after=2)
        with pytest.raises(RecoverableError):
            make(kingfisher, force=900, ended=0.1).cancel(CRAWL)
        time.sleep(0.5)
        backend.cancel(CRAWL)
        assert (scrapyd.interrupts, scrapyd.state) == (2, "finished")

    def test_an_interrupt_that_arrived_without_an_answer_is_not_repeated(
        self, scrapyd: ScriptedScrapyd, kingfisher: Settings
    ) -> None:
        """The log shows that the crawl is ending."""
        backend = self.running(scrapyd, kingfisher, ends_after=2)
        scrapyd.fault("cancel.json", Fault(reset=True, act=True))
        with pytest.raises(RecoverableError, match="broke off"):
            backend.cancel(CRAWL)
        assert scrapyd.log
        scrapyd.log += b"2026-01-02 03:04:09 [scrapy.core.engine] INFO: Closing spider (shutdown)\n"
        time.sleep(0.3)
        with pytest.raises(RecoverableError, match="was told to end"):
            make(kingfisher, force=900).cancel(CRAWL)
        assert scrapyd.interrupts == 1

    def test_an_interrupt_that_never_arrived_is_sent_again(
        self, scrapyd: ScriptedScrapyd, kingfisher: Settings
    ) -> None:
        """The log shows nothing of it."""
        backend = self.running(scrapyd, kingfisher)
        scrapyd.fault("cancel.json", Fault(reset=True))
        with pytest.raises(RecoverableError, match="broke off"):
            backend.cancel(CRAWL)
        make(kingfisher, force=900).cancel(CRAWL)
        assert (scrapyd.interrupts, scrapyd.state) == (1, "finished")

    def test_a_pending_crawl_is_taken_out_of_the_queue(self, scrapyd: ScriptedScrapyd, remote: ScrapydBackend) -> None:
        """Observed of Scrapyd: it is unknown from then on."""
        remote.schedule(request())
        remote.cancel(CRAWL)
        assert (scrapyd.interrupts, scrapyd.state) == (0, None)
        assert remote.status(CRAWL).state == CrawlState.LOST

    def test_a_crawl_that_begins_while_it_is_cancelled_is_interrupted_once(
        self, scrapyd: ScriptedScrapyd, kingfisher: Settings
    ) -> None:
        """It was pending when looked at."""
        remote = make(kingfisher, force=900)
        remote.schedule(request())
        scrapyd.ends_after = 2
        scrapyd.fault("cancel.json", Fault({"prevstate": "running", "status": "ok"}, then=begin_and_interrupt))
        with pytest.raises(RecoverableError, match="was told to end"):
            remote.cancel(CRAWL)
        assert scrapyd.interrupts == 1

    @pytest.mark.parametrize("state", ["finished", None])
    def test_a_crawl_that_does_not_run_is_let_alone(
        self, state: str | None, scrapyd: ScriptedScrapyd, remote: ScrapydBackend
    ) -> None:
        """COL-15, better: only what runs is cancelled."""
        remote.schedule(request())
        scrapyd.state = state
        remote.cancel(CRAWL)
        assert scrapyd.asked("cancel.json") == []

    def test_a_cancelled_crawl_is_not_scheduled_again(self, scrapyd: ScriptedScrapyd, kingfisher: Settings) -> None:
        """Its id is used up."""
        backend = self.running(scrapyd, kingfisher)
        backend.cancel(CRAWL)
        scrapyd.state = scrapyd.log = None
        make(kingfisher).schedule(request())
        assert len(scrapyd.asked("schedule.json")) == 1

    def test_a_crawl_cancelled_before_its_log_has_a_reason(
        self, scrapyd: ScriptedScrapyd, kingfisher: Settings
    ) -> None:
        """Observed of Scrapyd: within the first 2 seconds the process dies before it writes anything."""
        backend = self.running(scrapyd, kingfisher, log=None)
        backend.cancel(CRAWL)
        assert "was cancelled before it wrote a log" in backend.status(CRAWL).reason
        backend.wipe({"job_id": CRAWL, "spider": "acme"})


class TestWiping:
    """COL-15, DEF-11, I5: the crawl's folder and nothing else."""

    @pytest.fixture
    def files(self, kingfisher: Settings) -> Path:
        return kingfisher.files_store

    def folder(self, files: Path, name: str = "acme/20260102_030406") -> Path:
        (files / name / "0A1").mkdir(parents=True)
        (files / name / "0A1" / "1.json").write_text("{}")
        return files / name

    def done(self, scrapyd: ScriptedScrapyd, remote: ScrapydBackend, log: bytes | str = HEALTHY) -> Any:
        remote.schedule(request())
        scheduled("finished", log)(scrapyd)
        remote.status(CRAWL)
        return {"job_id": CRAWL, **remote.context(CRAWL)}

    def test_deletes_the_folder_and_its_empty_parent(
        self, files: Path, scrapyd: ScriptedScrapyd, remote: ScrapydBackend
    ) -> None:
        """Twice is once."""
        self.folder(files)
        other = self.folder(files, "other/20260102_030406")
        context = self.done(scrapyd, remote)
        remote.wipe(context)
        remote.wipe(context)
        assert [path.name for path in files.iterdir()] == ["other"]
        assert other.is_dir()
        assert scrapyd.asked("cancel.json") == []

    def test_a_file_store_that_is_not_there_is_not_taken_for_empty(
        self, files: Path, scrapyd: ScriptedScrapyd, remote: ScrapydBackend
    ) -> None:
        """DEF-18: it may not be mounted. It was there if the crawl's files were seen; else there may be none yet."""
        context = self.done(scrapyd, remote)
        remote.wipe({**context, "files": 0})
        with pytest.raises(RecoverableError, match=r"isn't there, and the crawl .* wrote 4 files to it"):
            remote.wipe({**context, "files": 4})
        folder = self.folder(files)
        remote.wipe({**context, "files": 4})
        assert not folder.exists()

    def test_leaves_the_spiders_other_crawls(
        self, files: Path, scrapyd: ScriptedScrapyd, remote: ScrapydBackend
    ) -> None:
        """Also the one that is a second older."""
        self.folder(files)
        kept = self.folder(files, "acme/20260102_030405")
        remote.wipe(self.done(scrapyd, remote))
        assert list((files / "acme").iterdir()) == [kept]

    def test_knows_where_samples_are(self, files: Path, scrapyd: ScriptedScrapyd, kingfisher: Settings) -> None:
        """`<spider>_sample`, whose crawl was rejected."""
        self.folder(files, "acme_sample/20260102_030406")
        kept = self.folder(files)
        backend = make(kingfisher)
        backend.schedule(request(arguments={"sample": "5"}))
        scheduled("finished", HEALTHY)(scrapyd)
        backend.status(CRAWL)
        backend.wipe(backend.context(CRAWL))
        assert not (files / "acme_sample").exists()
        assert kept.is_dir()

    def test_finds_the_folder_in_the_log_if_nothing_is_remembered(
        self, files: Path, scrapyd: ScriptedScrapyd, kingfisher: Settings, tmp_path: Path
    ) -> None:
        """Another machine, or a registry whose home was lost."""
        self.folder(files)
        scheduled("finished", HEALTHY)(scrapyd)
        elsewhere = dataclasses.replace(kingfisher, home=tmp_path / "elsewhere")
        make(elsewhere).wipe({"job_id": CRAWL, "spider": "acme"})
        assert not files.joinpath("acme").exists()

    @pytest.mark.parametrize("sample", ["false", "0"])
    def test_knows_what_is_no_sample(
        self, sample: str, files: Path, scrapyd: ScriptedScrapyd, kingfisher: Settings
    ) -> None:
        """Kingfisher Collect takes these for none, and so are their folders named."""
        self.folder(files)
        backend = make(kingfisher)
        backend.schedule(request(arguments={"sample": sample}))
        scheduled("finished", HEALTHY)(scrapyd)
        backend.wipe({"job_id": CRAWL, "spider": "acme"})
        assert not (files / "acme").exists()

    @pytest.mark.parametrize("known", ["asked", "stats", "crawl_time"])
    def test_finds_the_folder_of_a_cancelled_crawl_without_a_collection(
        self, known: str, files: Path, scrapyd: ScriptedScrapyd, remote: ScrapydBackend
    ) -> None:
        """Observed of Kingfisher Collect: only a crawl that wasn't cancelled tells where its files are."""
        self.folder(files)
        end = "2026-01-02 03:04:09 [scrapy.core.engine] INFO: Spider closed (shutdown)\n"
        told = "2026-01-02 03:04:05 [acme] INFO: Spider arguments: {'crawl_time': '2026-01-02T03:04:06', 'x': None}\n"
        log = {
            "asked": START + ASKED,
            "stats": START + STATS.replace("'finished'", "'shutdown'") + end,
            "crawl_time": START + told + STATS.replace("2026, 1, 2, 3, 4, 6", "2026, 1, 5, 0, 0, 0") + end,
        }[known]
        remote.wipe(self.done(scrapyd, remote, log))
        assert not files.joinpath("acme").exists()

    def test_finds_the_folder_of_a_crawl_without_a_collection(
        self, files: Path, scrapyd: ScriptedScrapyd, remote: ScrapydBackend
    ) -> None:
        """Observed of Kingfisher Collect: such a crawl writes files too, and its log ends by telling where."""
        self.folder(files)
        remote.wipe(self.done(scrapyd, remote, without(CREATED, CLOSED)))
        assert not files.joinpath("acme").exists()

    @pytest.mark.parametrize("line", ["acme/20200101_000000", "other/20260102_030406", "../../etc/20260102_030406"])
    def test_believes_no_line_about_another_folder(
        self, line: str, files: Path, scrapyd: ScriptedScrapyd, remote: ScrapydBackend
    ) -> None:
        """It has to be of the spider, and of the minute in which Scrapy began."""
        kept = [self.folder(files, "acme/20200101_000000"), self.folder(files, "other/20260102_030406")]
        log = without(CREATED, CLOSED).replace("acme/20260102_030406", line)
        remote.wipe(self.done(scrapyd, remote, log))
        assert all(path.is_dir() for path in kept)

    @pytest.mark.parametrize(
        "directory",
        ["../outside/20260102_030406", "/etc/20260102_030406", "acme", "acme/..", "acme/20260102_030406/0A1"],
    )
    def test_refuses_a_context_that_names_something_else(
        self, directory: str, files: Path, tmp_path: Path, scrapyd: ScriptedScrapyd, remote: ScrapydBackend
    ) -> None:
        """What it may delete is of a strict form."""
        outside = self.folder(tmp_path / "outside")
        kept = self.folder(files)
        with pytest.raises(UnexpectedError, match="nothing was deleted"):
            remote.wipe({"job_id": CRAWL, "directory": directory})
        assert kept.is_dir()
        assert outside.is_dir()

    @pytest.mark.parametrize("linked", ["acme", "acme/20260102_030406"])
    def test_refuses_links(
        self, linked: str, files: Path, tmp_path: Path, scrapyd: ScriptedScrapyd, remote: ScrapydBackend
    ) -> None:
        """What they point to belongs to somebody else."""
        target = self.folder(tmp_path / "target") if linked == "acme" else self.folder(tmp_path, "target")
        (files / linked).parent.mkdir(parents=True, exist_ok=True)
        (files / linked).symlink_to(tmp_path / "target" / ("acme" if linked == "acme" else ""))
        with pytest.raises(UnexpectedError, match="symbolic link"):
            remote.wipe(self.done(scrapyd, remote))
        assert (target / "0A1" / "1.json").exists()

    def test_leaves_a_folder_that_another_job_needs(
        self, files: Path, scrapyd: ScriptedScrapyd, remote: ScrapydBackend
    ) -> None:
        """Observed of Kingfisher Collect: two crawls of a spider within a second share their folder."""
        kept = self.folder(files)
        context = self.done(scrapyd, remote)
        remote.wipe(context, {"acme/20260102_030406"})
        assert kept.is_dir()
        remote.wipe(context)
        assert not kept.exists()

    def test_cancels_a_running_crawl_first(
        self, files: Path, scrapyd: ScriptedScrapyd, remote: ScrapydBackend
    ) -> None:
        """Once."""
        self.folder(files)
        remote.schedule(request())
        scheduled("running", START + CREATED)(scrapyd)
        remote.status(CRAWL)
        remote.wipe(remote.context(CRAWL))
        assert (scrapyd.interrupts, scrapyd.state) == (1, "finished")
        assert not files.joinpath("acme").exists()

    def test_waits_for_an_orphan(self, files: Path, scrapyd: ScriptedScrapyd, remote: ScrapydBackend) -> None:
        """Observed of Scrapyd: after a restart its crawls go on, and can't be cancelled. They would write again."""
        kept = self.folder(files)
        remote.schedule(request())
        scheduled(None, START + CREATED, log_age=20.0)(scrapyd)
        remote.status(CRAWL)
        context = remote.context(CRAWL)
        with pytest.raises(RecoverableError, match=r"may still run without Scrapyd.* 20 seconds ago"):
            remote.wipe(context)
        assert kept.is_dir()
        scrapyd.log = HEALTHY
        remote.wipe(context)
        assert not kept.exists()

    def test_waits_for_an_orphan_that_has_only_begun(
        self, files: Path, scrapyd: ScriptedScrapyd, kingfisher: Settings
    ) -> None:
        """Its log comes seconds after it, and its files and its collection after that."""
        remote = make(kingfisher, log=0.3)
        remote.schedule(request())
        scheduled("running", None)(scrapyd)
        remote.status(CRAWL)
        scrapyd.state = None
        assert remote.status(CRAWL).state == CrawlState.LOST
        with pytest.raises(RecoverableError, match="may have begun without Scrapyd"):
            remote.wipe(remote.context(CRAWL))
        kept = self.folder(files)
        scrapyd.log = HEALTHY
        remote.wipe(remote.context(CRAWL))
        assert not kept.exists()
        assert remote.context(CRAWL)["process_id"] == 7

    def test_an_orphan_that_never_writes_a_log_is_not_waited_for(
        self, scrapyd: ScriptedScrapyd, kingfisher: Settings
    ) -> None:
        """It died before it began."""
        remote = make(kingfisher, log=0.1)
        remote.schedule(request())
        scheduled("running", None)(scrapyd)
        remote.status(CRAWL)
        scrapyd.state = None
        time.sleep(0.15)
        remote.wipe(remote.context(CRAWL))

    def test_does_not_wait_for_an_orphan_that_is_silent(
        self, files: Path, scrapyd: ScriptedScrapyd, remote: ScrapydBackend
    ) -> None:
        """Scrapy writes a line a minute, so after three it is dead."""
        kept = self.folder(files)
        remote.schedule(request())
        scheduled(None, START + CREATED, log_age=181.0)(scrapyd)
        remote.status(CRAWL)
        remote.wipe(remote.context(CRAWL))
        assert not kept.exists()

    def test_before_anything_was_scheduled_does_nothing(
        self, scrapyd: ScriptedScrapyd, remote: ScrapydBackend
    ) -> None:
        """JOB-23: it is allowed before `run`."""
        remote.wipe({})
        assert scrapyd.requests == []
        remote.wipe({"job_id": CRAWL, "spider": "acme"})
        assert scrapyd.asked("cancel.json") == []

    def test_wipes_what_this_machine_collected_before_the_services_were_set_up(
        self, files: Path, scrapyd: ScriptedScrapyd, remote: ScrapydBackend
    ) -> None:
        """A publication moves between backends by settings alone."""
        folder = self.folder(files)
        remote.wipe({"job_id": CRAWL, "scrapy_log": "/somewhere/crawl.log", "directory": "acme/20260102_030406"})
        assert not folder.exists()
        assert scrapyd.requests == []
