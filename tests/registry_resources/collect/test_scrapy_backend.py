"""The local backend: crawls as processes, which are found again, resumed, ended and wiped, whatever dies."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from registry_assets.process_manager.rules.acceptance import rejection
from registry_resources.collect.backend import CrawlState
from registry_resources.collect.scrapy import ScrapyBackend
from registry_resources.exceptions import UnexpectedError


def pid_of(crawls, crawl="job-1"):
    return crawls.folder(crawl).process["pid"]


def kill(crawls, crawl="job-1", number=signal.SIGKILL):
    process = psutil.Process(pid_of(crawls, crawl))
    process.send_signal(number)
    crawls.until(lambda progress: progress.state not in {CrawlState.PENDING, CrawlState.RUNNING}, crawl)


def hold_back(publisher, answer, count=10, good=4):
    """Sources of which the first are answered at once, and the others once the gate opens."""
    gate = threading.Event()
    for number in range(1, count + 1):
        publisher.add(f"/{number}", answer(b"[%d]" % number, gate=None if number <= good else gate))
    return " ".join(publisher.url(f"/{number}") for number in range(1, count + 1)), gate


def test_scheduling_again_starts_nothing(crawls, publisher):
    """A retried step asks for the same crawl again, while it runs and after it ended."""
    first = crawls.start(urls=publisher.add("/a", b"{}"))
    assert crawls.start(urls=publisher.url("/a")) == first
    crawls.wait()
    assert crawls.start(urls=publisher.url("/a")) == first
    assert crawls.backend.status("job-1").state is CrawlState.FINISHED
    assert publisher.requests == ["/a"]
    assert first["spider"] == "bulk"
    assert first["job_id"] == "job-1"


def test_many_who_schedule_the_same_crawl_at_once_start_one(crawls, publisher):
    """Neither does a race: the lock passes from the one who starts to the process."""
    url = publisher.add("/a", b"{}")
    results = []
    threads = [threading.Thread(target=lambda: results.append(crawls.start(urls=url))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    crawls.wait()

    assert len(results) == 8
    assert {result["directory"] for result in results if "directory" in result} == {results[0]["directory"]}
    assert publisher.requests == ["/a"]


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

    assert time.monotonic() - started < 12
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


def test_two_crawls_in_one_second_never_share_a_folder(crawls, publisher):
    """Observed of Scrapyd: two crawls of one spider in one second wrote into one folder."""
    url = publisher.add("/a", b"{}")
    contexts = [crawls.start(f"job-{n}", urls=url) for n in range(4)]
    for n in range(4):
        crawls.wait(f"job-{n}")

    assert len({context["directory"] for context in contexts}) == 4
    assert all(len(crawls.files(f"job-{n}")) == 1 for n in range(4))


@pytest.mark.parametrize(
    ("spider", "arguments", "message"),
    [
        ("nope", {}, "There is no spider 'nope'. There are: bulk, links_next."),
        ("bulk", {}, "needs the argument urls"),
        ("bulk", {"urls": " "}, "needs the argument urls"),
        ("bulk", {"urls": "ftp://x/y"}, "Only http, https and file URLs"),
        ("bulk", {"urls": "a", "compile": "1"}, "has no argument 'compile'. It has urls:"),
        ("bulk", {"urls": "a", "sample": "0"}, "whole number from 1 up"),
        ("links_next", {"url": "file:///etc/passwd"}, "must begin with http:// or https://"),
    ],
)
def test_a_wrong_spider_or_argument_is_refused_before_anything_starts(crawls, spider, arguments, message):
    """One clear message, with the remedy; nothing is left behind."""
    with pytest.raises(UnexpectedError, match="spider") as error:
        crawls.start(spider=spider, **arguments)
    assert message in str(error.value)
    assert not crawls.settings.crawls_dir.exists()
    crawls.ids.clear()


@pytest.mark.parametrize("key", ["", "..", "a/b", "../x", "A", "a b"])
def test_a_key_that_is_none_becomes_no_folder(crawls, key):
    """DEF-11: nor does a crawl's id that is none."""
    with pytest.raises(UnexpectedError, match="is not the key of a publication"):
        crawls.start(key=key, urls="a")
    with pytest.raises(UnexpectedError, match="is not the id of a crawl"):
        crawls.backend.schedule(crawls.request(f"{key}/..", urls="a"))
    crawls.ids.clear()


@pytest.mark.parametrize("place", ["files", "crawls"])
def test_a_folder_that_cant_be_written_is_one_clear_message(crawls, publisher, place):
    """A file where a folder should be: the message names it and the remedy."""
    (crawls.settings.home).mkdir(parents=True)
    (crawls.settings.home / place).write_text("a file")
    with pytest.raises(UnexpectedError, match="can't start") as error:
        crawls.start(urls=publisher.add("/a", b"{}"))
    assert str(crawls.settings.home / place) in str(error.value)
    assert "correct the permissions" in str(error.value)
    crawls.ids.clear()


def test_a_full_disk_ends_the_crawl_with_that_reason(crawls, publisher, monkeypatch):
    """A write that fails isn't an error of one source: all the following would fail as well."""
    import resource

    urls = [publisher.add(f"/{n}", b"[%s]" % (b" " * 200_000)) for n in range(5)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        crawls.start(urls=" ".join(urls))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert crawls.wait().state is CrawlState.FINISHED
    log = crawls.backend.log("job-1")

    reason = rejection(log)
    assert reason.startswith("The crawl wasn't finished: the file store can't be written: File too large")
    assert "Free space" in reason
    assert log.errors == 0
    assert [m.type for m in log.messages] == ["critical_logs"]
    assert crawls.files() == {}
    assert list((crawls.settings.files_store / ".partial").iterdir()) == []


def test_secrets_are_nowhere_to_be_seen(crawls, publisher, answer):
    """I6: values of the settings bundle, and passwords in URLs, in no log, no state, no list of processes."""
    secret = "canary-5f1e7a"
    urls, gate = hold_back(publisher, answer)
    with_password = publisher.add("/p", answer(b"", 404)).replace("http://", f"http://user:{secret}@")
    settings = {"USER_AGENT": secret, "CF_CLEARANCE": secret, "LOG_LEVEL": "DEBUG", "MY_PASSWORD": "abcd"}
    crawls.start(urls=f"{urls} {with_password}", settings=settings)
    crawls.until(lambda progress: progress.files == 4)

    process = psutil.Process(pid_of(crawls))
    assert secret not in " ".join(process.cmdline())
    assert secret not in json.dumps(process.environ())
    gate.set()
    crawls.wait()
    assert any(headers.get("User-Agent") == secret for headers in publisher.headers)
    text = crawls.text()
    assert secret not in text
    assert "abcd" not in text
    assert "status=404" in text
    for path in crawls.folder().path.iterdir():
        assert path.name == "sources.jsonl" or secret not in path.read_text(errors="replace"), path
    assert crawls.folder().path.stat().st_mode & 0o077 == 0


def test_a_crawl_needs_few_open_files(crawls, publisher):
    """ASK-07: works under `ulimit -n 256`."""
    import resource

    urls = [publisher.add(f"/{n}", b"[]") for n in range(300)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        crawls.start(urls=" ".join(urls))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    crawls.wait()

    assert len(crawls.files()) == 300
    assert crawls.backend.log("job-1").errors == 0


def test_no_port_is_opened_and_no_other_host_is_asked(crawls, publisher, answer):
    """A crawl speaks to the hosts it was given, and nobody can speak to it."""
    urls, gate = hold_back(publisher, answer)
    crawls.start(urls=urls)
    crawls.until(lambda progress: progress.files == 4)
    port = int(publisher.url().rsplit(":", 1)[1])

    connections = psutil.Process(pid_of(crawls)).net_connections(kind="inet")
    gate.set()
    crawls.wait()

    assert connections
    assert all(c.status != psutil.CONN_LISTEN and c.raddr and c.raddr.port == port for c in connections)


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


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"LOG_LEVEL": "LOUD"}, "LOUD"),
        ({"CONCURRENT_REQUESTS": "many"}, "many"),
        ({"DOWNLOADER_MIDDLEWARES": "nonsense"}, "the setting DOWNLOADER_MIDDLEWARES of the settings bundle"),
    ],
)
def test_a_settings_bundle_that_makes_no_sense_is_told(crawls, publisher, setting, message):
    """Whatever stops Scrapy from starting is in the log, and so in the reason."""
    crawls.start(urls=publisher.add("/a", b"{}"), settings=setting)
    assert crawls.wait().state is CrawlState.FINISHED
    assert message in rejection(crawls.backend.log("job-1"))


def test_a_full_log_keeps_its_end(crawls, publisher, monkeypatch, tmp_path):
    """A log is bounded: beyond, only its end is written, which counts what was left out."""
    runner = tmp_path / "collect" / "runner.py"
    original = Path(ScrapyBackend.schedule.__code__.co_filename).with_name("runner.py")
    runner.parent.mkdir()
    runner.write_text(original.read_text().replace("MAX_LOG = 64 << 20", "MAX_LOG = 5_000"))
    (tmp_path / "redaction.py").write_text((original.parents[1] / "redaction.py").read_text())
    monkeypatch.setattr("registry_resources.collect.scrapy.RUNNER", runner)
    urls = " ".join(publisher.url(f"/missing-{n}") for n in range(100))

    log = crawls.run(urls=urls)

    assert len(crawls.text()) < 10_000
    assert "The log is full" in crawls.text()
    assert (log.errors, log.items, log.finish_reason) == (100, 0, "finished")
