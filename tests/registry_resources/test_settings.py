"""The settings: what an administrator may set, and what is said when it can't be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry_resources.exceptions import ConfigurationError
from registry_resources.settings import KingfisherSettings, Settings


def test_everything_has_a_default_below_the_home(tmp_path: Path) -> None:
    """One variable is enough to keep everything in one folder."""
    settings = Settings.from_env({"REGISTRY_HOME": str(tmp_path)})
    assert settings.database_url == f"sqlite:///{tmp_path}/registry.sqlite3"
    assert settings.exporter_dir == tmp_path / "exports"
    assert settings.files_store == tmp_path / "files"
    assert settings.crawls_dir == tmp_path / "crawls"
    assert settings.process_dir == tmp_path / "process"


def test_relative_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run has another current directory than the command that was given the path."""
    monkeypatch.chdir(tmp_path)
    assert Settings.from_env({"REGISTRY_HOME": "a"}).home == tmp_path / "a"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_postgresql_addresses_name_the_driver_that_dagster_uses_too(scheme: str) -> None:
    """SQLAlchemy 2.1 would choose another one by itself."""
    settings = Settings.from_env({"DATABASE_URL": f"{scheme}://u:p@h/db"})
    assert settings.database_url == "postgresql+psycopg2://u:p@h/db"


def test_a_password_never_shows_in_the_settings_text() -> None:
    """I6: settings are printed when something goes wrong."""
    assert "hunter2" not in repr(Settings.from_env({"DATABASE_URL": "postgresql://u:hunter2@h/db"}))


KINGFISHER = {
    "SCRAPYD_URL": "http://user:canary-1@127.0.0.1:6800/",
    "SCRAPYD_PROJECT": "kingfisher",
    "KINGFISHER_COLLECT_FILES_STORE": "/srv/files",
    "KINGFISHER_PROCESS_URL": "http://127.0.0.1:8000/",
    "KINGFISHER_PROCESS_DATABASE_URL": "postgresql+psycopg2://user:canary-2@127.0.0.1/process",
}


def test_the_kingfisher_services_are_used_once_all_of_their_variables_are_set() -> None:
    """The names are those that administrators use already; passwords in them are not shown."""
    settings = Settings.from_env({**KINGFISHER, "EXPORTER_PAGE_SIZE": "500"})
    assert settings.kingfisher == KingfisherSettings(
        scrapyd_url="http://user:canary-1@127.0.0.1:6800",
        scrapyd_project="kingfisher",
        process_url="http://127.0.0.1:8000",
        process_database_url="postgresql://user:canary-2@127.0.0.1/process",
        page_size=500,
    )
    assert "canary" not in repr(settings)


def test_the_file_store_alone_does_not_ask_for_the_kingfisher_services() -> None:
    """The local backend has a file store too."""
    assert Settings.from_env({"KINGFISHER_COLLECT_FILES_STORE": "/srv/files"}).kingfisher is None


def test_each_kind_of_task_may_have_its_own_deadline() -> None:
    """A crawl may take days, and an export of a small publication should not."""
    settings = Settings.from_env({"REGISTRY_TASK_DEADLINE": "3600", "REGISTRY_COLLECT_DEADLINE": "7200"})
    assert settings.deadline("collect") == (7200, "REGISTRY_COLLECT_DEADLINE")
    assert settings.deadline("exporter") == (3600, "REGISTRY_TASK_DEADLINE")


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"REGISTRY_WORKERS": "two"}, "REGISTRY_WORKERS is 'two'. Set it to a whole number from 1 up"),
        ({"REGISTRY_WORKERS": "0"}, "from 1 up"),
        ({"EXPORTER_XLSX_MAX_BYTES": "-1"}, "from 0 up"),
        ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL is 'LOUD'. Set it to DEBUG, INFO"),
        ({"DATABASE_URL": "nonsense"}, "DATABASE_URL is not a URL"),
        ({"KINGFISHER_COLLECT_DIR": "/nowhere"}, "KINGFISHER_COLLECT_DIR is /nowhere, which has no scrapy.cfg"),
        (
            {"SCRAPYD_URL": "http://127.0.0.1:6800"},
            "SCRAPYD_URL set, but not SCRAPYD_PROJECT, KINGFISHER_COLLECT_FILES_STORE, KINGFISHER_PROCESS_URL",
        ),
        ({"SCRAPYD_PROJECT": "kingfisher"}, "SCRAPYD_PROJECT set, but not SCRAPYD_URL"),
        (
            {**KINGFISHER, "SCRAPYD_URL": "127.0.0.1:6800"},
            "SCRAPYD_URL is no URL that begins with http:// or https://",
        ),
        ({**KINGFISHER, "KINGFISHER_PROCESS_DATABASE_URL": "sqlite:///x"}, "is no PostgreSQL URL. Set it like"),
        ({"REGISTRY_COLLECT_DEADLINE": "soon"}, "REGISTRY_COLLECT_DEADLINE is 'soon'. Set it to a whole number"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_the_remedy(environ: dict[str, str], says: str) -> None:
    """A wrong setting is told at once, not when a run first needs it."""
    with pytest.raises(ConfigurationError, match=says.replace(".", r"\.")):
        Settings.from_env(environ)
