"""What the coverage and flattener tasks have in common: a stage of the exporter, run as a child process.

Does not belong here: what either stage makes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from exporter.util import Export
from registry_assets.process_manager import exports
from registry_assets.process_manager.child import Child
from registry_assets.process_manager.progress import Progress
from registry_assets.process_manager.util import TaskManager
from registry_resources.database import Task
from registry_resources.database.choices import TaskStatus


class StageTask(TaskManager):
    """Runs `python -m exporter STAGE DIR` on the job's export."""

    final_output: ClassVar[bool] = True
    stage: ClassVar[str]
    _child: Child | None = None
    _target: Export | None = None
    _result: Mapping[str, Any] | None = None

    @abstractmethod
    def arguments(self) -> list[str]:
        """Options for the stage's command line."""

    def finish(self, target: Export, result: Mapping[str, Any]) -> None:
        """Write what the stage found to the job's metadata."""

    def run(self) -> None:
        """Start the stage. Its own lock keeps out a second one."""
        with exports.translated():
            self._target = exports.writable(self.services, self.job)
        self._child = Child("exporter", [self.stage, str(self._target.path), *self.arguments()])

    def get_status(self) -> tuple[TaskStatus, str | None]:
        """Running until the child process ends; its last line is the reason if it failed."""
        if self._child is None or self._target is None:
            return Task.Status.WAITING, None
        code = self._child.poll()
        if code is None:
            return Task.Status.RUNNING, None
        if code != 0:
            return Task.Status.COMPLETED, exports.with_remedy(self.services, self.job, self._child.failure())
        self._result = self._child.result()
        self.finish(self._target, self._result)
        return Task.Status.COMPLETED, None

    def progress(self) -> Progress:
        """Releases and bytes done, as the stage last said; at the end, what it has made."""
        if self._result:
            files, made = int(self._result["files"]), int(self._result["bytes"])
            return Progress(self.key, self.task.type, f"{files:,} file{'s'[: files != 1]}, {made / 1e6:,.1f} MB", 1, 1)
        said = self._child.last_progress if self._child else {}
        if not said:
            return Progress(self.key, self.task.type, "")
        done, size = int(said.get("done") or 0), int(said.get("bytes") or 0)
        total = (self.job.context.get("process_counts") or {}).get("compiled_releases")
        return Progress(self.key, self.task.type, f"{done:,} releases, {size / 1e6:,.1f} MB", done, total)

    def abandon(self) -> None:
        """Kill the stage: another process does it now."""
        self.cancel()

    def cancel(self) -> None:
        """Kill the stage with its workers. What it had written under temporary names goes at the next try."""
        if self._child:
            self._child.kill()

    def wipe(self) -> None:
        """Nothing: its files are in the export, which the exporter task wipes."""
