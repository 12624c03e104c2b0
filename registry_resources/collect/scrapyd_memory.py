"""What is remembered of a crawl that Scrapyd runs, so that another process can go on with it.

Scrapyd doesn't tell whether it was asked already, whether a crawl was interrupted already, or since when a log is
waited for. Belongs here: the one file that does, in the crawl's folder in `REGISTRY_HOME`. Does not belong here:
asking Scrapyd. Nothing secret is written here.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from registry_resources.collect.crawls import CrawlFolder
from registry_resources.exceptions import UnexpectedError


class CrawlMemory:
    """What is remembered of one crawl.

    Args:
        root: the folder of all crawls.
        crawl: the crawl's id.

    Raises:
        UnexpectedError: if the id isn't one.
    """

    def __init__(self, root: Path, crawl: str) -> None:
        self._folder = CrawlFolder(root, crawl)
        self._cancelled = self._folder.path / "interrupted"

    def read(self) -> dict[str, Any]:
        """All of it, as far as it is known: `spider`, `asked`, `scheduled`, `running_since`, `log_seen` and so on."""
        return self._folder.read("scrapyd")

    def note(self, **changes: Any) -> dict[str, Any]:
        """Remember more. Returns all of it.

        Raises:
            UnexpectedError: if it can't be written.
        """
        known = self.read()
        if any(name not in known or known[name] != value for name, value in changes.items()):
            known |= changes
            try:
                self._folder.make()
                self._folder.write("scrapyd", known)
            except OSError as error:
                raise self._unwritable(error) from error
        return known

    def claim_interrupt(self) -> bool:
        """Whether the caller is the first one to interrupt the crawl: only it may.

        Raises:
            UnexpectedError: if that can't be written.
        """
        try:
            self._folder.make()
            os.close(os.open(self._cancelled, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            return False
        except OSError as error:
            raise self._unwritable(error) from error
        return True

    def release_interrupt(self) -> None:
        """Say that the crawl was not interrupted after all."""
        self._cancelled.unlink(missing_ok=True)

    def interrupted_for(self) -> float | None:
        """Seconds since the crawl was interrupted. None if it was not."""
        try:
            return max(time.time() - self._cancelled.stat().st_mtime, 0.0)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _unwritable(self, error: OSError) -> UnexpectedError:
        return UnexpectedError(
            f"What is known of the crawl {self._folder.crawl} can't be written: {error.strerror} ({error.filename}). "
            "Free space or correct the permissions of REGISTRY_HOME."
        )
