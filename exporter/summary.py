"""What a stage says when it is done. Belongs here: its form. Does not belong here: what it counts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass
class Summary:
    """The outcome of one stage over one export directory.

    Attributes:
        files: how many files it made.
        rows: how many releases or table rows they hold (each counted once, not again in `full`).
        bytes: the size of the files.
        seconds: wall time.
        skipped: what was left out, by reason (I8). Empty if nothing was.
        details: more, by stage.
    """

    files: int = 0
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    skipped: Mapping[str, int] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {**asdict(self), "seconds": round(self.seconds, 3)}
