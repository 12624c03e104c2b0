"""What the job logic works with, in one bundle, so that a test or another deployment can hand in other parts.

Does not belong here: making the parts; that is `registry_resources.dagster_resources` and the command line.
"""

from __future__ import annotations

from dataclasses import dataclass

from registry_resources.collect.backend import CollectBackend
from registry_resources.database import Database
from registry_resources.process.backend import ProcessBackend
from registry_resources.settings import Settings


@dataclass(frozen=True)
class Services:
    """The settings, the database and the two backends of one process.

    Attributes:
        settings: the registry's settings.
        database: the registry's database, migrated.
        collect: whatever runs crawls.
        process: whatever merges releases.
    """

    settings: Settings
    database: Database
    collect: CollectBackend
    process: ProcessBackend
