"""Finding out what changed, and remembering that it was told: once, also if two processes try.

What is told is remembered in one transaction with the messages that tell it. Belongs here: the queries, and what was
told. Does not belong here: what is worth telling (`rules/notification.py`), the words (`digest.py`), or sending the
messages (`outbox.py`).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from registry_assets.process_manager import outbox
from registry_assets.process_manager.digest import News
from registry_assets.process_manager.rules.notification import Event, JobFacts, Told, judge
from registry_resources.database import Collection as Publication
from registry_resources.database import Database, Job, Task, Trouble, utcnow

LOOK_BACK = 12
"""How many of a publication's latest jobs are looked at."""

NEWS_IN_MESSAGE = 1_000
"""What is more goes into another message."""


@dataclass(frozen=True)
class Standing:
    """What decides what is told of a publication.

    Attributes:
        collection_id: its id.
        key: its key.
        title: its title.
        frozen: whether its scheduling is stopped.
        told: what was told of it last, or None.
        jobs: its latest jobs.
        runs: the ids of runs, by those of jobs.
    """

    collection_id: int
    key: str
    title: str
    frozen: bool
    told: Told | None
    jobs: Sequence[JobFacts]
    runs: Mapping[int, str | None]


def record(
    database: Database,
    channels: Collection[str],
    dagster_url: str,
    say: Callable[[str], None],
    now: datetime.datetime | None = None,
) -> list[News]:
    """Find out what changed, remember that it is told, and write the messages that tell it.

    Args:
        database: the registry's database.
        channels: the ways by which it is told, besides the log.
        dagster_url: where Dagit is, for links.
        say: writes a line to the log. It is called before anything is remembered, so that no line is lost.
        now: instead of the time.

    Returns:
        What changed.
    """
    now = now or utcnow()
    with database.session(read_only=True) as session:
        changed = [standing.collection_id for standing in standings(session) if _judge(standing, now)[0]]
    if not changed:
        return []
    with database.session() as session:
        # Another process may be here too: the rows are locked before anything is read again.
        locked = select(Trouble).where(Trouble.collection_id.in_(changed)).order_by(Trouble.id).with_for_update()
        rows = {row.collection_id: row for row in session.scalars(locked)}
        news = []
        for standing in standings(session, changed):
            events, told = _judge(standing, now)
            if events and _remember(session, standing, rows.get(standing.collection_id), told):
                news += [_news(standing, event.job, dagster_url, event) for event in events]
        for start in range(0, len(news), NEWS_IN_MESSAGE):
            outbox.write(session, channels, news[start : start + NEWS_IN_MESSAGE], now)
        session.flush()
        for item in news:
            say(item.line)
    return news


def standings(session: Session, only: Iterable[int] | None = None) -> list[Standing]:
    """Read the publications that are not well, or of which that was told.

    Args:
        session: a session, which may be a reading one.
        only: the ids of publications, or None for all.
    """
    counted = (Job.status == Job.Status.COMPLETED) & ((Job.result != Job.Result.CANCELLED) | (Job.blocked != ""))
    latest = select(func.max(Job.id)).where(counted).group_by(Job.collection_id)
    ill = select(Job.collection_id).where(
        Job.id.in_(latest), (Job.result != Job.Result.SUCCEEDED) | (Job.blocked != "")
    )
    wanted = ill.union(select(Trouble.collection_id)).subquery()
    rank = func.row_number().over(partition_by=Job.collection_id, order_by=Job.id.desc()).label("rank")
    recent = select(Job.id, rank).where(counted, Job.collection_id.in_(select(wanted.c.collection_id))).subquery()
    # Not whole jobs, which hold all that was measured of them.
    columns = (Job.collection_id, Job.id, Job.result, Job.end, Job.note, Job.blocked, Job.accepted_at, Job.run_id)
    jobs = (
        select(*columns, Task.end.label("compiled"))
        .join(recent, (recent.c.id == Job.id) & (recent.c.rank <= LOOK_BACK))
        .outerjoin(Task, (Task.job_id == Job.id) & (Task.type == Task.Type.PROCESS))
        .order_by(Job.id)
    )
    publications = (
        select(Publication.id, Publication.key, Publication.title, Publication.frozen, Trouble)
        .outerjoin(Trouble, Trouble.collection_id == Publication.id)
        .where(Publication.id.in_(select(wanted.c.collection_id)))
        .order_by(Publication.key)
    )
    if only is not None:
        ids = list(only)
        jobs = jobs.where(Job.collection_id.in_(ids))
        publications = publications.where(Publication.id.in_(ids))
    facts: dict[int, list[JobFacts]] = {}
    runs: dict[int, str | None] = {}
    for row in session.execute(jobs):
        facts.setdefault(row.collection_id, []).append(_facts(row))
        runs[row.id] = row.run_id
    return [
        Standing(collection_id, key, title, frozen, _told(trouble), facts.get(collection_id, []), runs)
        for collection_id, key, title, frozen, trouble in session.execute(publications)
    ]


def _told(row: Trouble | None) -> Told | None:
    return Told(row.since, row.job_id, tuple(row.causes), row.proposed) if row else None


def _facts(row: Any) -> JobFacts:
    # As Job.is_accepted has it: what was compiled after that is another version.
    accepted = row.accepted_at if row.accepted_at and row.compiled and row.compiled <= row.accepted_at else None
    return JobFacts(row.id, row.result, row.end, row.note, "" if accepted else row.blocked, accepted)


def _judge(standing: Standing, now: datetime.datetime) -> tuple[list[Event], Told | None]:
    return judge(standing.jobs, standing.told, now, frozen=standing.frozen)


def _news(standing: Standing, job_id: int, dagster_url: str, event: Event) -> News:
    run_id = standing.runs.get(job_id)
    return News(standing.key, standing.title, f"{dagster_url}/runs/{run_id}" if run_id else "", event)


def _remember(session: Session, standing: Standing, row: Trouble | None, told: Told | None) -> bool:
    """Write what is told. Returns whether this process is the one that tells it."""
    if told is None:
        if row is not None:
            session.delete(row)
        return row is not None
    values = {
        "since": told.since,
        "job_id": told.job,
        "causes": list(told.causes),
        "proposed": told.proposed,
    }
    if row is not None:
        for name, value in values.items():
            setattr(row, name, value)
        return True
    try:
        with session.begin_nested():
            session.add(Trouble(collection_id=standing.collection_id, **values))
    except IntegrityError:  # another process was first
        return False
    return True
