"""The catalogue document: what is in it, what isn't, and that it says what the pointers say."""

from __future__ import annotations

import datetime
import hashlib
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import update

from exporter import manifest as manifests
from exporter import publish
from registry_assets.definitions import build_defs
from registry_assets.process_manager import document, document_model
from registry_assets.process_manager.publishing import publish_job
from registry_assets.process_manager.services import Services
from registry_assets.sensors.catalogue_document import AGAIN_AFTER, catalogue_document_sensor
from registry_resources.dagster_resources import CollectResource, DatabaseResource, ProcessResource, SettingsResource
from registry_resources.database import Collection, Job, License
from tests.support.versions import YEARS, add_version, make_export

SCHEMA = Path(__file__).parents[3] / "docs" / "catalogue.schema.json"


def written(services: Services) -> dict[str, Any]:
    """Write the document and read it as any reader would; it has the form that is documented, and nothing else."""
    path = document.write(services).path
    assert path == services.settings.exporter_dir / "catalogue.json"
    found: dict[str, Any] = json.loads(path.read_bytes())
    document_model.Document.model_validate_json(path.read_bytes())
    return found


def only(services: Services) -> dict[str, Any]:
    (publication,) = written(services)["publications"]
    return publication  # type: ignore[no-any-return]


def change(services: Services, **fields: object) -> None:
    with services.database.session() as session:
        collection = session.query(Collection).filter_by(key="ruritania").one()
        for name, value in fields.items():
            setattr(collection, name, value)


@pytest.fixture
def published(services: Services) -> Services:
    """A registry whose publication is public, and has a published version: job 1, of 100 ocids."""
    change(services, public=True)
    number = add_version(services, "ruritania", counts={"/tender/items[]/": 7})
    with services.database.session() as session:
        job = session.get_one(Job, number)
        job.ocid_prefix, job.license = "ocds-a", "https://example.com/stated"
    publish_job(services, number)
    return services


def test_the_schema_that_is_documented_is_the_form() -> None:
    """Made anew with `python -c` as docs/catalogue-document.md says."""
    assert json.loads(SCHEMA.read_text()) == document_model.schema()


def test_it_lists_files_with_sizes_and_checksums(published: Services) -> None:
    """ASK-14: as they are on disk, with paths from the document's own folder."""
    version = only(published)["version"]
    root = published.settings.exporter_dir
    pointer = publish.read_latest(root, "ruritania")
    assert pointer is not None
    assert (version["job"], version["published_at"]) == (1, pointer.published_at)
    assert version["manifest"] == {"path": "ruritania/1/manifest.json", "sha256": pointer.manifest_sha256}
    assert (version["ocids"], version["counts"]["tenders_count"]) == (100, 100)
    assert version["counts"]["tenders_items_count"] == 7
    assert version["coverage"]["/ocid"] == 100
    listed = {file["path"]: file for file in version["files"]}
    assert set(listed) == {
        f"ruritania/1/{path.name}"
        for path in (root / "ruritania" / "1").iterdir()
        if path.name not in {"manifest.json", ".published"}
    }
    for path, file in listed.items():
        text = (root / path).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(text), hashlib.sha256(text).hexdigest())
    rows = {file["year"]: file["rows"] for file in version["files"] if file["format"] == "jsonl"}
    assert rows == {"full": 100, **YEARS}


def test_what_the_registry_says_wins_over_what_the_data_says(published: Services) -> None:
    """CAT-10, CAT-11, CAT-18: each override by itself, and the data's own without it."""
    found = only(published)
    assert (found["date_from"], found["date_to"], found["ocid_prefix"]) == ("2023-06-01", "2024-06-01", "ocds-a")
    assert found["license"] == {"name": {}, "description": {}, "url": "https://example.com/stated"}
    change(
        published,
        date_from=datetime.date(2020, 1, 1),
        ocid_prefix="ocds-zzz",
        publication_policy="https://example.com/policy",
        license_custom=License(name_en="Open", name_ru="Открытая", url="https://example.com/open"),
    )
    found = only(published)
    assert (found["date_from"], found["date_to"], found["ocid_prefix"]) == ("2020-01-01", "2024-06-01", "ocds-zzz")
    assert found["publication_policy"] == "https://example.com/policy"
    assert found["license"]["name"] == {"en": "Open", "ru": "Открытая"}
    assert found["license"]["url"] == "https://example.com/open"


def test_texts_are_in_each_language_they_were_translated_to(published: Services) -> None:
    """CAT-04, CAT-09: of the review only year and month."""
    change(
        published,
        country_en="Ruritania",
        country_es="Ruritania (es)",
        description_ru="**Описание**",
        last_reviewed=datetime.date(2026, 2, 28),
        frozen=True,
    )
    found = only(published)
    assert found["country"] == {"en": "Ruritania", "es": "Ruritania (es)"}
    assert found["description"] == {"ru": "**Описание**"}
    assert (found["last_reviewed"], found["frozen"], found["update_frequency"]) == ("2026-02", True, "UNKNOWN")


def test_only_what_everybody_may_see_is_listed(published: Services) -> None:
    """CAT-16, CAT-17: not what isn't public, nor what has neither data nor a reason why there is none."""
    with published.database.session() as session:
        for key, fields in {
            "hidden": {},
            "empty": {"public": True},
            "gone": {"public": True, "no_data_rationale_es": "El servicio ya no existe"},
        }.items():
            session.add(Collection(key=key, title=key, source_id="bulk", **fields))
    found = written(published)["publications"]
    assert [publication["key"] for publication in found] == ["gone", "ruritania"]
    assert found[0]["version"] is None
    assert found[0]["no_data_rationale"] == {"es": "El servicio ya no existe"}
    change(published, public=False)
    assert [publication["key"] for publication in written(published)["publications"]] == ["gone"]


def test_the_same_content_gives_the_same_bytes_and_leaves_the_file_alone(published: Services) -> None:
    """I7."""
    first = document.write(published)
    before = (first.path.read_bytes(), first.path.stat().st_mtime_ns)
    again = document.write(published)
    assert (again.changed, again.sha256) == (False, first.sha256)
    assert (again.path.read_bytes(), again.path.stat().st_mtime_ns) == before
    again.path.unlink()
    assert document.write(published).changed
    assert first.path.read_bytes() == before[0]


def test_it_says_what_the_pointer_says_whatever_the_database_does(published: Services) -> None:
    """As in the moment between the pointer and the commit: the files, and the dates, are those readers get."""
    second = add_version(published, "ruritania", {2023: 60, 2024: 45})
    publish.publish(publish.current(published.settings.exporter_dir, "ruritania", second), job=second)
    with published.database.session(read_only=True) as session:
        assert session.query(Collection).one().active_job_id == 1
    found = only(published)
    assert (found["version"]["job"], found["version"]["ocids"]) == (second, 105)
    assert found["ocid_prefix"] == "", "that of the other job"


def test_a_new_revision_is_listed_instead_of_the_first(published: Services) -> None:
    """I2: the files of a published job never change; its new ones are in another folder."""
    make_export(publish.writable(published.settings.exporter_dir, "ruritania", 1), {2023: 60, 2024: 41})
    with published.database.session() as session:
        job = session.get_one(Job, 1)
        job.context["process_counts"] = {"ocids": 101, "compiled_releases": 101}
    assert only(published)["version"]["ocids"] == 100
    publish_job(published, 1)
    version = only(published)["version"]
    assert version["manifest"]["path"] == "ruritania/1.r2/manifest.json"
    assert version["ocids"] == 101


def test_files_that_are_not_those_that_were_published_are_left_out_and_told(published: Services) -> None:
    """I1, I8: somebody has meddled with the manifest, or deleted the folder."""
    folder = published.settings.exporter_dir / "ruritania" / "1"
    manifest = folder / "manifest.json"
    text = manifest.read_bytes()
    manifest.write_bytes(text + b" ")
    result = document.write(published)
    (problem,) = result.problems
    assert problem.startswith("ruritania: its files are left out:")
    assert str(manifest) in problem
    assert only(published)["version"] is None
    shutil.rmtree(folder)
    assert only(published)["version"] is None
    assert len(document.write(published).problems) == 1


def test_files_that_could_not_be_made_are_told_with_the_reason(published: Services) -> None:
    """ASK-08."""
    target = publish.writable(published.settings.exporter_dir, "ruritania", 1)
    missing = manifests.Missing(format="xlsx", name="full.xlsx", reason_code="too_many_rows", reason="Too many rows")
    manifests.record_stage(target, "flatten", files=[], counts={"skipped_x": 2}, missing=[missing], tables={})
    publish_job(published, 1)
    version = only(published)["version"]
    assert version["missing"] == [
        {
            "path": "ruritania/1.r2/full.xlsx",
            "format": "xlsx",
            "reason_code": "too_many_rows",
            "reason": "Too many rows",
        }
    ]
    assert version["skipped"] == {"skipped_x": 2}


def test_what_merging_left_out_is_told_too(published: Services) -> None:
    """I8: it never came to the export, so the manifest can't tell."""
    with published.database.session() as session:
        job = session.get_one(Job, 1)
        job.context["process_counts"] = {"files": 20, "skipped_no_ocid": 3, "skipped_invalid_json": 0}
    assert only(published)["version"]["skipped"] == {"skipped_no_ocid": 3}


def test_secrets_are_not_in_it(published: Services) -> None:
    """I6: an address with a password, such as a publisher's or an administrator's slip."""
    change(published, source_url="https://user:canary@example.com/api")
    document.write(published)
    assert b"canary" not in (published.settings.exporter_dir / "catalogue.json").read_bytes()


def test_a_reader_always_sees_a_whole_document(published: Services) -> None:
    """It is replaced in one step, and each file that it lists is there as it says."""
    path = document.write(published).path
    done, faults = threading.Event(), list[str]()

    def poll() -> None:
        while not done.is_set():
            for publication in json.loads(path.read_bytes())["publications"]:
                for file in publication["version"]["files"]:
                    if hashlib.sha256((path.parent / file["path"]).read_bytes()).hexdigest() != file["sha256"]:
                        faults.append(file["path"])

    reader = threading.Thread(target=poll)
    reader.start()
    try:
        for i in range(4):
            number = add_version(published, "ruritania", {2023: 60, 2024: 41 + i})
            document.write(published)
            publish_job(published, number)
            document.write(published)
    finally:
        done.set()
        reader.join()
    assert faults == []


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, services: Services) -> None:
    monkeypatch.setenv("REGISTRY_HOME", str(services.settings.home))
    for name in ("DATABASE_URL", "EXPORTER_DIR", "KINGFISHER_COLLECT_FILES_STORE", "KINGFISHER_COLLECT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("environment")
def test_the_sensor_has_it_made_after_each_change_and_not_otherwise(published: Services) -> None:
    """After publishing, after a change of the catalogue, if the file is gone, and again if a run had no effect."""
    resources = {
        "settings": SettingsResource(),
        "database": DatabaseResource(),
        "collect": CollectResource(),
        "process": ProcessResource(),
    }
    cursor: str | None = None

    def tick() -> bool:
        nonlocal cursor
        context = dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources)
        result = catalogue_document_sensor(context)
        assert isinstance(result, dg.SensorResult)
        cursor = result.cursor or cursor
        return bool(result.run_requests)

    def make() -> None:
        run = build_defs().resolve_job_def("catalogue_document").execute_in_process(instance=instance)
        assert run.success

    with dg.instance_for_test() as instance:
        assert tick()
        assert not tick(), "it was asked for already"
        make()
        assert not tick()
        change(published, title="Gazette")
        assert tick()
        make()
        assert not tick()
        publish_job(published, add_version(published, "ruritania"))
        assert tick()
        assert not tick()
        assert cursor is not None
        asked = json.loads(cursor)
        cursor = json.dumps({**asked, "asked": asked["asked"] - AGAIN_AFTER})
        assert tick(), "the run that was asked for had no effect"
        make()
        assert not tick()
        (published.settings.exporter_dir / "catalogue.json").unlink()
        cursor = None
        assert tick()
        event = instance.get_latest_materialization_event(dg.AssetKey("catalogue"))
        assert event is not None
        assert event.asset_materialization is not None
        shown = {name: value.value for name, value in event.asset_materialization.metadata.items()}
        assert (shown["publications"], shown["with data"], shown["left out"]) == (1, 1, "none")


def test_a_change_is_noticed_though_its_time_is_not_the_latest(published: Services) -> None:
    """Two publish at once, and the first to begin is the last to end; or the clock was set back."""

    def state() -> str:
        with published.database.session(read_only=True) as session:
            return document.state(session)

    def changed_at(key: str, hour: int) -> None:
        at = datetime.datetime(2026, 1, 1, hour, tzinfo=datetime.UTC)
        with published.database.session() as session:
            session.execute(update(Collection).where(Collection.key == key).values(modified=at))

    with published.database.session() as session:
        session.add(Collection(key="syldavia", title="Syldavia", source_id="bulk"))
    changed_at("ruritania", 1)
    changed_at("syldavia", 12)
    before = state()
    assert state() == before
    changed_at("ruritania", 11)
    assert state() != before


def test_the_document_does_not_wait_behind_the_runs_of_publications() -> None:
    """When hundreds are due at once, their runs fill the queue for a day."""
    job = build_defs().resolve_job_def("catalogue_document")
    assert int(job.tags["dagster/priority"]) > 0
    assert "dagster/priority" not in build_defs().resolve_job_def("refresh").tags
