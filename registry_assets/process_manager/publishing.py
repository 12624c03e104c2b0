"""Publishing a job: its version becomes the one that readers see (JOB-16).

Does not belong here: how the pointer moves (`exporter.publish`).
"""

from __future__ import annotations

from exporter import publish
from registry_assets.process_manager import exports, job_store
from registry_assets.process_manager.services import Services
from registry_resources.database import JOB_TASKS_PLAN, Job
from registry_resources.exceptions import UnexpectedError


def publish_job(services: Services, job_id: int) -> publish.Pointer:
    """Publish a job, or end it as failed with the reason. A job that had succeeded before stays so."""
    try:
        return _publish(services, job_id)
    except Exception as e:
        with services.database.session() as session:
            job_store.end_job(session, job_id, Job.Result.FAILED, f"publishing: {e}")
        raise


def _publish(services: Services, job_id: int) -> publish.Pointer:
    """Publish the job's latest revision, and make the job the publication's active one.

    The database's changes are committed only once the pointer has moved. If the process dies between the two, the job
    is still running, and publishing again changes nothing but the database.

    Args:
        services: what the job logic works with.
        job_id: the job, whose tasks have all succeeded.

    Returns:
        The pointer, as it is now.

    Raises:
        UnexpectedError: if a task has not succeeded, or the export is not whole. The pointer has not moved.
    """
    with services.database.session() as session, exports.translated():
        job = session.get_one(Job, job_id)
        collection = job.collection
        missing = [task.type for task in job.tasks if not task.is_successful]
        if missing:
            raise UnexpectedError(
                f"{collection.key}: job {job.id} can't be published before {', '.join(missing)} has succeeded. "
                f"Materialise what is missing, then `published`."
            )
        if not job.is_successful:
            job.complete(Job.Result.SUCCEEDED)
        collected = job.task(JOB_TASKS_PLAN[0]).end
        collection.last_retrieved = collected.date() if collected else None
        collection.active_job = job
        if not collection.publication_policy and job.publication_policy:
            collection.publication_policy = job.publication_policy
        session.flush()
        return publish.publish(exports.current(services, job), job=job.id)
