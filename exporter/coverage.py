"""How often each field is filled, over a whole export (COV-01, COV-02).

Belongs here: having worker processes count the parts of the years' files, and adding up. Does not belong here:
counting itself, which is ocdscardinal's, in `cardinal`.

ocdscardinal needs a regular file and uses one core, so this process decompresses the years' files into parts, a few
at a time, and workers count them side by side. Counts of lines can be added, so the sum is what one run over the full
file gives.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from exporter import files, manifest, parts
from exporter.errors import BrokenExportError, StageError
from exporter.summary import Summary
from exporter.util import COVERAGE, Export
from exporter.workers import Outcome, Pool, Task

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

# ocdscardinal frees what it allocates, line for line. Keeping hundreds of freed blocks of a size at hand in a thread,
# and not seven, takes 14% less time and some MiB. (`flatten` has more in use at a time: there it takes too many.)
_TUNABLES = "glibc.malloc.tcache_count=500"
EXACT = {
    "tenders_count": "/tender/",
    "tenderers_count": "/tender/tenderers[]/",
    "tenders_items_count": "/tender/items[]/",
    "parties_count": "/parties[]/",
    "awards_count": "/awards[]/",
    "awards_items_count": "/awards[]/items[]/",
    "awards_suppliers_count": "/awards[]/suppliers[]/",
    "contracts_count": "/contracts[]/",
    "contracts_items_count": "/contracts[]/items[]/",
    "contracts_transactions_count": "/contracts[]/implementation/transactions[]/",
    "plannings_count": "/planning/",
}
ANYWHERE = {
    "documents_count": "/documents[]/",
    "milestones_count": "/milestones[]/",
    "amendments_count": "/amendments[]/",
}


def counts(coverage: Mapping[str, int]) -> dict[str, int]:
    """Return the 14 counts that users see (COV-02): of objects at one path, or at every path that ends so."""
    result = {name: coverage.get(path, 0) for name, path in EXACT.items()}
    for name, ending in ANYWHERE.items():
        result[name] = sum(count for path, count in coverage.items() if path.endswith(ending))
    return result


@dataclass
class _Sums:
    """What was counted so far."""

    coverage: Counter[str] = field(default_factory=Counter)
    lines: Counter[str] = field(default_factory=Counter)  # by file
    unreadable: Counter[str] = field(default_factory=Counter)  # by file
    too_large: Counter[str] = field(default_factory=Counter)  # by file
    empty: int = 0
    bytes: int = 0

    def add(self, part: parts.Part, answer: dict[str, Any] | None) -> None:
        """Add what a worker answered; None is of one line that needs too much memory."""
        name = f"{part.year}.jsonl.gz"
        self.lines[name] += part.lines
        self.bytes += part.size
        if answer is None:
            self.too_large[name] += part.lines
            return
        self.coverage.update(answer["coverage"])
        self.empty += answer["empty"]
        if unreadable := part.lines - answer["coverage"].get("", 0) - answer["empty"]:
            self.unreadable[name] += unreadable


def measure(
    target: Export,
    *,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
    stop: threading.Event | None = None,
) -> Summary:
    """Write `coverage.json`: ocdscardinal's counts over all releases of an export.

    Args:
        target: the export; its JSON Lines must be there.
        workers: processes that count.
        progress: is given the releases and the bytes counted so far, about twice a second.
        stop: once it is set, the work ends with StoppedError.

    Returns:
        The summary. `skipped` counts releases that ocdscardinal cannot read (nested over 127 deep, or with a lone
        surrogate) as `unreadable`, and those that need over 384 MiB of memory as `too_large`; `details` has `counts`
        (the 14), `empty` (releases with nothing in them, which count nowhere) and `skipped_by_file`.

    Raises:
        BrokenExportError: if a file is damaged or missing.
        LockFileError, PublishedExportError: as for every stage.
        StageError: if a worker failed.
        StoppedError: if it was stopped.
    """
    start = time.monotonic()
    with target.lock("coverage") as locks:
        manifest.begin_stage(target, "coverage")
        found = manifest.require_stage(target, "export")
        directory = files.temporary_name(target.directory / COVERAGE)
        files.make_directory(directory)
        try:
            sums = _count_all(target, found, directory, workers=max(1, workers), progress=progress, stop=stop)
        finally:
            files.delete_if_possible(directory)
        data = json.dumps(dict(sorted(sums.coverage.items())), ensure_ascii=False, indent=0).encode() + b"\n"
        locks.check()
        files.write_atomically(target.directory / COVERAGE, data)
        skipped = {"unreadable": sums.unreadable.total(), "too_large": sums.too_large.total()}
        manifest.record_stage(
            target,
            "coverage",
            files=[
                manifest.FileEntry(
                    name=COVERAGE,
                    format="coverage",
                    rows=len(sums.coverage),
                    bytes=len(data),
                    sha256=files.sha256_bytes(data),
                )
            ],
            counts={
                "coverage_empty_releases": sums.empty,
                **{f"skipped_coverage_{reason}": count for reason, count in skipped.items() if count},
            },
            versions=manifest.library_versions("ocdscardinal"),
        )
    return Summary(
        files=1,
        rows=sums.lines.total(),
        bytes=len(data),
        seconds=time.monotonic() - start,
        skipped={reason: count for reason, count in skipped.items() if count},
        details={
            "counts": counts(sums.coverage),
            "empty": sums.empty,
            "skipped_by_file": dict(sums.unreadable + sums.too_large),
        },
    )


def _count_all(
    target: Export,
    found: manifest.Manifest,
    directory: Path,
    *,
    workers: int,
    progress: Callable[[int, int], None] | None,
    stop: threading.Event | None,
) -> _Sums:
    sums = _Sums()
    spare: list[Path] = []
    told = time.monotonic()
    rows = {entry.name: entry.rows for entry in found.files if entry.format == "jsonl" and entry.year != "full"}

    def task(part: parts.Part) -> Task:
        return Task("cover", {"path": str(part.path), "lines": part.lines}, label=part)

    def tasks() -> Iterator[Task]:
        for name in rows:
            if not (target.directory / name).is_file():
                raise BrokenExportError(f"{target.directory / name}: it is missing: export again")
            for part in parts.cut(target.directory, name.removesuffix(".jsonl.gz"), directory, spare=spare):
                yield task(part)

    def retry(outcome: Outcome) -> list[Task]:
        """Find the line that needs too much memory; of one line alone nothing is left to try."""
        if outcome.code not in {"crash", "memory"}:
            raise StageError(f"{target.directory}: coverage failed: {outcome.error}: try again")
        return [task(half) for half in parts.halve(outcome.task.label)]

    with Pool(workers, stop=stop, tunables=_TUNABLES) as pool:
        for outcome in pool.run(tasks(), retry):
            part: parts.Part = outcome.task.label
            sums.add(part, outcome.value)
            if outcome.value is not None:  # else its file is gone: it was cut again, down to one line
                spare.append(part.path)
            if progress is not None and time.monotonic() - told >= 0.5:
                told = time.monotonic()
                progress(sums.lines.total(), sums.bytes)
    for name, count in rows.items():
        if (lines := sums.lines[name]) != count:
            raise BrokenExportError(f"{target.directory / name}: {lines} lines, not {count}: export again")
    return sums
