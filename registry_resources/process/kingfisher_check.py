"""Whether Kingfisher Process can be used as it is set up, for `registry check`. Nothing is changed.

Does not belong here: doing anything with it.
"""

from __future__ import annotations

from registry_resources.exceptions import ConfigurationError, RecoverableError, UnexpectedError
from registry_resources.process.kingfisher_api import KingfisherApi, Timeouts
from registry_resources.process.kingfisher_database import NEEDED, WANTED, KingfisherDatabase
from registry_resources.redaction import safe_url
from registry_resources.settings import KingfisherSettings

_NOBODY = 0  # no collection has this id


def check_api(settings: KingfisherSettings) -> str:
    """Ask the API for a collection that can't be there, and expect it to say so.

    Returns:
        What answered.

    Raises:
        ConfigurationError: if it doesn't answer like Kingfisher Process, with the remedy.
    """
    where = safe_url(settings.process_url)
    try:
        tree = KingfisherApi(settings.process_url, Timeouts(connect=5, read=15)).tree(_NOBODY)
    except (RecoverableError, UnexpectedError) as error:
        raise ConfigurationError(f"{error}. Start Kingfisher Process, or correct KINGFISHER_PROCESS_URL.") from error
    if tree is not None:
        raise ConfigurationError(
            f"{where} answers, but not like Kingfisher Process: it knows a collection 0. "
            "Correct KINGFISHER_PROCESS_URL."
        )
    return f"{where} answers like Kingfisher Process"


def check_database(settings: KingfisherSettings) -> str:
    """Connect to the database, and look whether the tables may be read.

    Returns:
        What was found.

    Raises:
        ConfigurationError: if it can't be read, with the remedy.
    """
    database = KingfisherDatabase(settings.process_database_url)
    try:
        with database.session() as connection:
            readable = database.readable(connection)
            role, name = connection.info.user, connection.info.dbname
    except (RecoverableError, UnexpectedError) as error:
        raise ConfigurationError(f"{error} Correct KINGFISHER_PROCESS_DATABASE_URL, or start the server.") from error
    if missing := [table for table in NEEDED if not readable[table]]:
        raise ConfigurationError(
            f"Kingfisher Process' database {name}: the role {role} may not read {', '.join(missing)}. "
            f"As the tables' owner: GRANT SELECT ON {', '.join(missing)} TO {role};"
        )
    unread = [table for table in WANTED if not readable[table]]
    told = f" (not {', '.join(unread)}, so of these it won't be noticed what got lost)" if unread else ""
    return (
        f"{name} is reachable, and {role} may read {', '.join(table for table in readable if readable[table])}{told}"
    )
