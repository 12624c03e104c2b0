"""The collect backend of Kingfisher Collect: each crawl is a job of Scrapyd.

Belongs here: scheduling crawls once, finding them again, and telling how they are. Does not belong here: HTTP
(`scrapyd_client.py`), ending crawls and deleting what they wrote (`scrapyd_end.py`), or judging them. Other modules
here import the package of the same name, which is meant by `scrapyd` alone.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from registry_resources.collect.arguments import is_sample, unknown_spider
from registry_resources.collect.backend import CrawlProgress, CrawlRequest, CrawlState
from registry_resources.collect.crawl_log import CrawlLog
from registry_resources.collect.scrapyd_client import RefusedError, ScrapydClient
from registry_resources.collect.scrapyd_end import Ending, Limits, remember
from registry_resources.collect.scrapyd_log import RemoteLog
from registry_resources.collect.scrapyd_memory import CrawlMemory
from registry_resources.collect.scrapyd_request import form_of
from registry_resources.exceptions import ConfigurationError, DataRegistryError, UnexpectedError
from registry_resources.redaction import redact
from registry_resources.settings import Settings


class ScrapydBackend:
    """Runs crawls with Scrapyd.

    Args:
        settings: the registry's settings: `kingfisher`, `files_store` and `crawls_dir` are used.
        client: instead of one for `settings.kingfisher`.
        limits: how long what may take.

    Raises:
        ConfigurationError: if `settings.kingfisher` is not set (COL-01).
    """

    name = "kingfisher"
    poll = (1.0, 60.0)
    resumes = False
    makes_collections = True

    def __init__(
        self, settings: Settings, *, client: ScrapydClient | None = None, limits: Limits | None = None
    ) -> None:
        if settings.kingfisher is None:
            raise ConfigurationError("SCRAPYD_URL and SCRAPYD_PROJECT are not set. Set them to crawl with Scrapyd.")
        kingfisher = settings.kingfisher
        self._settings = settings
        self._client = client or ScrapydClient(kingfisher.scrapyd_url, kingfisher.scrapyd_project)
        self._limits = limits or Limits()
        self._logs: dict[str, RemoteLog] = {}

    def schedule(self, request: CrawlRequest) -> Mapping[str, str | int]:
        """Ask for a crawl, unless Scrapyd has it, or had it (COL-02, COL-03).

        Raises:
            UnexpectedError: if Scrapyd refuses it, or an argument or setting can't be sent.
            RecoverableError: if Scrapyd can't be asked for now. It may have been asked: the next call finds out.
        """
        arguments, settings = form_of(request)
        memory = self._memory(request.crawl)
        known = memory.note(spider=request.spider, sample=is_sample(arguments))
        if not known.get("scheduled") and memory.interrupted_for() is None:
            if not self._was_scheduled(request, asked=bool(known.get("asked"))):
                self._ask(request, memory, arguments, settings)
            memory.note(scheduled=True)
        return self.context(request.crawl)

    def status(self, crawl: str) -> CrawlProgress:
        """Where the crawl is (COL-04, COL-05). What can't be told apart from a crawl that is lost, is LOST.

        Raises:
            RecoverableError: if Scrapyd can't tell for now.
            UnexpectedError: if it answers what no Scrapyd does.
        """
        state = self._client.state(crawl)
        if state is None:
            return CrawlProgress(CrawlState.LOST, reason=self._why_unknown(crawl))
        if state == "pending":
            return CrawlProgress(CrawlState.PENDING, reason="pending: Scrapyd has it in its queue")
        memory = self._memory(crawl)
        known = memory.read()
        if "spider" not in known:
            known = memory.note(spider=self._spider_of(crawl))
        log = self._log(crawl, str(known["spider"]))
        complete = log.read(self._limits.read)
        if not log.missing:
            remember(memory, log.result(), str(known["spider"]))
        if state == "running":
            return self._running(crawl, memory, log)
        return self._finished(crawl, memory, log, complete=complete)

    def log(self, crawl: str) -> CrawlLog:
        """What the crawl's log says, read to where it ends now.

        Raises:
            RecoverableError: if it can't be read for now.
        """
        known = self._memory(crawl).read()
        if "spider" not in known:
            return CrawlLog()
        log = self._log(crawl, str(known["spider"]))
        while not log.read(self._limits.read):
            pass
        return log.result()

    def context(self, crawl: str) -> Mapping[str, str | int]:
        """What to remember of the crawl in `Job.context`, as far as it is known by now; {} if nothing is."""
        known = self._memory(crawl).read()
        if "spider" not in known:
            return {}
        spider = str(known["spider"])
        context: dict[str, str | int] = {
            "spider": spider,
            "job_id": crawl,
            "scrapy_log": self._client.log_url(spider, crawl),
        }
        names = ("process_id", "data_version", "directory", "scrapyd")
        return context | {name: known[name] for name in names if known.get(name)}

    def cancel(self, crawl: str) -> None:
        """Interrupt the crawl once, and wait for it to end (see `scrapyd_end.py`)."""
        self._ending(crawl, {}).cancel()

    def wipe(self, context: Mapping[str, object], spare: Collection[str] = ()) -> None:
        """Delete what the crawl wrote, ending it first if it runs (see `scrapyd_end.py`).

        Args:
            context: `Job.context`.
            spare: folders, relative to the file store, that stay, since a crawl that is still needed writes there too.
        """
        crawl, log = context.get("job_id"), context.get("scrapy_log")
        if isinstance(log, str) and log and not log.startswith(("http://", "https://")):
            # The job is of the time before the settings of the Kingfisher services were set.
            from registry_resources.collect.scrapy import ScrapyBackend  # noqa: PLC0415 - rarely needed

            ScrapyBackend(self._settings).wipe(context, spare)
        elif isinstance(crawl, str) and crawl:
            self._ending(crawl, context).wipe(self._settings.files_store, spare)

    def _was_scheduled(self, request: CrawlRequest, *, asked: bool) -> bool:
        """Whether Scrapyd has the crawl, or had it: then it has a log.

        Args:
            request: the crawl.
            asked: whether it was asked for, without an answer: then the question may still be under way.
        """
        log = self._log(request.crawl, request.spider)
        for last in (False, True) if asked else (True,):
            if self._client.jobs(request.crawl) or log.exists():
                return True
            if not last:
                time.sleep(self._limits.pause)
        return False

    def _ask(
        self, request: CrawlRequest, memory: CrawlMemory, arguments: Mapping[str, str], settings: Mapping[str, str]
    ) -> None:
        memory.note(asked=True)
        try:
            self._client.schedule(request.crawl, request.spider, arguments, settings)
        except RefusedError as error:
            memory.note(asked=False)
            if error.message == f"spider '{request.spider}' not found":
                project = self._client.project
                where = f"They are of {project} on {self._client.url}, where a new one has to be deployed first."
                raise UnexpectedError(unknown_spider(request.spider, self._client.spiders(), where)) from error
            raise

    def _why_unknown(self, crawl: str) -> str:
        reason = (
            f"Scrapyd doesn't know the crawl {crawl} (any more): it was restarted, which loses crawls that run, or it "
            "has forgotten it, or somebody cancelled it while it was pending."
        )
        spider = self._memory(crawl).read().get("spider")
        if not isinstance(spider, str):
            return reason
        log = self._log(crawl, spider)
        try:
            log.read(self._limits.read)
        except DataRegistryError as error:
            return f"{reason} Its log can't be read: {error}"
        if log.missing:
            return f"{reason} It has no log."
        said = log.result()
        remember(self._memory(crawl), said, spider)
        if said.finish_reason:
            return f"{reason} Its log says that it ended nonetheless ({said.finish_reason}): {log.url}"
        return (
            f"{reason} Its log has no end ({log.url}): it may still run without Scrapyd. The log's last line: "
            f"{said.last[:300]}"
        )

    def _spider_of(self, crawl: str) -> str:
        """The spider of a crawl that another machine scheduled."""
        for _, job in self._client.jobs(crawl):
            if isinstance(job.get("spider"), str):
                return str(job["spider"])
        raise UnexpectedError(f"Scrapyd doesn't tell the spider of the crawl {crawl}.")

    def _running(self, crawl: str, memory: CrawlMemory, log: RemoteLog) -> CrawlProgress:
        if not log.missing:
            return CrawlProgress(CrawlState.RUNNING, log.result().items)
        # Observed of Scrapyd: the file comes 2 to 3 seconds after the process.
        now = time.time()
        since = memory.read().get("running_since")
        if not isinstance(since, float) or since > now:
            memory.note(running_since=now)
            since = now
        if now - since <= self._limits.log:
            return CrawlProgress(CrawlState.RUNNING, reason="running: its log has not begun yet")
        return CrawlProgress(
            CrawlState.LOST,
            reason=f"The crawl {crawl} has been running for {now - since:.0f} seconds, but no log has been written "
            f"({log.url}). Check that Scrapyd has a logs_dir, that its disk isn't full, and that it serves /logs.",
        )

    def _finished(self, crawl: str, memory: CrawlMemory, log: RemoteLog, *, complete: bool) -> CrawlProgress:
        said = log.result()
        if log.missing and not said.finish_reason:
            return CrawlProgress(CrawlState.LOST, reason=self._why_no_log(crawl, memory, log))
        if not complete:
            return CrawlProgress(CrawlState.RUNNING, said.items, reason="finished: its log is being read")
        jobs = self._client.jobs(crawl)
        if len(jobs) > 1:
            states = " and ".join(state for state, _ in jobs)
            return CrawlProgress(
                CrawlState.LOST,
                said.items,
                reason=f"Scrapyd has {len(jobs)} crawls with the id {crawl} ({states}): it was asked twice, so what "
                "each of them did can't be told apart.",
            )
        words = ", ".join(
            f"{k.partition('_')[0]} {v}" for k in ("start_time", "end_time") for _, job in jobs if (v := job.get(k))
        )
        known = memory.note(scrapyd=redact(f"finished{f' ({words})' if words else ''}")[:200])
        files, size = _measure(self._settings.files_store, known.get("directory"))
        return CrawlProgress(CrawlState.FINISHED, files, size)

    def _why_no_log(self, crawl: str, memory: CrawlMemory, log: RemoteLog) -> str:
        if memory.interrupted_for() is not None:
            return f"The crawl {crawl} was cancelled before it wrote a log."
        if log.offset or memory.read().get("log_seen"):
            return (
                f"The log of the crawl {crawl} was deleted before it was read to its end ({log.url}). Scrapyd deletes "
                "the logs of earlier crawls of a spider (jobs_to_keep in its settings): raise that."
            )
        return (
            f"Scrapyd says that the crawl {crawl} finished, but there is no log ({log.url}): it was killed before it "
            "began, or its log was deleted (jobs_to_keep in Scrapyd's settings), or couldn't be written."
        )

    def _ending(self, crawl: str, context: Mapping[str, object]) -> Ending:
        memory = self._memory(crawl)
        spider = memory.read().get("spider") or context.get("spider")
        log = self._log(crawl, spider) if isinstance(spider, str) and spider else None
        return Ending(self._client, crawl, memory, log, context, self._limits)

    def _memory(self, crawl: str) -> CrawlMemory:
        return CrawlMemory(self._settings.crawls_dir, crawl)

    def _log(self, crawl: str, spider: str) -> RemoteLog:
        return self._logs.setdefault(crawl, RemoteLog(self._client, spider, crawl))


def _measure(files_store: Path, directory: object) -> tuple[int, int]:
    """How many files a crawl's folder has, and their bytes."""
    files = size = 0
    if isinstance(directory, str):
        for folder, _, names in os.walk(files_store / directory):
            for name in names:
                files += 1
                with contextlib.suppress(OSError):  # such as one that may not be looked at: no reason to fail a crawl
                    size += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - one path each would be slow
    return files, size
