"""The README: what it shows works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from registry_assets.cli import COMMANDS
from registry_resources.catalogue import load
from registry_resources.settings import KINGFISHER_VARIABLES, TASK_TYPES, Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_publication_is_five_lines_that_the_catalogue_takes(tmp_path: Path) -> None:
    """Adding a publication is copying these lines."""
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert len(block.splitlines()) == 5
    path = tmp_path / "catalogue.yaml"
    path.write_text(block, encoding="utf-8")
    assert load(path).warnings == []


def test_its_commands_exist() -> None:
    """`registry …` and `make …` as it writes them."""
    assert set(re.findall(r"^(?:\$ )?registry (\w[\w-]*)", README, re.MULTILINE)) <= set(COMMANDS)
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake (demo|test|dev|bench|\w+)\b(?=[ `])", README)) - {"of"} <= targets


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README))))
def test_what_it_links_to_is_there(link: str) -> None:
    """No link leads nowhere."""
    assert (ROOT / link).exists()


def test_its_settings_are_those_that_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each variable in the table is one that the settings, or Dagster, read."""
    (table,) = re.findall(r"\| Variable \|.*?\n\n", README, re.DOTALL)
    named = set(re.findall(r"^\| `([A-Z_]+)` \|", table, re.MULTILINE)) - {"DAGSTER_HOME"}

    class Recording(dict[str, str]):
        def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
            read.add(key)
            return default

    read: set[str] = set()
    Settings.from_env(Recording())
    kingfisher = set(KINGFISHER_VARIABLES) - {"KINGFISHER_COLLECT_FILES_STORE"}
    deadlines = {f"REGISTRY_{kind.upper()}_DEADLINE" for kind in TASK_TYPES}
    assert named == read - kingfisher - deadlines
