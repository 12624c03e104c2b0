"""`registry dev`: opens Dagit on this machine, once.

Does not belong here: production, where the webserver, the daemon and the code server are services of their own.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import sys
from pathlib import Path

import click

from registry_resources.exceptions import ConfigurationError


@click.command()
@click.option("--port", default=3000, show_default=True, help="The port of Dagit.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="The address; Dagit has no login, so keep it local."
)
@click.option(
    "--instance-config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default="deploy/local/dagster.yaml",
    show_default=True,
    help="What DAGSTER_HOME gets as its dagster.yaml, if it has none.",
)
@click.option(
    "--workspace",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default="workspace.yaml",
    show_default=True,
    help="The code locations.",
)
def dev(port: int, host: str, instance_config: Path, workspace: Path) -> None:
    """Open Dagit with the catalogue's publications, and run what it asks for, until Ctrl-C."""
    home = prepare_dagster_home(instance_config)
    # A second one on the same home starts without complaint, and then both launch runs.
    lock = os.open(home / ".dev.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigurationError(
            f"Dagit is running on {home} already. Open it, or stop it first: two would launch every run twice."
        ) from None
    os.set_inheritable(lock, True)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as e:
            raise ConfigurationError(f"{host}:{port} can't be used ({e.strerror}). Choose another with --port.") from e
    click.echo(f"Dagit: http://{host}:{port} (DAGSTER_HOME={home}); Ctrl-C stops it", err=True)
    # A script's background job starts with SIGINT ignored, and Dagster would keep it so: it could not be stopped.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ["DAGSTER_URL"] = os.environ.get("DAGSTER_URL") or f"http://{host}:{port}"
    os.execv(
        sys.executable,
        [sys.executable, "-m", "dagster", "dev", "-w", str(workspace), "-h", host, "-p", str(port)],
    )


def prepare_dagster_home(instance_config: Path) -> Path:
    """Make DAGSTER_HOME, with a dagster.yaml if it has none.

    Raises:
        ConfigurationError: if the variable is not set to an absolute path.
    """
    value = os.environ.get("DAGSTER_HOME")
    if not value or not Path(value).is_absolute():
        raise ConfigurationError(
            f"DAGSTER_HOME is {value or 'not set'}. "
            "Set it to the absolute path of the folder where Dagster keeps its runs."
        )
    home = Path(value)
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        shutil.copy(instance_config, home / "dagster.yaml")
    return home
