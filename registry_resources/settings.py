"""The registry's settings: environment variables, typed, in one place.

Belongs here: every variable the registry reads, its default, and the checks that need no connection.
Does not belong here: opening anything, or reading `os.environ` at import.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from registry_resources.exceptions import ConfigurationError

KINGFISHER_VARIABLES = (
    "SCRAPYD_URL",
    "SCRAPYD_PROJECT",
    "KINGFISHER_COLLECT_FILES_STORE",
    "KINGFISHER_PROCESS_URL",
    "KINGFISHER_PROCESS_DATABASE_URL",
)
"""All of them are needed, once any but the file store is set: that one serves the local backend too."""

MAIL_VARIABLES = ("REGISTRY_SMTP_URL", "REGISTRY_MAIL_FROM", "REGISTRY_MAIL_TO")
"""All of them are needed, once any is set."""

ADDRESS = re.compile(r"(?:[^<>@]*<(?=\S+>))?([^\s<>@]+@[^\s<>@]+)>?")
"""An e-mail address, with a name before it or without."""

SMTP_SCHEMES = {"smtp": 25, "smtps": 465}
"""With the port that is used if the URL names none."""

TASK_TYPES = ("collect", "process", "exporter", "coverage", "flattener")


@dataclass(frozen=True)
class KingfisherSettings:
    """Where the Kingfisher services are. URLs have no slash at the end.

    Attributes:
        scrapyd_url: Scrapyd, which runs Kingfisher Collect's spiders (`SCRAPYD_URL`). May hold a password.
        scrapyd_project: the project deployed there (`SCRAPYD_PROJECT`).
        process_url: Kingfisher Process' API (`KINGFISHER_PROCESS_URL`). May hold a password.
        process_database_url: its database, as libpq wants it: `postgresql://…` (`KINGFISHER_PROCESS_DATABASE_URL`).
        page_size: compiled releases in one batch at most (`EXPORTER_PAGE_SIZE`).
    """

    scrapyd_url: str = field(repr=False)
    scrapyd_project: str
    process_url: str = field(repr=False)
    process_database_url: str = field(repr=False)
    page_size: int = 10_000


@dataclass(frozen=True)
class MailSettings:
    """How notifications are sent by e-mail (`REGISTRY_SMTP_URL`, `REGISTRY_MAIL_FROM`, `REGISTRY_MAIL_TO`).

    Attributes:
        host: the mail server.
        port: its port.
        security: `tls` from the first byte (`smtps://`), `starttls` before anything is said (`smtp://…?starttls`), or
            "" for none.
        user: who signs in, or "" for nobody.
        password: with what.
        sender: the address that messages are from.
        recipients: the addresses that they go to.
    """

    host: str
    port: int
    security: str
    user: str
    password: str = field(repr=False)
    sender: str
    recipients: tuple[str, ...]


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
        workers: processes a stage may use (`REGISTRY_WORKERS`, default 2 or, with one processor, 1: memory
            was measured so).
        task_deadline: how long one task may take, in seconds (`REGISTRY_TASK_DEADLINE`, default 7 days).
        task_deadlines: the same for one kind of task (`REGISTRY_COLLECT_DEADLINE`, `REGISTRY_PROCESS_DEADLINE`,
            `REGISTRY_EXPORTER_DEADLINE`, `REGISTRY_COVERAGE_DEADLINE`, `REGISTRY_FLATTENER_DEADLINE`), where set.
        kingfisher: the Kingfisher services, or None to collect and process on this machine.
        keep_failed_hours: for how many hours the temporary data of a job without success is kept after its end, so
            that it can be taken up again (`REGISTRY_KEEP_FAILED_HOURS`, default 24).
        dagster_keep_days: for how many days Dagster's record of a run is kept after its end, if nothing else needs it
            (`REGISTRY_DAGSTER_KEEP_DAYS`, default 30).
        max_retries: how often a run whose process died is retried (`REGISTRY_MAX_RETRIES`, default 2).
        mail: how notifications are sent by e-mail, or None if they aren't.
        webhook_url: where notifications are posted (`REGISTRY_WEBHOOK_URL`), or "". Its path is often a secret.
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
    task_deadlines: Mapping[str, float] = field(default_factory=dict)
    kingfisher: KingfisherSettings | None = None
    keep_failed_hours: int = 24
    dagster_keep_days: int = 30
    max_retries: int = 2
    mail: MailSettings | None = None
    webhook_url: str = field(default="", repr=False)

    def deadline(self, task_type: str) -> tuple[float, str]:
        """How long a task of a kind may take, in seconds, and the variable that says so."""
        if task_type in self.task_deadlines:
            return self.task_deadlines[task_type], _deadline_name(task_type)
        return self.task_deadline, "REGISTRY_TASK_DEADLINE"

    def run_url(self, run_id: str | None) -> str:
        """Give the page of a run in Dagit, or "" of a job that has no run yet."""
        return f"{self.dagster_url}/runs/{run_id}" if run_id else ""

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
        home = Path(env.get("REGISTRY_HOME") or "var").absolute()
        collect_dir = _path(env, "KINGFISHER_COLLECT_DIR", None)
        if collect_dir and not (collect_dir / "scrapy.cfg").is_file():
            raise ConfigurationError(
                f"KINGFISHER_COLLECT_DIR is {collect_dir}, which has no scrapy.cfg. "
                "Point it at a checkout of Kingfisher Collect, or unset it."
            )
        kingfisher = _kingfisher(env)
        if kingfisher and collect_dir:
            raise ConfigurationError(
                "Both SCRAPYD_URL and KINGFISHER_COLLECT_DIR are set. Unset KINGFISHER_COLLECT_DIR to crawl with "
                "Scrapyd, or the variables of the Kingfisher services to crawl on this machine."
            )
        return cls(
            home=home,
            database_url=_database_url(env.get("DATABASE_URL") or f"sqlite:///{home / 'registry.sqlite3'}"),
            exporter_dir=_path(env, "EXPORTER_DIR", home / "exports") or home / "exports",
            files_store=_path(env, "KINGFISHER_COLLECT_FILES_STORE", home / "files") or home / "files",
            collect_dir=collect_dir,
            dagster_url=(env.get("DAGSTER_URL") or cls.dagster_url).rstrip("/"),
            xlsx_max_bytes=_number(env, "EXPORTER_XLSX_MAX_BYTES", cls.xlsx_max_bytes, minimum=0),
            workers=_number(env, "REGISTRY_WORKERS", min(2, os.cpu_count() or 1), minimum=1),
            task_deadline=float(_number(env, "REGISTRY_TASK_DEADLINE", int(cls.task_deadline), minimum=1)),
            log_level=_log_level(env),
            task_deadlines={
                kind: float(_number(env, _deadline_name(kind), 0, minimum=1))
                for kind in TASK_TYPES
                if env.get(_deadline_name(kind))
            },
            kingfisher=kingfisher,
            keep_failed_hours=_number(env, "REGISTRY_KEEP_FAILED_HOURS", cls.keep_failed_hours, minimum=0),
            dagster_keep_days=_number(env, "REGISTRY_DAGSTER_KEEP_DAYS", cls.dagster_keep_days, minimum=1),
            max_retries=_number(env, "REGISTRY_MAX_RETRIES", cls.max_retries, minimum=0),
            mail=_mail(env),
            webhook_url=_http_url(env, "REGISTRY_WEBHOOK_URL") if env.get("REGISTRY_WEBHOOK_URL") else "",
        )


def _deadline_name(task_type: str) -> str:
    return f"REGISTRY_{task_type.upper()}_DEADLINE"


def _kingfisher(env: Mapping[str, str]) -> KingfisherSettings | None:
    given = [name for name in KINGFISHER_VARIABLES if env.get(name)]
    if not set(given) - {"KINGFISHER_COLLECT_FILES_STORE"}:
        return None
    if missing := [name for name in KINGFISHER_VARIABLES if name not in given]:
        raise ConfigurationError(
            f"{', '.join(given)} set, but not {', '.join(missing)}. Set all of them to use the Kingfisher services, "
            "or unset them to collect and process on this machine."
        )
    database_url = env["KINGFISHER_PROCESS_DATABASE_URL"]
    scheme, separator, rest = database_url.partition("://")
    if not separator or scheme.partition("+")[0] not in {"postgres", "postgresql"}:
        raise ConfigurationError(
            "KINGFISHER_PROCESS_DATABASE_URL is no PostgreSQL URL. Set it like postgresql://user:password@host:5432/name."
        )
    return KingfisherSettings(
        scrapyd_url=_http_url(env, "SCRAPYD_URL"),
        scrapyd_project=env["SCRAPYD_PROJECT"],
        process_url=_http_url(env, "KINGFISHER_PROCESS_URL"),
        process_database_url=f"postgresql://{rest}",
        page_size=_number(env, "EXPORTER_PAGE_SIZE", KingfisherSettings.page_size, minimum=1),
    )


def _mail(env: Mapping[str, str]) -> MailSettings | None:
    given = [name for name in MAIL_VARIABLES if env.get(name)]
    if not given:
        return None
    if missing := [name for name in MAIL_VARIABLES if name not in given]:
        raise ConfigurationError(
            f"{', '.join(given)} set, but not {', '.join(missing)}. Set all of them to send notifications by "
            "e-mail, or unset them."
        )
    try:
        url = urlsplit(env["REGISTRY_SMTP_URL"].strip())
        port = url.port
    except ValueError:
        url, port = urlsplit(""), None
    options = parse_qs(url.query, keep_blank_values=True)
    if url.scheme not in SMTP_SCHEMES or not url.hostname or url.path.strip("/") or set(options) - {"starttls"}:
        raise ConfigurationError(
            "REGISTRY_SMTP_URL is no URL of a mail server. Set it like "
            "smtp://user:password@mail.example.org:587?starttls or smtps://user:password@mail.example.org, with "
            "what is special in a password as %40 and so on."
        )
    senders, recipients = (_addresses(env, name) for name in MAIL_VARIABLES[1:])
    if len(senders) > 1:
        raise ConfigurationError("REGISTRY_MAIL_FROM holds several addresses. Set it to one.")
    return MailSettings(
        host=url.hostname,
        port=port or SMTP_SCHEMES[url.scheme],
        security="tls" if url.scheme == "smtps" else "starttls" if options else "",
        user=unquote(url.username or ""),
        password=unquote(url.password or ""),
        sender=senders[0],
        recipients=tuple(recipients),
    )


def _addresses(env: Mapping[str, str], name: str) -> list[str]:
    """Read addresses parted by commas. A name before an address is left out."""
    found = []
    for part in env[name].split(","):
        match = ADDRESS.fullmatch(part.strip())
        if not match or not match[0].isprintable() or not match[1].isascii():
            raise ConfigurationError(
                f"{name} is {env[name]!r}, where {part.strip()!r} is no e-mail address. Set it like a@example.org."
            )
        found.append(match[1])
    return found


def _http_url(env: Mapping[str, str], name: str) -> str:
    url = env[name].strip().rstrip("/")
    if not url.lower().startswith(("http://", "https://")):
        raise ConfigurationError(f"{name} is no URL that begins with http:// or https://. Correct it.")
    return url


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
