"""What all models share.

Belongs here: the base class, names of constraints, primary keys and timestamps. Does not belong here: any model.
"""

import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, MetaData
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

JSON_OBJECT = MutableDict.as_mutable(JSON())
"""A JSON object. Setting a key is noticed and saved; changing a value inside a value isn't: assign it anew."""

NEVER_REUSED: dict[str, Any] = {"sqlite_autoincrement": True}
"""Ids name folders and run keys, so SQLite must not give the id of a deleted row to a new one."""


class Base(DeclarativeBase):
    """The base of the registry's models."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map: ClassVar[dict[Any, Any]] = {str: CleanText, datetime.datetime: UtcDateTime}
    __table_args__: Any = (NEVER_REUSED,)


class Identified:
    """Has an id that is never used again."""

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True, sort_order=-1)


class Timestamped:
    """Says when it was made and last changed (CAT-20). Every UPDATE sets `modified`, those without the ORM too."""

    created: Mapped[datetime.datetime] = mapped_column(default=utcnow, sort_order=100)
    modified: Mapped[datetime.datetime] = mapped_column(default=utcnow, onupdate=utcnow, sort_order=101)
