"""The models of what was told to people, and of what waits to be sent to them.

Belongs here: what keeps anything from being told twice, or lost. Does not belong here: what is worth telling.
"""

import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from registry_resources.database.base import NEVER_REUSED, Base, Identified, Timestamped


class Trouble(Identified, Timestamped, Base):
    """What was told of a publication that is not well. One that is well has none.

    Attributes:
        collection_id: the publication.
        since: when the first job ended that was not well.
        job_id: the job that was told of last. It may have been deleted since.
        causes: those that were told since then, in a form that can be compared.
        proposed: whether freezing the publication was proposed.
    """

    __tablename__ = "trouble"

    collection_id: Mapped[int] = mapped_column(ForeignKey("collection.id", ondelete="CASCADE"), unique=True)
    since: Mapped[datetime.datetime]
    job_id: Mapped[int]
    causes: Mapped[list[str]] = mapped_column(JSON)
    proposed: Mapped[bool] = mapped_column(default=False)


class Notice(Identified, Timestamped, Base):
    """A message that waits to be sent by one way. Once it is sent there is none.

    Attributes:
        number: a UUID that the message carries, so that whoever gets it twice can tell.
        channel: the way, such as `webhook`.
        subject: one line.
        text: all of it, for people.
        events: the same for programs.
        attempts: how often sending it was begun.
        next_try: when it is to be sent. While somebody sends it, a time by which that is surely over.
        error: why it could not be sent last, or "".
    """

    __tablename__ = "notice"
    __table_args__ = (CheckConstraint("attempts >= 0", name="attempts_positive"), NEVER_REUSED)

    number: Mapped[str] = mapped_column(unique=True)
    channel: Mapped[str]
    subject: Mapped[str]
    text: Mapped[str]
    events: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    attempts: Mapped[int] = mapped_column(default=0)
    next_try: Mapped[datetime.datetime]
    error: Mapped[str] = mapped_column(default="")
