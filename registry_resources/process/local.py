"""Processing on this machine: a worker process for each job, told and watched through the job's folder.

Belongs here: starting, watching, ending and wiping. Does not belong here: what the worker does.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from registry_resources.exceptions import RecoverableError, UnexpectedError
from registry_resources.process.backend import Note, ProcessJob, ProcessMetadata, ProcessProgress, ProcessState
from registry_resources.process.result import JobFolder, compiled_releases, metadata_of, notes_of
from registry_resources.process.worker import HELD_BY_ANOTHER
from registry_resources.settings import Settings

_PATIENCE = 10.0  # seconds for killed processes to be gone

_children: dict[Path, subprocess.Popen[bytes]] = {}  # workers of this process that may still have to be reaped


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


class LocalProcess:
    """The process backend of this machine.

    Args:
        settings: where files are, and how many processes may work.
        today: gives the date after which no release can have been published.
    """

    name = "local"
    begins_anew = True
    poll = (0.2, 5.0)

    def __init__(self, settings: Settings, today: Callable[[], datetime.date] = _today) -> None:
        self._settings = settings
        self._today = today

    def start(self, job: ProcessJob) -> None:
        """Begin, unless it is completed or a worker is at it. What can't be begun is recorded as failed.

        Raises:
            RecoverableError: if the worker didn't come to life.
        """
        folder = self._folder(job)
        if self.status(job).state in {ProcessState.COMPLETED, ProcessState.RUNNING}:
            return
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            try:
                source = self._source(job.context)
            except UnexpectedError as error:
                folder.write("failure.json", {"reason": f"Processing {folder.name} failed: {error}"})
                return
            with folder.log.open("ab") as log:
                child = self._spawn(job, source, log)
        except OSError as error:
            raise RecoverableError(
                f"Processing {folder.name} can't begin: {error.strerror or error} ({error.filename}). "
                "Correct the permissions of that folder, or free space."
            ) from error
        _children[folder.path] = child
        assert child.stdout is not None  # noqa: S101 - for the type checker
        with child.stdout:
            held = child.stdout.readline()
        if not held and child.wait() != HELD_BY_ANOTHER:
            _children.pop(folder.path, None)
            raise RecoverableError(f"Processing {folder.name} ended as it began: {_last_line(folder.log)}")

    def status(self, job: ProcessJob) -> ProcessProgress:
        """Where it is. WAITING if it was never started or its worker is gone."""
        folder = self._folder(job)
        if folder.holder() is not None:
            seen = folder.read("progress.json") or {}
            return ProcessProgress(
                ProcessState.RUNNING,
                done=seen.get("done", 0),
                total=seen.get("total"),
                phase=seen.get("phase", "reading"),
            )
        if child := _children.pop(folder.path, None):
            child.wait()  # it has let go of its lock, so it is ending
        if (result := folder.read("result/result.json")) is not None:
            number = result["counts"].get("ocids", 0)
            return ProcessProgress(ProcessState.COMPLETED, done=number, total=number, phase="merging")
        if (failure := folder.read("failure.json")) is not None:
            return ProcessProgress(ProcessState.FAILED, reason=failure["reason"])
        begun = folder.path.is_dir() and any(folder.path.glob("work-*"))
        return ProcessProgress(ProcessState.WAITING, reason="its worker is gone: begin anew" if begun else "")

    def metadata(self, job: ProcessJob) -> ProcessMetadata:
        """What is known of the result.

        Raises:
            UnexpectedError: if there is none.
        """
        return metadata_of(self._result(job))

    def notes(self, job: ProcessJob) -> Sequence[Note]:
        """Notes about the data, one of each type. None if processing failed."""
        folder = self._folder(job)
        return notes_of(folder.read("result/result.json") or folder.read("failure.json") or {})

    def compiled_releases(self, job: ProcessJob) -> Generator[Sequence[tuple[str | None, bytes]]]:
        """Batches of (date or None, JSON in one line), sorted by ocid.

        Raises:
            UnexpectedError: if the result is gone or broken.
        """
        return compiled_releases(self._folder(job))

    def cancel(self, job: ProcessJob) -> None:
        """Kill the worker and its children, and delete what they left unfinished.

        Raises:
            RecoverableError: if they don't end.
        """
        folder = self._folder(job)
        deadline = time.monotonic() + _PATIENCE
        while (holder := folder.holder()) is not None:
            if holder:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(holder, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise RecoverableError(f"The worker of {folder.name} (process {holder}) doesn't end: kill it by hand.")
            time.sleep(0.02)
        if child := _children.pop(folder.path, None):
            child.wait()
        if folder.path.is_dir():
            for left in folder.path.glob("work-*"):
                shutil.rmtree(left, ignore_errors=True)

    def wipe(self, job: ProcessJob) -> None:
        """Delete the job's folder, and the publication's if it is empty then. Symbolic links are never followed.

        Raises:
            RecoverableError: if it can't be deleted.
            UnexpectedError: if the folder is a link.
        """
        folder = self._folder(job)
        for path in (folder.path.parent, folder.path):
            if path.is_symlink():
                raise UnexpectedError(f"{path} is a symbolic link: nothing was deleted. Delete it by hand.")
        self.cancel(job)
        try:
            if folder.path.exists():
                shutil.rmtree(folder.path)
        except OSError as error:
            raise RecoverableError(f"{folder.path} can't be deleted: {error.strerror or error}.") from error
        with contextlib.suppress(OSError):  # not empty, or not there
            folder.path.parent.rmdir()

    def _folder(self, job: ProcessJob) -> JobFolder:
        return JobFolder(self._settings.process_dir, job.key, job.job)

    def _result(self, job: ProcessJob) -> dict[str, Any]:
        folder = self._folder(job)
        if (result := folder.read("result/result.json")) is None:
            raise UnexpectedError(f"There is no result of {folder.name}: materialise `processed` again.")
        return result

    def _source(self, context: Mapping[str, Any]) -> Path:
        """The folder of the collected files.

        Raises:
            UnexpectedError: if the context names none, or none within the file store.
        """
        directory = context.get("directory")
        if not isinstance(directory, str) or not directory or "\0" in directory:
            raise UnexpectedError("nothing was collected for this job. Materialise `collected`.")
        root = self._settings.files_store.resolve()
        path = (root / directory).resolve()
        if Path(directory).is_absolute() or ".." in Path(directory).parts or root not in path.parents:
            raise UnexpectedError(
                f"{directory!r} is not a folder within the file store ({root}). Materialise `collected`."
            )
        if not path.is_dir():
            raise UnexpectedError(f"the collected files are gone ({path}). Materialise `collected`.")
        return path

    def _spawn(self, job: ProcessJob, source: Path, log: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "registry_resources.process.worker",
                f"--root={self._settings.process_dir}",
                f"--key={job.key}",
                f"--job={job.job}",
                f"--source={source}",
                f"--today={self._today().isoformat()}",
                f"--workers={self._settings.workers}",
                f"--parent={os.getpid()}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=Path(__file__).parents[2],
            start_new_session=True,
        )


def _last_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 2000))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else "it said nothing"
