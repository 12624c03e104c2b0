"""The collect task: runs a crawl, and judges it (COL-*).

Does not belong here: how crawls run (`registry_resources.collect`), or the rules (`rules.acceptance`).
"""

from __future__ import annotations

import os
import secrets
from typing import ClassVar

from sqlalchemy import select

from registry_assets.process_manager.progress import Progress
from registry_assets.process_manager.rules import acceptance
from registry_assets.process_manager.util import TaskManager
from registry_resources.catalogue import resolve_settings
from registry_resources.collect.backend import CrawlProgress, CrawlRequest, CrawlState
from registry_resources.database import Job, Task
from registry_resources.database.choices import TaskStatus
from registry_resources.exceptions import DataRegistryError

RESTARTS = 1
"""How often a crawl that was lost is taken up again within one attempt of the task, where it can be (ASK-04)."""

OF_A_CRAWL = ("scrapy_log", "data_version", "directory", "process_id", "scrapyd", "collect_error_rate", "crawl")
"""What a job's context tells of its crawl, besides `spider` and `job_id`."""


OF_WHAT_IT_MADE = ("data_version", "directory", "process_id")
"""What must be known to delete all that a crawl made."""


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
                # What that crawl fed would be lost sight of with its id.
                self.services.process.wipe(self.process_job)
            # Never an id that was used before, also if the database was made anew beside an old folder of crawls.
            crawl = f"{self.key}-{self.job.id}-{secrets.token_hex(4)}"
            self.remember(**dict.fromkeys(OF_A_CRAWL), job_id=crawl, spider=self.collection.source_id)
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
        crawl = str(self.job.context["job_id"])
        self._progress = progress = self.services.collect.status(crawl)
        self._remember_what_is_known(crawl)
        match progress.state:
            case CrawlState.PENDING:
                return Task.Status.WAITING, None
            case CrawlState.RUNNING:
                return Task.Status.RUNNING, None
            case CrawlState.LOST:
                return self._lost(crawl)
            case CrawlState.FINISHED:
                return Task.Status.COMPLETED, self._judge(crawl)

    def _lost(self, crawl: str) -> tuple[TaskStatus, str | None]:
        """Take the crawl up again, if that can be done and wasn't yet; else it has failed."""
        reason = self._progress.reason
        if not self.services.collect.resumes or self._restarts == RESTARTS:
            try:
                self.services.collect.cancel(crawl)  # what is lost may still run
            except DataRegistryError as e:
                self.warnings.append(f"The crawl could not be ended: {e}")
            return Task.Status.COMPLETED, reason
        self._restarts += 1
        self.warnings.append(f"{reason} It is taken up again")
        self._schedule()
        return Task.Status.WAITING, None

    def _remember_what_is_known(self, crawl: str) -> None:
        """Write down at once what is needed to find and wipe the crawl: whenever this process is killed."""
        known = self.services.collect.context(crawl)
        if any(self.job.context.get(name) != value for name, value in known.items()):
            self.remember(**known)

    def _judge(self, crawl: str) -> str | None:
        log = self.services.collect.log(crawl)
        self.replace_notes(acceptance.notes(log))
        arguments = self.collection.spider_arguments or {}
        self.remember(
            collect_error_rate=log.error_rate,
            crawl=acceptance.numbers(log, arguments),
            files=self._progress.files,
            bytes=self._progress.bytes,
        )
        self.warnings += acceptance.warnings_for_administrators(log)
        if self.services.collect.makes_collections and log.items and not self._progress.files:
            self.warnings.append(
                f"No file of the crawl is in {self.services.settings.files_store}, so none can be deleted later. "
                "Set KINGFISHER_COLLECT_FILES_STORE to the folder where its spiders write"
            )
        return acceptance.rejection(
            log,
            arguments,
            incremental=self.collection.incremental,
            makes_collection=self.services.collect.makes_collections,
        )

    @property
    def poll(self) -> tuple[float, float]:
        """As the backend wants it: a service is asked less often than this machine."""
        return self.services.collect.poll

    def progress(self) -> Progress:
        """Files and bytes collected."""
        files, size = self._progress.files, self._progress.bytes / 1e6
        counts = f"{files:,} files, {size:,.1f} MB" if size else f"{files:,} files" if files else ""
        return Progress(self.key, self.task.type, counts or self._progress.reason, files)

    def cancel(self) -> None:
        """End the crawl, and delete what it collected, and what it fed to Kingfisher Process (ASK-02)."""
        try:
            self.wipe()
        finally:
            if self.services.collect.makes_collections:
                self.services.process.wipe(self.process_job)

    def wipe(self) -> None:
        """Delete what the crawl collected, ending it first if it runs (COL-15).

        A crawl that ended before anybody looked tells only now what it made, such as a collection to be deleted too.
        """
        crawl = self.job.context.get("job_id")
        try:
            self.services.collect.wipe(self.job.context, self._needed_by_others())
        finally:
            if crawl:
                known = self.services.collect.context(str(crawl))
                found = {name: known[name] for name in OF_WHAT_IT_MADE if known.get(name)}
                if any(self.job.context.get(name) != value for name, value in found.items()):
                    self.remember(**found)

    def _needed_by_others(self) -> set[str]:
        """The folders of other jobs that have not ended.

        Two crawls of a spider that start within one second write to the same folder (observed of Kingfisher Collect).
        """
        with self.services.database.session(read_only=True) as session:
            others = session.scalars(select(Job).where(Job.status != Job.Status.COMPLETED, Job.id != self.job.id))
            return {str(other.context["directory"]) for other in others if other.context.get("directory")}
