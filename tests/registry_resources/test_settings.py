"""The settings: what an administrator may set, and what is said when it can't be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry_resources.exceptions import ConfigurationError
from registry_resources.settings import Settings


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


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"REGISTRY_WORKERS": "two"}, "REGISTRY_WORKERS is 'two'. Set it to a whole number from 1 up"),
        ({"REGISTRY_WORKERS": "0"}, "from 1 up"),
        ({"EXPORTER_XLSX_MAX_BYTES": "-1"}, "from 0 up"),
        ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL is 'LOUD'. Set it to DEBUG, INFO"),
        ({"DATABASE_URL": "nonsense"}, "DATABASE_URL is not a URL"),
        ({"KINGFISHER_COLLECT_DIR": "/nowhere"}, "KINGFISHER_COLLECT_DIR is /nowhere, which has no scrapy.cfg"),
        ({"SCRAPYD_URL": "http://127.0.0.1:6800"}, "SCRAPYD_URL set, but this version"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_the_remedy(environ: dict[str, str], says: str) -> None:
    """A wrong setting is told at once, not when a run first needs it."""
    with pytest.raises(ConfigurationError, match=says.replace(".", r"\.")):
        Settings.from_env(environ)
