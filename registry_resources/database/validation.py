"""Constraints that more than one model has, in the database and, for a better message, in Python.

Belongs here: rules about one column's text. Does not belong here: rules about how rows relate.
"""

import re

from sqlalchemy import CheckConstraint

KEY_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789_"
KEY_LENGTH = 100
"""A key names a folder and a partition, so it has to stay well under 255 bytes."""


def is_key(value: str) -> bool:
    """Whether a text can be a key: 1 to 100 of a-z, 0-9 and _."""
    return re.fullmatch(r"[a-z0-9_]{1,100}", value) is not None


def check_key(value: str) -> str:
    """Give back the key.

    Raises:
        ValueError: if it can't be one.
    """
    if not is_key(value):
        raise ValueError(
            f"{value!r} can't be a key. Use 1 to {KEY_LENGTH} lower-case letters, digits and underscores."
        )
    return value


def key_check() -> CheckConstraint:
    """Make the CHECK of a key. `trim` with a set of characters is the same on SQLite and PostgreSQL."""
    return CheckConstraint(
        f"trim(key, '{KEY_CHARACTERS}') = '' AND length(key) BETWEEN 1 AND {KEY_LENGTH}", name="key"
    )


def url_check(column: str) -> CheckConstraint:
    """Make the CHECK that a link, unless blank, is one that a page can show safely (no `javascript:`)."""
    return CheckConstraint(
        f"{column} = '' OR substr({column}, 1, 7) = 'http://' OR substr({column}, 1, 8) = 'https://'",
        name=f"{column}_http",
    )
