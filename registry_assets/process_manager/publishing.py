"""Publishing a job: its version becomes the one that readers see (JOB-16), if its checks passed (I3).

Belongs here: the decision by what was found, what is written down of it, and the order: the pointer last, then the
commit. Does not belong here: what the checks find (`findings.py`), or how the pointer moves (`exporter.publish`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from exporter import publish
from exporter.errors import BrokenExportError
from registry_assets.process_manager import exports, findings, job_store
from registry_assets.process_manager.outage import through_outages
from registry_assets.process_manager.rules.plausibility import Finding
from registry_assets.process_manager.services import Services
from registry_resources.database import JOB_TASKS_PLAN, Collection, Database, Job, Task, utcnow
from registry_resources.database.choices import TaskType
from registry_resources.exceptions import DataRegistryError, UnexpectedError
from registry_resources.redaction import redact


class RefusedError(DataRegistryError):
    """A check doesn't let a job go on.

    Attributes:
        findings: what the checks found.
    """

    def __init__(self, message: str, found: list[Finding]) -> None:
        super().__init__(message)
        self.findings = found


class BlockedError(RefusedError):
    """A version is kept from being published, until somebody accepts it. Its files stay."""

    def __init__(self, job: Job, found: list[Finding]) -> None:
        """Say why, and what to do."""
        key, active = job.collection.key, job.collection.active_job_id
        published = f"job {active}'s version stays published" if active else "nothing is published"
        super().__init__(
            f"{key}: job {job.id} is blocked, and {published}: {blocking_reason(found)} If that is right, publish it "
            f"with `registry accept {key} {job.id} --reason TEXT`; if not, mend the cause and refresh it.",
            found,
        )


class BrokenError(RefusedError):
    """What a task made is not whole. Nobody can accept that: the task has to be done again."""

    def __init__(self, job: Job, found: list[Finding], remedy: str = "") -> None:
        """Say what is wrong, and what to do, if the reason doesn't."""
        said = f"{job.collection.key}: job {job.id} failed its checks: {blocking_reason(found)} {remedy}"
        super().__init__(said.rstrip(), found)


@dataclass(frozen=True)
class Published:
    """A version that was published.

    Attributes:
        pointer: the pointer, as it is now.
        findings: what the checks found.
    """

    pointer: publish.Pointer
    findings: list[Finding]


def publish_job(services: Services, job_id: int) -> Published:
    """Publish a job, or end it as failed with the reason. A job that had succeeded before stays so.

    Args:
        services: what the job logic works with.
        job_id: the job, whose tasks have all succeeded.

    Raises:
        BlockedError: if a check doesn't let it be published. The job says so (`Job.blocked`), and has failed.
        UnexpectedError: if a task has not succeeded, or the export is not whole. The pointer has not moved.
    """

    def end(write: Callable[[Session], object]) -> None:
        with services.database.session() as session:
            services.guard(session)  # one that was given up doesn't end what another goes on with
            write(session)

    try:
        return through_outages(lambda: _publish(services, job_id))
    except BlockedError as e:
        found = e.findings
        through_outages(lambda: end(lambda session: block(session, job_id, found)))
        raise
    except Exception as e:
        cause = e
        said = through_outages(lambda: _said(services, job_id, cause))
        reason = f"publishing: {said}"
        through_outages(lambda: end(lambda session: job_store.end_job(session, job_id, Job.Result.FAILED, reason)))
        if said != str(e):
            raise UnexpectedError(said) from e
        raise


def _said(services: Services, job_id: int, error: Exception) -> str:
    if not isinstance(error.__cause__, BrokenExportError):
        return str(error)
    with services.database.session(read_only=True) as session:
        return exports.with_remedy(services, session.get_one(Job, job_id), str(error))


def _publish(services: Services, job_id: int) -> Published:
    """Publish the job's latest revision, and make the job the publication's active one.

    The database's changes are committed only once the pointer has moved. If the process dies between the two,
    publishing again changes nothing but the database; so does `mend`.
    """
    with services.database.session(read_only=True) as session:
        job = session.get_one(Job, job_id)
        _require_tasks(job)
        _refuse_if_superseded(job)
        found = findings.of_version(services, job)
        held = findings.profile(exports.current(services, job), job)
        blocked = _refuse(job, found)
    with services.database.session() as session, exports.translated():
        services.guard(session)
        job = session.get_one(Job, job_id)
        _require_tasks(job)
        _refuse_if_superseded(job)
        if job.blocked and not blocked:
            job.blocked, job.accepted_at, job.accepted_by, job.accepted_reason = "", None, "", ""
        _complete(job)
        target = exports.current(services, job)
        findings.remember(job.collection, job, held, target.directory.name)
        session.flush()
        return Published(publish.publish(target, job=job.id), found)


def judge_task(services: Services, job_id: int, stage: TaskType) -> list[Finding]:
    """Look at what a task that has succeeded made, and end the job if a check doesn't let it go on.

    Args:
        services: what the job logic works with.
        job_id: the job.
        stage: the task.

    Returns:
        What was found.

    Raises:
        BlockedError: if a check blocks that somebody may override. The job says so, and has failed.
        BrokenError: if another check blocks. The task and the job have failed.
    """
    try:
        with services.database.session(read_only=True) as session:
            job = session.get_one(Job, job_id)
            found = findings.of_task(services, job, stage)
            whole = stage == Task.Type.FLATTENER  # then every file was read
            _refuse(job, found, lambda: exports.remedy(services, job, thorough=True) if whole else "")
            return found
    except BlockedError as e:
        with services.database.session() as session:
            services.guard(session)
            block(session, job_id, e.findings)
        raise
    except BrokenError as e:
        with services.database.session() as session:
            services.guard(session)
            reason = blocking_reason(e.findings)
            job_store.end_task(session, session.get_one(Job, job_id).task(stage).id, Task.Result.FAILED, reason)
            job_store.end_job(session, job_id, Job.Result.FAILED, f"{stage}: {reason}")
        raise


def _refuse(job: Job, found: list[Finding], remedy: Callable[[], str] = str) -> str:
    """Raise if a check blocks. Returns why it would have, had nobody accepted it, or ""."""
    broken = [finding for finding in found if finding.blocks and not finding.overridable]
    if broken:
        raise BrokenError(job, found, remedy())
    reason = blocking_reason(found)
    if reason and not job.is_accepted:
        raise BlockedError(job, found)
    return reason


def _require_tasks(job: Job) -> None:
    missing = [task.type for task in job.tasks if not task.is_successful]
    if missing or len(job.tasks) != len(JOB_TASKS_PLAN):
        raise UnexpectedError(
            f"{job.collection.key}: job {job.id} can't be published before {', '.join(missing)} has succeeded. "
            f"Materialise what is missing, then `published`."
        )


def _refuse_if_superseded(job: Job) -> None:
    """Readers never get older data instead of newer, as when the failed run of an older job is executed again."""
    active = job.collection.active_job_id
    if active is not None and active > job.id:
        raise UnexpectedError(
            f"{job.collection.key}: job {job.id} can't be published, since the later job {active} is. Nothing has to "
            f"be done; to refresh the publication, materialise `collected` and what follows it in a new run."
        )


def _complete(job: Job) -> None:
    """Record that a job's version is the published one (JOB-16, CAT-11, CAT-13, CAT-14)."""
    collection = job.collection
    if not job.is_successful:
        job.complete(Job.Result.SUCCEEDED)
    collected = job.task(JOB_TASKS_PLAN[0]).end
    collection.last_retrieved = collected.date() if collected else None
    collection.active_job = job
    if not collection.publication_policy and job.publication_policy:
        collection.publication_policy = job.publication_policy


def blocking_reason(found: list[Finding]) -> str:
    """Why a version can't be published, or "" if it can."""
    return " ".join(finding.sentence for finding in found if finding.blocks)


def block(session: Session, job_id: int, found: list[Finding]) -> None:
    """Record that a version is blocked: its job has failed, and its files are kept for somebody to judge."""
    job = session.get_one(Job, job_id)
    reason = redact(blocking_reason(found))
    # An acceptance, if any, was of what was compiled before.
    job.blocked, job.accepted_at, job.accepted_by, job.accepted_reason = reason, None, "", ""
    job_store.end_job(session, job_id, Job.Result.FAILED, f"Blocked: {reason}")


def accept(database: Database, key: str, job_id: int, *, by: str, reason: str) -> None:
    """Record that somebody takes the responsibility for a blocked version, so that it can be published.

    Args:
        database: the registry's database.
        key: the publication's key.
        job_id: the job.
        by: who.
        reason: why.

    Raises:
        UnexpectedError: if there is no such job, if it isn't blocked, or if there is a later version.
    """
    with database.session() as session:
        job = session.scalar(select(Job).join(Job.collection).where(Job.id == job_id, Collection.key == key))
        if job is None:
            raise UnexpectedError(f"{key}: it has no job {job_id}. `registry show {key}` lists its jobs.")
        if not job.is_blocked:
            why = f"{job.accepted_by} has accepted it already" if job.is_accepted else "it isn't blocked"
            raise UnexpectedError(
                f"{key}: job {job_id} can't be accepted, since {why}. `registry show {key}` tells how it ended."
            )
        if later := _later_version(session, job):
            raise UnexpectedError(
                f"{key}: job {job_id} can't be accepted, since the later job {later.id} is "
                f"{'published. Nothing has to be done.' if later.is_successful else 'blocked too. Look at that one.'}"
            )
        job.accepted_at, job.accepted_by, job.accepted_reason = utcnow(), redact(by), redact(reason)


def is_acceptable(session: Session, job: Job) -> bool:
    """Whether `accept` takes a job: it is blocked, and there is no later version."""
    return job.is_blocked and _later_version(session, job) is None


def _later_version(session: Session, job: Job) -> Job | None:
    later = session.scalars(
        select(Job).where(Job.collection_id == job.collection_id, Job.id > job.id).order_by(Job.id.desc())
    )
    return next((other for other in later if other.is_successful or other.is_blocked), None)


def mend(services: Services) -> list[str]:
    """Finish in the database what a process that died has published: the pointer had moved, the commit was missing.

    Returns:
        What was mended, or can't be, a sentence each.
    """
    said = []
    with services.database.session(read_only=True) as session:
        rows = session.execute(select(Collection.key, Collection.active_job_id).order_by(Collection.key)).all()
    for key, active in rows:
        try:
            pointer = publish.read_latest(services.settings.exporter_dir, key)
        except BrokenExportError as e:
            said.append(f"{key}: {e}.")
            continue
        if pointer is None or pointer.job == str(active) or not pointer.job.isdigit():
            continue
        try:
            if _finish(services, key, pointer):
                said.append(f"{key}: job {pointer.job} was published, and its process died before it could say so.")
        except (DataRegistryError, OSError, ValueError) as e:  # one broken export keeps no other from being finished
            said.append(f"{key}: the database can't be told that job {pointer.job} was published: {redact(str(e))}.")
    return said


def _finish(services: Services, key: str, pointer: publish.Pointer) -> bool:
    with services.database.session() as session, exports.translated():
        job = session.scalar(select(Job).join(Job.collection).where(Job.id == int(pointer.job), Collection.key == key))
        current = publish.read_latest(services.settings.exporter_dir, key)
        if job is None or current != pointer or any(not task.is_successful for task in job.tasks):
            return False
        if job.collection.active_job_id is not None and job.collection.active_job_id > job.id:
            return False  # somebody has made a later job the active one: publishing that moves the pointer
        target = exports.current(services, job)
        if target.directory.name != pointer.directory:
            return False
        held = findings.profile(target, job)
        _complete(job)
        findings.remember(job.collection, job, held, pointer.directory)
        return True
