"""The catalogue file, read and checked.

Belongs here: what makes a file right or wrong by itself. Does not belong here: how it differs from the database.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from registry_resources.catalogue.fields import FIELDS, REFUSED, Field, Values
from registry_resources.catalogue.nodes import Reader, compose, is_null
from registry_resources.catalogue.problems import CatalogueError, suggest
from registry_resources.catalogue.settings import secret_names
from registry_resources.database import License, validation

SECTIONS = ("licenses", "settings_bundles", "publications")


@dataclass(frozen=True)
class Entry:
    """A licence or a publication in the file.

    Attributes:
        key: its key.
        line: where it begins, from 1.
        values: what it is to be. What is to stay as it is, is missing.
    """

    key: str
    line: int
    values: Values


@dataclass(frozen=True)
class Document:
    """A catalogue file without errors.

    Attributes:
        path: the file, as it was named.
        licenses: in the file's order.
        settings_bundles: settings by name of the bundle.
        publications: in the file's order.
        warnings: what is right, but unwise.
    """

    path: str
    licenses: list[Entry] = dataclasses.field(default_factory=list)
    settings_bundles: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    publications: list[Entry] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)


def load(path: Path) -> Document:
    """Read and check a catalogue file.

    Raises:
        CatalogueError: with everything that is wrong with it.
        ConfigurationError: if it can't be read.
    """
    node = compose(path)
    document = Document(str(path))
    if node is None or is_null(node):
        return document
    checker = _Checker(document)
    checker.document_node(node)
    if checker.problems:
        raise CatalogueError(str(path), checker.problems)
    return document


class _Checker(Reader):
    """Fills a document, and gathers what is wrong."""

    def __init__(self, document: Document) -> None:
        super().__init__()
        self.document = document
        self.license_keys: dict[str, str] = {}

    def document_node(self, node: yaml.Node) -> None:
        sections = self.mapping(node, "a catalogue", SECTIONS)
        seen: set[str] = set()
        for item in self.sequence(sections["licenses"], "licences") if "licenses" in sections else []:
            self.license(item, seen)
        for item in self.sequence(sections["settings_bundles"], "bundles") if "settings_bundles" in sections else []:
            self.settings_bundle(item)
        seen = set()
        for item in self.sequence(sections["publications"], "publications") if "publications" in sections else []:
            self.publication(item, seen)

    def license(self, node: yaml.Node, seen: set[str]) -> None:
        found = self.mapping(node, "a licence", ("key", "name", "description", "url"))
        values: Values = {}
        for name in License.TRANSLATED:
            field = Field(name, "texts")
            values |= field.columns(self.texts(found[name])) if name in found else field.defaults()
        values["url"] = self.url(found["url"]) if "url" in found else ""
        if "key" not in found and not values["name_en"]:
            self.report(node, "This licence has neither a key nor an English name. Add a key.")
            return
        name = values["name_en"] or ""
        key = self.key(found["key"]) if "key" in found else License(name_en=name).key
        if key is None:
            return
        if key in seen:
            self.report(found.get("key", node), f"There is another licence {key}. Give one of them another key.")
        seen.add(key)
        self.license_keys.setdefault(name, key)
        self.document.licenses.append(Entry(key, node.start_mark.line + 1, {"key": key, **values}))

    def settings_bundle(self, node: yaml.Node) -> None:
        found = self.mapping(node, "a settings bundle", ("name", "settings"))
        if not isinstance(node, yaml.MappingNode):
            return
        name = self.text(found["name"]) if "name" in found else ""
        settings = self.text_map(found["settings"], "the settings") if "settings" in found else {}
        if "" in settings:
            self.report(found["settings"], "A setting has no name. Give it one.")
        if not name:
            self.report(node, "This bundle has no name. Add a name.")
            return
        if name in self.document.settings_bundles:
            self.report(node, f"There is another bundle {name}. Give one of them another name.")
        self.document.settings_bundles[name] = settings
        if plain := secret_names(settings):
            self.document.warnings.append(
                f"{self.document.path}:{node.start_mark.line + 1}: settings bundle {name} holds {', '.join(plain)} in "
                "plain text. Write env:NAME instead, and set the environment variable NAME."
            )

    def publication(self, node: yaml.Node, seen: set[str]) -> None:
        found = self.mapping(node, "a publication", FIELDS, REFUSED)
        if not isinstance(node, yaml.MappingNode):
            return
        values: Values = {}
        for field in FIELDS.values():
            if field.name in found:
                values |= field.columns(self.value(field, found[field.name]))
            elif not field.kept:
                values |= field.defaults()
            if field.required and not str(values.get(field.attribute) or "").strip():
                at = found.get(field.name, node)
                self.report(at, f"A publication needs a {field.name}. Add `{field.name}: …`.")
        if values["date_from"] and values["date_to"] and values["date_from"] > values["date_to"]:
            self.report(found["date_to"], "date_to is before date_from. Exchange them.")
        key = values["key"] or values["source_id"]
        if not key:
            return
        at = found.get("key") or found["source_id"]
        if not validation.is_key(key):
            self.report(at, f"{key} can't be a key. Add `key:` with lower-case letters, digits and underscores.")
        elif key in seen:
            self.report(at, f"There is another publication {key}. Give one of them another key.")
        seen.add(key)
        self.document.publications.append(Entry(key, node.start_mark.line + 1, values | {"key": key}))

    def value(self, field: Field, node: yaml.Node) -> Any:
        if field.kind == "texts":
            return self.texts(node)
        if field.kind == "date":
            return self.date(node)
        if field.kind == "flag":
            return self.flag(node)
        if field.choices is not None:
            return self.choice(node, field.choices, blank=field.default == "")
        if field.kind == "map":
            return self.text_map(node, "the spider's arguments")
        if field.kind == "reference":
            return self.reference(field, node)
        return self.url(node) if field.name == "source_url" else self.text(node)

    def reference(self, field: Field, node: yaml.Node) -> str | None:
        name = self.text(node)
        if not name:
            return None
        if field.name == "settings_bundle":
            known = list(self.document.settings_bundles)
            section = "settings_bundles"
        else:
            name = self.license_keys.get(name, name)
            known = [entry.key for entry in self.document.licenses]
            section = "licenses"
        if name in known:
            return name
        self.report(node, f"There is no {name} under {section}. {suggest(name, known)}")
        return None

    def key(self, node: yaml.Node) -> str | None:
        text = self.text(node)
        if text is not None and not validation.is_key(text):
            self.report(node, f"{text!r} can't be a key. Use lower-case letters, digits and underscores.")
            return None
        return text

    def url(self, node: yaml.Node) -> str | None:
        text = self.text(node)
        if text and not text.startswith(("http://", "https://")):
            self.report(node, f"{text} is no link. Begin it with https:// or http://.")
            return None
        return text
