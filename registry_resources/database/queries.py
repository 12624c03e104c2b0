"""Questions about the models that more than one caller asks.

Belongs here: statements and lookups. Does not belong here: rules that decide, which are the process manager's.
"""

from collections.abc import Mapping

from sqlalchemy import Select, func, not_, or_, select
from sqlalchemy.orm import Session, aliased

from registry_resources.database.collection import Collection
from registry_resources.database.job import Job
from registry_resources.database.translation import LANGUAGES

_RECENT_FIRST = (func.coalesce(Job.start, Job.created).desc(), Job.id.desc())
"""The most recently started first (JOB-05). A job without a start counts from when it was made: a planned one is
always the newest, and one that ended before it began doesn't stay the most recent for ever."""


def visible(
    statement: Select[tuple[Collection]] | None = None, *, authenticated: bool = False
) -> Select[tuple[Collection]]:
    """Keep the publications that a user may see (CAT-16).

    Anonymous users see what is public, unless there is neither data (an active job) nor a reason why there is none, in
    any language. Authenticated users see everything.

    Args:
        statement: a selection of publications, or None for all of them.
        authenticated: whether the user is.
    """
    if statement is None:
        statement = select(Collection)
    if authenticated:
        return statement
    rationales = (getattr(Collection, f"no_data_rationale_{language}") for language in LANGUAGES)
    has_rationale = or_(*(func.coalesce(func.trim(rationale), "") != "" for rationale in rationales))
    return statement.where(Collection.public, or_(not_(Collection.active_job_id.is_(None)), has_rationale))


def collection_by_key(session: Session, key: str) -> Collection | None:
    """Find a publication."""
    return session.scalar(select(Collection).where(Collection.key == key))


def latest_job(session: Session, collection: Collection) -> Job | None:
    """Find the most recent job of a publication, complete or not."""
    return session.scalar(select(Job).where(Job.collection_id == collection.id).order_by(*_RECENT_FIRST).limit(1))


def latest_jobs(session: Session) -> Mapping[int, Job]:
    """Find the most recent job of every publication, in one query, by the publication's id."""
    rank = func.row_number().over(partition_by=Job.collection_id, order_by=_RECENT_FIRST).label("rank")
    ranked = select(Job, rank).subquery()
    recent = aliased(Job, ranked)
    return {job.collection_id: job for job in session.scalars(select(recent).where(ranked.c.rank == 1))}


def recent_jobs(session: Session, collection: Collection, limit: int) -> list[Job]:
    """Find the most recent jobs of a publication, the newest first."""
    statement = select(Job).where(Job.collection_id == collection.id).order_by(*_RECENT_FIRST).limit(limit)
    return list(session.scalars(statement))
