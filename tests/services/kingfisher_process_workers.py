"""The workers of a stand-in Kingfisher Process: they read what crawls write while these go on, step by step.

    with KingfisherProcess(url) as process, Workers(process, files_store):
        …

As observed of the real ones: files are read while the crawl goes on; whether a collection is done is looked at now
and then; either of its collections may be completed first; what is deleted meanwhile is passed over. Belongs here: in
which order things happen by themselves. Does not belong here: what each step does to the tables
(`kingfisher_process_store.py`).
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import psycopg2

from tests.services.kingfisher_process import KingfisherProcess

_OPEN = (
    "SELECT c.id, c.source_id || CASE WHEN c.sample THEN '_sample' ELSE '' END || '/' ||"
    " to_char(c.data_version AT TIME ZONE 'UTC', 'YYYYMMDD_HH24MISS'), c.store_end_at IS NOT NULL,"
    " c.expected_files_count, c.data_type::text, c.completed_at IS NOT NULL, k.compilation_started,"
    " k.completed_at IS NOT NULL,"
    " (SELECT array_agg(filename) FROM collection_file WHERE collection_id = c.id)"
    " FROM collection c JOIN collection k ON k.transform_from_collection_id = c.id"
    " WHERE c.transform_type = '' ORDER BY c.id"
)


class Workers:
    """Works on all collections, in a thread.

    Args:
        process: the stand-in.
        files: the file store of the crawls.
        pace: seconds between two rounds. In each, a collection gets on by one step.
    """

    def __init__(self, process: KingfisherProcess, files: Path, pace: float = 0.05) -> None:
        self._process = process
        self._files = files
        self._pace = pace
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(self._pace):
            for row in self._process.run(_OPEN):
                # A collection that is deleted amid this is passed over: "Unprocessable message … skipping".
                with contextlib.suppress(psycopg2.Error, FileNotFoundError):
                    self._get_on(row)

    def _get_on(self, row: tuple[Any, ...]) -> None:
        root, folder, closed, expected, kind, complete, merging, merged, loaded = row
        process = self._process
        known = {Path(name).name for name in loaded or ()}
        new = [path for path in sorted((self._files / folder).rglob("[!.]*.json")) if path.name not in known]
        if new:
            for path in new[:5]:
                self._load(root, path, has_format=kind != "{}")
        elif closed and len(known) >= (expected or 0):
            # The finisher looks at either collection when it comes to it.
            if root % 4 == 1 and not complete:
                process.complete(root, only="original")
            elif not merging and (kind != "{}" or not expected):
                process.run(
                    "UPDATE collection SET compilation_started = true WHERE id = %s", process.compiled_of(root)
                )
            elif merging and not merged:
                process.merge(root, without=_unmergeable(self._releases(folder)))
                process.complete(root, only="compiled")
            elif not complete:
                process.complete(root, only="original")

    def _load(self, root: int, path: Path, *, has_format: bool) -> None:
        process = self._process
        try:
            package = json.loads(path.read_text())
        except ValueError:
            if has_format:
                process.load_invalid_json(root, path.name, stays=False)
            else:
                process.load_invalid_json(root, path.name)
            return
        releases = package.pop("releases", None)
        process.load(root, path.name, releases or [], package=package, known=releases is not None)

    def _releases(self, folder: str) -> list[Mapping[str, Any]]:
        found = []
        for path in (self._files / folder).rglob("[!.]*.json"):
            with contextlib.suppress(ValueError, AttributeError):
                releases = json.loads(path.read_text()).get("releases") or []
                if not any("ocid" in release and release["ocid"] is None for release in releases):
                    found += releases
        return found


def _unmergeable(releases: list[Mapping[str, Any]]) -> list[str]:
    """The ocids that have several releases, one of which has no date."""
    of: dict[str, list[Any]] = {}
    for release in releases:
        if "ocid" in release:
            of.setdefault(release["ocid"], []).append(release.get("date"))
    return [ocid for ocid, dates in of.items() if len(dates) > 1 and not all(isinstance(date, str) for date in dates)]
