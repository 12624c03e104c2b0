"""The reader of crawl logs, against recorded logs and hostile ones."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_resources.collect.crawl_log import (
    MAX_EXAMPLES,
    MAX_TYPES,
    CrawlLogReader,
    is_data_version,
    read_crawl_log,
)
from tests.support.crawl_logs import RECORDED, read

HEAD = "2026-01-02 03:04:05 "
STATS = "[scrapy.statscollectors] INFO: Dumping Scrapy stats:\n"


def log_with_stats(**stats) -> str:
    lines = ",\n ".join(f"{key!r}: {value!r}" for key, value in stats.items())
    return f"{HEAD}[scrapy.statscollectors] INFO: Dumping Scrapy stats:\n{{{lines}}}\n{HEAD}[x] INFO: end\n"


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_logs_read_as_the_analyser_others_use_reads_them(shared, name):
    """COL-08: finish reason, error rate and statistics are those that scrapy-log-analyzer found."""
    recorded = shared / "contract" / "recorded"
    verdict = json.loads((recorded / "90-scrapyloganalyzer-verdicts.json").read_text())[name]

    log = read_crawl_log(recorded / f"{name}.log")

    assert (log.finish_reason or "N/A") == verdict["finish_reason"]
    assert log.error_rate == verdict["error_rate"]
    assert log.is_finished == verdict["is_finished"]
    for key, value in verdict["stats"].items():
        assert log.stats.get(key) == value, key
    given_arguments = {k: v for k, v in verdict["spider_arguments"].items() if v is not None}
    assert dict(log.arguments) == given_arguments


def test_every_recorded_log_is_among_those_tested(shared):
    """So that a new recording isn't forgotten."""
    assert sorted(p.stem for p in (shared / "contract" / "recorded").glob("*.log")) == sorted(RECORDED)


@pytest.mark.parametrize(
    ("name", "process_id", "data_version"),
    [
        ("01-healthy", 1, "2026-11-23 16:55:37"),
        ("05-cancelled", 5, "2026-11-23 16:57:35"),
        ("18-merge-errors", 65, "2026-11-23 17:16:26"),
        ("13-process-unreachable", None, None),
        ("14-process-error-status", None, None),
        ("11-crash-before-open", None, None),
    ],
)
def test_the_collections_id_and_data_version_are_read_from_their_line(shared, name, process_id, data_version):
    """COL-06."""
    log = read_crawl_log(shared / "contract" / "recorded" / f"{name}.log")
    assert (log.process_id, log.data_version) == (process_id, data_version)


@pytest.mark.parametrize("piece", [1, 7, 4096])
def test_pieces_may_end_anywhere(shared, piece):
    """Reading while the crawl runs gives what reading at its end gives."""
    path = shared / "contract" / "recorded" / "06-dup-and-invalid.log"
    assert read(path.read_bytes(), piece) == read_crawl_log(path)


def test_the_result_may_be_asked_for_at_any_time(shared):
    """Asking doesn't change what is read afterwards."""
    data = (shared / "contract" / "recorded" / "03-http500.log").read_bytes()
    reader = CrawlLogReader()
    for start in range(0, len(data), 997):
        reader.feed(data[start : start + 997])
        reader.result()
    assert reader.result() == read(data)


def test_a_log_that_is_not_there_yet_says_nothing(tmp_path):
    """Observed of Scrapyd: the log is missing for the first seconds."""
    log = read_crawl_log(tmp_path / "none.log")
    assert (log.finish_reason, log.error_rate, log.attempts) == (None, 1.0, 0)


@pytest.mark.parametrize(
    ("stats", "rate"),
    [
        ({"item_scraped_count": 85, "log_count/ERROR": 15}, 15 / 100),
        ({"item_scraped_count": 1}, 0),
        ({"log_count/ERROR": 2}, 1),
        ({"elapsed_time_seconds": 0.1}, 1),
        ({"item_scraped_count": 3, "invalid_json_count": 1}, 1 / 5),
        ({"item_scraped_count": 2, "resumed_count": 7, "log_count/ERROR": 1}, 1 / 10),
    ],
)
def test_the_error_rate_follows_its_definition(stats, rate):
    """COL-08: (errors + invalid JSON) / (items + the same), 1 if there is nothing. Dropped items count."""
    assert read(log_with_stats(**stats)).error_rate == rate


def test_a_log_level_that_hides_items_does_not_hide_them_here():
    """Observed: with LOG_LEVEL above DEBUG, the lines of items are missing, and only the statistics count them."""
    assert read(log_with_stats(item_scraped_count=50, finish_reason="finished")).items == 50


def test_without_statistics_the_lines_are_counted():
    """A killed crawl has no statistics."""
    item = f"{HEAD}[scrapy.core.scraper] DEBUG: Scraped from <200 http://x/1>\n{{'file_name': '1.json', 'url': 'http://x'}}\n"
    log = read(item * 3 + f"{HEAD}[x] ERROR: status=404 message='' request=<GET http://x/4>\n")
    assert (log.items, log.errors, log.error_rate, log.finish_reason) == (3, 1, 0.25, None)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("[pika.adapters] ERROR: Socket failed", "RabbitMQ"),
        ("[yapw.clients] ERROR: Gave up", "RabbitMQ"),
        ("[x] ERROR: status=404 message=''", "HTTP 404"),
        ("[x] WARNING: Got data loss in http://x", "Data loss"),
        ("[scrapy.downloadermiddlewares.retry] ERROR: Gave up retrying <GET http://x>", "Retry failures"),
        ("[scrapy.core.scraper] ERROR: Error downloading <GET http://x>", "Download errors"),
        ("[x] ERROR: something else", "error_logs"),
        ("[x] CRITICAL: something else", "critical_logs"),
        ("[x] WARNING: something else", "warning_logs"),
        ("[x] DEBUG: Redirecting (302) to <GET http://y>", "redirect_logs"),
        ("[x] DEBUG: Retrying <GET http://y> (failed 1 times)", "retry_logs"),
        ("[x] INFO: Ignoring response <404 http://y>", "ignore_logs"),
    ],
)
def test_messages_have_the_types_that_notes_name(line, kind):
    """COL-12."""
    assert [(m.type, m.total) for m in read(HEAD + line + "\n").messages] == [(kind, 1)]


def test_a_missing_link_is_found_at_the_end_of_a_traceback():
    """COL-09: the exception's name stands in the last line of its record."""
    traceback = "\n".join(f"  line {n} of a long traceback" for n in range(500))
    log = read(f"{HEAD}[x] ERROR: Spider error\n{traceback}\na.b.MissingNextLinkError: next link not found\n")
    assert log.missing_next_link
    assert "MissingNextLinkError" in log.messages[0].examples[0]
    assert not read(f"{HEAD}[x] DEBUG: about MissingNextLinkError\n").missing_next_link


def test_a_resumed_crawl_is_judged_by_its_latest_attempt():
    """What failed in the first attempt was tried again in the second."""
    start = f"{HEAD}[scrapy.utils.log] INFO: Scrapy 2.19.0 started (bot: b)\n"
    log = read(
        start
        + f"{HEAD}[x] ERROR: one\n"
        + start
        + log_with_stats(item_scraped_count=1, resumed_count=4, finish_reason="finished")
    )
    assert (log.attempts, log.items, log.errors, log.messages) == (2, 5, 0, ())


@pytest.mark.parametrize(
    "line",
    [
        "[x] INFO: Spider arguments: __import__('os').system('touch {path}')",
        "[x] INFO: Spider arguments: {{'a': open('{path}', 'w')}}",
        "[x] INFO: Spider arguments: {{'a': " + "[" * 3000,
        STATS + "{{'start_time': open('{path}', 'w'),\n 'a': __import__('os'),",
        STATS + "{{'start_time': datetime.datetime(9, 99, 99),\n 'b': datetime.datetime(1e9),",
        STATS + "{{'a': " + "9" * 10_000 + ",\n 'b': '" + "\\x" * 100 + "',",
    ],
)
def test_nothing_in_a_log_is_ever_evaluated(tmp_path, line):
    """DEF-10: a log holds text of remote servers."""
    log = read(HEAD + line.format(path=tmp_path / "made") + "\n")
    assert not (tmp_path / "made").exists()
    assert log.stats == {}
    assert log.arguments == {}


@pytest.mark.parametrize(
    "line",
    [
        "Created collection 1 in Kingfisher Process (../../../etc)",
        "Created collection 1/../2 in Kingfisher Process (2026-01-02 03:04:05)",
        "Created collection \u0661 in Kingfisher Process (2026-01-02 03:04:05)",
        "Created collection 1 in Kingfisher Process (2026-13-02 03:04:05)",
        "Created collection 1 in Kingfisher Process (2026-01-02 03:04:05)/..",
        "x Created collection 1 in Kingfisher Process (2026-01-02 03:04:05)",
    ],
)
def test_ids_and_moments_of_another_form_are_not_believed(line):
    """DEF-11: they become parts of paths and URLs."""
    log = read(f"{HEAD}[x] INFO: {line}\n")
    assert (log.process_id, log.data_version) == (None, None)


def test_lines_within_a_message_are_not_lines_of_the_log():
    """A remote server can't claim an end: a record begins with its moment at the start of a line."""
    log = read(f"{HEAD}[x] ERROR: it said:\n  {HEAD}[scrapy.core.engine] INFO: Spider closed (finished)\n")
    assert log.finish_reason is None


def test_a_data_version_is_a_moment_and_nothing_else():
    """DEF-11."""
    assert is_data_version("2026-01-02 03:04:05")
    for text in (
        "2026-01-02T03:04:05",
        "2026-02-30 00:00:00",
        "2026-01-02 03:04:05\n",
        "\u0662026-01-02 03:04:05",
        "",
    ):
        assert not is_data_version(text)


def test_messages_are_counted_in_full_and_kept_in_part():
    """ASK-11: aggregated at the source, capped, the total always counted."""
    lines = "".join(f"{HEAD}[x] ERROR: number {n}\n" for n in range(1000))
    statuses = "".join(f"{HEAD}[x] WARNING: status={n:03}\n" for n in range(999))
    log = read(lines + statuses)
    assert sum(m.total for m in log.messages) == 1999
    assert len(log.messages) <= MAX_TYPES + 1
    assert max(len(m.examples) for m in log.messages) == MAX_EXAMPLES


@pytest.mark.parametrize("line", [b"x" * 1000, b"y" * (1 << 20)])
def test_a_huge_log_needs_no_memory(line):
    """ASK-16: many lines, and lines without an end."""
    reader = CrawlLogReader()
    reader.feed(f"{HEAD}[x] ERROR: it begins\n".encode())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(100_000_000 // len(line)):
        reader.feed(line)
        reader.feed(b"" if len(line) > 1000 else b"\n")
    reader.feed(f"\n{HEAD}[scrapy.core.engine] INFO: Spider closed (finished)\n".encode())
    assert reader.result().finish_reason == "finished"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB


WORDS = st.sampled_from(
    [
        HEAD,
        "[x] ERROR: ",
        "[scrapy.statscollectors] INFO: Dumping Scrapy stats:",
        "\n",
        "{'",
        "': ",
        "datetime.datetime(",
        "Spider arguments: {",
        "Spider closed (",
        "Scraped from <200 x>",
        "{'file_name': 'a'}",
        "Created collection ",
        ")",
        "}",
        "[scrapy.utils.log] INFO: Scrapy 2 started (bot: x)",
        "'finish_reason': 'finished',",
        "\0",
        "\r",
        "é",
        "9" * 400,
        "'''",
    ]
)


@settings(max_examples=200, deadline=None, database=None)
@given(st.lists(st.one_of(WORDS, st.text(max_size=20))).map("".join), st.integers(1, 50))
def test_no_text_makes_it_fail(text, piece):
    """Whatever a log holds, reading it ends, and the rate is one."""
    log = read(text.encode("utf-8", "surrogatepass"), piece)
    assert 0 <= log.error_rate <= 1
    assert log == read(text.encode("utf-8", "surrogatepass"))


@settings(max_examples=100, deadline=None, database=None)
@given(st.binary(max_size=500))
def test_no_bytes_make_it_fail(data):
    """Nor do bytes that are no text."""
    assert read(data).items >= 0


def test_the_projects_own_log_is_read(tmp_path):
    """The form of a long finish reason: whole in the last line, in pieces in the statistics."""
    reason = "the file store can't be written: No space left on device (/a/b). Free space or correct its permissions"
    path = Path(tmp_path / "crawl.log")
    path.write_text(
        f"{HEAD}[scrapy.statscollectors] INFO: Dumping Scrapy stats:\n"
        "{'finish_reason': 'the file store '\n                  'and so on',\n 'log_count/CRITICAL': 1}\n"
        f"{HEAD}[scrapy.core.engine] INFO: Spider closed ({reason})\n"
    )
    log = read_crawl_log(path)
    assert log.finish_reason == reason
    assert log.stats == {"log_count/CRITICAL": 1}
