"""What the models refuse when a row is written, where the rule needs to look at other rows.

Belongs here: rules that no portable constraint can state. Does not belong here: what a column alone can't hold.
"""

from typing import Any

from sqlalchemy import Connection, event, inspect, select
from sqlalchemy.orm import Mapper

from registry_resources.database.collection import Collection
from registry_resources.database.job import Job
from registry_resources.exceptions import ConfigurationError


def register() -> None:
    """Watch the models. Repeating it changes nothing."""
    for name, guard in (
        ("before_update", _key_stays),
        ("before_update", _active_job_succeeded),
        ("before_insert", _active_job_succeeded),
    ):
        if not event.contains(Collection, name, guard):
            event.listen(Collection, name, guard)


def _key_stays(_: Mapper[Any], connection: Connection, collection: Collection) -> None:
    """Refuse to change the key of a publication that was ever used: folders and partitions carry it."""
    history = inspect(collection).attrs.key.load_history()
    if not history.added or not history.deleted or history.added[0] == history.deleted[0]:
        return
    if connection.scalar(select(Job.id).where(Job.collection_id == collection.id).limit(1)) is not None:
        raise ConfigurationError(
            f"The key of publication {history.deleted[0]} can't become {history.added[0]}, since it has jobs, whose "
            "exports and runs carry it. Keep the key, or add a new publication and freeze this one."
        )


def _active_job_succeeded(_: Mapper[Any], connection: Connection, collection: Collection) -> None:
    """Refuse an active job that did not succeed, or that is another publication's (CAT-13, DEF-15)."""
    attributes = inspect(collection).attrs
    if attributes.active_job.history.added:
        job = attributes.active_job.history.added[0]
        if job is None:
            return
        result, owner = job.result, job.collection_id if job.collection is None else job.collection.id
    elif attributes.active_job_id.history.added and collection.active_job_id is not None:
        row = connection.execute(
            select(Job.result, Job.collection_id).where(Job.id == collection.active_job_id)
        ).one_or_none()
        if row is None:
            return  # the foreign key refuses it
        result, owner = row
    else:
        return
    if result != Job.Result.SUCCEEDED:
        raise ConfigurationError(
            f"The active job of publication {collection.key} has to be one that succeeded, and this one is "
            f"{result or 'incomplete'}. Choose a successful job."
        )
    if owner != collection.id:
        raise ConfigurationError(
            f"The active job of publication {collection.key} has to be one of its own. Choose one of its jobs."
        )
