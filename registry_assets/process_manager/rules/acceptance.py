"""Judges a crawl by its log: whether its data is accepted, what administrators are told, and what notes say of it.

Belongs here: COL-09 to COL-14 and DEF-14, as pure functions of a log that was read. Does not belong here: reading it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from registry_resources.collect.arguments import is_sample
from registry_resources.collect.crawl_log import CrawlLog, LogMessages
from registry_resources.process.backend import Note

MAX_ERROR_RATE = 0.15
"""Above it (strictly), a crawl is rejected (COL-09)."""

WARN_ERROR_RATE = 0.01
"""Above it (strictly), administrators are warned (COL-10)."""

PARTIAL_ARGUMENTS = ("sample", "from_date", "until_date")
"""The spider arguments that leave something out (DEF-14)."""

_NOISY = re.compile(r"HTTP \d{3}|Data loss|Retry failures|Download errors", re.ASCII)
_LEVELS = {"critical": "CRITICAL", "error": "ERROR", "warning": "WARNING"}


def rejection(
    log: CrawlLog,
    arguments: Mapping[str, str] | None = None,
    *,
    incremental: bool = False,
    makes_collection: bool = False,
) -> str | None:
    """Why a crawl's data isn't accepted (COL-09, in its order), or None if it is.

    Args:
        log: the crawl's log, read to its end.
        arguments: the spider's arguments, if they are known otherwise than from the log.
        incremental: whether the publication is collected piece by piece on purpose, so that a part is all there is.
        makes_collection: whether the crawl has to make a collection in Kingfisher Process. One that doesn't is
            rejected whatever its error rate: nothing of it would ever arrive (COL-07).
    """
    if log.missing_next_link:
        return f"The crawl stopped prematurely{_example(log, 'MissingNextLinkError')}"
    if not log.is_finished:
        return f"The crawl wasn't finished: {_unfinished(log)}"
    if makes_collection and (reason := missing_collection(log)):
        return reason
    if not log.items and not log.errors and not log.invalid_json:
        return "The crawl collected no files. Check the source and the arguments of the spider."
    if log.error_rate > MAX_ERROR_RATE:
        said = f"The crawl had a {round(log.error_rate, 4)} error rate{_counts(log)}{_example(log)}"
        return f"{said.removesuffix('.')}. Look at the crawl's log and at the publisher's site, then run it again."
    if not incremental and (left_out := partial_arguments(log, arguments)):
        return (
            f"The crawl was partial ({', '.join(left_out)}), and the publication isn't collected incrementally. "
            "Remove that from its spider_arguments."
        )
    return None


def numbers(log: CrawlLog, arguments: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What a crawl is judged by, as a JSON object: it stays with the job, for those who look at it later."""
    return {
        "finish_reason": log.finish_reason,
        "error_rate": log.error_rate,
        "items": log.items,
        "errors": log.errors,
        "invalid_json": log.invalid_json,
        "missing_next_link": log.missing_next_link,
        "left_out": partial_arguments(log, arguments),
    }


def missing_collection(log: CrawlLog) -> str | None:
    """Why a crawl that finished has no complete collection in Kingfisher Process, or None if it has one (COL-07).

    The crawl itself goes on as if nothing had happened (observed of Kingfisher Collect).
    """
    if log.process_id is not None:
        if log.collection_closed:
            return None
        return (
            f"The crawl didn't tell Kingfisher Process that it is over, so collection {log.process_id} waits for more "
            f"files for ever{_example(log, 'collection')}"
        )
    said = _example(log, "Failed to create collection")
    if said:
        status = re.search(r"status=(\d{3})\b", said)
        remedy = (
            "It does so if another crawl of the spider started in the same second, and if the spider's name has other "
            "characters than lower-case letters and underscores."
            if status and status[1] == "500"
            else "Look at its own log."
        )
        answered = f" ({status[1]})" if status else ""
        return f"Kingfisher Process refused{answered} to make a collection for the crawl. {remedy} The log{said[:300]}"
    if said := _example(log, "KingfisherProcessAPI2", last=True):
        return (
            "The crawl couldn't reach Kingfisher Process, so nothing arrived there. Check that it runs, and "
            f"KINGFISHER_API2_URL where Scrapyd runs. The log{said}"
        )
    if not log.attempts:
        return (
            "The crawl's log doesn't tell whether Kingfisher Process has a collection of it. Set LOG_LEVEL to INFO or "
            "DEBUG in the settings bundle."
        )
    return (
        "The crawl made no collection in Kingfisher Process, and its log has no error about that: Kingfisher Collect "
        "isn't configured to. Set KINGFISHER_API2_URL, RABBIT_URL, RABBIT_EXCHANGE_NAME and RABBIT_ROUTING_KEY where "
        "Scrapyd runs."
    )


def partial_arguments(log: CrawlLog, arguments: Mapping[str, str] | None = None) -> list[str]:
    """The spider's arguments that leave something out, as `name=value` (DEF-14)."""
    given = {**log.arguments, **(arguments or {})}
    return [
        f"{name}={given[name]}"
        for name in PARTIAL_ARGUMENTS
        if given.get(name) and (name != "sample" or is_sample(given))
    ]


def warnings_for_administrators(log: CrawlLog) -> list[str]:
    """What administrators are warned of (COL-10), one line each; empty if there is no need to.

    If there is a need, everything is told, also what alone would be none: HTTP errors and the like are common.
    """
    kept = kept_messages(log)
    lines = []
    if not log.is_finished:
        lines.append(f"finish reason: {log.finish_reason or 'none'}")
    if log.error_rate > WARN_ERROR_RATE:
        lines.append(f"crawl error rate: {log.error_rate:.2%}")
    if not lines and not any(not _NOISY.fullmatch(messages.type) for messages in kept):
        return []
    lines += [f"{name}: {count}" for name, count in _dropped(log)]
    totals: dict[str, int] = {}
    for messages in kept:
        totals[messages.type] = totals.get(messages.type, 0) + messages.total
    return lines + [f"{kind}: {total}" for kind, total in totals.items()]


def notes(log: CrawlLog) -> list[Note]:
    """The notes about a crawl (COL-11): what was dropped, then one note for each type of message.

    A note of messages has `data`: its `type`, how many there were (`count`), and the first of them (`examples`).
    """
    result = [
        Note(
            "WARNING" if name == "item_dropped_count" else "ERROR", f"{name}: {count}", {"type": name, "count": count}
        )
        for name, count in _dropped(log)
    ]
    return result + [
        Note(
            _LEVELS.get(messages.category, "UNKNOWN"),
            messages.examples[0] if messages.total == 1 else f"{messages.type}: {messages.total} messages",
            {"type": messages.type, "count": messages.total, "examples": list(messages.examples)},
        )
        for messages in kept_messages(log)
    ]


def kept_messages(log: CrawlLog) -> Sequence[LogMessages]:
    """The messages that tell something (COL-13). The two harmless warnings are left out by the reader already."""
    total: dict[str, int] = {}
    for messages in log.messages:
        if messages.category not in {"redirect", "retry", "ignore"}:
            total[messages.type] = total.get(messages.type, 0) + messages.total
    in_category = {
        name: sum(messages.total for messages in log.messages if messages.category == name)
        for name in ("warning", "ignore")
    }
    http_errors = sum(count for kind, count in total.items() if kind.startswith("HTTP "))
    downloads, http_500 = total.get("Download errors", 0), total.get("HTTP 500", 0)
    retries = total.get("Retry failures", 0)
    said_elsewhere = retries == http_500 if not downloads else retries == downloads and not http_500

    def is_kept(messages: LogMessages) -> bool:
        if messages.category in {"redirect", "retry"}:
            return False
        if messages.category == "warning" and in_category["warning"] == log.invalid_json:
            return False
        if messages.category == "ignore":
            return in_category["ignore"] != http_errors
        return not (messages.type == "Retry failures" and said_elsewhere)

    return [messages for messages in log.messages if is_kept(messages)]


def _dropped(log: CrawlLog) -> list[tuple[str, int]]:
    pairs = (("item_dropped_count", log.dropped), ("invalid_json_count", log.invalid_json))
    return [(name, count) for name, count in pairs if count]


def _unfinished(log: CrawlLog) -> str:
    if log.finish_reason == "sample":
        return "sample. Remove `sample` from the publication's spider_arguments to publish all of it"
    if log.finish_reason:
        return log.finish_reason
    said = _example(log, last=True).removeprefix(": ") or log.last.partition("\n")[0][:300]
    why = f" ({said})" if said else ""
    if not log.attempts and log.messages:
        return (
            f"its log has neither beginning nor end{why}. Set LOG_LEVEL to INFO or DEBUG, if a settings bundle sets it"
        )
    return f"its log has no end{why}"


def _counts(log: CrawlLog) -> str:
    invalid = f", {log.invalid_json} invalid JSON" if log.invalid_json else ""
    errors, files = "" if log.errors == 1 else "s", "" if log.items == 1 else "s"
    return f" ({log.errors} error{errors}{invalid}, {log.items} file{files})"


def _example(log: CrawlLog, containing: str = "", *, last: bool = False) -> str:
    """The first message of an error, in one line, to end a sentence with.

    Args:
        log: the log.
        containing: what it has to contain; then the line that does is given.
        last: whether to give its last line instead, as of a traceback.
    """
    for messages in log.messages:
        if messages.category in {"error", "critical"} or (containing and messages.category == "warning"):
            for example in messages.examples:
                if containing in example:
                    lines = example.splitlines()
                    text = (
                        next((line for line in reversed(lines) if containing in line), lines[0])
                        if containing
                        else lines[0]
                    )
                    return f": {(lines[-1] if last else text)[:500]}"
    return ""
