"""`registry run`: refreshes publications from the command line, the same way as from Dagit, with progress.

Does not belong here: what a run does (`registry_assets.assets`). Dagster is imported when the command runs, since that
takes seconds that other commands need not spend.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from registry_assets.commands.common import find, open_database, print_json
from registry_resources.exceptions import ConfigurationError

if TYPE_CHECKING:
    from dagster import DagsterInstance

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""

ASSETS = ("collected", "processed", "exported", "coverage", "flattened", "published")


@click.command()
@click.argument("key")
@click.option(
    "--select",
    metavar="ASSETS",
    help="Materialise only these, such as `flattened`, `flattened+` (with what follows) or `coverage,flattened`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def run(key: str, select: str | None, as_json: bool) -> None:
    """Refresh the publication KEY: collect, compile, export, measure, flatten and publish it.

    With --select, only some of that, on the latest job that has come far enough. The run is recorded where Dagit
    shows it (DAGSTER_HOME). Ends with exit code 0 only if everything succeeded.
    """
    from registry_assets.commands.run_display import Display  # noqa: PLC0415 (see the module's docstring)

    with Display(key, as_json=as_json) as display:
        outcome = execute(key, select, display)
    if as_json:
        print_json(outcome, indent=None)
    else:
        display.conclude(outcome)
    sys.exit(0 if outcome["success"] else INTERRUPTED if outcome["cancelled"] else 1)


def execute(key: str, select: str | None, display: Any) -> dict[str, Any]:
    """Run the job for a publication in this process, and return how it went.

    Raises:
        ConfigurationError: if there is no such publication, or something isn't set up.
        click.BadParameter: if `select` is no selection.
    """
    with open_database() as database, database.session(read_only=True) as session:
        find(session, key)  # before what takes seconds

    import dagster as dg  # noqa: PLC0415 (see the module's docstring)

    from registry_assets.definitions import build_defs  # noqa: PLC0415
    from registry_assets.partitions import sync_partitions  # noqa: PLC0415
    from registry_assets.process_manager.driver import uninterrupted  # noqa: PLC0415
    from registry_assets.process_manager.recovery import Memory  # noqa: PLC0415
    from registry_assets.process_manager.services import Services  # noqa: PLC0415
    from registry_assets.reporting import ReportingResource  # noqa: PLC0415
    from registry_assets.sensors.watch import look  # noqa: PLC0415
    from registry_resources.dagster_resources import (  # noqa: PLC0415
        CollectResource,
        DatabaseResource,
        ProcessResource,
        SettingsResource,
    )

    settings = SettingsResource().read()
    database = DatabaseResource().open(settings)
    try:
        with open_instance() as instance:
            defs = build_defs({"reporting": ReportingResource.to(display)})
            keys = selected(defs, select)
            sync_partitions(instance, database)
            # Without a daemon, nobody else looks after what died before, such as another run from the command line.
            collect, process = CollectResource().backend(settings), ProcessResource().backend(settings)
            for sentence in look(instance, Services(settings, database, collect, process), Memory(time.time())):
                display.notice(sentence)
            display.begin()
            run_id, interrupted = str(uuid.uuid4()), False
            try:
                with _hanging_up_interrupts():
                    defs.resolve_job_def("refresh").execute_in_process(
                        instance=instance,
                        run_id=run_id,
                        partition_key=key,
                        asset_selection=[dg.AssetKey(name) for name in keys],
                        raise_on_error=False,
                        # Dagster's own console log would write over the display; what it says is in Dagit.
                        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                    )
            except KeyboardInterrupt:  # Ctrl-C once more, after Dagster had ended the run because of the first one
                interrupted = True
            with uninterrupted():
                outcome = {"publication": key, **_outcome(instance, run_id, interrupted=interrupted)}
                if outcome["success"]:
                    display.succeeded()
                return outcome
    finally:
        database.dispose()


@contextmanager
def _hanging_up_interrupts() -> Iterator[None]:
    """A terminal that is closed, or a connection that drops, cancels like Ctrl-C: nobody would see the end."""
    before = signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before or signal.SIG_DFL)


def _outcome(instance: DagsterInstance, run_id: str, *, interrupted: bool) -> dict[str, Any]:
    """How a run went that this process has executed. Dagster takes an interrupted one for failed: it is cancelled."""
    from dagster import DagsterEventType, DagsterRunStatus  # noqa: PLC0415 (see the module's docstring)
    from dagster._core.events import RunFailureReason  # noqa: PLC0415

    run = instance.get_run_by_id(run_id)
    if run is None:
        raise KeyboardInterrupt
    told = {
        DagsterEventType.STEP_FAILURE,
        DagsterEventType.ASSET_MATERIALIZATION,
        DagsterEventType.RUN_FAILURE,
    }
    events = [entry.dagster_event for entry in instance.all_logs(run_id, of_type=told) if entry.dagster_event]
    failures = [event.step_failure_data for event in events if event.is_step_failure]
    interrupted |= any(map(_is_interrupt, failures)) or any(
        getattr(event.event_specific_data, "failure_reason", None) == RunFailureReason.UNEXPECTED_TERMINATION
        for event in events
    )
    cancelled = interrupted and run.status != DagsterRunStatus.SUCCESS
    if cancelled and run.status != DagsterRunStatus.CANCELED:
        instance.report_run_canceled(run, "Interrupted on the command line.")
    return {
        "success": run.status == DagsterRunStatus.SUCCESS,
        "cancelled": cancelled,
        "run_id": run_id,
        "materialised": [event.asset_key.to_user_string() for event in events if event.asset_key],
        "failures": [_reason(failure) for failure in failures],
    }


def _is_interrupt(failure: Any) -> bool:
    return bool(failure.error and failure.error.cls_name == "DagsterExecutionInterruptedError")


def _reason(failure: Any) -> str:
    """Why a step failed, for people."""
    if failure.user_failure_data:
        return str(failure.user_failure_data.description).strip()
    if _is_interrupt(failure):
        return "Interrupted: the job was cancelled, and what it had begun was removed."
    return str(failure.error.message).strip() if failure.error else "It failed without a reason; see the run in Dagit."


def selected(defs: Any, select: str | None) -> list[str]:
    """Return the names of the assets that a selection is of, in the order of a job; all of them if there is none.

    Raises:
        click.BadParameter: if it is no selection.
    """
    import dagster as dg  # noqa: PLC0415 (see the module's docstring)

    if select is None:
        return list(ASSETS)
    remedy = f"The assets are {', '.join(ASSETS)}."
    try:
        graph = defs.resolve_asset_graph()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)  # of what Dagster itself makes of `*`
            chosen = {
                key.to_user_string()
                for part in select.split(",")
                for key in dg.AssetSelection.from_string(part.strip()).resolve(graph)
            }
    except Exception as e:
        raise click.BadParameter(f"{select!r} is no selection of assets. {remedy}", param_hint="--select") from e
    if names := [name for name in ASSETS if name in chosen]:
        return names
    raise click.BadParameter(f"{select!r} selects nothing of a publication. {remedy}", param_hint="--select")


def open_instance() -> DagsterInstance:
    """Return Dagster's instance, which remembers runs.

    Raises:
        ConfigurationError: if DAGSTER_HOME is not set to a folder.
    """
    from dagster import DagsterInstance  # noqa: PLC0415 (see the module's docstring)

    home = os.environ.get("DAGSTER_HOME")
    if not home or not os.path.isabs(home) or not os.path.isdir(home):  # noqa: PTH117, PTH112 (as Dagster checks it)
        raise ConfigurationError(
            f"DAGSTER_HOME is {home or 'not set'}. Set it to the absolute path of the folder where Dagster keeps its "
            f"runs, with a dagster.yaml in it (see deploy/)."
        )
    return DagsterInstance.get()
