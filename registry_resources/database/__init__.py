"""The registry's database: models, sessions and migrations.

Import from here. Belongs here: what the registry remembers. Does not belong here: deciding anything by it.
"""

from registry_resources.database import guards
from registry_resources.database.base import Base
from registry_resources.database.collection import Collection
from registry_resources.database.database import Database
from registry_resources.database.job import JOB_TASKS_PLAN, Job
from registry_resources.database.license import License
from registry_resources.database.notice import Notice, Trouble
from registry_resources.database.queries import collection_by_key, latest_job, latest_jobs, recent_jobs, visible
from registry_resources.database.settings_bundle import Setting, SettingsBundle
from registry_resources.database.task import Task, TaskNote
from registry_resources.database.translation import LANGUAGES
from registry_resources.database.types import utcnow

guards.register()

__all__ = [
    "JOB_TASKS_PLAN",
    "LANGUAGES",
    "Base",
    "Collection",
    "Database",
    "Job",
    "License",
    "Notice",
    "Setting",
    "SettingsBundle",
    "Task",
    "TaskNote",
    "Trouble",
    "collection_by_key",
    "latest_job",
    "latest_jobs",
    "recent_jobs",
    "utcnow",
    "visible",
]
