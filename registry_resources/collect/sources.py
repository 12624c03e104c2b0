"""Turns the argument `urls` into a list of sources. Belongs here: paths, globs and folders; URLs stay as they are."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from registry_resources.collect.arguments import split_urls


@dataclass(frozen=True)
class Source:
    """One thing to collect.

    Attributes:
        location: a URL, or a local path.
        local: whether it is a path.
        listed: whether it was found in a folder or by a glob, rather than named: if it isn't JSON then, and its name
            doesn't say so, it stands beside the data and is no error.
        problem: why there is nothing to collect, or "".
    """

    location: str
    local: bool = False
    listed: bool = False
    problem: str = ""


def expand(urls: str) -> Iterator[Source]:
    """The sources that the argument `urls` names, in its order; what a folder or a glob holds, sorted."""
    for text in split_urls(urls):
        scheme = text.partition("://")[0].lower() if "://" in text else ""
        if scheme in {"http", "https"}:
            yield Source(text)
            continue
        path = unquote(urlsplit(text).path) if scheme == "file" else os.path.expanduser(text)  # noqa: PTH111
        if Path(path).is_dir():
            yield from _found(text, _walk(path))
        elif Path(path).exists():
            yield Source(str(Path(path).absolute()), local=True)
        elif glob.has_magic(path):
            paths = (found for found in glob.iglob(path, recursive=True) if not os.path.isdir(found))  # noqa: PTH207, PTH112
            yield from _found(text, paths)
        else:
            yield Source(text, local=True, problem="no such file or folder")


def _found(text: str, paths: Iterator[str]) -> Iterator[Source]:
    ordered = sorted(paths)
    if not ordered:
        yield Source(text, local=True, problem="no file there")
    for path in ordered:
        yield Source(os.path.abspath(path), local=True, listed=True)  # noqa: PTH100 - half the time of Path


def _walk(folder: str) -> Iterator[str]:
    """The files in a folder and those within it; hidden ones belong to tools, not to the data."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith("."):
                yield os.path.join(parent, name)  # noqa: PTH118


def saved(path: Path, urls: str) -> Iterator[Source]:
    """The sources of a crawl, listed once when it first starts, so that a resumed crawl numbers them the same.

    Raises:
        OSError: if the list can't be written.
    """
    if not path.exists():
        temporary = path.with_suffix(".tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123
            file.writelines(json.dumps(asdict(source)) + "\n" for source in expand(urls))
        temporary.replace(path)
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield Source(**json.loads(line))
