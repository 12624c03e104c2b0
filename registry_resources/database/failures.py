"""What an error of the database means to an administrator: the cause in one line, and the remedy.

Does not belong here: when a database is waited for (`registry_assets.process_manager.outage`).
"""

import re

from sqlalchemy.exc import SQLAlchemyError

from registry_resources.redaction import redact

_REMEDIES = (
    (r"malformed|not a database", "The file is damaged. Restore it from a backup (docs/production.md)."),
    (r"locked", "Another process holds it. Wait until that one is done, or end it (`fuser` tells which it is)."),
    (r"disk is full|no space|disk i/o", "Free disk space, or look at the disk's health, then try again."),
    (r"readonly|read-only|unable to open|denied", "Let this user read and write it, and the folder that it is in."),
)


def cause(error: SQLAlchemyError) -> str:
    """Give what the database said, in one line, without the statement and without secrets."""
    said = str(getattr(error, "orig", None) or error).partition("[SQL:")[0]
    return redact(" ".join(said.split())).rstrip(".")


def remedy(error: SQLAlchemyError, otherwise: str) -> str:
    """Give what to do about it: a sentence or more.

    Args:
        error: the error.
        otherwise: what to do if it is none of those that are known.
    """
    said = cause(error).lower()
    return next((text for pattern, text in _REMEDIES if re.search(pattern, said)), otherwise)


def explain(error: SQLAlchemyError) -> str:
    """Say that the database failed, why, and what to do."""
    return f"The database failed: {cause(error)}. {remedy(error, '`registry check` may tell why.')}"
