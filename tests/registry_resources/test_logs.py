"""What the registry's own code logs."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import logging, sys
from registry_resources import logs, redaction
redaction.register_secret("canary-1")
logs.configure(sys.argv[1])
logs.configure(sys.argv[1])
logging.getLogger("registry_resources.collect").info("an information, canary-1")
logging.getLogger("registry_assets.sensors").warning("a warning, %s", "canary-1")
logging.getLogger("sqlalchemy.engine").info("a statement")
"""


@pytest.mark.parametrize(("level", "said"), [("INFO", ["information", "warning"]), ("WARNING", ["warning"])])
def test_our_loggers_write_from_the_level_on_without_secrets(level: str, said: list[str]) -> None:
    """OPS-04, I6: once each, and nothing of other libraries."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, level], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert [line.partition(": a")[2].lstrip("n ").partition(",")[0] for line in lines] == said
    assert "canary-1" not in done.stderr


@pytest.mark.parametrize(
    "program",
    [
        "from registry_resources.dagster_resources import SettingsResource\nSettingsResource().read()",
        "from registry_assets.commands.common import open_database\nwith open_database(): pass",
    ],
    ids=["resource", "command"],
)
def test_the_setting_is_in_force_wherever_settings_are_read(tmp_path: Path, program: str) -> None:
    """In each step and sensor of Dagster's, and on the command line."""
    environment = {**os.environ, "REGISTRY_HOME": str(tmp_path), "LOG_LEVEL": "ERROR"}
    subprocess.run([sys.executable, "-m", "registry_assets.cli", "migrate"], check=True, env=environment)
    program += "\nimport logging; print(logging.getLogger('registry_assets').level)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == str(logging.ERROR)
