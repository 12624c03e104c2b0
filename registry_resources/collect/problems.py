"""What goes wrong within a crawl. Belongs here: the errors of its process, which end in its log and never leave it."""

from __future__ import annotations


class BadContentError(Exception):
    """A source or a member of an archive that isn't what it should be: one counted error, and the crawl goes on."""


class DownloadError(Exception):
    """A download that failed and may succeed if tried again."""


class RefusedDownloadError(Exception):
    """A download that failed and will fail again: a certificate that isn't trusted, a URL that isn't one."""


class StoppedError(Exception):
    """The crawl is ending, so work under way was given up. It isn't an error of the source."""


class StoreError(Exception):
    """The file store can't be written. It ends the crawl: the next file would meet the same fate."""
