"""Jobs and tasks: which states they may have, and how they get there."""

from __future__ import annotations

import datetime

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from registry_resources.database import (
    JOB_TASKS_PLAN,
    Collection,
    Database,
    Job,
    Task,
)
from registry_resources.exceptions import ConfigurationError

NOW = datetime.datetime(2024, 2, 29, 12, 0, 30, 123456, tzinfo=datetime.UTC)


def test_waiting_is_refused_before_it_reaches_a_row(database: Database, rows):
    """WAITING is a reported status, never a stored one (JOB-02)."""
    job = Job.plan(rows.collection())
    job.tasks[0].status = Task.Status.WAITING
    with pytest.raises(IntegrityError), database.session() as session:
        session.add(job)


def test_a_planned_job_has_a_task_for_each_stage_in_order(database: Database, rows):
    """JOB-03, JOB-04."""
    with database.session() as session:
        job = Job.plan(rows.collection(), run_id="r1")
        session.add(job)
    with database.session(read_only=True) as session:
        found = session.get_one(Job, job.id)
        assert [(task.order, task.type.value) for task in found.tasks] == [
            (1, "collect"),
            (2, "process"),
            (3, "exporter"),
            (4, "coverage"),
            (5, "flattener"),
        ]
        assert tuple(task.type for task in found.tasks) == JOB_TASKS_PLAN
        assert {task.status for task in found.tasks} == {"PLANNED"}
        assert (found.status, found.result, found.start, found.run_id) == ("PLANNED", "", None, "r1")


def test_a_publication_has_one_incomplete_job_at_most(database: Database, rows):
    """Whoever starts the second one, the database refuses (JOB-20)."""
    with database.session() as session:
        collection = rows.collection()
        session.add_all([rows.succeeded(collection), rows.succeeded(collection), Job.plan(collection)])
    with pytest.raises(IntegrityError), database.session() as session:
        session.add(Job.plan(session.merge(collection)))


def test_a_job_with_a_task_that_did_not_succeed_cannot_succeed(rows):
    """A job said to be complete by hand isn't thereby successful (DEF-15)."""
    job = Job.plan(rows.collection())
    with pytest.raises(ValueError, match="did not succeed: collect, process"):
        job.complete(Job.Result.SUCCEEDED)


@pytest.mark.parametrize(
    ("result", "successful"), [("SUCCEEDED", True), ("FAILED", False), ("CANCELLED", False), ("", False)]
)
def test_a_job_is_successful_only_if_it_was_said_to_be(rows, result, successful):
    """JOB-06, DEF-15: an incomplete job is neither successful nor unsuccessful."""
    job = rows.succeeded(rows.collection())
    if result:
        job.complete(Job.Result(result), note="why")
    else:
        job.initiate()
    assert job.is_successful is successful
    assert job.is_unsuccessful is (bool(result) and not successful)


def test_a_failed_task_is_found(rows):
    """JOB-06: a task that failed before it completed may yet succeed (JOB-13)."""
    job = Job.plan(rows.collection())
    job.tasks[0].result = Task.Result.FAILED
    assert job.failed_task is None
    job.task(Task.Type.PROCESS).complete(Task.Result.FAILED, "no compiled collection")
    assert job.failed_task is job.tasks[1]


def test_beginning_a_task_again_forgets_how_it_ended(rows):
    """A restarted task has no result until it ends, and its attempts are counted (ASK-01)."""
    task = Job.plan(rows.collection()).tasks[0]
    task.initiate(NOW)
    task.complete(Task.Result.FAILED, "timeout", NOW)
    task.initiate(NOW + datetime.timedelta(hours=1))
    assert (task.status, task.result, task.note, task.end, task.attempts) == ("RUNNING", "", "", None, 2)


def test_deleting_an_active_job_is_refused(database: Database, rows):
    """CAT-13."""
    with database.session() as session:
        session.add(rows.filled())
    with pytest.raises(DBAPIError), database.session() as session:
        session.delete(session.scalars(sa.select(Job)).one())


def test_an_active_job_of_another_publication_is_refused(database: Database, rows):
    """CAT-13: in Python with a reason, and in the database whoever writes."""
    with database.session() as session:
        session.add(rows.filled())
        other = rows.collection(key="graustark")
        session.add(other)
    with pytest.raises(ConfigurationError, match="one of its own"), database.session() as session:
        session.merge(other).active_job = session.scalars(sa.select(Job)).one()
    with pytest.raises(ConfigurationError, match="one of its own"), database.session() as session:
        session.merge(other).active_job_id = session.scalars(sa.select(Job.id)).one()
    with database.session() as session:
        session.execute(sa.update(Collection).where(Collection.key == "ruritania").values(active_job_id=None))
    with pytest.raises(IntegrityError), database.session() as session:
        session.execute(sa.text("UPDATE collection SET active_job_id = 1 WHERE key = 'graustark'"))


@pytest.mark.parametrize("result", ["FAILED", "CANCELLED", ""])
def test_an_active_job_has_to_have_succeeded(database: Database, rows, result):
    """CAT-13, DEF-15."""
    with database.session() as session:
        collection = rows.collection()
        job = rows.succeeded(collection)
        if result:
            job.complete(Job.Result(result))
        else:
            job.initiate()
        session.add(job)
    with pytest.raises(ConfigurationError, match="one that succeeded"), database.session() as session:
        session.scalars(sa.select(Collection)).one().active_job = session.scalars(sa.select(Job)).one()


def test_the_id_of_a_deleted_job_is_never_used_again(database: Database, rows):
    """Run keys and folders carry it, and run keys are remembered for ever."""
    with database.session() as session:
        job = Job.plan(rows.collection())
        session.add(job)
    with database.session() as session:
        session.delete(session.get_one(Job, job.id))
    with database.session() as session:
        other = Job.plan(session.scalars(sa.select(Collection)).one())
        session.add(other)
    assert other.id > job.id


def test_setting_a_key_of_the_context_is_saved(database: Database, rows):
    """JOB-22."""
    with database.session() as session:
        job = Job.plan(rows.collection())
        session.add(job)
    with database.session() as session:
        found = session.get_one(Job, job.id)  # in hand, since a session forgets what nobody holds
        found.context["process_id"] = 12
    with database.session(read_only=True) as session:
        assert session.get_one(Job, job.id).context == {"process_id": 12}
