"""Column types that behave alike on SQLite and PostgreSQL, and the CHECKs that go with them.

Belongs here: how a Python value becomes a column's value. Does not belong here: what any column means.
"""

import datetime
from collections.abc import Collection, Iterable
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import CheckConstraint, DateTime, Dialect, String, Text
from sqlalchemy.types import TypeDecorator

from registry_resources.database.choices import Choices

C = TypeVar("C", bound=Choices)


def utcnow() -> datetime.datetime:
    """Return the time now, aware, in UTC."""
    return datetime.datetime.now(datetime.UTC)


class UtcDateTime(TypeDecorator[datetime.datetime]):
    """A moment: aware in Python, in UTC in the database (SQLite has no time zones, so there it is implied)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime.datetime | None, dialect: Dialect) -> datetime.datetime | None:
        """Refuse a naive time, since nobody can say which moment it is."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone. Use datetime.datetime.now(datetime.UTC) or the like.")
        value = value.astimezone(datetime.UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime.datetime | None, _: Dialect) -> datetime.datetime | None:
        """Give the moment in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=datetime.UTC) if value.tzinfo is None else value.astimezone(datetime.UTC)


class CleanText(TypeDecorator[str]):
    """Text that any database takes.

    Publishers' texts (a licence, a note) hold NUL, which PostgreSQL refuses, and lone surrogates, which no encoder
    takes. Both become U+FFFD, the replacement character, so that a hostile character never fails a job.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, _: Dialect) -> str | None:
        """Replace what can't be stored."""
        return None if value is None else clean(value)


def clean(text: str) -> str:
    """Replace NUL and lone surrogates by U+FFFD."""
    if text.isascii():
        return text.replace("\0", "\ufffd")
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class Choice(TypeDecorator[Any], Generic[C]):
    """A member of an enumeration, stored as text. Blank, where the column allows it, is the empty text."""

    impl = String(20)
    cache_ok = True

    def __init__(self, choices: type[C]) -> None:
        super().__init__()
        self.choices = choices

    def process_bind_param(self, value: str | None, _: Dialect) -> str | None:
        """Refuse what is no choice, saying what is."""
        return self._member(value).value if value else value

    def process_result_value(self, value: str | None, _: Dialect) -> C | str | None:
        """Give the member."""
        return self._member(value) if value else value

    def _member(self, value: str) -> C:
        return cast("type[Any]", self.choices)(value)  # type: ignore[no-any-return]


def choice_check(
    column: str, choices: Iterable[Choices], *, blank: bool = False, never: Collection[Choices] = ()
) -> CheckConstraint:
    """Make the CHECK that a column holds one of the choices.

    Args:
        column: the column's name.
        choices: the enumeration.
        blank: whether the empty text is allowed too.
        never: members that are never stored.
    """
    values = [choice.value for choice in choices if choice not in never]
    quoted = ", ".join(f"'{value}'" for value in ([""] if blank else []) + values)
    return CheckConstraint(f"{column} IN ({quoted})", name=f"{column}_choice")
