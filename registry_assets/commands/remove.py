"""`registry remove`: a publication goes, with its jobs and, unless told otherwise, what readers see of it (CAT-21).

Does not belong here: how (`process_manager.deletion`).
"""

from __future__ import annotations

from contextlib import suppress

import click

from registry_assets.commands.common import confirm, find, open_database
from registry_assets.commands.services import open_services
from registry_resources.exceptions import DataRegistryError

PUBLIC = """\
{key} ({title}) is to be removed for good:
  - {jobs} jobs, with their crawls, temporary data and what is known of them
  - {public}
Take it out of the catalogue file first, or the next `registry sync` makes it anew. To only hide it, set
`public: false` there; to stop refreshing it, freeze it (`registry freeze {key}`)."""


@click.command(short_help="Delete a publication for good.")
@click.argument("key")
@click.option("--keep-exports", is_flag=True, help="Leave the published version and the pointer to it.")
@click.option("--yes", is_flag=True, help="Don't ask.")
def remove(key: str, *, keep_exports: bool, yes: bool) -> None:
    """Delete the publication KEY for good, such as a duplicate that is no longer in the catalogue file.

    Jobs are wiped first; what readers see goes last. If it is interrupted, run it again.
    """
    from sqlalchemy import func, select  # noqa: PLC0415 - not before it is needed

    from registry_assets.process_manager import deletion  # noqa: PLC0415
    from registry_resources.database import Job  # noqa: PLC0415

    with open_database() as database, database.session(read_only=True) as session:
        collection = find(session, key)
        jobs = session.scalar(select(func.count()).select_from(Job).where(Job.collection_id == collection.id))
        title, published, frozen = collection.title, collection.active_job_id is not None, collection.frozen
    gone = "the published files, which readers can download now: PUBLIC DATA WILL VANISH"
    stays = "the published files stay where they are, and nothing refreshes or lists them any more"
    public = (stays if keep_exports else gone) if published else "nothing is published of it"
    if not yes:
        click.echo(PUBLIC.format(key=key, title=title, jobs=jobs, public=public))
        confirm("Remove it?")
    try:
        with open_services() as services:
            deletion.remove_publication(services, key, keep_exports=keep_exports)
    except DataRegistryError as error:
        raise type(error)(f"{error}{'' if frozen else _left(key)}") from error
    except BaseException:
        if not frozen:
            click.echo(_left(key).strip(), err=True)
        raise
    click.echo(f"{key} is removed. Its partition in Dagit goes within a minute, if Dagster runs.")


def _left(key: str) -> str:
    """What a removal that did not come to its end has left, for who would go on with the publication."""
    from registry_resources.database import collection_by_key  # noqa: PLC0415 - not before it is needed

    frozen = True  # unless it is known otherwise
    with suppress(Exception), open_database() as database, database.session(read_only=True) as session:
        collection = collection_by_key(session, key)
        frozen = collection is not None and collection.frozen
    again = "remove it again, or go on with it by `registry unfreeze"
    return f" {key} is frozen now, so that nothing new begins: {again} {key}`." if frozen else ""
