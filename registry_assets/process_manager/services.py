"""What the job logic works with, in one bundle, so that a test or another deployment can hand in other parts.

Does not belong here: making the parts; that is `registry_resources.dagster_resources` and the command line.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from registry_assets.process_manager.lease import Lease
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
        lease: the right to write to the job that is worked on, or None where no job is worked on.
    """

    settings: Settings
    database: Database
    collect: CollectBackend
    process: ProcessBackend
    lease: Lease | None = None

    def guard(self, session: Session) -> None:
        """Let a transaction write to the job only while the lease on it is held.

        Raises:
            LeaseLostError: if it was lost.
        """
        if self.lease:
            self.lease.check(session)
