"""The words in which people are told of publications: one message for all that changed at once.

Belongs here: texts. Does not belong here: what is worth telling (`rules/notification.py`), or sending it.
"""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry_assets.process_manager.rules.notification import Event, Kind
from registry_resources.redaction import redact

IN_FULL = 20
"""Of one kind and cause, so many publications have lines of their own, and so many causes are told in full."""

KEYS_LENGTH = 2_000
"""How long the list of the others is at most, in characters."""

REASON_LENGTH = 500
"""How long a reason is at most, in characters: `registry show` has all of it."""

HEADINGS: Mapping[Kind, str] = {
    Kind.FAILED: "failed",
    Kind.BLOCKED: "has a version that is kept from readers",
    Kind.CAUSE: "fails for another cause",
    Kind.FREEZE: "keeps failing for the same cause",
    Kind.RECOVERED: "recovered",
}

HEADINGS_OF_MANY: Mapping[Kind, str] = {
    Kind.FAILED: "failed",
    Kind.BLOCKED: "have a version that is kept from readers",
    Kind.CAUSE: "fail for another cause",
    Kind.FREEZE: "keep failing for the same cause",
    Kind.RECOVERED: "recovered",
}

REMEDIES: Mapping[Kind, str] = {
    Kind.FAILED: "`registry show {key}` tells more. `registry run {key}` tries again now, not only when it is due.",
    Kind.BLOCKED: (
        "Readers keep what they have. `registry show {key}` tells more. If the new version is right: "
        '`registry accept {key} {job} --reason "…"`.'
    ),
    Kind.CAUSE: "`registry show {key}` tells more. `registry run {key}` tries again now, not only when it is due.",
    Kind.FREEZE: (
        "Consider `registry freeze {key}`, which stops trying until `registry unfreeze {key}`, and tell the publisher."
    ),
    Kind.RECOVERED: "",
}

# Publishers' texts must not forge lines, nor turn a line around.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")


@dataclass(frozen=True)
class News:
    """Something to tell of a publication.

    Attributes:
        key: the publication's key.
        title: its title.
        url: the page of the job's run, or "" if it had none.
        event: what is told.
    """

    key: str
    title: str
    url: str
    event: Event

    @property
    def reason(self) -> str:
        """Why, in one line, without secrets."""
        text = " ".join(_CONTROL.sub(" ", redact(self.event.reason)).split())
        return text if len(text) <= REASON_LENGTH else f"{text[:REASON_LENGTH]}…"

    @property
    def remedy(self) -> str:
        """What to do, or "" if there is nothing to."""
        return REMEDIES[self.event.kind].format(key=self.key, job=self.event.job)

    @property
    def line(self) -> str:
        """All of it in one line, for logs."""
        reason = f": {self.reason}" if self.reason else ""
        heading, remedy = HEADINGS[self.event.kind], f". {self.remedy}" if self.remedy else ""
        return f"{self.key} {heading}{reason} ({self._when}){remedy}"

    @property
    def fields(self) -> dict[str, Any]:
        """All of it for programs."""
        return {
            "kind": self.event.kind.value,
            "publication": self.key,
            "title": self._title,
            "job": self.event.job,
            "since": self.event.since.astimezone(datetime.UTC).isoformat(timespec="seconds"),
            "failures": self.event.failures,
            "reason": self.reason,
            "url": self.url,
            "remedy": self.remedy,
        }

    @property
    def lines(self) -> str:
        """It in a message, below its heading and reason."""
        title = f" ({self._title})" if self._title else ""
        return f"- {self.key}{title}: {self._when}" + (f"\n  {self.url}" if self.url else "")

    @property
    def _title(self) -> str:
        return " ".join(_CONTROL.sub(" ", redact(self.title)).split())[:100]

    @property
    def _when(self) -> str:
        since = f"{self.event.since.astimezone(datetime.UTC):%Y-%m-%d %H:%M} UTC"
        if self.event.kind == Kind.RECOVERED:
            return f"job {self.event.job}, after trouble since {since}"
        times = f", {self.event.failures} times in a row" if self.event.failures > 1 else ""
        return f"job {self.event.job}, since {since}{times}"


def subject(news: Sequence[News]) -> str:
    """Say all of it in a few words."""
    if len(news) == 1:
        return f"Registry: {news[0].key} {HEADINGS[news[0].event.kind]}"
    kinds = Counter(item.event.kind for item in news)
    headings = {kind: HEADINGS_OF_MANY[kind] if kinds[kind] > 1 else HEADINGS[kind] for kind in Kind}
    return f"Registry: {', '.join(f'{kinds[kind]:,} {headings[kind]}' for kind in Kind if kinds[kind])}"


def text(news: Sequence[News]) -> str:
    """Say all of it, what has one cause together, the most urgent first."""
    groups: dict[tuple[Kind, str], list[News]] = {}
    for item in sorted(news, key=lambda item: (list(Kind).index(item.event.kind), item.key)):
        groups.setdefault((item.event.kind, item.event.cause), []).append(item)
    ordered = sorted(groups.items(), key=lambda group: (list(Kind).index(group[0][0]), -len(group[1])))
    parts = [_group(kind, items) for (kind, _), items in ordered[:IN_FULL]]
    if rest := [item for _, items in ordered[IN_FULL:] for item in items]:
        parts.append(f"And {len(rest):,} more, for {len(ordered) - IN_FULL:,} other causes: {_keys(rest)}")
    parts.append(f"Nothing more is told of {'these' if len(news) > 1 else 'this'} until something changes.")
    return "\n\n".join(parts) + "\n"


def _group(kind: Kind, items: Sequence[News]) -> str:
    first = items[0]
    many = len(items) > 1
    who = f"{len(items):,} publications {HEADINGS_OF_MANY[kind]}" if many else f"{first.key} {HEADINGS[kind]}"
    alike = " (in these or similar words)" if many and first.reason else ""
    lines = [f"{who}{alike}: {first.reason}" if first.reason else f"{who}."]
    lines += [item.lines for item in items[:IN_FULL]]
    if more := items[IN_FULL:]:
        lines.append(f"- and {len(more):,} more: {_keys(more)}")
    if first.remedy:
        lines.append(REMEDIES[kind].format(key="KEY", job="JOB") if many else first.remedy)
    return "\n".join(lines)


def _keys(items: Sequence[News]) -> str:
    """List keys, as many as there is room for."""
    said: list[str] = []
    room = KEYS_LENGTH
    for item in items:
        room -= len(item.key) + 2
        if room < 0:
            return f"{', '.join(said)} and {len(items) - len(said):,} more"
        said.append(item.key)
    return ", ".join(said)
