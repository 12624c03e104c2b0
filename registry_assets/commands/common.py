"""What several commands share.

Belongs here: opening the database, and how things are shown. Does not belong here: any command.
"""

from __future__ import annotations

import datetime
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from registry_resources.exceptions import ConfigurationError
from registry_resources.redaction import redact

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Column, Table
    from sqlalchemy.orm import Session

    from registry_resources.database import Collection, Database

PIPED_WIDTH = 500
"""How wide tables may be, in characters, where there is no terminal: nothing is cut that a program might look for."""

WORD = 20
"""Up to how many characters a word is not broken in a table, if the terminal has room for that."""

GAP = 3
"""How far columns of a table are apart, in characters."""

# Publishers' texts must not steer a terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")


class DeclinedError(click.ClickException):
    """Somebody was asked, and did not say yes."""

    def show(self, file: Any = None) -> None:
        """Say so, which is no error."""
        click.echo(self.message, err=True, file=file)


def confirm(question: str) -> None:
    """Ask, on standard error.

    Raises:
        DeclinedError: if the answer is no, or there is nobody to answer.
        click.Abort: after Ctrl-C.
    """
    try:
        if click.confirm(question, err=True):
            return
    except click.Abort as abort:
        if isinstance(abort.__context__, EOFError):
            raise DeclinedError("\nNothing was changed, since nobody answered. Say --yes to not be asked.") from None
        raise
    raise DeclinedError("Nothing was changed.")


@contextmanager
def open_database() -> Iterator[Database]:
    """Open the registry's database, which has to be there and current.

    Raises:
        ConfigurationError: if it isn't, with the remedy.
    """
    from registry_resources import logs  # noqa: PLC0415 - not before it is needed
    from registry_resources.database import Database  # noqa: PLC0415
    from registry_resources.settings import Settings  # noqa: PLC0415

    settings = Settings.from_env()
    logs.configure(settings.log_level)
    database = Database(settings.database_url)
    try:
        database.check()
        yield database
    finally:
        database.dispose()


def find(session: Session, key: str) -> Collection:
    """Find a publication.

    Raises:
        ConfigurationError: if there is none, with what it may have been.
    """
    from sqlalchemy import select  # noqa: PLC0415 - not before it is needed

    from registry_resources.catalogue.problems import suggest  # noqa: PLC0415
    from registry_resources.database import Collection, collection_by_key  # noqa: PLC0415

    collection = collection_by_key(session, key)
    if collection is None:
        keys = list(session.scalars(select(Collection.key).order_by(Collection.key)))
        hint = suggest(key, keys)
        hint = hint if hint.startswith("Did") else "`registry list` shows those it has."
        raise ConfigurationError(f"{key}: the catalogue has no such publication. {hint}")
    return collection


def console(*, stderr: bool = False) -> Console:
    """Give a console that cuts nothing where its output is piped."""
    from rich.console import Console  # noqa: PLC0415 - not before it is needed

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPED_WIDTH
    return Console(file=stream, highlight=False, markup=False, emoji=False, width=width)


def table(*columns: str, title: str | None = None) -> Table:
    """Give a table with headings, whose values go on in the next line where the terminal is narrow."""
    from rich.box import SIMPLE  # noqa: PLC0415 - not before it is needed
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    view = Table(title=Text(title) if title else None, title_justify="left", box=SIMPLE, pad_edge=False)
    for number, column in enumerate(columns):
        view.add_column(column, overflow="fold", no_wrap=number == 0)
    return view


def print_table(view: Table, optional: Sequence[str] = ()) -> None:
    """Print a table. No value is cut, since it may be copied; and only what is long is broken within a word.

    Args:
        view: the table.
        optional: columns that are left out, the first one first, if the terminal is too narrow for all.
    """
    from rich.measure import Measurement  # noqa: PLC0415 - not before it is needed

    out = console()

    def widths(column: Column) -> tuple[int, int]:
        """How wide a column has to be for its longest word, and for all."""
        cells = [Measurement.get(out, out.options, cell) for cell in (column.header, *column.cells)]
        return min(WORD, max(cell.minimum for cell in cells)), max(cell.maximum for cell in cells)

    def room() -> int:
        # There is a gap less than there are columns; and a space at each side.
        return out.width - (sum(widths(column)[0] + GAP for column in view.columns) - GAP + 2)

    for name in optional:
        if room() < 0:
            view = _without(view, name)
    if (left := room()) >= 0:  # else nothing but breaking words helps
        wanting = sorted(view.columns, key=lambda column: widths(column)[1] - widths(column)[0])
        for number, column in enumerate(wanting):
            narrowest, widest = widths(column)
            more = min(widest - narrowest, left // (len(wanting) - number))
            column.width = narrowest + more
            left -= more
    out.print(view)


def _without(view: Table, header: str) -> Table:
    """A table without one of its columns: those of a table know their places, so it is made anew."""
    kept = [column for column in view.columns if column.header != header]
    fewer = table(*(str(column.header) for column in kept))
    fewer.title = view.title
    for cells in zip(*(column.cells for column in kept), strict=True):
        fewer.add_row(*cells)
    return fewer


def print_json(value: Any, indent: int | None = 2) -> None:
    """Print JSON, without secrets. Where the output takes ASCII only, with escapes for all else."""
    ascii_only = "utf" not in (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    click.echo(json.dumps(_redacted(value), ensure_ascii=ascii_only, indent=indent, default=_json))


def _json(value: Any) -> str:
    if isinstance(value, datetime.date):
        return value.isoformat()
    raise TypeError(f"{type(value)} can't be JSON")


def _redacted(value: Any) -> Any:
    """Redact each text by itself: redacting the whole could break the JSON."""
    if isinstance(value, str):
        # What an encoder refuses, and what was no text to begin with.
        return redact(value).encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {name: _named(name, item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item) for item in value]
    return value


def _named(name: str, value: Any) -> Any:
    """A name such as `api_token` makes any text a secret."""
    if isinstance(value, str) and value and redact(f"{name}={value}") != f"{name}={redact(value)}":
        return redact(f"{name}={value}").partition("=")[2]
    return _redacted(value)


def shown(value: Any) -> str:
    """Give a value as people read it: without secrets, and without characters that steer a terminal."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime.datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, dict):
        value = ", ".join(f"{name}={text}" for name, text in value.items())
    return _CONTROL.sub("\ufffd", redact(str(value))).strip()
