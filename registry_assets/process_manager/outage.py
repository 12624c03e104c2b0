"""Waiting for a database that is away for a while, as when PostgreSQL is started anew.

Does not belong here: what is read or written.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

PATIENCE = 600.0
"""For how many seconds a database may be away before what needed it fails."""

PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds between tries; the last one again and again."""

T = TypeVar("T")


def is_outage(error: DBAPIError) -> bool:
    """Whether a database did not answer, or was too busy to, so that it may be asked again."""
    return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)


def through_outages(attempt: Callable[[], T], cause: DBAPIError | None = None, patience: float = PATIENCE) -> T:
    """Try until the database answers.

    Args:
        attempt: a whole transaction, so that it can be tried again.
        cause: an error that was met already. It is raised again unless it was an outage.
        patience: for how many seconds to try.

    Raises:
        DBAPIError: the last one, if the database is away for longer; at once if it is of another kind.
    """
    if cause is not None and not is_outage(cause):
        raise cause
    deadline = time.monotonic() + patience
    tries = 0
    while True:
        try:
            return attempt()
        except DBAPIError as e:
            if not is_outage(e) or time.monotonic() > deadline:
                raise
        time.sleep(PAUSES[min(tries, len(PAUSES) - 1)])
        tries += 1
