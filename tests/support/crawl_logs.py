"""Reading crawl logs in tests: the names of the recorded ones, and one way to read a text in pieces."""

from __future__ import annotations

from registry_resources.collect.crawl_log import CrawlLog, CrawlLogReader

RECORDED = [
    "01-healthy",
    "02-empty",
    "03-http500",
    "04-lowerr",
    "05-cancelled",
    "05b-cancelled-once",
    "06-dup-and-invalid",
    "07-invalid-json-file",
    "08-unknown-format",
    "09-empty-package",
    "10-record-package",
    "11-crash-before-open",
    "12-spider-exception",
    "13-process-unreachable",
    "14-process-error-status",
    "15-rabbit-unreachable",
    "16-retry-sample-setting",
    "17-null-ocid",
    "18-merge-errors",
    "31-delete-right-after-close",
    "32-delete-while-crawling",
    "40-restart-0",
    "40-restart-1",
]


def read(text: str | bytes, piece: int = 1 << 20) -> CrawlLog:
    data = text if isinstance(text, bytes) else text.encode()
    reader = CrawlLogReader()
    for start in range(0, len(data), piece):
        reader.feed(data[start : start + piece])
    return reader.result()
