"""The resource classes: how assets and sensors get at the database and at the backends.

Each reads the environment when it is used, so that the code location loads whatever is missing, and the one that is
missing is told in the run that needs it. Does not belong here: the backends themselves.
"""

from dagster import ConfigurableResource

from registry_resources import logs
from registry_resources.collect.backend import CollectBackend
from registry_resources.database import Database
from registry_resources.process.backend import ProcessBackend
from registry_resources.settings import Settings


class SettingsResource(ConfigurableResource["SettingsResource"]):
    """The registry's settings, from environment variables."""

    def read(self) -> Settings:
        """Return them. `LOG_LEVEL` is in force from then on.

        Raises:
            ConfigurationError: if a value can't be used.
        """
        settings = Settings.from_env()
        logs.configure(settings.log_level)
        return settings


class DatabaseResource(ConfigurableResource["DatabaseResource"]):
    """The registry's own database: the catalogue, jobs and tasks (`DATABASE_URL`)."""

    def open(self, settings: Settings) -> Database:
        """Return it. The caller disposes of it.

        Raises:
            ConfigurationError: if it is not there, or its schema is not this version's.
        """
        database = Database(settings.database_url)
        database.check()
        return database


class CollectResource(ConfigurableResource["CollectResource"]):
    """Where crawls run: Kingfisher Collect through Scrapyd, if SCRAPYD_URL is set, else Scrapy on this machine."""

    def backend(self, settings: Settings) -> CollectBackend:
        """Return the backend that the settings ask for."""
        if settings.kingfisher:
            from registry_resources.collect.scrapyd import ScrapydBackend  # noqa: PLC0415 - only one of them is needed

            return ScrapydBackend(settings)
        from registry_resources.collect.scrapy import ScrapyBackend  # noqa: PLC0415

        return ScrapyBackend(settings)


class ProcessResource(ConfigurableResource["ProcessResource"]):
    """Where releases are merged: Kingfisher Process, if SCRAPYD_URL is set, else worker processes on this machine."""

    def backend(self, settings: Settings) -> ProcessBackend:
        """Return the backend that the settings ask for."""
        if settings.kingfisher:
            from registry_resources.process.kingfisher import KingfisherProcess  # noqa: PLC0415 - as above

            return KingfisherProcess(settings)
        from registry_resources.process.local import LocalProcess  # noqa: PLC0415

        return LocalProcess(settings)
