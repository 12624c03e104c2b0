"""How `registry run` looks in a terminal: one line a task, that changes while it runs.

Does not belong here: anything that is not drawing.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from registry_assets.process_manager.progress import Progress


class Display:
    """Shows each task of one run on standard error: live on a terminal, a line now and then elsewhere."""

    def __init__(self, key: str, *, as_json: bool) -> None:
        """Show the run of a publication; with `as_json`, only warnings, as standard output belongs to a program."""
        self.key = key
        self._quiet = as_json
        self._console = Console(stderr=True, highlight=False)
        self._begun: dict[str, float] = {}
        self._latest: dict[str, Progress] = {}
        self._ended: dict[str, float] = {}
        self._live: Live | None = None
        self._start = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._quiet:
            self._live = Live(get_renderable=self._table, console=self._console, refresh_per_second=4)
            self._live.start()
        elif not self._quiet:
            self._console.print(f"{self.key}: started")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def progress(self, progress: Progress) -> None:
        """A task got further."""
        now = time.monotonic()
        for task in self._latest:
            if task != progress.task:
                self._ended.setdefault(task, now)
        self._begun.setdefault(progress.task, now)
        self._latest[progress.task] = progress

    def info(self, message: str) -> None:
        """Something worth a line in the log happened. On a terminal, the table shows it."""
        if not self._live and not self._quiet:
            self._console.print(f"{self.key}: {message}", soft_wrap=True)

    def warning(self, message: str) -> None:
        """Something an administrator should look at happened."""
        self._console.print(f"{self.key}: {message}", style="yellow", soft_wrap=True)

    def conclude(self, outcome: dict[str, Any]) -> None:
        """Say how the run ended."""
        seconds = time.monotonic() - self._start
        done = ", ".join(outcome["materialised"]) or "nothing"
        if outcome["success"]:
            self._console.print(f"{self.key}: {done} in {seconds:.0f} s", style="green", soft_wrap=True)
            return
        for reason in outcome["failures"] or ["the run failed; see it in Dagit"]:
            self._console.print(reason, style="red", soft_wrap=True)
        self._console.print(
            f"{self.key}: failed after {seconds:.0f} s; made {done}. Run {outcome['run_id']}", soft_wrap=True
        )

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        now = time.monotonic()
        for task, progress in self._latest.items():
            ended = self._ended.get(task)
            mark = "[green]✓[/]" if ended else "[cyan]…[/]"
            share = f"{100 * progress.done / progress.total:.0f}%" if progress.done and progress.total else ""
            spent = f"{(ended or now) - self._begun[task]:.0f} s"
            table.add_row(mark, task, progress.message, "" if ended else share, spent)
        return table if self._latest else Table.grid()
