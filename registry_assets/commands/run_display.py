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
from rich.text import Text

from registry_assets.commands.common import shown
from registry_assets.process_manager.progress import Progress


class Display:
    """Shows each task of one run on standard error: live on a terminal, a line now and then elsewhere."""

    def __init__(self, key: str, *, as_json: bool) -> None:
        """Show the run of a publication; with `as_json`, only warnings, as standard output belongs to a program."""
        self.key = key
        self._quiet = as_json
        # What publishers wrote is no markup.
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._begun: dict[str, float] = {}
        self._latest: dict[str, Progress] = {}
        self._ended: dict[str, float] = {}
        self._live: Live | None = None
        self._start = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def begin(self) -> None:
        """The run begins: nothing stands in its way that could be told before."""
        self._start = time.monotonic()
        if self._console.is_terminal and not self._quiet:
            self._live = Live(get_renderable=self._table, console=self._console, refresh_per_second=4)
            self._live.start()
        elif not self._quiet:
            self._console.print(f"{self.key}: started")

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

    def succeeded(self) -> None:
        """The run has succeeded: so has the task that it was at last."""
        for task in self._latest:
            self._ended.setdefault(task, time.monotonic())

    def info(self, message: str) -> None:
        """Something worth a line in the log happened. On a terminal, the table shows it."""
        if not self._live and not self._quiet:
            self._console.print(self._named(message), soft_wrap=True)

    def warning(self, message: str) -> None:
        """Something an administrator should look at happened."""
        self._console.print(self._named(message), style="yellow", soft_wrap=True)

    def notice(self, message: str) -> None:
        """Something happened elsewhere in the registry. The message says of what it is."""
        self._console.print(shown(message), style="yellow", soft_wrap=True)

    def _named(self, message: str) -> str:
        return shown(message if message.startswith(f"{self.key}: ") else f"{self.key}: {message}")

    def conclude(self, outcome: dict[str, Any]) -> None:
        """Say how the run ended."""
        seconds = time.monotonic() - self._start
        done = ", ".join(outcome["materialised"]) or "nothing"
        if outcome["success"]:
            self._console.print(f"{self.key}: {done} in {seconds:.0f} s", style="green", soft_wrap=True)
            return
        for reason in outcome["failures"] or ["the run failed; see it in Dagit"]:
            self._console.print(shown(reason), style="red", soft_wrap=True)
        how = "interrupted" if outcome["cancelled"] else "failed"
        self._console.print(
            f"{self.key}: {how} after {seconds:.0f} s; made {done}. Run {outcome['run_id']}", soft_wrap=True
        )

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        now = time.monotonic()
        for task, progress in self._latest.items():
            ended = self._ended.get(task)
            mark = Text("✓", style="green") if ended else Text("…", style="cyan")
            share = f"{100 * progress.done / progress.total:.0f}%" if progress.done and progress.total else ""
            spent = f"{(ended or now) - self._begun[task]:.0f} s"
            table.add_row(mark, task, shown(progress.message), "" if ended else share, spent)
        return table if self._latest else Table.grid()
