"""Reads the log of a crawl, of whichever backend: what it counted, how it ended, and what went wrong.

Belongs here: the form of Scrapy's log lines and statistics, and Kingfisher Collect's lines in them. A log has text of
remote servers, so nothing in it is ever evaluated, every pattern is anchored to a line's start, and every length is
capped (DEF-10, DEF-11). Does not belong here: judging a crawl, which is the acceptance rules' business.
"""

from __future__ import annotations

import ast
import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

MAX_LINE = 16_384  # bytes of one line that are looked at; the rest is passed over
MAX_MESSAGE = 2_000  # characters of one message that are kept as an example
MAX_EXAMPLES = 10  # messages kept of each type
MAX_TYPES = 200  # types kept; beyond, messages are counted as "Other"
MAX_STATS = 5_000  # statistics kept

_HEADER = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[([^\]\n]{1,200})\] (DEBUG|INFO|WARNING|ERROR|CRITICAL): (.*)", re.DOTALL
)
_CREATED = re.compile(
    r"Created collection (\d{1,18}) in Kingfisher Process \((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\)", re.ASCII
)
_ASKED = re.compile(
    r"Sending synchronous request to Kingfisher Process at \S{1,2000}/api/collections/ with "
    r"\{.{0,2000}'data_version': '(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)'.{0,2000}\}",
    re.ASCII,
)
_ENDED = re.compile(r"Closed collection (\d{1,18}) in Kingfisher Process", re.ASCII)
# From the first of these on, a log may hold text of remote servers.
_FETCHED = ("Crawled (", "Scraped from ", "Retrying <", "Redirecting (", "Gave up retrying", "Error downloading")
_CLOSED = re.compile(r"Spider closed \((.{1,500})\)", re.DOTALL)
_STAT = re.compile(r"""[ {](?P<quote>['"])(?P<key>[^'"]{1,300})(?P=quote): (?P<value>.+?)[,}]""", re.DOTALL)
_DATETIME = re.compile(r"datetime\.datetime\(([\d, ]+)(?:, tzinfo=datetime\.timezone\.utc)?\)")
_HTTP = re.compile(r"\bstatus=(\d{3})\b", re.ASCII)
_FILE_ITEM = re.compile(r"\{'(?:file_name|number|url|data_type)': ")

# Harmless, and always there: extensions that are off, and an ordinary shutdown of the message client (COL-13).
_HARMLESS = (
    re.compile(r"Disabled kingfisher_scrapy\.extensions\.DatabaseStore: DATABASE_URL is not set\."),
    re.compile(r"Channel \d+ was closed because the client closed it: \(200, 'Normal shutdown'\)"),
    re.compile(r"(?:Connection|Channel \d+) was closed: .*\(200, 'Normal shutdown'\).*"),
)


@dataclass(frozen=True)
class LogMessages:
    """Messages of one type and level.

    Attributes:
        category: `critical`, `error`, `warning`, `redirect`, `retry` or `ignore`.
        type: what COL-12 calls it: `HTTP 404`, `Download errors` …, else `<category>_logs`.
        level: the level of the log line.
        total: how many there were.
        examples: the first of them, cut to a length.
    """

    category: str
    type: str
    level: str
    total: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class CrawlLog:
    """What a log says of a crawl (of its latest attempt, if it was resumed).

    Attributes:
        finish_reason: Scrapy's, or None if the log has none (yet, or the crawl was killed).
        error_rate: COL-08: (errors + invalid JSON) / (items + the same), a lower bound; 1 if there is nothing at all.
        items: items scraped or dropped, those of earlier attempts included.
        errors: log lines at ERROR.
        invalid_json: items dropped as invalid JSON.
        dropped: items dropped for another reason.
        process_id: the collection's id in Kingfisher Process, or None.
        data_version: when the crawl started (`YYYY-MM-DD HH:MM:SS`, UTC), as that line gives it, or None.
        collection_closed: whether the crawl told Kingfisher Process that it is over.
        began: what is or would be the data version, as other lines give it: also those of a crawl without a
            collection, whose folder it names too.
        closing: whether it was told to end, or is ending by itself.
        arguments: the spider's arguments, as far as the log gives them as texts.
        stats: Scrapy's statistics: numbers, texts, and moments in ISO 8601.
        messages: what went wrong, by type.
        missing_next_link: whether a page lacked its link to the next one (COL-09).
        attempts: how many times the crawl was started.
        last: the last message at INFO or above.
    """

    finish_reason: str | None = None
    error_rate: float = 1.0
    items: int = 0
    errors: int = 0
    invalid_json: int = 0
    dropped: int = 0
    process_id: int | None = None
    data_version: str | None = None
    collection_closed: bool = False
    began: str | None = None
    closing: bool = False
    arguments: Mapping[str, str] = field(default_factory=dict)
    stats: Mapping[str, Any] = field(default_factory=dict)
    messages: tuple[LogMessages, ...] = ()
    missing_next_link: bool = False
    attempts: int = 0
    last: str = ""

    @property
    def is_finished(self) -> bool:
        """Whether the crawl says it came to its own end."""
        return self.finish_reason == "finished"


class _Attempt:
    """What is counted of one start of the crawl."""

    def __init__(self) -> None:
        self.item_lines = 0
        self.error_lines = 0
        self.finish_reason: str | None = None
        self.process_id: int | None = None
        self.data_version: str | None = None
        self.collection_closed = False
        self.asked: str | None = None
        self.closing = False
        self.fetched = False
        self.arguments: dict[str, str] = {}
        self.stats: dict[str, Any] = {}
        self.totals: dict[tuple[str, str, str], int] = {}
        self.examples: dict[tuple[str, str, str], list[str]] = {}
        self.missing_next_link = False


class CrawlLogReader:
    """Reads a log piece by piece, in constant memory."""

    def __init__(self) -> None:
        self._attempt = _Attempt()
        self._attempts = 0
        self._line = bytearray()
        self._cut = False
        self._record: tuple[str, str, list[str], int] | None = None
        self._in_stats = False
        self._last = ""

    def feed(self, data: bytes) -> None:
        """Read on. Pieces may end anywhere, also within a character."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            self._add(data[start:end])
            self._end_line()
            start = end + 1
        self._add(data[start:])

    def result(self) -> CrawlLog:
        """What the log says so far. Feeding may go on afterwards."""
        attempt, stats = self._attempt, self._attempt.stats
        totals, examples = dict(attempt.totals), {key: list(value) for key, value in attempt.examples.items()}
        error_lines, missing = attempt.error_lines, attempt.missing_next_link
        if self._record:
            missing |= self._count(self._record, totals, examples)
            error_lines += self._record[1] == "ERROR"
        # Statistics count what a log level hides; a crawl that was killed has none, only its lines.
        errors = _integer(stats, "log_count/ERROR") if stats else error_lines
        invalid_json, dropped = _integer(stats, "invalid_json_count"), _integer(stats, "item_dropped_count")
        if stats:
            items = _integer(stats, "item_scraped_count") + dropped + invalid_json
            items += _integer(stats, "resumed_count")
        else:
            items = attempt.item_lines
        failed = errors + invalid_json
        reason = stats.get("finish_reason")
        return CrawlLog(
            # The line at the end is whole, where a long text in the statistics is printed in pieces.
            finish_reason=attempt.finish_reason or (reason if isinstance(reason, str) and reason else None),
            error_rate=failed / (items + failed) if items + failed else 1.0,
            items=items,
            errors=errors,
            invalid_json=invalid_json,
            dropped=dropped,
            process_id=attempt.process_id,
            data_version=attempt.data_version,
            collection_closed=attempt.collection_closed,
            began=attempt.asked or _began(attempt.arguments.get("crawl_time") or stats.get("start_time")),
            closing=attempt.closing,
            arguments=MappingProxyType(attempt.arguments),
            stats=MappingProxyType(stats),
            messages=tuple(LogMessages(*key, total, tuple(examples[key])) for key, total in totals.items()),
            missing_next_link=missing,
            attempts=self._attempts,
            last=self._last,
        )

    def _add(self, data: bytes) -> None:
        room = MAX_LINE - len(self._line)
        self._line += data[:room]
        self._cut |= len(data) > room

    def _end_line(self) -> None:
        text = self._line.decode(errors="replace").rstrip("\r")
        self._line.clear()
        self._cut = False
        if header := _HEADER.fullmatch(text):
            self._end_record()
            self._begin(header[1], header[2], header[3])
        elif self._in_stats:
            self._read_stat(text)
        elif self._record:
            lines, size = self._record[2], self._record[3]
            if _FILE_ITEM.match(text) and "'file_name': " in text and len(lines) == 1 and _is_item(lines[0]):
                self._attempt.item_lines += 1
            # The end of a traceback is what says most, so the last line is always the latest one.
            if size < MAX_MESSAGE:
                lines.append(text[:MAX_MESSAGE])
            else:
                lines[-1] = text[:MAX_MESSAGE]
            self._record = (*self._record[:3], size + len(text))

    def _begin(self, logger: str, level: str, message: str) -> None:
        self._in_stats = False
        if level != "DEBUG":
            self._last = message[:MAX_MESSAGE]
        attempt = self._attempt
        if logger == "scrapy.utils.log" and message.startswith("Scrapy ") and " started (bot: " in message:
            self._attempt = _Attempt()
            self._attempts += 1
        elif logger == "scrapy.statscollectors" and message == "Dumping Scrapy stats:":
            self._in_stats = True
            self._attempt.stats = {}
        elif logger == "scrapy.core.engine" and (closed := _CLOSED.fullmatch(message)):
            attempt.finish_reason = closed[1]
        elif logger == "scrapy.core.engine" and message.startswith("Closing spider ("):
            attempt.closing = True
        elif message.startswith(_FETCHED):
            attempt.fetched = True
        elif level == "INFO":
            self._read_collect(message)
        elif level == "DEBUG" and not attempt.fetched and (asked := _ASKED.fullmatch(message)):
            # Observed of Kingfisher Collect: it comes before any request, like the line that answers it.
            attempt.asked = attempt.asked or (asked[1] if is_data_version(asked[1]) else None)
        self._record = (logger, level, [message], len(message))

    def _read_collect(self, message: str) -> None:
        """Read a line that Kingfisher Collect adds to Scrapy's."""
        attempt = self._attempt
        if (created := _CREATED.fullmatch(message)) and is_data_version(created[2]):
            # Observed of Kingfisher Collect: it comes before any request, when nobody else can have written it.
            if attempt.process_id is None and not attempt.fetched:
                attempt.process_id, attempt.data_version = int(created[1]), created[2]
        elif ended := _ENDED.fullmatch(message):
            attempt.collection_closed |= int(ended[1]) == attempt.process_id
        elif message.startswith("Spider arguments: {"):
            attempt.arguments.update(_arguments(message.removeprefix("Spider arguments: ")))

    def _end_record(self) -> None:
        if self._record:
            attempt = self._attempt
            attempt.error_lines += self._record[1] == "ERROR"
            attempt.missing_next_link |= self._count(self._record, attempt.totals, attempt.examples)
            self._record = None

    @staticmethod
    def _count(
        record: tuple[str, str, list[str], int],
        totals: dict[tuple[str, str, str], int],
        examples: dict[tuple[str, str, str], list[str]],
    ) -> bool:
        """Count a record under its type; returns whether it tells of a missing link to the next page."""
        logger, level, lines, _ = record
        category = _category(level, lines[0])
        if not category or (category == "warning" and any(pattern.fullmatch(lines[0]) for pattern in _HARMLESS)):
            return False
        text = "\n".join(lines)
        key = (category, message_type(logger, category, text), level)
        if key not in totals and len(totals) >= MAX_TYPES:
            key = (category, "Other", level)
        totals[key] = totals.get(key, 0) + 1
        kept = examples.setdefault(key, [])
        if len(kept) < MAX_EXAMPLES:
            # A traceback says most at its beginning and its end.
            middle = MAX_MESSAGE // 2
            kept.append(text if len(text) <= MAX_MESSAGE else f"{text[:middle]}\n…\n{text[-middle:]}")
        return category in {"critical", "error", "warning"} and "MissingNextLinkError" in text

    def _read_stat(self, text: str) -> None:
        stats = self._attempt.stats
        if len(stats) < MAX_STATS and (match := _STAT.fullmatch(text)):
            value = _stat(match["value"])
            if value is not None:
                stats[match["key"]] = value


def read_crawl_log(path: Path) -> CrawlLog:
    """Read a log file. One that isn't there (yet) reads as an empty one."""
    reader = CrawlLogReader()
    try:
        with path.open("rb") as file:
            while data := file.read(1 << 20):
                reader.feed(data)
    except FileNotFoundError:
        pass
    return reader.result()


def is_data_version(text: str) -> bool:
    """Whether a text is a moment as `YYYY-MM-DD HH:MM:SS` and nothing else (DEF-11)."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", text, re.ASCII):
        return False
    try:
        datetime.datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=datetime.UTC)
    except ValueError:
        return False
    return True


def _began(moment: object) -> str | None:
    """A moment in ISO 8601 (UTC) as a data version, which has no fractions of a second; None if it is none."""
    text = str(moment)[:19].replace("T", " ")
    return text if is_data_version(text) else None


def message_type(logger: str, category: str, text: str) -> str:
    """The type of a message (COL-12)."""
    if logger == "pika" or logger.startswith(("pika.", "yapw.clients")):
        return "RabbitMQ"
    if match := _HTTP.search(text):
        return f"HTTP {match[1]}"
    for part, name in (
        ("Got data loss", "Data loss"),
        ("Gave up retrying", "Retry failures"),
        ("Error downloading", "Download errors"),
    ):
        if part in text:
            return name
    return f"{category}_logs"


def _category(level: str, message: str) -> str:
    if level in {"CRITICAL", "ERROR", "WARNING"}:
        return level.lower()
    for start, category in (("Redirecting (", "redirect"), ("Retrying <", "retry"), ("Ignoring response <", "ignore")):
        if message.startswith(start):
            return category
    return ""


def _is_item(message: str) -> bool:
    return message.startswith(("Scraped from ", "Dropped: "))


def _integer(stats: Mapping[str, Any], key: str) -> int:
    value = stats.get(key)
    return value if isinstance(value, int) and value > 0 else 0


def _stat(text: str) -> Any:
    """The value of one statistic: an integer, a float, a text, or a moment in ISO 8601; else None."""
    if re.fullmatch(r"-?\d{1,18}", text, re.ASCII):
        return int(text)
    if re.fullmatch(r"-?\d{1,18}(\.\d{1,30})?(e[+-]?\d{1,3})?", text, re.ASCII):
        return float(text)
    if match := _DATETIME.fullmatch(text):
        try:
            return datetime.datetime(*map(int, match[1].split(",")), tzinfo=datetime.UTC).isoformat()  # type: ignore[arg-type,misc]
        except (ValueError, TypeError, OverflowError):
            return None
    if len(text) <= MAX_MESSAGE and text[0] in "'\"":
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
        return value if isinstance(value, str) else None
    return None


def _arguments(text: str) -> dict[str, str]:
    """The spider's arguments that are set, of a printed dict of texts."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return {}
    if not isinstance(value, dict):
        return {}
    return {k: v for k, v in value.items() if isinstance(k, str) and isinstance(v, str)}
