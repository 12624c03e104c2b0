"""The asset `collected` with the Kingfisher services: what Dagit shows of a crawl, and what no run leaves behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry_resources.database import Collection, Setting, SettingsBundle
from tests.services.scripted_scrapyd import Fault, ScriptedScrapyd
from tests.support.registry import TestRegistry
from tests.support.scrapyd import CREATED, HEALTHY, ITEM

CANARIES = {
    f"CANARY_{name}": f"canary-{name.lower()}-7f3a"
    for name in ("CLEARANCE", "PROXY", "TOKEN", "AGENT", "KEY", "COOKIE", "SESSION")
}
PASSWORDS = ("canary-scrapyd-91c", "canary-process-91c", "canary-database-91c")


@pytest.fixture
def scrapyd(registry: TestRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ScriptedScrapyd]:
    """A Scrapyd that a registry uses which has the publication `acme`, with secrets wherever there can be some."""
    with ScriptedScrapyd(user="canary-user-91c", password=PASSWORDS[0]) as server:
        for name, value in {
            **CANARIES,
            "SCRAPYD_URL": server.url,
            "SCRAPYD_PROJECT": "kingfisher",
            "KINGFISHER_COLLECT_FILES_STORE": str(tmp_path / "files"),
            "KINGFISHER_PROCESS_URL": f"http://someone:{PASSWORDS[1]}@127.0.0.1:1",
            "KINGFISHER_PROCESS_DATABASE_URL": f"postgresql://someone:{PASSWORDS[2]}@127.0.0.1:1/process",
        }.items():
            monkeypatch.setenv(name, value)
        registry.add("acme", "acme")
        with registry.database.session() as session:
            bundle = SettingsBundle(name="secrets")
            bundle.settings = [
                Setting(key=name.removeprefix("CANARY_"), value=f"env:{name}") for name in sorted(CANARIES)
            ]
            session.add(bundle)
            session.query(Collection).one().settings_bundle = bundle
        yield server


def when_scheduled(scrapyd: ScriptedScrapyd, state: str, log: bytes) -> threading.Thread:
    """Let the crawl be over as soon as it was asked for."""

    def wait() -> None:
        deadline = time.monotonic() + 60
        while scrapyd.state is None and time.monotonic() < deadline:
            time.sleep(0.02)
        scrapyd.state, scrapyd.log = state, log

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_dagit_links_to_the_log_and_shows_what_the_services_said(
    registry: TestRegistry, scrapyd: ScriptedScrapyd, tmp_path: Path
) -> None:
    """The same asset as on this machine, with what only the services know."""
    folder = tmp_path / "files" / "acme" / "20260102_030406" / "0A1"
    folder.mkdir(parents=True)
    (folder / "1.json").write_text("{}")
    thread = when_scheduled(scrapyd, "finished", HEALTHY)
    result = registry.run("acme", "collected")
    thread.join()
    assert result.success
    shown = registry.metadata(result, "collected")
    (job,) = registry.jobs("acme")
    crawl = job.context["job_id"]
    assert shown["crawl log"] == f"http://127.0.0.1:{scrapyd.url.rpartition(':')[2]}/logs/kingfisher/acme/{crawl}.log"
    assert (shown["files"], shown["bytes"], shown["collection"], shown["crawl"]) == (1, 2, 7, crawl)
    assert shown["Scrapyd"].startswith("finished (start 2026-01-02")
    assert shown["data version"] == "2026-01-02 03:04:06"


@pytest.mark.parametrize("way", ["refused", "crawled"])
def test_no_secret_is_left_behind_by_a_run_that_fails(
    way: str, registry: TestRegistry, scrapyd: ScriptedScrapyd, tmp_path: Path
) -> None:
    """DEF-12, I6: searched for in the registry's database and files, and in all that Dagster stores."""
    every = " ".join([*CANARIES.values(), *PASSWORDS, f"https://u:{PASSWORDS[0]}@acme.example/x"])
    thread = None
    if way == "refused":
        scrapyd.fault("schedule.json", Fault({"status": "error", "message": f"ValueError: {every}"}), None)
    else:
        lines = f"2026-01-02 03:04:08 [acme] ERROR: status=500 message='{every}' request=<GET x>\n"
        warning = f"2026-01-02 03:04:08 [py.warnings] WARNING: {every}\n"
        log = HEALTHY.decode().replace(CREATED, warning).replace(ITEM, ITEM + lines)
        thread = when_scheduled(scrapyd, "finished", log.encode())
    failure = registry.failure(registry.run("acme", "collected"))
    if thread:
        thread.join()
    assert "collect of job 1 failed" in failure
    (form,) = scrapyd.asked("schedule.json")
    assert "CLEARANCE=canary-clearance-7f3a" in form["setting"]
    found = [
        (path, name)
        for path in tmp_path.rglob("*")
        if path.is_file()
        for name in (*CANARIES.values(), *PASSWORDS)
        if name.encode() in path.read_bytes()
    ]
    assert found == []
    assert "canary" not in failure
