"""Backends that do what a test tells them, for the ways of failing that real ones don't have on demand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from registry_resources.process.backend import Note, ProcessJob, ProcessMetadata, ProcessProgress, ProcessState


class ScriptedProcess:
    """A process backend that goes through the states it is given, one a poll; an exception is raised.

    Attributes:
        calls: what was asked of it, in order.
    """

    name = "scripted"
    begins_anew = True
    poll = (0.2, 5.0)

    def __init__(
        self, *script: ProcessProgress | BaseException, releases: Sequence[tuple[str | None, bytes]] = ()
    ) -> None:
        self.script = list(script)
        self.releases = releases
        self.calls: list[str] = []

    def start(self, job: ProcessJob) -> None:
        self.calls.append("start")

    def status(self, job: ProcessJob) -> ProcessProgress:
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, BaseException):
            raise step
        return step

    def metadata(self, job: ProcessJob) -> ProcessMetadata:
        return ProcessMetadata(ocid_prefix="ocds-a1b2c3", counts={"compiled_releases": len(self.releases)})

    def notes(self, job: ProcessJob) -> Sequence[Note]:
        return [Note("WARNING", "two of something", {"type": "Example", "count": 2})]

    def compiled_releases(self, job: ProcessJob) -> Iterator[Sequence[tuple[str | None, bytes]]]:
        yield list(self.releases)

    def cancel(self, job: ProcessJob) -> None:
        self.calls.append("cancel")

    def wipe(self, job: ProcessJob) -> None:
        self.calls.append("wipe")


class Listener:
    """A reporter that remembers what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def progress(self, progress: object) -> None:
        """Not remembered: how often a task is polled depends on the machine."""

    def info(self, message: str) -> None:
        self.lines.append(message)

    def warning(self, message: str) -> None:
        self.lines.append(f"warning: {message}")


RUNNING = ProcessProgress(ProcessState.RUNNING, done=1, total=2, phase="reading")
WAITING = ProcessProgress(ProcessState.WAITING)
COMPLETED = ProcessProgress(ProcessState.COMPLETED)


def failed(reason: str) -> ProcessProgress:
    return ProcessProgress(ProcessState.FAILED, reason)


class NoCollect:
    """A collect backend that is never asked."""

    name = "none"

    def schedule(self, request: object) -> Mapping[str, str]:
        raise AssertionError("not asked for")
