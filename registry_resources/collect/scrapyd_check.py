"""Whether Scrapyd can be used as it is set up, for `registry check`. Nothing is changed.

Does not belong here: doing anything with it.
"""

from __future__ import annotations

from collections.abc import Iterable

from registry_resources.collect.scrapyd_client import ScrapydClient
from registry_resources.exceptions import ConfigurationError, RecoverableError, UnexpectedError
from registry_resources.settings import KingfisherSettings

_NAMED = 20  # spiders named in a message


def check_scrapyd(settings: KingfisherSettings, spiders: Iterable[str]) -> str:
    """Ask Scrapyd how it is, and for the project and its spiders.

    Args:
        settings: where it is.
        spiders: those that publications use.

    Returns:
        What answered.

    Raises:
        ConfigurationError: if it doesn't answer like Scrapyd, or has no such project or spiders, with the remedy.
    """
    client = ScrapydClient(settings.scrapyd_url, settings.scrapyd_project)
    try:
        status = client.daemon_status()
        known = set(client.spiders())
    except (RecoverableError, UnexpectedError) as error:
        raise ConfigurationError(f"{error} Start Scrapyd, or correct SCRAPYD_URL and SCRAPYD_PROJECT.") from error
    if missing := sorted(set(spiders) - known):
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise ConfigurationError(
            f"{client.url} has no spiders {', '.join(missing[:_NAMED])}{more} in project {client.project}, which has "
            f"{len(known)}. Deploy them, or correct source_id in the catalogue."
        )
    return f"{client.url} answers ({status}); project {client.project} has {len(known)} spiders"
