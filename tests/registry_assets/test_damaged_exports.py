"""What is said of an export of which a file is gone or changed: what makes it again depends on what is there still."""

from __future__ import annotations

import json
from pathlib import Path

from registry_resources.database import Job
from tests.services.publisher import Publisher, release_package
from tests.support.registry import TestRegistry


def test_the_remedy_is_one_that_can_be_followed(registry: TestRegistry) -> None:
    """Tables are made from the export, the export from what was compiled, and that is wiped after a while."""
    with Publisher() as publisher:
        url = publisher.add("/a.json", json.dumps(release_package(1, 4)).encode())
        registry.add("ruritania", arguments={"urls": url})
        assert registry.run("ruritania").success

    def latest() -> Path:
        return max(path for path in (registry.settings.exporter_dir / "ruritania").iterdir() if path.is_dir())

    tables, lines = latest() / "full.csv.tar.gz", latest() / "full.jsonl.gz"
    tables.rename(tables.with_name("aside"))
    said = registry.failure(registry.run("ruritania", "published"))
    assert f"{tables}: it is missing. Make it again: `registry run ruritania --select flattened,published`." in said
    tables.with_name("aside").rename(tables)

    lines.unlink()
    said = registry.failure(registry.run("ruritania", "published"))
    assert "Make it again, and what follows from it: `registry run ruritania --select exported+`." in said
    with registry.database.session() as session:
        session.query(Job).one().archived = True
    wiped = "What it was made of was wiped, so refresh the publication: `registry run ruritania`."
    assert said.partition(". Make it again")[0] in registry.failure(registry.run("ruritania", "published"))
    assert wiped in registry.failure(registry.run("ruritania", "published"))
    assert wiped in registry.failure(registry.run("ruritania", "flattened"))
    assert registry.jobs("ruritania")[0].result == Job.Result.SUCCEEDED


def test_a_changed_file_of_the_right_size_has_its_remedy(registry: TestRegistry) -> None:
    """Flattening reads every file again."""
    with Publisher() as publisher:
        url = publisher.add("/a.json", json.dumps(release_package(1, 4)).encode())
        registry.add("ruritania", arguments={"urls": url})
        assert registry.run("ruritania").success
    path = registry.published("ruritania") / "coverage.json"
    path.write_bytes(path.read_bytes()[::-1])
    said = registry.failure(registry.run("ruritania", "flattened"))
    assert "coverage.json: its bytes are changed" in said
    assert said.endswith("Make it again: `registry run ruritania --select coverage,published`.")
