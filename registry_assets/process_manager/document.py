"""The catalogue document: one file with everything that is published, for those who list or download it (ASK-14).

Belongs here: filling it in and writing it. Does not belong here: its form (`document_model.py`), or when it is made.

It says what the pointers say: a publication's files are those of the version that `latest.json` names, whatever the
database takes for the active job at that moment (I1).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from exporter import files, manifest, publish
from exporter.coverage import counts as counts_of
from exporter.errors import ExporterError
from exporter.util import MANIFEST
from registry_assets.process_manager import document_model as model
from registry_assets.process_manager.services import Services
from registry_resources.database import Collection, Job, visible
from registry_resources.database import License as LicenseRow
from registry_resources.redaction import redact

NAME = "catalogue.json"

TRIES = 3
"""How often a version is looked up that is replaced and deleted while it is read."""


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        path: the file.
        sha256: its checksum.
        document: what is in it.
        changed: whether it is other than before. If not, the file was not touched.
        problems: of which publications the files are left out, and why, a sentence each.
    """

    path: Path
    sha256: str
    document: model.Document
    changed: bool
    problems: list[str]


def write(services: Services) -> Written:
    """Make the document, and put it in the place of the one before in one step."""
    path = services.settings.exporter_dir / NAME
    problems: list[str] = []
    with services.database.session(read_only=True) as session:
        document = model.Document(publications=list(_publications(services, session, problems)))
    text = document.to_bytes()
    changed = not path.is_file() or path.read_bytes() != text
    if changed:
        files.make_directory(path.parent)
        files.clean_temporaries(path.parent, NAME)
        files.write_atomically(path, text)
    return Written(path, hashlib.sha256(text).hexdigest(), document, changed, problems)


def state(session: Session) -> str:
    """A text that changes whenever the document may have to: cheap to ask for at every tick of a sensor.

    Publishing changes a publication's row, after the pointer has moved. Not the latest change alone counts, but every
    row's: of two transactions, that with the earlier time may end later, and a clock may be set back.
    """
    digest = hashlib.sha256()
    for table in (Collection, LicenseRow):
        for number, modified in session.execute(select(table.id, table.modified).order_by(table.id)):
            digest.update(f"{table.__tablename__} {number} {modified.isoformat()}\n".encode())
    return digest.hexdigest()


def _publications(services: Services, session: Session, problems: list[str]) -> Iterator[model.Publication]:
    statement = visible().order_by(Collection.key).options(joinedload(Collection.license_custom))
    collection: Collection
    for collection in session.scalars(statement):  # type: ignore[assignment]
        try:
            version = _version(services, collection.key)
        except (ExporterError, OSError, ValueError) as e:
            problems.append(f"{collection.key}: its files are left out: {redact(str(e))}")
            version = None
        job = session.get(Job, version.job) if version else None
        if job and job.collection_id != collection.id:
            job = None
        if version and job:
            # What merging left out never came to the export, so its manifest can't tell (I8).
            counts = (job.context.get("process_counts") or {}).items()
            left_out = {name: n for name, n in counts if name.startswith("skipped_") and n}
            version = version.model_copy(update={"skipped": {**left_out, **version.skipped}})
        yield _publication(collection, job, version)


def _publication(collection: Collection, job: Job | None, version: model.Version | None) -> model.Publication:
    """Fill in a publication, with its overrides applied (CAT-10, CAT-11, CAT-18)."""
    licence = collection.license_custom
    return model.Publication(
        key=collection.key,
        title=collection.title,
        **{name: collection.texts(name) for name in Collection.TRANSLATED},  # type: ignore[arg-type]
        region=str(collection.region),
        last_reviewed=f"{collection.last_reviewed:%Y-%m}" if collection.last_reviewed else None,
        update_frequency=str(collection.update_frequency),
        retrieval_frequency=str(collection.retrieval_frequency),
        last_retrieved=collection.last_retrieved,
        frozen=collection.frozen,
        source_id=collection.source_id,
        source_url=redact(collection.source_url),
        license=model.License(name=licence.texts("name"), description=licence.texts("description"), url=licence.url)  # type: ignore[arg-type]
        if licence
        else model.License(url=redact(job.license) if job else ""),
        publication_policy=redact(collection.publication_policy or (job.publication_policy if job else "")),
        ocid_prefix=collection.ocid_prefix or (job.ocid_prefix if job else ""),
        date_from=collection.date_from or (job.date_from if job else None),
        date_to=collection.date_to or (job.date_to if job else None),
        version=version,
    )


def _version(services: Services, key: str) -> model.Version | None:
    """Describe the version that the pointer names. One that is replaced and deleted meanwhile is looked up again."""
    for attempt in range(TRIES):
        pointer = publish.read_latest(services.settings.exporter_dir, key)
        if pointer is None:
            return None
        try:
            return _described(services.settings.exporter_dir, key, pointer)
        except (ExporterError, OSError):
            again = publish.read_latest(services.settings.exporter_dir, key)
            if attempt == TRIES - 1 or again == pointer:
                raise
    raise AssertionError("unreachable")


def _described(root: Path, key: str, pointer: publish.Pointer) -> model.Version:
    folder = root / key / pointer.directory
    text = (folder / MANIFEST).read_bytes()
    digest = hashlib.sha256(text).hexdigest()
    if digest != pointer.manifest_sha256:
        raise ExporterError(f"{folder / MANIFEST}: it is not the one that was published. Publish the job again")
    found = manifest.Manifest.model_validate_json(text)
    coverage: dict[str, Any] = json.loads((folder / "coverage.json").read_bytes())
    where = f"{key}/{pointer.directory}"
    return model.Version(
        job=int(pointer.job),
        published_at=pointer.published_at,
        manifest=model.Manifest(path=f"{where}/{MANIFEST}", sha256=digest),
        ocids=next((entry.rows for entry in found.files if entry.format == "jsonl" and entry.year == "full"), 0),
        counts=counts_of(coverage),
        coverage=coverage,
        skipped={name: n for name, n in found.counts.items() if name.startswith("skipped_") and n},
        files=[
            model.File(
                path=f"{where}/{entry.name}",
                **entry.model_dump(include={"format", "year", "table", "rows", "bytes", "sha256"}),
            )
            for entry in found.files
        ],
        missing=[
            model.Missing(
                path=f"{where}/{entry.name}",
                format=entry.format,
                reason_code=entry.reason_code,
                reason=redact(entry.reason),
            )
            for entry in found.missing
        ],
    )
