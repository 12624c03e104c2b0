"""How a catalogue file differs from the database, and making them the same.

Belongs here: the difference and its application, which are one computation. Does not belong here: reading the file.

The file is the truth for the fields it may hold: a field that is no longer in it returns to its default, except those
that are `kept`. What is only in the database is told and kept: nothing is ever deleted but settings of a bundle that
is in the file. What the registry sets itself (the active job, when data was last retrieved) is never touched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session, joinedload, selectinload

from registry_resources.catalogue.document import Document, Entry
from registry_resources.catalogue.fields import FIELDS, Values, collection_values, license_values, plain
from registry_resources.catalogue.settings import shown
from registry_resources.database import Collection, License, Setting, SettingsBundle
from registry_resources.redaction import redact

LICENSE, BUNDLE, PUBLICATION = "license", "settings bundle", "publication"
_LOCK = 7_236_411_906


@dataclass(frozen=True)
class FieldChange:
    """One field that differs. Settings' values are hidden.

    Attributes:
        field: the column, or the setting.
        old: in the database; None if there is none.
        new: in the file; None if it goes.
    """

    field: str
    old: Any
    new: Any


@dataclass(frozen=True)
class Change:
    """One entry that differs.

    Attributes:
        kind: `license`, `settings bundle` or `publication`.
        key: its key or name.
        action: `add` or `change`.
        fields: what differs; for an addition, what is not the default.
    """

    kind: str
    key: str
    action: str
    fields: tuple[FieldChange, ...]


@dataclass
class Changes:
    """How a file differs from the database.

    Attributes:
        changes: in the file's order.
        unchanged: how many entries are the same in both.
        kept: what is only in the database, and stays: keys by kind.
    """

    changes: list[Change] = field(default_factory=list)
    unchanged: int = 0
    kept: dict[str, list[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.changes)

    def as_json(self) -> dict[str, Any]:
        """Give what JSON can hold."""
        return {
            "changes": [
                {
                    "kind": change.kind,
                    "key": change.key,
                    "action": change.action,
                    "fields": {item.field: {"old": item.old, "new": item.new} for item in change.fields},
                }
                for change in self.changes
            ],
            "unchanged": self.unchanged,
            "kept": self.kept,
        }


def diff(document: Document, session: Session | None) -> Changes:
    """Say what `apply` would change. Changes nothing.

    Args:
        document: the file.
        session: a session, or None if there is no database yet.
    """
    return _Comparison(document, session, write=False).run()


def apply(document: Document, session: Session) -> Changes:
    """Make the database as the file says, in the session's transaction, and say what changed.

    Raises:
        ConfigurationError: if the database refuses.
    """
    if session.get_bind().dialect.name == "postgresql":  # SQLite's transaction is exclusive already
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    changes = _Comparison(document, session, write=True).run()
    session.flush()
    return changes


class _Comparison:
    def __init__(self, document: Document, session: Session | None, *, write: bool) -> None:
        self.document = document
        self.session = session
        self.write = write
        self.changes = Changes()
        self.licenses: dict[str, License] = {}
        self.bundles: dict[str, SettingsBundle] = {}
        self.collections: dict[str, Collection] = {}

    def run(self) -> Changes:
        self._read()
        for kind, in_database, in_file in (
            (LICENSE, self.licenses, {entry.key for entry in self.document.licenses}),
            (BUNDLE, self.bundles, set(self.document.settings_bundles)),
            (PUBLICATION, self.collections, {entry.key for entry in self.document.publications}),
        ):
            if only := sorted(set(in_database) - in_file):
                self.changes.kept[kind] = only
        for entry in self.document.licenses:
            self._license(entry)
        for name, settings in self.document.settings_bundles.items():
            self._bundle(name, settings)
        for entry in self.document.publications:
            self._publication(entry)
        return self.changes

    def _read(self) -> None:
        """Everything in four queries, however many publications there are."""
        if self.session is None:
            return
        self.licenses = {item.key: item for item in self.session.scalars(select(License))}
        bundles = self.session.scalars(select(SettingsBundle).options(selectinload(SettingsBundle.settings)))
        self.bundles = {item.name: item for item in bundles}
        statement = select(Collection).options(
            joinedload(Collection.license_custom), joinedload(Collection.settings_bundle)
        )
        self.collections = {item.key: item for item in self.session.scalars(statement)}

    def _license(self, entry: Entry) -> None:
        known = self.licenses.get(entry.key)
        old = license_values(known) if known else license_values(License(key=entry.key, url=""))
        fields = _compare(old, entry.values)
        self._note(LICENSE, entry.key, known, fields)
        if not self.write:
            return
        if known is None:
            self.licenses[entry.key] = known = License(key=entry.key)
            self._add(known)
        for name, value in entry.values.items():
            _set(known, name, value)

    def _bundle(self, name: str, settings: dict[str, str]) -> None:
        known = self.bundles.get(name)
        old = {setting.key: setting for setting in known.settings} if known else {}
        fields = [
            FieldChange(key, shown(key, old[key].value) if key in old else None, shown(key, settings.get(key)))
            for key in sorted(old.keys() | settings.keys())
            if key not in old or key not in settings or old[key].value != settings[key]
        ]
        self._note(BUNDLE, name, known, fields)
        if not self.write:
            return
        if known is None:
            self.bundles[name] = known = SettingsBundle(name=name)
            self._add(known)
        for key in old.keys() - settings.keys():
            known.settings.remove(old[key])
        for key, value in settings.items():
            if key in old:
                _set(old[key], "value", value)
            else:
                known.settings.append(Setting(key=key, value=value))

    def _publication(self, entry: Entry) -> None:
        known = self.collections.get(entry.key)
        old = collection_values(known) if known else {}
        self._note(PUBLICATION, entry.key, known, _compare(old, entry.values) if known else _filled(entry.values))
        if not self.write:
            return
        values = dict(entry.values)
        license_key, bundle_name = values.pop("license_custom"), values.pop("settings_bundle")
        if known is None:
            known = Collection(**values)
            self._add(known)
        for name, value in values.items():
            _set(known, name, value)
        _set(known, "license_custom", self.licenses[license_key] if license_key else None)
        _set(known, "settings_bundle", self.bundles[bundle_name] if bundle_name else None)

    def _note(self, kind: str, key: str, known: object | None, fields: list[FieldChange]) -> None:
        if known is not None and not fields:
            self.changes.unchanged += 1
        else:
            action = "change" if known is not None else "add"
            self.changes.changes.append(Change(kind, key, action, tuple(fields)))

    def _add(self, item: Any) -> None:
        if self.session is not None:
            self.session.add(item)


def _compare(old: Values, new: Values) -> list[FieldChange]:
    return [
        FieldChange(name, _shown(old.get(name)), _shown(value))
        for name, value in new.items()
        if old.get(name) != value and (old.get(name) or value)
    ]


def _filled(values: Values) -> list[FieldChange]:
    defaults = {name: value for known in FIELDS.values() for name, value in known.defaults().items()}
    return [
        FieldChange(name, None, _shown(value))
        for name, value in values.items()
        if value != defaults[name] and name != "key"
    ]


def _shown(value: Any) -> Any:
    """Spider arguments and links may hold passwords."""
    if isinstance(value, str):
        return redact(str(value))
    if isinstance(value, dict):
        return {name: redact(f"{name}={text}").partition("=")[2] for name, text in value.items()}
    return plain(value)


def _set(item: Any, name: str, value: Any) -> None:
    """Set what differs only, so that nothing is written, and `modified` stays, where nothing changes."""
    if getattr(item, name, None) != value:
        setattr(item, name, value)
