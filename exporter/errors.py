"""What can go wrong in an export, as exceptions whose message names the file or folder, the cause and the remedy.

Belongs here: the exception classes that callers tell apart. Does not belong here: any handling of them.
"""

from __future__ import annotations


class ExporterError(Exception):
    """An expected failure. Its message is one line, for people."""


class LockFileError(ExporterError):
    """The same work is under way already (DEF-01). Nothing was changed."""


class EmptyExportError(ExporterError):
    """There is no compiled release to export: a definite end, never a wait (DEF-04)."""


class BrokenExportError(ExporterError):
    """A file of an export is missing, cut off, changed or not what the manifest says."""


class PublishedExportError(ExporterError):
    """The export is published, and a published version never changes (I2)."""


class SourceError(ExporterError):
    """The source of compiled releases cannot be read to its end."""


class StoppedError(ExporterError):
    """The work was stopped by its caller before its end. Nothing of it remains."""


class StageError(ExporterError):
    """A worker process of a stage failed or was killed."""
