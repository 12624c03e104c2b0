"""What commands need that do things to jobs: the database and the backends, as the settings say.

Does not belong here: any command. Importing the backends' resources imports Dagster, so it is done when they are used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry_assets.process_manager.services import Services


@contextmanager
def open_services() -> Iterator[Services]:
    """Open the database and the backends.

    Raises:
        ConfigurationError: if the database isn't there, or a setting can't be used.
    """
    from registry_assets.process_manager.services import Services  # noqa: PLC0415 - not before it is needed
    from registry_resources.dagster_resources import CollectResource, DatabaseResource, ProcessResource  # noqa: PLC0415
    from registry_resources.settings import Settings  # noqa: PLC0415

    settings = Settings.from_env()
    database = DatabaseResource().open(settings)
    try:
        yield Services(settings, database, CollectResource().backend(settings), ProcessResource().backend(settings))
    finally:
        database.dispose()
