"""What a process backend is: the contract between the process and export tasks and whatever merges releases.

Belongs here: the protocol and the values that cross it. Does not belong here: any way of merging.
"""

from __future__ import annotations

import datetime
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


class ProcessState(StrEnum):
    """Where the merging of one job's data is."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


@dataclass(frozen=True)
class ProcessJob:
    """The job to process.

    Attributes:
        key: the publication's key.
        job: the job's id.
        context: `Job.context`: what collecting left there (`directory`, `data_version`, `process_id` …).
    """

    key: str
    job: int
    context: Mapping[str, Any]


@dataclass(frozen=True)
class ProcessProgress:
    """Where processing is.

    Attributes:
        state: FAILED is a definite end, with its reason.
        reason: why it failed, naming the cause and the remedy; while it runs, what it looks like if it doesn't get on;
            else "".
        done: units of work done so far (files read, then ocids merged), for the log.
        total: of how many, or None.
        phase: what it is doing, such as `reading` or `merging`.
    """

    state: ProcessState
    reason: str = ""
    done: int = 0
    total: int | None = None
    phase: str = ""


@dataclass(frozen=True)
class Note:
    """A note about the data (becomes a TaskNote). `level` is ERROR, WARNING or INFO; `data` has a `type`."""

    level: str
    note: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ProcessMetadata:
    """What is known of the compiled releases (PRO-04).

    Attributes:
        date_from: the earliest release date after 1970-01-01, or None.
        date_to: the latest release date up to today, or None.
        ocid_prefix: first 11 characters of the greatest ocid, or "".
        license: the package's licence URL, or "".
        publication_policy: the package's policy URL, or "".
        counts: everything counted, by name: `files`, `releases`, `records`, `compiled_releases`, and one `skipped_…`
            for each reason why something was skipped. Zero counts are left out.
        context: what to remember in `Job.context`.
        failure: why nothing can be made of the result although it is complete, naming the cause and the remedy; or "".
    """

    date_from: datetime.date | None = None
    date_to: datetime.date | None = None
    ocid_prefix: str = ""
    license: str = ""
    publication_policy: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    failure: str = ""


class ProcessBackend(Protocol):
    """Merges what a job collected. Every method may be repeated, and raises RecoverableError if that may help.

    Attributes:
        name: of the backend.
        begins_anew: whether `start` makes the result, so that what an earlier attempt left can be wiped before it. If
            not, collecting has made it already, and wiping it would lose it.
        poll: the shortest and the longest interval at which to ask for the status, in seconds.
    """

    name: str
    begins_anew: bool
    poll: tuple[float, float]

    def start(self, job: ProcessJob) -> None:
        """Begin, unless begun already and still at it. After a failure or a kill, begin anew."""

    def status(self, job: ProcessJob) -> ProcessProgress:
        """Where it is. WAITING if it was never started or its worker is gone (then `start` begins it anew)."""

    def metadata(self, job: ProcessJob) -> ProcessMetadata:
        """What is known of the result. Only once COMPLETED."""

    def notes(self, job: ProcessJob) -> Sequence[Note]:
        """Notes about the data, aggregated and capped (the total is counted). Only once COMPLETED or FAILED."""

    def compiled_releases(self, job: ProcessJob) -> Generator[Sequence[tuple[str | None, bytes]]]:
        """The compiled releases, streamed in batches of a few MB at most.

        Returns:
            Batches of (the release's `date` if it is a string, else None; the release's JSON in one line, UTF-8, no
            newline), always in the same order for the same result. A batch may be empty, to let the reader stop.

        Raises:
            RecoverableError: if it may help to begin anew.
            UnexpectedError: if the result is gone or broken.
        """

    def cancel(self, job: ProcessJob) -> None:
        """End it now. Returns when its processes are gone. Nothing running is no error."""

    def wipe(self, job: ProcessJob) -> None:
        """Delete the result, ending it first if it runs. Wiping twice is wiping once."""
