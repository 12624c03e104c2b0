"""The layout of the file store: where a crawl writes, and what of it may be deleted.

`<files store>/<name>[_sample]/<YYYYMMDD_HHMMSS>/<3 hex digits>/<file name>`, as Kingfisher Collect lays it out and
Kingfisher Process reads it. Belongs here: names, folders, and deleting a crawl's folder (DEF-11). Does not belong
here: what files hold.
"""

from __future__ import annotations

import contextlib
import datetime
import re
import shutil
import time
import zlib
from pathlib import Path

from registry_resources.collect.crawl_log import is_data_version
from registry_resources.exceptions import UnexpectedError

PARTIAL = ".partial"  # unfinished files: on the same file system, where no reader looks
DIRECTORY = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]{0,199})/(\d{8}_\d{6})", re.ASCII)
MAX_NAME = 150  # characters of a file name, well under the 255 bytes of file systems


def subfolder(file_name: str) -> str:
    """The folder of a file within a crawl's: the low 12 bits of its name's Adler-32 checksum, as 3 hex digits."""
    return f"{zlib.adler32(file_name.encode()) % 4096:03X}"


def safe_name(text: str) -> str:
    """A flat file name made of a URL's or an archive member's name: no folders, no odd characters, not hidden."""
    last = text.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", last).lstrip("._-")
    if len(name) > MAX_NAME:
        name = f"{name[: MAX_NAME - 20]}-{name[-19:].lstrip('._-')}"
    return name or "data"


def claim_directory(files_store: Path, name: str, now: datetime.datetime | None = None) -> tuple[str, str]:
    """Make a new folder for a crawl that begins now: two crawls never share one, also within one second.

    Args:
        files_store: the root of the file store.
        name: the spider's name or the publication's key, with `_sample` for a sample.
        now: instead of the current time.

    Returns:
        The data version (`YYYY-MM-DD HH:MM:SS`, UTC) and the folder, relative to the file store.

    Raises:
        OSError: if the folder can't be made.
    """
    moment = (now or datetime.datetime.now(datetime.UTC)).replace(microsecond=0)
    (files_store / name).mkdir(parents=True, exist_ok=True)
    while True:
        directory = f"{name}/{moment:%Y%m%d_%H%M%S}"
        try:
            (files_store / directory).mkdir()
        except FileExistsError:
            moment += datetime.timedelta(seconds=1)
        except FileNotFoundError:  # another crawl's wipe removed the empty parent just now
            (files_store / name).mkdir(parents=True, exist_ok=True)
        else:
            return moment.strftime("%Y-%m-%d %H:%M:%S"), directory


def directory_of(name: str, data_version: str) -> str:
    """The folder of a crawl, of its data version.

    Raises:
        UnexpectedError: if either isn't of the strict form.
    """
    if not is_data_version(data_version):
        raise UnexpectedError(f"{data_version!r} is not a data version (YYYY-MM-DD HH:MM:SS): nothing was deleted.")
    return f"{name}/{data_version.translate(str.maketrans(' ', '_', '-:'))}"


def remove_directory(files_store: Path, directory: str) -> bool:
    """Delete a crawl's folder, and its spider's folder if that is then empty. Again is no error.

    Symbolic links are never followed: one in the way is refused, one within is deleted as a link.

    Returns:
        Whether there was something to delete.

    Raises:
        UnexpectedError: if the name isn't of the strict form, or leads out of the file store.
        OSError: if it can't be deleted.
    """
    if not (match := DIRECTORY.fullmatch(directory)):
        raise UnexpectedError(
            f"{directory!r} is not the folder of a crawl (name/YYYYMMDD_HHMMSS): nothing was deleted."
        )
    root = files_store.resolve()
    spider, path = root / match[1], root / match[1] / match[2]
    if spider.is_symlink() or path.is_symlink():
        raise UnexpectedError(f"{path} is a symbolic link, or within one: nothing was deleted. Delete it by hand.")
    found = path.is_dir()
    if found:
        _remove_tree(path)
    with contextlib.suppress(OSError):  # not empty, or not there
        spider.rmdir()
    return found


def _remove_tree(path: Path) -> None:
    """Delete a folder, also if something else is still deleting or writing in it: three tries."""
    for attempt in range(3):
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            if not path.exists():
                return
        except OSError:
            if attempt == 2:
                raise
            time.sleep(0.1)
        else:
            return
