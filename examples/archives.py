"""Archives whose bytes depend on their content alone: no clock, no user, no file system.

Belongs here: writing gzip, zip and tar in memory. Does not belong here: what goes into them.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterable

Members = Iterable[tuple[str, bytes]]
"""Names, as they shall stand in the archive, with their content; a name may occur twice."""

EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The first moment that a zip file can hold."""


def gzipped(body: bytes) -> bytes:
    """The bytes as one gzip member, without time or name."""
    return gzip.compress(body, compresslevel=6, mtime=0)


def zipped(members: Members) -> bytes:
    """A zip archive. A name that ends with a slash becomes a folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, body in members:
            info = zipfile.ZipInfo("x", EARLIEST)
            info.filename = name  # as it is: the constructor would make it the local system's
            info.compress_type = zipfile.ZIP_DEFLATED
            # Repeated names are meant: without this zipfile would warn of them.
            archive.NameToInfo.pop(name, None)
            archive.writestr(info, body)
    return buffer.getvalue()


def tarred(members: Members, *, links: Iterable[tuple[str, str]] = ()) -> bytes:
    """A tar.gz archive.

    Args:
        members: files; a name that ends with a slash becomes a folder.
        links: symbolic links, as names and targets.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, body in members:
            info = tarfile.TarInfo(name.rstrip("/"))
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
                info.mode = 0o755
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
        for name, target in links:
            info = tarfile.TarInfo(name)
            info.type = tarfile.SYMTYPE
            info.linkname = target
            archive.addfile(info)
    return gzipped(buffer.getvalue())
