"""The process task: merges what was collected into compiled releases (PRO-*).

Does not belong here: how merging is done (`registry_resources.process`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from registry_assets.process_manager.progress import Progress
from registry_assets.process_manager.util import TaskManager
from registry_resources.database import Job, Task
from registry_resources.database.choices import TaskStatus
from registry_resources.exceptions import DataRegistryError, RecoverableError
from registry_resources.process.backend import Note, ProcessJob, ProcessMetadata, ProcessProgress, ProcessState

MERGE_WARNINGS = frozenset({"DuplicateIdValueWarning", "RepeatedDateValueWarning"})
"""So common that administrators are not told of them (PRO-07)."""

RESTARTS = 2
"""How often a worker that died is started anew within one attempt of the task."""


class ProcessTask(TaskManager):
    """Runs the process backend, and copies what it found to the job."""

    final_output: ClassVar[bool] = False
    _progress = ProcessProgress(ProcessState.WAITING)
    _restarts = 0
    _keeps = False

    def run(self) -> None:
        """Begin merging: anew, unless an attempt that never ended is still at it, or the crawl itself has fed it."""
        if self.services.process.begins_anew and not self.resume:
            self.services.process.wipe(self.process_job)
        self.services.process.start(self.process_job)

    def get_status(self) -> tuple[TaskStatus, str | None]:
        """Where merging is; once it is complete, its metadata and notes are written to the job (PRO-04, PRO-06)."""
        try:
            return self._look()
        except RecoverableError:
            raise
        except DataRegistryError:
            # Such as an address that is wrong: what the crawl itself has fed is as good as before.
            self._keeps = not self.services.process.begins_anew
            raise

    def _look(self) -> tuple[TaskStatus, str | None]:
        self._progress = progress = self.services.process.status(self.process_job)
        match progress.state:
            case ProcessState.RUNNING:
                return Task.Status.RUNNING, None
            case ProcessState.WAITING:
                return self._restart()
            case ProcessState.FAILED:
                self.replace_notes(self.services.process.notes(self.process_job))
                return Task.Status.COMPLETED, progress.reason
            case ProcessState.COMPLETED:
                notes = self.services.process.notes(self.process_job)
                self.replace_notes(notes)
                metadata = self.services.process.metadata(self.process_job)
                self.update_job(lambda job: _describe(job, metadata))
                self.warnings += _for_administrators(notes)
                return Task.Status.COMPLETED, metadata.failure or None

    def _restart(self) -> tuple[TaskStatus, str | None]:
        """Start a worker that died anew; after that, give up."""
        if self._restarts == RESTARTS:
            return Task.Status.COMPLETED, (
                f"The worker that merges releases died {RESTARTS + 1} times without a result. The machine may be "
                f"short of memory: look at its system log, then materialise `processed` again"
            )
        self._restarts += 1
        self.services.process.start(self.process_job)
        return Task.Status.WAITING, None

    @property
    def poll(self) -> tuple[float, float]:
        """As the backend wants it."""
        return self.services.process.poll

    def progress(self) -> Progress:
        """Files read, then ocids merged; and what it looks like if it doesn't get on."""
        p = self._progress
        total = f" of {p.total:,}" if p.total else ""
        message = f"{p.phase} {p.done:,}{total}".strip() if p.done else p.phase
        if p.reason:
            message = f"{message}: {p.reason}" if message else p.reason
        return Progress(self.key, self.task.type, message, p.done, p.total)

    def cancel(self) -> None:
        """End merging, and delete what it made, unless an error ended it that tells nothing of the data (ASK-01)."""
        self.services.process.cancel(self.process_job)
        if not self._keeps:
            self.wipe()

    def wipe(self) -> None:
        """Delete the compiled releases from where they were made, even if the task never started (PRO-10)."""
        with self.services.database.session(read_only=True) as session:
            # As it is now: wiping the crawl may just have told which collection it made.
            job = session.get_one(Job, self.job.id)
            now = ProcessJob(self.key, job.id, dict(job.context))
        self.services.process.wipe(now)


def _describe(job: Job, metadata: ProcessMetadata) -> None:
    job.date_from = metadata.date_from
    job.date_to = metadata.date_to
    job.ocid_prefix = metadata.ocid_prefix
    job.license = metadata.license
    job.publication_policy = metadata.publication_policy
    job.context["process_counts"] = dict(metadata.counts)
    job.context.update(metadata.context)


def _for_administrators(notes: Sequence[Note]) -> list[str]:
    """One line for all that went wrong in merging, or none (PRO-07)."""
    told = [
        f"{note.note[:200]}{'…' if len(note.note) > 200 else ''}"
        for note in notes
        if note.level in {"ERROR", "WARNING"} and note.data.get("type") not in MERGE_WARNINGS
    ]
    return [f"Processing noted: {' · '.join(told)}"] if told else []
