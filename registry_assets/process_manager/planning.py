"""Which publications are due, and planning their jobs.

Belongs here: the one query behind the rule, and the rows that are written before a run is asked for.
Does not belong here: the rule itself (`rules/out_of_date.py`), or asking for runs (the sensor).
"""

from __future__ import annotations

import datetime
from collections.abc import Collection as Several
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import case, exists, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from registry_assets.process_manager.rules.out_of_date import PastJob, Verdict, judge
from registry_resources.database import Collection, Database, Job, Task
from registry_resources.database.choices import RetrievalFrequency, TaskType

AT_ONCE = 250
"""How many jobs are planned at once, at most: those that the sensor asks for well within an hour, since a planned job
without a run is given up then."""


@dataclass(frozen=True)
class Standing:
    """How a publication stands.

    Attributes:
        collection_id: its id.
        key: its key.
        frequency: how often the registry retrieves it, or None if nobody has said.
        frozen: whether its scheduling is stopped.
        latest: its most recent job, or None if it never had any.
        verdict: whether it is due, and why.
        waiting_job: the id of its planned job that has no run yet, or None.
    """

    collection_id: int
    key: str
    frequency: RetrievalFrequency | None
    frozen: bool
    latest: PastJob | None
    verdict: Verdict
    waiting_job: int | None

    @property
    def urgency(self) -> tuple[datetime.date, str]:
        """Sorts the longest due first, so that none is passed over for ever however many are due."""
        return self.verdict.due_on or datetime.date.max, self.key


@dataclass(frozen=True)
class Planned:
    """What planning did.

    Attributes:
        jobs: the ids of the jobs that were planned, by their publications' keys, in the order given.
        refused: the keys of the publications that are not due any more, such as since another process planned theirs.
    """

    jobs: Mapping[str, int]
    refused: Sequence[str]


def standings(
    session: Session, today: datetime.date, keys: Several[str] | None = None, *, without: int | None = None
) -> list[Standing]:
    """Say how publications stand, by key, in one query however many there are.

    Args:
        session: a session, which may be a reading one.
        today: the date in UTC.
        keys: only these publications, or None for all.
        without: the id of a job that does not count, as if it were deleted; or None.
    """
    began = func.coalesce(Job.start, Job.created)
    rank = func.row_number().over(partition_by=Job.collection_id, order_by=(began.desc(), Job.id.desc()))
    # Of a publication, the database lets at most one job be incomplete, which need not be the most recent one.
    incomplete = func.max(case((Job.status != Job.Status.COMPLETED, Job.id))).over(partition_by=Job.collection_id)
    columns = (Job.id, Job.collection_id, Job.created, Job.start, Job.status, Job.result, Job.run_id)
    counted = select(*columns, rank.label("rank"), incomplete.label("incomplete"))
    ranked = (counted if without is None else counted.where(Job.id != without)).subquery()
    statement = (
        select(Collection.id, Collection.key, Collection.retrieval_frequency, Collection.frozen, ranked)
        .outerjoin(
            ranked,
            (ranked.c.collection_id == Collection.id) & ((ranked.c.rank == 1) | (ranked.c.id == ranked.c.incomplete)),
        )
        .order_by(Collection.key, ranked.c.rank)
    )
    if keys is not None:
        statement = statement.where(Collection.key.in_(keys))
    found: dict[int, Standing] = {}
    for (
        collection_id,
        key,
        frequency,
        frozen,
        job_id,
        _,
        created,
        start,
        status,
        result,
        run_id,
        *_,
    ) in session.execute(statement):
        earlier = found.get(collection_id)
        job = PastJob(job_id, created, start, result or None) if job_id else None
        jobs = [past for past in (earlier.latest if earlier else None, job) if past]
        waiting = job_id if status == Job.Status.PLANNED and run_id is None else None
        found[collection_id] = Standing(
            collection_id,
            key,
            frequency or None,
            frozen,
            jobs[0] if jobs else None,
            judge(jobs, today, frequency=frequency or None, frozen=frozen),
            waiting or (earlier.waiting_job if earlier else None),
        )
    return list(found.values())


def far_enough(session: Session, needed: Several[TaskType]) -> set[str]:
    """Give the keys of the publications of which some job has succeeded in all of these tasks."""
    if not needed:
        return set(session.scalars(select(Collection.key)))
    done = (
        select(Job.collection_id)
        .join(Task, Task.job_id == Job.id)
        .where(Task.type.in_(needed), Task.result == Task.Result.OK)
        .group_by(Job.id, Job.collection_id)
        .having(func.count() == len(set(needed)))
    )
    return set(session.scalars(select(Collection.key).where(Collection.id.in_(done))))


def plan(database: Database, keys: Sequence[str], today: datetime.date) -> Planned:
    """Write a planned job for each of these publications that is due still.

    The run is asked for after that, so whoever is killed in between leaves a planned job that shows what is missing.

    Args:
        database: the registry's database.
        keys: the publications, the most urgent first.
        today: the date in UTC.
    """
    jobs: dict[str, int] = {}
    if not keys:
        return Planned({}, ())
    with database.session() as session:
        still = {
            standing.key: standing.collection_id
            for standing in standings(session, today, keys)
            if standing.verdict.due
        }
        statement = select(Collection).where(Collection.id.in_(still.values()))
        collections = {collection.key: collection for collection in session.scalars(statement)}
        for key in keys:
            if key not in collections:
                continue
            # On PostgreSQL another process may plan one at the same moment: the database takes only the first.
            try:
                with session.begin_nested():
                    job = Job.plan(collections[key])
                    session.add(job)
            except IntegrityError:
                continue
            jobs[key] = job.id
    return Planned(jobs, [key for key in keys if key not in jobs])


def run_keys(session: Session, jobs: Iterable[int]) -> dict[int, str]:
    """Give the key of the run of each of these planned jobs, by which Dagster makes only one.

    Dagster remembers a key for ever. An id alone is none: after the database was restored from a backup, or lost, it
    is given to another job, whose run would never be made.
    """
    rows = session.execute(select(Job.id, Job.created).where(Job.id.in_(list(jobs))))
    return {job_id: f"job-{job_id}-{created:%Y%m%dT%H%M%S}" for job_id, created in rows}


def adopt(database: Database, runs: Iterable[tuple[int, str]]) -> int:
    """Note which runs were created for planned jobs, so that they are not asked for again.

    Args:
        database: the registry's database.
        runs: ids of jobs, each with the id of its run.

    Returns:
        How many jobs have a run now that had none.
    """
    changed = 0
    with database.session() as session:
        for job_id, run_id in runs:
            taken = exists().where(Job.run_id == run_id)
            statement = update(Job).where(Job.id == job_id, Job.run_id.is_(None), ~taken).values(run_id=run_id)
            changed += len(session.scalars(statement.returning(Job.id)).all())
    return changed
