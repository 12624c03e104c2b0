"""The local backend: crawls as processes, which are found again, resumed, ended and wiped, whatever dies."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import psutil
import pytest

from registry_assets.process_manager.rules.acceptance import rejection
from registry_resources.collect.backend import CrawlState
from registry_resources.collect.scrapy import ScrapyBackend
from registry_resources.exceptions import UnexpectedError
from tests.support.crawls import hold_back, pid_of


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
