"""Real publishers' data, from their files through all six assets, compared with what other tools make of it."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import ocdscardinal
import pytest

from exporter.util import Export
from exporter.verify import verify
from tests.support.publishers import PUBLISHERS
from tests.support.registry import TestRegistry, read_jsonl
from tests.support.tables import compare_tables


def single_undated(folder: Path) -> set[str]:
    """The contracting processes that have a single release, without a date.

    ocdsmerge was not asked to merge them, but they compile, as in Kingfisher Process, and go to `undated`. Those that
    have several releases, one of them without a date, can't be merged (MissingDateKeyError).
    """
    path = folder / "compiled.undated.jsonl.gz"
    counts = Counter(release["ocid"] for release in read_jsonl(path)) if path.exists() else Counter[str]()
    return {ocid for ocid, count in counts.items() if count == 1}


@pytest.mark.parametrize("publisher", PUBLISHERS)
def test_a_publisher_goes_through_all_six_assets(registry: TestRegistry, shared: Path, publisher: str) -> None:
    """The published files hold exactly the compiled releases that ocdsmerge makes of the publisher's files.

    Compared as JSON by ocid; coverage with ocdscardinal's own, tables with flatterer's own of the same lines; Parquet
    with CSV; every checksum with its file.
    """
    key = publisher.replace("-", "_")
    registry.add(key, arguments={"urls": str(shared / "data" / publisher / "raw")})
    result = registry.run(key)
    assert result.success, registry.failure(result)

    folder = registry.published(key)
    releases = {release["ocid"]: release for release in read_jsonl(folder / "full.jsonl.gz")}
    expected = {r["ocid"]: r for r in read_jsonl(shared / "data" / publisher / "compiled.jsonl.gz")}
    assert releases.keys() - expected.keys() == single_undated(shared / "data" / publisher)
    assert {ocid: releases[ocid] for ocid in expected} == expected

    plain = folder.parents[2] / "full.jsonl"
    plain.write_bytes(gzip.decompress((folder / "full.jsonl.gz").read_bytes()))
    assert json.loads((folder / "coverage.json").read_bytes()) == ocdscardinal.coverage(str(plain))

    compare_tables(folder, folder / "full.jsonl.gz", registry.settings.home)
    _, wrong = verify(Export.at(folder))
    assert wrong == []
