"""The `registry` command as such. Each command has tests of its own."""

from __future__ import annotations

import subprocess
import sys

from registry_assets import cli as module
from registry_assets.cli import cli


def test_starting_imports_nothing_heavy():
    """`registry --help` is quick: no Dagster, Arrow, Scrapy or SQLAlchemy, though commands are listed."""
    code = (
        "import sys; from registry_assets.cli import cli; cli.main(['--help'], standalone_mode=False); "
        "print([name for name in ('dagster', 'pyarrow', 'scrapy', 'sqlalchemy', 'alembic') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
    for name in module.COMMANDS:
        assert f"  {name} " in result.stdout


def test_every_command_exists():
    """And says what it does."""
    for name in module.COMMANDS:
        command = cli.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        assert command.help
