"""What all models share.

Belongs here: the base class, names of constraints, primary keys and timestamps. Does not belong here: any model.
"""

import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, MetaData, inspect
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from registry_resources.database.types import CleanText, UtcDateTime, utcnow

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
"""Constraints have names, so that migrations can change them on any database."""

NEVER_REUSED: dict[str, Any] = {"sqlite_autoincrement": True}
"""Ids name folders and run keys, so SQLite must not give the id of a deleted row to a new one."""


class Base(DeclarativeBase):
    """The base of the registry's models."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map: ClassVar[dict[Any, Any]] = {str: CleanText, datetime.datetime: UtcDateTime}
    __table_args__: Any = (NEVER_REUSED,)

    def __init__(self, **values: Any) -> None:
        """Set the given attributes, and those with a default now rather than when the row is written."""
        for attribute in inspect(type(self)).column_attrs:
            default = attribute.columns[0].default
            if attribute.key in values or default is None:
                continue
            if default.is_scalar:
                setattr(self, attribute.key, default.arg)
            elif isinstance(attribute.columns[0].type, JSON):
                setattr(self, attribute.key, {})
        for name, value in values.items():
            if not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} has no {name}")
            setattr(self, name, value)


def json_object(**options: Any) -> Any:
    """Make a column of a JSON object. Setting a key is saved; a change inside a value isn't: assign the value anew."""
    return mapped_column(MutableDict.as_mutable(JSON()), default=dict, **options)


class Identified:
    """Has an id that is never used again."""

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True, sort_order=-1)


class Timestamped:
    """Says when it was made and last changed (CAT-20). Every UPDATE sets `modified`, those without the ORM too."""

    created: Mapped[datetime.datetime] = mapped_column(default=utcnow, sort_order=100)
    modified: Mapped[datetime.datetime] = mapped_column(default=utcnow, onupdate=utcnow, sort_order=101)
