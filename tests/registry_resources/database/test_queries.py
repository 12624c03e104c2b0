"""The questions that are asked of the models."""

from __future__ import annotations

import datetime

import pytest
import sqlalchemy as sa

from registry_resources.database import Collection, Database, Job, latest_job, latest_jobs, recent_jobs, visible

NOW = datetime.datetime(2024, 6, 1, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("public", "data", "rationale", "seen"),
    [
        (True, True, None, True),
        (True, False, {"en": "Closed."}, True),
        (True, False, {"es": "Cerrado."}, True),
        (True, False, None, False),
        (True, False, {"en": ""}, False),
        (True, False, {"en": "  "}, False),
        (False, True, {"en": "Closed."}, False),
    ],
)
def test_anonymous_users_see_what_is_public_and_has_data_or_a_reason(
    database: Database, rows, *, public, data, rationale, seen
):
    """CAT-16, CAT-17. Authenticated users see everything."""
    with database.session() as session:
        collection = rows.collection(public=public)
        for language, text in (rationale or {}).items():
            setattr(collection, f"no_data_rationale_{language}", text)
        session.add(collection)
        if data:
            collection.active_job = rows.succeeded(collection)
    with database.session(read_only=True) as session:
        assert [item.key for item in session.scalars(visible())] == (["ruritania"] if seen else [])
        assert [item.key for item in session.scalars(visible(authenticated=True))] == ["ruritania"]
        assert session.scalars(visible(sa.select(Collection).where(Collection.key == "other"))).all() == []


def test_the_latest_job_is_the_one_started_last_and_a_planned_one_is_newer(database: Database, rows):
    """JOB-05: a job that ended without having begun does not stay the latest for ever."""
    with database.session() as session:
        collection = rows.collection()
        jobs = []
        for days in (1, 3, 2):
            job = rows.succeeded(collection)
            job.start = NOW + datetime.timedelta(days=days)
            jobs.append(job)
        never_began = Job.plan(collection)
        never_began.complete(Job.Result.CANCELLED)
        never_began.created = NOW
        session.add_all([*jobs, never_began])
    with database.session(read_only=True) as session:
        collection = session.scalars(sa.select(Collection)).one()
        assert latest_job(session, collection) == session.get(Job, jobs[1].id)
        assert [job.id for job in recent_jobs(session, collection, 3)] == [jobs[1].id, jobs[2].id, jobs[0].id]
    with database.session() as session:
        planned = Job.plan(session.scalars(sa.select(Collection)).one())
        session.add(planned)
    with database.session(read_only=True) as session:
        assert {key: job.id for key, job in latest_jobs(session).items()} == {planned.collection_id: planned.id}


def test_a_publication_without_jobs_has_no_latest_one(database: Database, rows):
    """No job ever is an answer, not an error (JOB-05)."""
    with database.session() as session:
        collection = rows.collection()
        session.add(collection)
    with database.session(read_only=True) as session:
        assert latest_job(session, collection) is None
        assert latest_jobs(session) == {}
