"""The house itself: who imports whom, and what each module says of itself."""

from __future__ import annotations

import ast
import re
import statistics
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("registry_assets", "registry_resources", "exporter")

MAY_IMPORT = {
    "registry_assets": {"registry_assets", "registry_resources", "exporter"},
    "registry_resources": {"registry_resources"},
    "exporter": {"exporter"},
}

MAY_IMPORT_DAGSTER = {"registry_assets", "registry_resources/dagster_resources.py"}
WITHOUT_DAGSTER = "registry_assets/process_manager"


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which room a module is in"
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_import_only_what_their_room_may(path: Path) -> None:
    """registry_assets → registry_resources → nothing of ours; registry_assets → exporter → nothing of ours."""
    relative = path.relative_to(ROOT)
    ours = imported(path) & set(PACKAGES)
    assert ours <= MAY_IMPORT[relative.parts[0]]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_dagster_is_imported_only_where_it_belongs(path: Path) -> None:
    """Only registry_assets, outside the job logic, and the resource classes know Dagster."""
    relative = path.relative_to(ROOT)
    if str(relative).startswith(WITHOUT_DAGSTER) or not {relative.parts[0], str(relative)} & MAY_IMPORT_DAGSTER:
        assert "dagster" not in imported(path)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_belongs_in_it(path: Path) -> None:
    """Each module opens with a docstring that says so, and none is longer than 400 lines."""
    text = path.read_text()
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring
    if path.name != "__init__.py" and path.parent.name != "versions":
        assert "belong" in docstring.lower()
    assert len(text.splitlines()) <= 400


def test_whatever_is_imported_is_declared() -> None:
    """What another dependency happens to bring may go with its next version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[^\w.-]", text)[0].lower() for text in project["dependencies"]}
    distributions = metadata.packages_distributions()
    names = {name for path in modules() for name in imported(path)} - set(PACKAGES) - sys.stdlib_module_names
    needed = {distribution.lower() for name in names for distribution in distributions[name]}
    assert needed <= declared


def test_modules_are_short() -> None:
    """Half of them have at most 120 lines."""
    assert statistics.median(len(path.read_text().splitlines()) for path in modules()) <= 120
