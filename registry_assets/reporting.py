"""Where a step's progress goes: to Dagster's log, and to whoever listens in this process (the command line).

Does not belong here: how a terminal shows it (`commands/run.py`).
"""

from dagster import ConfigurableResource, DagsterLogManager
from pydantic import PrivateAttr

from registry_assets.process_manager.progress import Progress, Reporter


class LogReporter:
    """A reporter that writes to Dagster's log, and passes on to a listener what it is told."""

    def __init__(self, log: DagsterLogManager, listener: Reporter | None) -> None:
        """Write to `log`, and tell `listener`, if any."""
        self._log = log
        self._listener = listener

    def progress(self, progress: Progress) -> None:
        """Tell the listener only: the driver logs what is worth a line."""
        if self._listener:
            self._listener.progress(progress)

    def info(self, message: str) -> None:
        """Log it, and tell the listener."""
        self._log.info(message)
        if self._listener:
            self._listener.info(message)

    def warning(self, message: str) -> None:
        """Log it, and tell the listener."""
        self._log.warning(message)
        if self._listener:
            self._listener.warning(message)


class ReportingResource(ConfigurableResource["ReportingResource"]):
    """Tells how far each task is, in the run's log."""

    _listener: Reporter | None = PrivateAttr(default=None)

    @classmethod
    def to(cls, listener: Reporter) -> "ReportingResource":
        """Return one that tells a listener in this process too."""
        resource = cls()
        resource._listener = listener
        return resource

    def reporter(self, log: DagsterLogManager) -> Reporter:
        """Return a reporter for a step that logs to `log`."""
        return LogReporter(log, self._listener)
