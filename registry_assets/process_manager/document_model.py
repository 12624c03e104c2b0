"""The form of the catalogue document, `catalogue.json` (ASK-14).

Belongs here: its parts, typed. `docs/catalogue.schema.json` is made from this; a test compares them. Does not belong
here: filling it in (`document.py`), or when it is made (`registry_assets.assets.catalogue`).
"""

from __future__ import annotations

import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Texts = dict[Literal["en", "es", "ru"], str]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class License(_Part):
    """The terms of use: the registry's choice, or else what the data states, which is a publisher's text."""

    name: Texts = Field(default_factory=dict)
    description: Texts = Field(default_factory=dict, description="Markdown.")
    url: str = ""


class File(_Part):
    """One file of the version."""

    path: str = Field(description="From the folder of this document, with slashes.")
    format: Literal["jsonl", "coverage", "csv", "parquet", "xlsx"]
    year: int | Literal["full", "undated"] | None = Field(
        default=None,
        description="The year of the releases in it; `full` is all of them; null if it is not about years.",
    )
    table: str | None = Field(default=None, description="The table in it, if it holds one.")
    rows: int = Field(description="Releases (jsonl), rows of all tables in it, or paths (coverage).")
    bytes: int
    sha256: str


class Missing(_Part):
    """A file that could not be made, and why."""

    path: str
    format: str
    reason_code: str = Field(description="For programs, such as `too_many_rows`.")
    reason: str = Field(description="For people.")


class Manifest(_Part):
    """The manifest of the version, which tells more of each file."""

    path: str
    sha256: str


class Version(_Part):
    """The published version."""

    job: int
    published_at: str = Field(description="RFC 3339, UTC.")
    manifest: Manifest
    ocids: int = Field(description="Compiled releases, one for each ocid.")
    counts: dict[str, int] = Field(description="How many tenders, awards and so on there are.")
    coverage: dict[str, int] = Field(description="How many values there are, by path.")
    skipped: dict[str, int] = Field(description="What was left out, by reason.")
    files: list[File]
    missing: list[Missing]


class Publication(_Part):
    """A publication that everybody may see. Texts are in the languages that they were translated to."""

    key: str
    title: str
    country: Texts
    region: str = Field(description="MEA, AS, EECA, EU, LAC, NA, OC, or blank.")
    language: Texts = Field(description="The languages used in the data.")
    description: Texts = Field(description="Markdown; so are the other long texts.")
    description_long: Texts
    additional_data: Texts
    summary: Texts = Field(description="On the quality of the data.")
    last_reviewed: str | None = Field(description="The month in which that was last reviewed: YYYY-MM.")
    update_frequency: str = Field(description="The publisher's.")
    retrieval_frequency: str = Field(description="The registry's, or blank.")
    last_retrieved: datetime.date | None
    frozen: bool = Field(description="Whether it is not retrieved for now.")
    source_id: str
    source_url: str
    license: License
    publication_policy: str
    ocid_prefix: str
    date_from: datetime.date | None = Field(
        description="Of the data: the registry's word, or else the earliest release."
    )
    date_to: datetime.date | None = Field(description="Of the data: the registry's word, or else the latest release.")
    no_data_rationale: Texts = Field(description="Why there is no data.")
    version: Version | None = Field(description="The published version, or null if there is none.")


class Document(_Part):
    """The catalogue document: every publication that everybody may see, by key."""

    version: Literal[1] = Field(default=1, description="Of this form. It changes when a reader would have to.")
    publications: list[Publication]

    def to_bytes(self) -> bytes:
        """Return the text of the file: one publication a line, so that two versions of it can be compared."""
        lines = ",\n".join(publication.model_dump_json() for publication in self.publications)
        return f'{{"version":{self.version},"publications":[\n{lines}\n]}}\n'.encode()


def schema() -> dict[str, Any]:
    """Return the JSON Schema of `catalogue.json`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Document.model_json_schema(mode="serialization"),
    }
