"""The asset `catalogue`: the document that lists everything that is published. One for all publications.

Does not belong here: what the document holds (`process_manager.document`), or when it is made
(`sensors.catalogue_document`).
"""

from typing import Any

import dagster as dg

from registry_assets import metadata as md
from registry_assets.assets.published import published
from registry_assets.assets.step import GROUP, OWNERS, Registry
from registry_assets.process_manager import document, publishing
from registry_resources.exceptions import DataRegistryError
from registry_resources.redaction import redact

STATE = "state"
"""The metadata that tells of which state of the registry it was made."""


@dg.asset(
    deps=[published],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"json"},
    code_version="1",
    description=(
        "The **catalogue document**, `catalogue.json`: every publication that everybody may see, with its metadata, "
        "counts, coverage, and files with sizes and checksums.\n\n"
        "A sensor has it made after something was published, and after the catalogue changed."
    ),
)
def catalogue(context: dg.AssetExecutionContext, registry: dg.ResourceParam[Registry]) -> dg.MaterializeResult[Any]:
    """Write the document."""
    try:
        with registry.services() as services:
            for sentence in publishing.mend(services):
                context.log.warning(redact(sentence))
            with services.database.session(read_only=True) as session:
                state = document.state(session)
            written = document.write(services)
    except DataRegistryError as e:
        raise dg.Failure(description=redact(str(e)), allow_retries=False) from None
    publications = written.document.publications
    rows: list[md.Row] = [
        {
            "publication": publication.key,
            "job": str(publication.version.job) if publication.version else "",
            "ocids": publication.version.ocids if publication.version else 0,
            "files": len(publication.version.files) if publication.version else 0,
        }
        for publication in publications
    ]
    return dg.MaterializeResult(
        metadata={
            "publications": len(publications),
            "with data": sum(publication.version is not None for publication in publications),
            "size": md.size(written.path.stat().st_size),
            "changed": written.changed,
            "file": dg.MetadataValue.path(str(written.path)),
            "left out": md.table([{"what": text} for text in written.problems], {"what": "string"}),
            "listed": md.table(rows, {"publication": "string", "job": "string", "ocids": "int", "files": "int"}),
            STATE: state,
        },
        data_version=dg.DataVersion(written.sha256),
    )
