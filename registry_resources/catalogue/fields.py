"""What a catalogue file may say of a publication, in the order in which it is written.

Belongs here: the file's fields, and the models' columns that they are. Does not belong here: reading or writing YAML.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from registry_resources.database import LANGUAGES, Collection, License
from registry_resources.database.choices import Choices, Region, RetrievalFrequency, UpdateFrequency

Values = dict[str, Any]
"""Values by column. References are by key (`license_custom`) or name (`settings_bundle`). No translation is None."""


@dataclass(frozen=True)
class Field:
    """One field of a publication.

    Attributes:
        name: in the file.
        kind: `text`, `texts` (in several languages), `date`, `flag`, `choice`, `map` or `reference`.
        column: the model's attribute, if other than `name`.
        choices: for a choice.
        default: what it is if the file doesn't mention it.
        kept: the database's value stays if the file doesn't mention it. For what the registry itself changes: the
            commands `freeze` and `unfreeze`, a publication's first success (CAT-11).
        required: whether the file has to mention it.
    """

    name: str
    kind: str = "text"
    column: str = ""
    choices: type[Choices] | None = None
    default: Any = ""
    kept: bool = False
    required: bool = False

    @property
    def attribute(self) -> str:
        """The model's attribute."""
        return self.column or self.name

    def columns(self, value: Any) -> Values:
        """Give the columns' values that a value of the file stands for."""
        if self.kind == "texts":
            return {f"{self.attribute}_{language}": text for language, text in value.items()}
        return {self.attribute: value}

    def defaults(self) -> Values:
        """Give the columns' values if the file doesn't mention the field."""
        if self.kind == "texts":
            return {f"{self.attribute}_{language}": None for language in LANGUAGES}
        return {self.attribute: {} if self.kind == "map" else self.default}


FIELDS: Mapping[str, Field] = {
    field.name: field
    for field in (
        Field("key"),
        Field("title", required=True),
        Field("country", "texts"),
        Field("country_flag"),
        Field("region", "choice", choices=Region),
        Field("language", "texts"),
        Field("description", "texts"),
        Field("description_long", "texts"),
        Field("additional_data", "texts"),
        Field("summary", "texts"),
        Field("last_reviewed", "date", default=None),
        Field("source_url"),
        Field("source_id", required=True),
        Field("spider_arguments", "map"),
        Field("settings_bundle", "reference", default=None),
        Field("incremental", "flag", default=False),
        Field("retrieval_frequency", "choice", choices=RetrievalFrequency),
        Field("update_frequency", "choice", choices=UpdateFrequency, default=UpdateFrequency.UNKNOWN),
        Field("license", "reference", column="license_custom", default=None),
        Field("publication_policy", kept=True),
        Field("date_from", "date", default=None),
        Field("date_to", "date", default=None),
        Field("ocid_prefix"),
        Field("no_data_rationale", "texts"),
        Field("frozen", "flag", default=False, kept=True),
        Field("public", "flag", default=False, kept=True),
    )
}

REFUSED = dict.fromkeys(
    ("active_job", "last_retrieved", "created", "modified", "id"),
    "is set by the registry, never by the file. Delete the line.",
)
"""What it may not say, and why."""


def collection_values(collection: Collection) -> Values:
    """Give a publication's values, as a file would."""
    values: Values = {}
    for field in FIELDS.values():
        if field.kind == "texts":
            for column in field.defaults():
                values[column] = getattr(collection, column) or None
        elif field.name == "license":
            values[field.attribute] = collection.license_custom.key if collection.license_custom else None
        elif field.name == "settings_bundle":
            values[field.attribute] = collection.settings_bundle.name if collection.settings_bundle else None
        else:
            value = getattr(collection, field.attribute)
            values[field.attribute] = dict(value) if field.kind == "map" else value
    return values


def license_values(license_: License) -> Values:
    """Give a licence's values, as a file would."""
    columns = [f"{name}_{language}" for name in License.TRANSLATED for language in LANGUAGES]
    return {"key": license_.key, **{name: getattr(license_, name) or None for name in columns}, "url": license_.url}


def plain(value: Any) -> Any:
    """Give a value as JSON has it."""
    if isinstance(value, datetime.date):
        return value.isoformat()
    return value.value if isinstance(value, Choices) else value
