"""The exporter task: writes compiled releases as JSON Lines, by year (EXP-*).

Does not belong here: the format of the files (`exporter.jsonl`).
"""

from __future__ import annotations

import threading
from contextlib import closing
from typing import ClassVar

from exporter import jsonl
from exporter.util import Export
from registry_assets.process_manager import exports
from registry_assets.process_manager.progress import Progress
from registry_assets.process_manager.util import TaskManager, skip_if_not_started
from registry_resources.database import Task
from registry_resources.database.choices import TaskStatus
from registry_resources.exceptions import RecoverableError


class ExporterTask(TaskManager):
    """Streams from the process backend to the export in a thread, so that it can be stopped between two batches."""

    final_output: ClassVar[bool] = True
    _thread: threading.Thread | None = None
    _error: BaseException | None = None
    _broke = ""
    _releases = 0
    _bytes = 0

    def run(self) -> None:
        """Begin to export. What an earlier attempt has left is replaced."""
        with exports.translated():
            target = exports.writable(self.services, self.job)
        self._stop = threading.Event()
        self._error = None
        self._releases = self._bytes = 0
        self._thread = threading.Thread(target=self._export, args=(target,), name=f"export-{self.key}", daemon=True)
        self._thread.start()

    def _export(self, target: Export) -> None:
        try:
            # Closed at once when the export ends early: whatever it reads from is let go of.
            with exports.translated(), closing(self.services.process.compiled_releases(self.process_job)) as batches:
                summary = jsonl.export(
                    target,
                    batches,
                    workers=self.services.settings.workers,
                    progress=self._note_progress,
                    stop=self._stop,
                )
                self._releases, self._bytes = summary.rows, int(summary.details["uncompressed"])
        except BaseException as e:  # noqa: BLE001 (raised again in the thread that asks for the status)
            self._error = e

    def _note_progress(self, releases: int, size: int) -> None:
        self._releases, self._bytes = releases, size

    def get_status(self) -> tuple[TaskStatus, str | None]:
        """Running until the thread ends; what it raised is raised here. If that may help, it is then run anew."""
        if self._thread is None:
            self.run()
        elif not self._thread.is_alive():
            if isinstance(self._error, RecoverableError):
                self._thread, self._broke = None, f"begun anew, since: {self._error}"
            if self._error:
                raise self._error
            return Task.Status.COMPLETED, None
        return Task.Status.RUNNING, None

    def progress(self) -> Progress:
        """Releases and bytes written; until there are some again, why they were given up."""
        return Progress(
            self.key,
            self.task.type,
            f"{self._releases:,} releases, {self._bytes / 1e6:,.1f} MB" if self._releases else self._broke,
            self._releases,
            (self.job.context.get("process_counts") or {}).get("compiled_releases"),
        )

    def abandon(self) -> None:
        """Stop between two batches: another process exports now."""
        if self._thread:
            self._stop.set()
            self._thread.join()

    def cancel(self) -> None:
        """Stop between two batches, and remove the files, unless they belong to a version that was published."""
        if self._thread:
            self._stop.set()
            self._thread.join()
        self.wipe()

    @skip_if_not_started
    def wipe(self) -> None:
        """Delete the job's latest revision, unless it is published."""
        exports.remove_unpublished(self.services, self.job)
