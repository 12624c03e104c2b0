"""What a version holds, in numbers: what versions are compared by.

Belongs here: the numbers and their form as JSON. Does not belong here: comparing them (`activation.py`).
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Profile:
    """What a version holds.

    Attributes:
        ocids: compiled releases, one for each ocid.
        years: how many of them have a date in each year, without those whose date names none; None if not known.
        counts: the 14 counts (COV-02), by what people call them.
        date_from: the date of the earliest release, if there is one.
        date_to: the date of the latest release, if there is one.
    """

    ocids: int
    years: Mapping[int, int] | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    date_from: datetime.date | None = None
    date_to: datetime.date | None = None

    @property
    def dated(self) -> int | None:
        """How many ocids have a year, or None if not known."""
        return None if self.years is None else sum(self.years.values())

    def to_json(self) -> dict[str, Any]:
        """Write it as a JSON object."""
        return {
            "ocids": self.ocids,
            "years": None if self.years is None else {str(year): n for year, n in sorted(self.years.items())},
            "counts": dict(self.counts),
            "date_from": self.date_from.isoformat() if self.date_from else None,
            "date_to": self.date_to.isoformat() if self.date_to else None,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Profile:
        """Read what `to_json` wrote."""
        years = value.get("years")
        return cls(
            ocids=int(value["ocids"]),
            years=None if years is None else {int(year): int(n) for year, n in years.items()},
            counts={name: int(n) for name, n in value.get("counts", {}).items()},
            date_from=_date(value.get("date_from")),
            date_to=_date(value.get("date_to")),
        )


def _date(text: str | None) -> datetime.date | None:
    return datetime.date.fromisoformat(text) if text else None
