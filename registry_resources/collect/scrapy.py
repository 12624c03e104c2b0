"""The collect backend of this machine: each crawl is a process of its own, running Scrapy.

Belongs here: starting, finding again, ending and wiping crawls. Does not belong here: what a crawl does (`runner.py`,
`spiders/`), or judging it. Other modules here import the package of the same name, which is meant by `scrapy` alone.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from registry_resources.collect.arguments import SPIDERS, check_arguments, check_key, unknown_spider
from registry_resources.collect.backend import CrawlProgress, CrawlRequest, CrawlState
from registry_resources.collect.crawl_log import CrawlLog, is_data_version, read_crawl_log
from registry_resources.collect.crawls import CrawlFolder
from registry_resources.collect.ending import end_process
from registry_resources.collect.layout import PARTIAL, claim_directory, directory_of, remove_directory
from registry_resources.exceptions import RecoverableError, UnexpectedError
from registry_resources.redaction import redact
from registry_resources.settings import Settings

RUNNER = Path(__file__).with_name("runner.py")
PACKAGE = Path(__file__).parents[2]
START_TIMEOUT = 60.0  # seconds for a process to start
LIST_TIMEOUT = 120.0  # seconds for a checkout to list its spiders
GRACE = 20.0  # seconds for a crawl to end by itself


class ScrapyBackend:
    """Runs crawls on this machine.

    Args:
        settings: the registry's settings: `crawls_dir`, `files_store` and `collect_dir` are used.
        collect_python: the interpreter that runs the checkout in `collect_dir`; by default that of its `.venv`, if it
            has one, else this one.
        grace: how long a cancelled crawl may take to end by itself, in seconds.
    """

    name = "local"
    poll = (0.2, 5.0)
    resumes = True
    makes_collections = False

    def __init__(self, settings: Settings, *, collect_python: Path | None = None, grace: float = GRACE) -> None:
        self._settings = settings
        self._grace = grace
        self._python = Path(sys.executable)
        self._spiders: list[str] | None = None
        if settings.collect_dir:
            own = settings.collect_dir / ".venv" / "bin" / "python"
            self._python = collect_python or (own if own.exists() else self._python)

    def schedule(self, request: CrawlRequest) -> Mapping[str, str]:
        """Start a crawl, unless it was started already; resume it if it was interrupted.

        Raises:
            UnexpectedError: if the spider is unknown, an argument is refused, or the folders can't be written.
        """
        check_key(request.key)
        folder = self._folder(request.crawl)
        project = self._check(request, folder)
        try:
            folder.make()
            with folder.hold() as lock:
                if lock is not None and not folder.cancelled and not self._ended(folder):
                    self._start(request, folder, project, lock)
        except OSError as error:
            raise UnexpectedError(
                f"The crawl {request.crawl} of {request.key} can't start: {error.strerror} ({error.filename}). "
                "Free space or correct the permissions of REGISTRY_HOME and KINGFISHER_COLLECT_FILES_STORE."
            ) from error
        return self._context(folder)

    def status(self, crawl: str) -> CrawlProgress:
        """Where the crawl is."""
        folder = self._folder(crawl)
        progress = folder.progress
        files, size = _count(progress.get("files")), _count(progress.get("bytes"))
        if folder.alive():
            state = CrawlState.RUNNING if progress else CrawlState.PENDING
            return CrawlProgress(state, files, size)
        if self._ended(folder):
            end = folder.end
            return CrawlProgress(
                CrawlState.FINISHED, files, size, redact(str(end.get("error") or end.get("reason", "")))
            )
        return CrawlProgress(CrawlState.LOST, files, size, self._why_lost(folder))

    def log(self, crawl: str) -> CrawlLog:
        """What the crawl's log says, read so far."""
        log = read_crawl_log(self._folder(crawl).log)
        # A local crawl has no line that gives it.
        return log if log.data_version else replace(log, data_version=self.context(crawl).get("data_version"))

    def context(self, crawl: str) -> Mapping[str, str]:
        """What to remember of a crawl in `Job.context`, as far as it is known by now; {} if it was never scheduled."""
        folder = self._folder(crawl)
        return self._context(folder) if folder.request else {}

    def cancel(self, crawl: str) -> None:
        """End the crawl: gracefully, then by force. Returns when it has ended.

        Raises:
            RecoverableError: if its process can't be ended.
        """
        folder = self._folder(crawl)
        if not folder.path.is_dir():
            return
        if not self._ended(folder):
            folder.mark_cancelled()
        end_process(folder, self._grace)

    def wipe(self, context: Mapping[str, object], spare: Collection[str] = ()) -> None:
        """Delete what the crawl wrote, ending it first if it runs. Its log stays, which notes link to.

        Args:
            context: `Job.context`.
            spare: folders, relative to the file store, that stay.

        Raises:
            UnexpectedError: if the context names a folder that isn't a crawl's.
            RecoverableError: if something can't be deleted now.
        """
        crawl = context.get("job_id")
        known: dict[str, object] = {}
        folder = None
        if isinstance(crawl, str) and crawl:
            folder = self._folder(crawl)
            self.cancel(crawl)
            known = dict(self._context(folder)) if folder.request else {}
        directory = known.get("directory") or context.get("directory")
        try:
            if isinstance(directory, str) and directory and directory not in spare:
                remove_directory(self._settings.files_store, directory)
            if folder:
                shutil.rmtree(self._settings.files_store / PARTIAL / folder.crawl, ignore_errors=True)
                for name in ("files.jsonl", "sources.jsonl", "progress.json"):
                    folder.forget(name)
        except OSError as error:
            raise RecoverableError(f"What the crawl {crawl} wrote can't be deleted now: {error}") from error

    def _folder(self, crawl: str) -> CrawlFolder:
        return CrawlFolder(self._settings.crawls_dir, crawl)

    def _check(self, request: CrawlRequest, folder: CrawlFolder) -> Path | None:
        """Check spider and arguments. Returns the checkout if the spider is of it, else None."""
        project = self._settings.collect_dir
        if project is None or request.spider in SPIDERS:
            check_arguments(request.spider, request.arguments)
            return None
        if not folder.request:
            spiders = self._list_spiders(project)
            if request.spider not in spiders:
                raise UnexpectedError(unknown_spider(request.spider, [*spiders, *SPIDERS], f"They are of {project}. "))
        return project

    def _start(self, request: CrawlRequest, folder: CrawlFolder, project: Path | None, lock: int) -> None:
        sample = "_sample" if request.arguments.get("sample") else ""
        scheduled = folder.request
        if not scheduled:
            scheduled = {"key": request.key, "spider": request.spider, "project": bool(project)}
            if not project:
                version, directory = claim_directory(self._settings.files_store, f"{request.key}{sample}")
                scheduled |= {"data_version": version, "directory": directory}
            folder.write("request", scheduled)
        folder.forget("end.json")
        folder.forget("progress.json")
        self._spawn(
            {
                "crawl_dir": str(folder.path),
                "files_store": str(self._settings.files_store),
                "directory": scheduled.get("directory", ""),
                "partial": str(self._settings.files_store / PARTIAL / folder.crawl),
                "spider": request.spider,
                "arguments": dict(request.arguments),
                "settings": dict(request.settings),
                "project": str(project) if project else "",
                "package": str(PACKAGE),
                "lock": lock,
            },
            folder,
            lock,
        )

    def _spawn(self, task: dict[str, Any], folder: CrawlFolder, lock: int) -> None:
        """Start the process, which takes the lock over and then lives by itself."""
        python = self._python if task["project"] else Path(sys.executable)
        with folder.output.open("ab") as output:
            try:
                subprocess.run(
                    [str(python), str(RUNNER), folder.crawl],
                    input=json.dumps(task).encode(),
                    stdout=output,
                    stderr=output,
                    cwd=task["project"] or None,
                    pass_fds=(lock,),
                    start_new_session=True,
                    timeout=START_TIMEOUT,
                    check=True,
                )
            except (subprocess.SubprocessError, OSError) as error:
                raise UnexpectedError(
                    f"The process of the crawl {folder.crawl} couldn't start ({error}). See {folder.output}."
                ) from error

    def _list_spiders(self, project: Path) -> list[str]:
        if self._spiders is None:
            task = {"list": True, "project": str(project), "files_store": "", "crawl_dir": "", "settings": {}}
            try:
                answer = subprocess.run(
                    [str(self._python), str(RUNNER)],
                    input=json.dumps(task),
                    capture_output=True,
                    text=True,
                    cwd=project,
                    timeout=LIST_TIMEOUT,
                    check=False,
                )
            except (subprocess.SubprocessError, OSError) as error:
                raise UnexpectedError(f"The spiders of {project} can't be listed: {error}.") from error
            lines = [line for line in answer.stdout.splitlines() if line.startswith("SPIDERS: ")]
            if answer.returncode or not lines:
                said = redact(answer.stderr.strip().rsplit("\n", 1)[-1])
                raise UnexpectedError(
                    f"The spiders of {project} can't be listed: {said}. Check KINGFISHER_COLLECT_DIR, and that "
                    f"{self._python} has what it requires."
                )
            self._spiders = json.loads(lines[-1].removeprefix("SPIDERS: "))
        return self._spiders

    def _context(self, folder: CrawlFolder) -> dict[str, str]:
        scheduled = folder.request
        context = {"spider": str(scheduled.get("spider", "")), "job_id": folder.crawl, "scrapy_log": str(folder.log)}
        version, directory = scheduled.get("data_version"), scheduled.get("directory")
        if not directory and (located := folder.located):
            version = str(located.get("data_version", ""))
            directory = directory_of(str(located.get("name", "")), version)
        if isinstance(version, str) and is_data_version(version) and directory:
            context |= {"data_version": version, "directory": str(directory)}
        return context

    @staticmethod
    def _ended(folder: CrawlFolder) -> bool:
        """Whether the crawl came to an end of its own, or was cancelled: nothing is left to resume."""
        end = folder.end
        # Scrapy ends in an orderly way when the machine shuts down, but the crawl isn't done.
        return folder.cancelled or bool(end and end.get("reason") != "shutdown")

    @staticmethod
    def _why_lost(folder: CrawlFolder) -> str:
        if not folder.request:
            return f"No crawl {folder.crawl} is known here (in {folder.path.parent})."
        if folder.end:
            return f"The crawl {folder.crawl} was interrupted by a signal, as when the machine shuts down."
        return (
            f"The process of the crawl {folder.crawl} is gone without having ended: it was killed, or the machine "
            f"stopped. Its log is {folder.log}; if it was killed for its memory, the kernel's log says so."
        )


def _count(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0
