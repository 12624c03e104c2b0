"""The cleanup pass: temporary data of ended jobs, retention, and exports that nobody needs any more (RET-*).

Belongs here: going through the publications, deciding for each job, and doing it or only saying it. Does not belong
here: the rule of retention (`rules/retention.py`), or how things are deleted (`deletion.py`).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from exporter import publish
from exporter.util import Export
from registry_assets.process_manager import deletion, disk, exports, facts, holding
from registry_assets.process_manager.facts import JobRow, Publication
from registry_assets.process_manager.orphans import find_orphans
from registry_assets.process_manager.rules import retention
from registry_assets.process_manager.services import Services
from registry_resources.database import Job, utcnow
from registry_resources.database.failures import explain
from registry_resources.redaction import redact

READERS_NEED = datetime.timedelta(hours=24)
"""A superseded revision stays for so long after another was published: a reader may be half way through it."""


@dataclass(frozen=True)
class Action:
    """What is done to a job or to what is left of one, and why.

    Attributes:
        publication: its key.
        job: its id, or None if no job is known.
        action: `delete` (the job with all it made), `wipe` (its temporary data), `exports` (exports that nobody
            needs), `orphan` (what no job knows of), or `keep`.
        reason: why, for people.
        warning: whether an administrator should look at it.
        bytes: what it frees, as far as it is on this machine.
        problem: why it could not be done, or "".
    """

    publication: str
    job: int | None
    action: str
    reason: str
    warning: bool = False
    bytes: int = 0
    problem: str = ""


@dataclass
class Report:
    """What a pass did, or, if it was dry, would do.

    Attributes:
        dry_run: whether nothing was done.
        actions: all decisions, by publication, the newest job first.
    """

    dry_run: bool
    actions: list[Action] = field(default_factory=list)

    def count(self, action: str) -> int:
        """How often something was done."""
        return sum(1 for item in self.actions if item.action == action and not item.problem)

    @property
    def freed(self) -> int:
        """Bytes that were freed."""
        return sum(item.bytes for item in self.actions if not item.problem)

    @property
    def problems(self) -> list[Action]:
        """What could not be done. The next pass tries again."""
        return [item for item in self.actions if item.problem]

    @property
    def summary(self) -> str:
        """One line for people."""
        text = "dry run, nothing was done: " if self.dry_run else ""
        text += (
            f"jobs deleted: {self.count('delete'):,}; temporary data wiped: {self.count('wipe'):,}; exports deleted: "
            f"{self.count('exports'):,}; orphans deleted: {self.count('orphan'):,}; freed: {disk.readable(self.freed)}"
        )
        return f"{text}; could not be done: {len(self.problems):,}" if self.problems else text


def clean(
    services: Services,
    *,
    keys: Collection[str] = (),
    dry_run: bool = False,
    at_once: bool = False,
    now: datetime.datetime | None = None,
) -> Report:
    """Go through the publications and delete what is no longer needed.

    Each decision is carried out by itself: what fails is told, and the next pass tries it again (RET-05).

    Args:
        services: what the job logic works with.
        keys: the publications to look at; by default all, and what no publication knows of.
        dry_run: say what would be done, and do nothing.
        at_once: wipe the temporary data of jobs without success now, though they might have been taken up again.
        now: instead of the current time.
    """
    report = Report(dry_run)
    grace = datetime.timedelta(hours=0 if at_once else services.settings.keep_failed_hours)
    for publication in facts.read(services, keys):
        one = _Pass(services, publication, grace, now or utcnow(), dry_run=dry_run)
        report.actions += _telling(one.run(), publication.key, "it could not be looked at")
    orphans = _orphans(services, keys, now or utcnow(), dry_run=dry_run)
    report.actions += _telling(orphans, "", "not all that has no job could be looked for")
    return report


def _telling(actions: Iterator[Action], key: str, what: str) -> Iterator[Action]:
    """Go on with others where something can't be looked at, such as a folder that can't be read (JOB-21)."""
    try:
        yield from actions
    except Exception as e:  # noqa: BLE001 (whatever it is, what others no longer need is deleted all the same)
        yield Action(key, None, "keep", what, warning=True, problem=_said(e))


def _orphans(services: Services, keys: Collection[str], now: datetime.datetime, *, dry_run: bool) -> Iterator[Action]:
    for orphan in find_orphans(services, keys, now):
        action = Action(orphan.publication, orphan.job, "orphan" if orphan.remove else "keep", orphan.reason)
        action = replace(action, warning=not orphan.remove)
        yield _attempt(action, orphan.paths, orphan.remove, dry_run=dry_run)


@dataclass(frozen=True)
class _Pass:
    """The pass over one publication."""

    services: Services
    publication: Publication
    grace: datetime.timedelta
    now: datetime.datetime
    dry_run: bool

    def run(self) -> Iterator[Action]:
        """Decide and do."""
        jobs = {job.id: job for job in self.publication.jobs}
        pointer, problem = self.publication.pointer, self.publication.problem
        if problem:
            reason = "its pointer can't be read"
            yield Action(self.publication.key, None, "keep", reason, warning=True, problem=problem)
            return
        for decision in retention.decide(
            [facts.of(job) for job in jobs.values()],
            active=self.publication.active,
            published={int(pointer.job)} if pointer else (),
            now=self.now,
        ):
            job = jobs[decision.job]
            if decision.keep:
                yield from self._keep(job, decision)
            else:
                yield self._delete(job, decision.reason)

    def _keep(self, job: JobRow, decision: retention.Decision) -> list[Action]:
        """Keep a job, but maybe not its temporary data, nor all of its exports."""
        done = [self._wipe(job, decision), self._exports(job)]
        kept = Action(self.publication.key, job.id, "keep", decision.reason)
        return [replace(item, warning=decision.warning) for item in done if item] or [
            replace(kept, warning=decision.warning)
        ]

    def _wipe(self, job: JobRow, decision: retention.Decision) -> Action | None:
        """RET-05, RET-06."""
        if not job.complete or job.archived:
            return None
        key, reason = self.publication.key, decision.reason
        if job.keep_all_data:
            reason += f"; its temporary data are preserved until `registry keep --no-keep {key} {job.id}`"
            return Action(key, job.id, "keep", reason)
        until = (job.end or self.now) + self.grace
        if not job.succeeded and self.now < until and job.id == max(item.id for item in self.publication.jobs):
            reason += f"; its temporary data until {until:%Y-%m-%d %H:%M} UTC, as it may be taken up again"
            return Action(key, job.id, "keep", reason)
        action = Action(key, job.id, "wipe", f"its temporary data are no longer needed; the job stays: {reason}")
        return self._do(action, lambda loaded: deletion.temporary_paths(self.services, loaded), deletion.wipe_job)

    def _exports(self, job: JobRow) -> Action | None:
        if not job.complete:
            return None
        targets, reason = self._unneeded(job)
        if not targets:
            return None

        def remove(services: Services, job_id: int) -> None:
            with holding.hold(services.database, job_id):
                deletion.remove_exports(services, deletion.load(services, job_id), targets)

        action = Action(self.publication.key, job.id, "exports", reason)
        return self._do(action, lambda _: [target.directory for target in targets], remove)

    def _unneeded(self, job: JobRow) -> tuple[list[Export], str]:
        """Return the export directories of a job that stays which nobody needs, and why."""
        key, pointer = self.publication.key, self.publication.pointer
        found = publish.revisions(self.services.settings.exporter_dir, key, job.id)
        named = pointer.directory if pointer else None
        if not job.succeeded and not any(target.published for target in found):
            newer = [item.id for item in self.publication.jobs if item.id > job.id and item.exported]
            if job.blocked:  # somebody may accept it, until there is a later one that is published or blocked too
                newer = [
                    item.id for item in self.publication.jobs if item.id in newer and (item.succeeded or item.blocked)
                ]
            if newer:
                return found, f"its exports were never published, and job {max(newer)} has newer ones; the job stays"
            return [], ""
        last = max((number for number, target in enumerate(found) if target.published), default=-1)
        old = [target for target in found[:last] if target.directory.name != named] if last > 0 else []
        if pointer and self.now - datetime.datetime.fromisoformat(pointer.published_at) < READERS_NEED:
            return [], ""  # somebody may be reading what was published until then
        names = ", ".join(target.directory.name for target in old)
        return old, f"{names}: superseded by {found[last].directory.name}; the job stays" if old else ""

    def _delete(self, job: JobRow, reason: str) -> Action:
        """RET-07."""

        def paths(loaded: Job) -> list[Path]:
            revisions = publish.revisions(self.services.settings.exporter_dir, self.publication.key, job.id)
            return [
                *deletion.temporary_paths(self.services, loaded),
                *deletion.crawl_folders(self.services, self.publication.key, job.id),
                *(target.directory for target in revisions),
            ]

        return self._do(Action(self.publication.key, job.id, "delete", reason), paths, deletion.delete_job)

    def _do(
        self, action: Action, paths: Callable[[Job], Sequence[Path]], work: Callable[[Services, int], None]
    ) -> Action:
        assert action.job is not None  # noqa: S101 - for the type checker
        try:
            loaded = deletion.load(self.services, action.job)
        except Exception as e:  # noqa: BLE001 (one job's trouble doesn't keep the others from being cleaned up)
            return replace(action, problem=_said(e))
        if busy := holding.who_works_on(loaded):
            return replace(action, action="keep", reason=f"{action.reason}; but not now, as {busy}")
        number = action.job
        return _attempt(action, paths(loaded), lambda: work(self.services, number), dry_run=self.dry_run)


def _attempt(action: Action, paths: Sequence[Path], work: Callable[[], object] | None, *, dry_run: bool) -> Action:
    """Do what was decided, unless it is only to be said."""
    action = replace(action, bytes=disk.freeable(paths) if work else 0)
    if dry_run or work is None:
        return action
    try:
        with exports.translated():
            work()
    except Exception as e:  # noqa: BLE001 (JOB-21: one job's trouble doesn't keep the others from being cleaned up)
        return replace(action, problem=_said(e))
    return action


def _said(error: Exception) -> str:
    return explain(error) if isinstance(error, SQLAlchemyError) else redact(str(error)) or type(error).__name__
