"""How crawls of this machine end: killed, cancelled, wiped, or with the machine; and how they go on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from registry_assets.process_manager.rules.acceptance import rejection
from registry_resources.collect.backend import CrawlState
from registry_resources.collect.scrapy import ScrapyBackend
from tests.support.crawls import hold_back, kill, pid_of


def test_a_crawl_survives_the_process_that_started_it(crawls, publisher, answer):
    """A worker dies, and a restarted one finds the crawl again by its id."""
    urls, gate = hold_back(publisher, answer)
    code = (
        "import os, json, sys\n"
        "from registry_resources.collect.backend import CrawlRequest\n"
        "from registry_resources.collect.scrapy import ScrapyBackend\n"
        "from registry_resources.settings import Settings\n"
        "backend = ScrapyBackend(Settings.from_env({'REGISTRY_HOME': sys.argv[1]}))\n"
        "backend.schedule(CrawlRequest('job-1', 'pub', 'bulk', {'urls': sys.argv[2]}, {}))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    crawls.ids.append("job-1")
    home = str(crawls.settings.home)
    killed = subprocess.run([sys.executable, "-c", code, home, urls], cwd=Path(__file__).parents[3], check=False)
    assert killed.returncode == -signal.SIGKILL

    crawls.until(lambda progress: progress.files == 4)
    again = ScrapyBackend(crawls.settings)
    assert again.status("job-1").state is CrawlState.RUNNING
    gate.set()
    assert crawls.wait().files == 10


def test_a_killed_crawl_is_lost_and_resumes_without_fetching_again(crawls, publisher, answer):
    """SIGKILL in the middle: lost, with a reason; scheduled again, it fetches only what isn't stored."""
    urls, gate = hold_back(publisher, answer)
    context = crawls.start(urls=urls, settings={"CONCURRENT_REQUESTS_PER_DOMAIN": "3"})
    crawls.until(lambda progress: progress.files == 4)
    kill(crawls)

    lost = crawls.backend.status("job-1")
    assert lost.state is CrawlState.LOST
    assert "it was killed, or the machine stopped" in lost.reason
    assert rejection(crawls.backend.log("job-1")).startswith("The crawl wasn't finished: its log has no end")

    gate.set()
    before = len(publisher.requests)
    assert crawls.start(urls=urls) == context
    assert crawls.wait().state is CrawlState.FINISHED
    log = crawls.backend.log("job-1")
    assert sorted(publisher.requests[before:]) == sorted(f"/{number}" for number in range(5, 11))
    assert [json.loads(body) for body in crawls.files().values()] == [[number] for number in range(1, 11)]
    assert (log.attempts, log.items, log.stats["resumed_count"], log.stats["file_count"]) == (2, 10, 4, 10)
    assert rejection(log) is None


def test_a_killed_chain_of_pages_goes_on_after_its_last_page(crawls, publisher, answer):
    """links_next resumes at the page after the last one stored."""
    gate = threading.Event()
    url = publisher.add_pages("/api", 6)
    body = publisher._answers["/api?page=4"][0].body
    publisher.add("/api?page=4", answer(body, gate=gate))
    crawls.start(spider="links_next", url=url)
    crawls.until(lambda progress: progress.files == 3)
    kill(crawls)
    gate.set()
    publisher.requests.clear()
    log = crawls.run(spider="links_next", url=url)

    assert publisher.requests == [f"/api?page={n}" for n in (4, 5, 6)]
    assert len(crawls.files()) == 6
    assert (log.items, rejection(log)) == (6, None)


def test_resuming_mistrusts_files_that_changed_and_deletes_what_is_half(crawls, publisher, answer):
    """After a power cut a file may be shorter than its journal says: it is fetched again."""
    urls, gate = hold_back(publisher, answer)
    crawls.start(urls=urls)
    crawls.until(lambda progress: progress.files == 4)
    kill(crawls)
    directory = crawls.settings.files_store / crawls.backend.context("job-1")["directory"]
    (short,) = directory.rglob("000002-2.json")
    short.write_bytes(b"")
    journal = crawls.folder().journal
    half = directory / "000" / "000007-7.json"
    half.parent.mkdir()
    half.write_bytes(b"[7")
    with journal.open("ab") as file:
        file.write(b'{"source":7,"file":"000/000007-7.json","bytes":2,"of":"x"}\n{"source":9,"fi')
    partial = crawls.settings.files_store / ".partial" / "job-1" / "left"
    partial.write_bytes(b"[")

    gate.set()
    log = crawls.run(urls=urls)

    assert [json.loads(body) for body in crawls.files().values()] == [[number] for number in range(1, 11)]
    assert not half.exists()
    assert not partial.exists()
    assert log.stats["resumed_count"] == 3


def test_a_shutdown_of_the_machine_is_an_interruption(crawls, publisher, answer):
    """A signal from elsewhere ends the crawl in an orderly way, and it is resumed; a cancelled one never is."""
    urls, gate = hold_back(publisher, answer)
    crawls.start(urls=urls, settings={"DOWNLOAD_TIMEOUT": "1", "RETRY_TIMES": "0"})
    crawls.until(lambda progress: progress.files == 4)
    kill(crawls, number=signal.SIGTERM)
    assert crawls.backend.status("job-1").state is CrawlState.LOST

    gate.set()
    assert len(crawls.run(urls=urls).stats) > 0
    assert len(crawls.files()) == 10


def test_cancelling_ends_the_process_and_is_remembered(crawls, publisher, answer):
    """ASK-02: cancel returns when the crawl has ended; again is no error; nothing resumes it."""
    urls, _ = hold_back(publisher, answer)
    crawls.start(urls=urls, settings={"DOWNLOAD_TIMEOUT": "1"})
    crawls.until(lambda progress: progress.files == 4)
    pid = pid_of(crawls)

    crawls.backend.cancel("job-1")
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    crawls.backend.cancel("job-1")
    assert crawls.backend.status("job-1").state is CrawlState.FINISHED
    assert "The crawl wasn't finished: " in rejection(crawls.backend.log("job-1"))

    requests = len(publisher.requests)
    crawls.start(urls=urls)
    assert crawls.backend.status("job-1").state is CrawlState.FINISHED
    assert len(publisher.requests) == requests


def test_a_process_that_hears_no_signal_is_killed(crawls, publisher, answer, monkeypatch):
    """The last signal is the one that can't be refused."""
    monkeypatch.setattr("registry_resources.collect.ending.FORCE", 0.5)
    urls, _ = hold_back(publisher, answer)
    crawls.start(urls=urls)
    crawls.until(lambda progress: progress.files == 4)
    psutil.Process(pid_of(crawls)).suspend()
    started = time.monotonic()

    ScrapyBackend(crawls.settings, grace=0.2).cancel("job-1")

    assert time.monotonic() - started < 30
    assert crawls.backend.status("job-1").state is CrawlState.FINISHED


def test_cancelling_what_never_was_is_no_error(crawls):
    """No crawl of that id is no error, and it is lost if asked for."""
    crawls.backend.cancel("never")
    crawls.backend.wipe({"job_id": "never"})
    crawls.backend.wipe({})
    assert crawls.backend.status("never").state is CrawlState.LOST
    assert "No crawl never is known here" in crawls.backend.status("never").reason
    assert crawls.backend.context("never") == {}
    assert not crawls.folder("never").path.exists()


def test_wiping_deletes_the_data_and_keeps_the_log(crawls, publisher):
    """I5: wiping twice is wiping once; the spider's folder goes if it is empty (COL-15)."""
    context = crawls.start(urls=publisher.add("/a", b"{}"))
    crawls.wait()
    other = crawls.settings.files_store / "pub" / "20200101_000000"
    other.mkdir()

    crawls.backend.wipe(context)
    assert not (crawls.settings.files_store / context["directory"]).exists()
    assert other.is_dir()
    other.rmdir()
    crawls.backend.wipe(context)
    assert not (crawls.settings.files_store / "pub").exists()
    assert Path(context["scrapy_log"]).stat().st_size > 0


def test_wiping_a_running_crawl_ends_it_first(crawls, publisher, answer):
    """Else it would write on into what is being deleted."""
    urls, _ = hold_back(publisher, answer)
    context = crawls.start(urls=urls, settings={"DOWNLOAD_TIMEOUT": "1"})
    crawls.until(lambda progress: progress.files == 4)

    crawls.backend.wipe(context)

    assert crawls.backend.status("job-1").state is CrawlState.FINISHED
    assert [p for p in crawls.settings.files_store.rglob("*") if p.is_file()] == []


def test_the_environment_may_make_sigint_ignored(crawls, publisher, answer):
    """What a shell starts with & ignores SIGINT, and so do its children; a crawl can be cancelled all the same."""
    urls, _ = hold_back(publisher, answer)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        crawls.start(urls=urls, settings={"DOWNLOAD_TIMEOUT": "1"})
    finally:
        signal.signal(signal.SIGINT, before)
    crawls.until(lambda progress: progress.files == 4)

    crawls.backend.cancel("job-1")

    assert "Received SIGINT" in crawls.text()
