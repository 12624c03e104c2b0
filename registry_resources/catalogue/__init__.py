"""The catalogue file: publications, licences and settings bundles in YAML, synchronised into the database (ASK-17).

Import from here. Does not belong here: the command line, or what publications are used for.
"""

from registry_resources.catalogue.changes import Change, Changes, FieldChange, apply, diff
from registry_resources.catalogue.document import Document, Entry, load
from registry_resources.catalogue.export import export_catalogue
from registry_resources.catalogue.problems import CatalogueError, Problem
from registry_resources.catalogue.settings import resolve_settings

__all__ = [
    "CatalogueError",
    "Change",
    "Changes",
    "Document",
    "Entry",
    "FieldChange",
    "Problem",
    "apply",
    "diff",
    "export_catalogue",
    "load",
    "resolve_settings",
]
