"""Writing the catalogue file.

Belongs here: the database as a file that, synchronised, changes nothing. Does not belong here: operational fields.
"""

from __future__ import annotations

import datetime
import re
from typing import Any

import yaml
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload, selectinload

from registry_resources.catalogue.fields import FIELDS, collection_values, license_values
from registry_resources.database import LANGUAGES, Collection, License, SettingsBundle

HEADER = (
    "# The catalogue of publications. Change it, then run `registry sync FILE --dry-run`, and without --dry-run.\n"
)


def export_catalogue(session: Session) -> str:
    """Write everything that a catalogue file can hold, as YAML. What has its default is left out.

    Settings are written as they are in the database: those that are not `env:NAME` in plain text.
    """
    licenses = session.scalars(select(License).order_by(License.key))
    bundles = session.scalars(
        select(SettingsBundle).options(selectinload(SettingsBundle.settings)).order_by(SettingsBundle.name)
    )
    collections = session.scalars(
        select(Collection)
        .options(joinedload(Collection.license_custom), joinedload(Collection.settings_bundle))
        .order_by(Collection.key)
    )
    content = {
        "licenses": [_license(item) for item in licenses],
        "settings_bundles": [
            {"name": item.name, "settings": {setting.key: setting.value for setting in item.settings}}
            for item in bundles
        ],
        "publications": [_publication(item) for item in collections],
    }
    return HEADER + yaml.dump(
        {section: entries for section, entries in content.items() if entries},
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
    )


def _license(license_: License) -> dict[str, Any]:
    values = license_values(license_)
    texts = {name: _texts(values, name) for name in License.TRANSLATED}
    entry = {"key": license_.key, **texts, "url": values["url"]}
    return {name: value for name, value in entry.items() if value}


def _publication(collection: Collection) -> dict[str, Any]:
    values = collection_values(collection)
    entry: dict[str, Any] = {}
    for field in FIELDS.values():
        value = _texts(values, field.name) if field.kind == "texts" else values[field.attribute]
        if value and value != field.default:
            entry[field.name] = str(value) if field.choices else value
    return entry


def _texts(values: dict[str, Any], name: str) -> str | dict[str, str]:
    texts = {language: text for language in LANGUAGES if (text := values[f"{name}_{language}"])}
    return texts["en"] if list(texts) == ["en"] else texts


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such, and has no anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class's signature
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # Other kinds of line breaks would be read back as \n, and trailing spaces or tabs make blocks ambiguous.
    block = "\n" in text and not re.search(r"[\r\x85\u2028\u2029\ufeff]|[ \t]\n|^\s|[ \t]$", text)
    odd = re.search(r"[\r\x85\u2028\u2029\ufeff]", text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if block else '"' if odd else None)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(
    datetime.date, lambda dumper, date: dumper.represent_scalar("tag:yaml.org,2002:timestamp", date.isoformat())
)
