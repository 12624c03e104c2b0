"""The collect task: runs a crawl, and judges it (COL-*).

Does not belong here: how crawls run (`registry_resources.collect`), or the rules (`rules.acceptance`).
"""

from __future__ import annotations

import os
import secrets
from typing import ClassVar

from registry_assets.process_manager.progress import Progress
from registry_assets.process_manager.rules import acceptance
from registry_assets.process_manager.util import TaskManager
from registry_resources.catalogue import resolve_settings
from registry_resources.collect.backend import CrawlProgress, CrawlRequest, CrawlState
from registry_resources.database import Task
from registry_resources.database.choices import TaskStatus

RESTARTS = 1
"""How often a crawl that was lost is taken up again within one attempt of the task (ASK-04)."""


class CollectTask(TaskManager):
    """Schedules a crawl, and once it has finished, accepts or rejects what it collected."""

    final_output: ClassVar[bool] = False
    _progress = CrawlProgress(CrawlState.PENDING)
    _restarts = 0

    def run(self) -> None:
        """Schedule a crawl, or find the one again that an attempt which never ended has scheduled.

        The crawl's id is remembered before it is scheduled, so whenever this process is killed, it can be found.
        """
        context = self.job.context
        if not (self.resume and context.get("job_id")):
            if context.get("job_id"):
                self.wipe()
            forgotten = ("scrapy_log", "data_version", "directory", "process_id", "collect_error_rate")
            # Never an id that was used before, also if the database was made anew beside an old folder of crawls.
            crawl = f"{self.key}-{self.job.id}-{secrets.token_hex(4)}"
            self.remember(**dict.fromkeys(forgotten), job_id=crawl, spider=self.collection.source_id)
        self._schedule()

    def _schedule(self) -> None:
        bundle = self.collection.settings_bundle
        request = CrawlRequest(
            crawl=str(self.job.context["job_id"]),
            key=self.key,
            spider=self.collection.source_id,
            arguments=dict(self.collection.spider_arguments or {}),
            settings=resolve_settings(bundle, os.environ) if bundle else {},
        )
        self.remember(**self.services.collect.schedule(request))

    def get_status(self) -> tuple[TaskStatus, str | None]:
        """Where the crawl is; once it has finished, whether what it collected is accepted (COL-09)."""
        self._progress = progress = self.services.collect.status(str(self.job.context["job_id"]))
        match progress.state:
            case CrawlState.PENDING:
                return Task.Status.WAITING, None
            case CrawlState.RUNNING:
                return Task.Status.RUNNING, None
            case CrawlState.LOST:
                if self._restarts == RESTARTS:
                    return Task.Status.COMPLETED, progress.reason
                self._restarts += 1
                self.warnings.append(f"{progress.reason} It is taken up again")
                self._schedule()
                return Task.Status.WAITING, None
            case CrawlState.FINISHED:
                return Task.Status.COMPLETED, self._judge()

    def _judge(self) -> str | None:
        crawl = str(self.job.context["job_id"])
        log = self.services.collect.log(crawl)
        self.replace_notes(acceptance.notes(log))
        self.remember(
            **self.services.collect.context(crawl),
            collect_error_rate=log.error_rate,
            files=self._progress.files,
            bytes=self._progress.bytes,
        )
        self.warnings += acceptance.warnings_for_administrators(log)
        return acceptance.rejection(
            log, self.collection.spider_arguments or {}, incremental=self.collection.incremental
        )

    def progress(self) -> Progress:
        """Files and bytes collected."""
        files, size = self._progress.files, self._progress.bytes / 1e6
        return Progress(self.key, self.task.type, f"{files:,} files, {size:,.1f} MB" if size else "", files)

    def cancel(self) -> None:
        """End the crawl, and delete what it collected."""
        self.wipe()

    def wipe(self) -> None:
        """Delete what the crawl collected, ending it first if it runs (COL-15)."""
        self.services.collect.wipe(self.job.context)
