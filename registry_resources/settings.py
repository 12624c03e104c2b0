"""The registry's settings: environment variables, typed, in one place.

Belongs here: every variable the registry reads, its default, and the checks that need no connection.
Does not belong here: opening anything, or reading `os.environ` at import.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from registry_resources.exceptions import ConfigurationError

KINGFISHER_VARIABLES = (
    "SCRAPYD_URL",
    "SCRAPYD_PROJECT",
    "KINGFISHER_PROCESS_URL",
    "KINGFISHER_PROCESS_DATABASE_URL",
)


@dataclass(frozen=True)
class Settings:
    """What an administrator can set. Paths are absolute.

    Attributes:
        home: where the registry keeps its own files (`REGISTRY_HOME`, default `var` in the current directory).
        database_url: SQLAlchemy URL (`DATABASE_URL`, default SQLite in `home`). `postgres://` and `postgresql://`
            become `postgresql+psycopg2://`, the driver that Dagster uses too.
        exporter_dir: the root of exports (`EXPORTER_DIR`).
        files_store: where crawls write, in Kingfisher Collect's layout (`KINGFISHER_COLLECT_FILES_STORE`).
        collect_dir: a checkout of Kingfisher Collect whose spiders the local backend runs
            (`KINGFISHER_COLLECT_DIR`), or None for the registry's own generic spiders.
        dagster_url: where Dagit is reached, for links to runs (`DAGSTER_URL`).
        xlsx_max_bytes: JSON above which no Excel file is tried, in bytes (`EXPORTER_XLSX_MAX_BYTES`).
        workers: processes a stage may use (`REGISTRY_WORKERS`, default the number of processors).
        task_deadline: how long one task may take, in seconds (`REGISTRY_TASK_DEADLINE`, default 7 days).
        log_level: `LOG_LEVEL`, default INFO.
    """

    home: Path
    database_url: str = field(repr=False)  # may hold a password
    exporter_dir: Path
    files_store: Path
    collect_dir: Path | None = None
    dagster_url: str = "http://127.0.0.1:3000"
    xlsx_max_bytes: int = 1_073_741_824
    workers: int = 2
    task_deadline: float = 7 * 24 * 3600.0
    log_level: str = "INFO"

    @property
    def crawls_dir(self) -> Path:
        """Where the local backend keeps each crawl's state and log."""
        return self.home / "crawls"

    @property
    def process_dir(self) -> Path:
        """Where the local backend keeps compiled releases until they are exported."""
        return self.home / "process"

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings from environment variables.

        Args:
            environ: instead of `os.environ`.

        Raises:
            ConfigurationError: if a value can't be used. The message names the variable and the remedy.
        """
        env = os.environ if environ is None else environ
        if unsupported := [name for name in KINGFISHER_VARIABLES if env.get(name)]:
            raise ConfigurationError(
                f"{', '.join(unsupported)} set, but this version collects and processes on this machine only. "
                "Unset it to go on."
            )
        home = Path(env.get("REGISTRY_HOME") or "var").absolute()
        collect_dir = _path(env, "KINGFISHER_COLLECT_DIR", None)
        if collect_dir and not (collect_dir / "scrapy.cfg").is_file():
            raise ConfigurationError(
                f"KINGFISHER_COLLECT_DIR is {collect_dir}, which has no scrapy.cfg. "
                "Point it at a checkout of Kingfisher Collect, or unset it."
            )
        return cls(
            home=home,
            database_url=_database_url(env.get("DATABASE_URL") or f"sqlite:///{home / 'registry.sqlite3'}"),
            exporter_dir=_path(env, "EXPORTER_DIR", home / "exports") or home / "exports",
            files_store=_path(env, "KINGFISHER_COLLECT_FILES_STORE", home / "files") or home / "files",
            collect_dir=collect_dir,
            dagster_url=(env.get("DAGSTER_URL") or cls.dagster_url).rstrip("/"),
            xlsx_max_bytes=_number(env, "EXPORTER_XLSX_MAX_BYTES", cls.xlsx_max_bytes, minimum=0),
            workers=_number(env, "REGISTRY_WORKERS", os.cpu_count() or 1, minimum=1),
            task_deadline=float(_number(env, "REGISTRY_TASK_DEADLINE", int(cls.task_deadline), minimum=1)),
            log_level=_log_level(env),
        )


def _path(env: Mapping[str, str], name: str, default: Path | None) -> Path | None:
    value = env.get(name)
    return Path(value).expanduser().absolute() if value else default


def _number(env: Mapping[str, str], name: str, default: int, *, minimum: int) -> int:
    value = env.get(name)
    if not value:
        return default
    if not value.isascii() or not value.isdigit() or int(value) < minimum:
        raise ConfigurationError(f"{name} is {value!r}. Set it to a whole number from {minimum} up, or unset it.")
    return int(value)


def _log_level(env: Mapping[str, str]) -> str:
    value = (env.get("LOG_LEVEL") or "INFO").upper()
    if value not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
        raise ConfigurationError(f"LOG_LEVEL is {value!r}. Set it to DEBUG, INFO, WARNING, ERROR or CRITICAL.")
    return value


def _database_url(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ConfigurationError(
            "DATABASE_URL is not a URL. Set it like postgresql://user:password@host:5432/name or sqlite:////a/path."
        )
    return f"postgresql+psycopg2://{rest}" if scheme in {"postgres", "postgresql"} else url
