"""Processing by Kingfisher Process: what is told of a crawl that went well, what got lost, and deleting it."""

from __future__ import annotations

import datetime
import threading

import pytest

from registry_resources.exceptions import ConfigurationError, RecoverableError, UnexpectedError
from registry_resources.process.backend import Note, ProcessState
from registry_resources.process.kingfisher import date_of
from registry_resources.process.kingfisher_api import Timeouts
from registry_resources.process.kingfisher_check import check_api, check_database
from registry_resources.process.kingfisher_notes import gathered
from registry_resources.settings import Settings
from tests.services.kingfisher_process import LOGIN, NOT_FOUND, Fault
from tests.support.kingfisher import DATABASE, VERSION, Kingfisher, release
from tests.support.postgresql import execute


def test_a_crawl_is_followed_to_its_end(kingfisher: Kingfisher) -> None:
    """PRO-01, PRO-03: nothing is started; files read and ocids merged are told on the way."""
    root = kingfisher.crawl({"a.json": [release(1), release(2)]})
    kingfisher.backend.start(kingfisher.job(root))
    assert kingfisher.process.requests == []
    progress = kingfisher.status(root)
    assert (progress.state, progress.phase) == (ProcessState.RUNNING, "waiting for the crawl to be closed")
    kingfisher.process.close(root, files=2)
    progress = kingfisher.status(root, after=10)
    assert (progress.phase, progress.done, progress.total) == ("reading", 1, 2)
    kingfisher.process.load(root, "b.json", [release(3)])
    kingfisher.process.merge(root)
    progress = kingfisher.status(root, after=10)
    assert (progress.phase, progress.done, progress.total) == ("merging", 3, 3)
    kingfisher.process.complete(root)
    progress = kingfisher.status(root)
    assert (progress.state, progress.done) == (ProcessState.COMPLETED, 3)
    assert all(request.endswith("/tree/") for request in kingfisher.process.requests)


def test_metadata_and_counts_are_those_of_the_collections(kingfisher: Kingfisher) -> None:
    """PRO-04, PRO-08."""
    package = {"license": "https://example.org/license", "publicationPolicy": "https://example.org/policy"}
    root = kingfisher.crawl()
    releases = [release(1, "2020-05-06"), release(1, "2021-01-01T00:00:00+02:00"), release(2, "1969-01-01")]
    kingfisher.process.load(root, "a.json", releases, package=package)
    kingfisher.process.finish(root)
    metadata = kingfisher.backend.metadata(kingfisher.job(root, files=1))
    assert metadata.date_from == metadata.date_to == datetime.date(2021, 1, 1)
    assert metadata.ocid_prefix == "ocds-213czf"
    assert (metadata.license, metadata.publication_policy) == (package["license"], package["publicationPolicy"])
    assert metadata.counts == {"files": 1, "releases": 3, "ocids": 2, "compiled_releases": 2}
    assert metadata.context == {"process_compiled_collection_id": 2}
    assert [note.level for note in kingfisher.backend.notes(kingfisher.job(root, files=1))] == []


@pytest.mark.parametrize(
    ("text", "date"),
    [
        (None, None),
        ("", None),
        ("2024-05-01", "2024-05-01"),
        ("2024-05-01T16:30:04Z", "2024-05-01"),
        ("2024-05-01T16:30:04.123456789+05:30", "2024-05-01"),
        ("2024-05-01 16:30:04.160T12:00:00Z", "2024-05-01"),
        ("2024-05-01 16:30:04", "2024-05-01"),
    ],
)
def test_dates_are_read_as_publishers_write_them(text: str | None, date: str | None) -> None:
    """PRO-05: date only, more than six digits of a second, offsets, and a stray T12:00:00 after a space."""
    assert date_of(text) == (datetime.date.fromisoformat(date) if date else None)


@pytest.mark.parametrize("text", ["2024", "2024-05", "2024-13-01", "not a date", "01/02/2022", []])
def test_what_is_no_date_ends_the_job(text: object) -> None:
    """PRO-05."""
    with pytest.raises(UnexpectedError, match="which is no date"):
        date_of(text)


def test_what_kingfisher_process_loses_in_silence_is_counted_and_noted(kingfisher: Kingfisher) -> None:
    """I8: a file given up for a null ocid, one that was never announced, and ocids that can't be merged."""
    root = kingfisher.crawl({"a.json": [release(1), release(2), release(3)], "b.json": [release(4), {"ocid": None}]})
    kingfisher.process.finish(root, without=["ocds-213czf-003"])
    job = kingfisher.job(root, files=3)
    metadata = kingfisher.backend.metadata(job)
    assert metadata.failure == ""
    assert metadata.counts == {
        "files": 2,
        "releases": 3,
        "ocids": 3,
        "compiled_releases": 2,
        "skipped_files": 1,
        "skipped_files_unsent": 1,
        "skipped_ocids": 1,
    }
    notes = {note.data["type"]: (note.level, note.data["total"]) for note in kingfisher.backend.notes(job)}
    assert notes == {
        "FilesNotSent": ("ERROR", 1),
        "FilesWithoutReleases": ("ERROR", 1),
        "OcidsNotCompiled": ("ERROR", 1),
        "MissingDateKeyError": ("ERROR", 1),
    }


def test_an_upgraded_collection_is_followed_and_compared_too(kingfisher: Kingfisher) -> None:
    """PRO-03: nothing is over before all three are; its files are the same ones again."""
    process = kingfisher.process
    ids = process.create_all("ruritania", VERSION, upgrade=True, compile=True)
    root, upgraded, compiled = ids.values()
    for name in ("a.json", "b.json"):
        process.load(root, name, [release(1)])
        process.load(upgraded, name, [release(1)])
    process.load(root, "lost.json", [{"ocid": None}])
    process.close(root)
    process.merge(root, compiled=[release(1)])
    process.complete(root)
    process.run("UPDATE collection SET completed_at = NULL WHERE id = %s", upgraded)
    assert kingfisher.status(root).state == ProcessState.RUNNING
    process.complete(root)
    assert kingfisher.status(root).state == ProcessState.COMPLETED
    metadata = kingfisher.backend.metadata(kingfisher.job(root))
    assert metadata.context == {"process_compiled_collection_id": compiled}
    assert (metadata.counts["files"], metadata.counts["skipped_files"], metadata.counts["ocids"]) == (3, 1, 1)
    kingfisher.backend.wipe(kingfisher.job(root))
    assert not any(map(process.exists, (root, upgraded, compiled)))


def test_records_are_compared_where_their_table_may_be_read(kingfisher: Kingfisher) -> None:
    """Without a right to read `record`, it is said that nothing was compared, and nothing is called lost."""
    root = kingfisher.crawl({"a.json": []})
    process = kingfisher.process
    data = process._content("data", {"ocid": "ocds-213czf-001"})
    process.run(
        "INSERT INTO record (collection_id, collection_file_id, data_id, package_data_id, ocid)"
        " SELECT %s, 1, %s, 1, 'ocds-213czf-001'",
        *(root, data),
    )
    process.finish(root, compiled=[{"ocid": "ocds-213czf-001"}])
    job = kingfisher.job(root)
    assert kingfisher.backend.metadata(job).counts == {"files": 1, "records": 1, "compiled_releases": 1}
    (note,) = kingfisher.backend.notes(job)
    assert (note.level, note.data["type"], note.data["tables"]) == ("INFO", "NotCompared", ["record"])
    assert "grant SELECT on record" in note.note
    process.run("GRANT SELECT ON record TO registry_reader")
    try:
        assert kingfisher.backend.metadata(job).counts["ocids"] == 1
        assert kingfisher.backend.notes(job) == []
    finally:
        process.run("REVOKE SELECT ON record FROM registry_reader")


def test_notes_are_gathered_by_path_by_date_and_by_type() -> None:
    """PRO-06, ASK-11: the totals are right, the examples few."""
    notes = [
        *(("WARNING", "x\n" * 50, {"type": "DuplicateIdValueWarning", "paths": {"items": 2, "awards": 1}}),) * 3,
        *(("WARNING", "y", {"type": "RepeatedDateValueWarning", "date": "2021-01-01", "index": 1}),) * 4,
        *(
            ("ERROR", f"OCID {number} can't be compiled", {"type": "NullDateValueError", "message": "is null"})
            for number in range(2500)
        ),
        ("ERROR", "Source x yields invalid JSON", {"collection_id": 1, "collection_file_id": 2}),
        ("WARNING", "something new", {}),
    ]
    found = {note.data["type"]: note for note in gathered(notes)}
    assert found["DuplicateIdValueWarning"].data["paths"] == {"items": 6, "awards": 3}
    assert found["RepeatedDateValueWarning"].data["dates"] == {"2021-01-01": 4}
    assert found["NullDateValueError"].data["total"] == 2500
    assert found["NullDateValueError"].data["examples"][0] == "OCID 0 can't be compiled: is null"
    assert len(found["NullDateValueError"].data["examples"]) == 10
    assert (found["InvalidJSONFile"].level, found["Unrecognized"].level) == ("ERROR", "WARNING")
    assert all(isinstance(note, Note) and len(note.note) < 2100 for note in found.values())


def test_metadata_and_notes_of_a_large_collection_may_take_hours(kingfisher: Kingfisher) -> None:
    """PRO-04: an hour was observed; notes begin only once the last of them is gathered."""
    root = kingfisher.completed(without=["ocds-213czf-001"])
    backend = kingfisher.make(timeouts=Timeouts(connect=2, read=0.2, metadata=20))
    for path in ("/notes/", "/metadata/"):
        kingfisher.process.fail(path, Fault(pause=0.8))
    kinds = {note.data["type"] for note in backend.notes(kingfisher.job(root))}
    assert kinds == {"MissingDateKeyError", "OcidsNotCompiled"}
    assert backend.metadata(kingfisher.job(root)).counts["compiled_releases"] == 1
    assert Timeouts().metadata >= 3600


def test_a_wipe_deletes_all_but_shared_data_and_sees_that_it_is_gone(kingfisher: Kingfisher) -> None:
    """PRO-10, DEF-18: 202 means asked for. It is over when the tree and the rows are gone; twice is once."""
    root, other = kingfisher.completed(), kingfisher.completed({"a.json": [release(1)]}, source_id="graustark")
    kingfisher.backend.wipe(kingfisher.job(root))
    assert kingfisher.process.kind_of(root) is None
    left = "SELECT (SELECT count(*) FROM collection), (SELECT count(*) FROM release), count(*) FROM compiled_release"
    assert kingfisher.process.run(left) == [(2, 1, 1)]
    kingfisher.backend.wipe(kingfisher.job(root))
    assert [request for request in kingfisher.process.requests if "DELETE" in request] == [
        f"DELETE /api/collections/{root}/"
    ]
    assert kingfisher.status(other).state == ProcessState.COMPLETED


def test_a_wipe_of_an_open_crawl_deletes_it(kingfisher: Kingfisher) -> None:
    """A cancelled crawl never closes: its collection can only be deleted."""
    root = kingfisher.crawl({"a.json": [release(1)]})
    kingfisher.backend.cancel(kingfisher.job(root))
    kingfisher.backend.wipe(kingfisher.job(root))
    assert not kingfisher.process.exists(root)


def test_a_wipe_finds_the_collection_that_a_crawl_never_told_of_where_it_may(kingfisher: Kingfisher) -> None:
    """A crawl that got no answer to its request, or whose log level hides the line, has one nonetheless."""
    process, crawl = kingfisher.process, "ruritania-7-0123abcd"
    root, _ = process.create("ruritania", VERSION, job=crawl)
    other, _ = process.create("graustark", VERSION, job="graustark-8-0123abcd")
    job = kingfisher.job(None, job_id=crawl, spider="ruritania")
    kingfisher.backend.wipe(job)
    assert process.exists(root)  # the role may not look for it
    process.run("GRANT SELECT ON collection TO registry_reader")
    try:
        kingfisher.backend.wipe(job)
        kingfisher.backend.wipe(job)
        kingfisher.backend.wipe(kingfisher.job(None, job_id="", spider="ruritania"))
    finally:
        process.run("REVOKE SELECT ON collection FROM registry_reader")
    assert not process.exists(root)
    assert process.exists(other)


def test_a_wipe_that_is_not_done_is_said_to_be_undone(kingfisher: Kingfisher) -> None:
    """DEF-18: the wiper may be down; it is asked again the next time."""
    root = kingfisher.completed()
    kingfisher.process.wiper = "never"
    with pytest.raises(RecoverableError, match="it is still there after 60 seconds"):
        kingfisher.backend.wipe(kingfisher.job(root))
    kingfisher.process.wiper = "at once"
    kingfisher.backend.wipe(kingfisher.job(root))
    assert not kingfisher.process.exists(root)


def test_a_wipe_waits_for_rows_that_outlast_the_tree(kingfisher: Kingfisher) -> None:
    root = kingfisher.completed()
    process = kingfisher.process
    # The tree says that it is gone, while rows are still being deleted.
    process.fail(f"/{root}/tree/", *[Fault(404, '{"detail":"Not found."}')] * 2)
    process.wiper = "never"
    threading.Timer(0.3, process.wipe, (root,)).start()
    kingfisher.backend.wipe(kingfisher.job(root))
    assert process.run("SELECT count(*) FROM release") == [(0,)]
    process.wait_until_wiped(root)


def test_a_wipe_needs_the_service(kingfisher: Kingfisher) -> None:
    """It is never taken for done because nobody answers."""
    root = kingfisher.completed()
    kingfisher.process.fail("collections", Fault(500))
    with pytest.raises(RecoverableError, match="500"):
        kingfisher.backend.wipe(kingfisher.job(root))
    assert kingfisher.process.exists(root)


def test_the_services_are_checked(kingfisher: Kingfisher) -> None:
    """What answered is told, and nothing is changed."""
    settings = kingfisher.settings.kingfisher
    assert settings is not None
    assert check_api(settings) == f"{kingfisher.process.url} answers like Kingfisher Process"
    assert kingfisher.process.requests == ["GET /api/collections/0/tree/"]
    said = check_database(settings)
    assert said.startswith(
        f"{DATABASE} is reachable, and registry_reader may read compiled_release, data, release (not"
    )


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (Fault(404, NOT_FOUND, "text/html"), "correct KINGFISHER_PROCESS_URL"),
        (Fault(200, LOGIN, "text/html"), "a web page, such as a login"),
        (Fault(200, '[{"id": 1, "transform_type": ""}]'), "not like Kingfisher Process"),
        (Fault(500), "it answered 500"),
    ],
)
def test_what_is_not_kingfisher_process_fails_the_check(kingfisher: Kingfisher, fault: Fault, text: str) -> None:
    settings = kingfisher.settings.kingfisher
    assert settings is not None
    kingfisher.process.fail("/tree/", fault)
    with pytest.raises(ConfigurationError, match=text):
        check_api(settings)


def _settings(kingfisher: Kingfisher, old: str, new: str) -> Settings:
    import dataclasses

    found = kingfisher.settings.kingfisher
    assert found is not None
    changed = dataclasses.replace(found, process_database_url=found.process_database_url.replace(old, new, 1))
    return dataclasses.replace(kingfisher.settings, kingfisher=changed)


def test_a_database_that_is_not_there_fails_the_check(kingfisher: Kingfisher) -> None:
    settings = _settings(kingfisher, DATABASE, "nobody").kingfisher
    assert settings is not None
    with pytest.raises(
        ConfigurationError, match=r'database "nobody" does not exist\. Correct KINGFISHER_PROCESS_DATA'
    ):
        check_database(settings)


def test_a_database_without_tables_or_rights_fails_the_check_with_the_remedy(
    kingfisher: Kingfisher, kingfisher_server: str
) -> None:
    wrong = _settings(kingfisher, f"/{DATABASE}", "/postgres").kingfisher
    assert wrong is not None
    with pytest.raises(
        ConfigurationError, match="Point KINGFISHER_PROCESS_DATABASE_URL at the database of Kingfisher"
    ):
        check_database(wrong)
    execute(kingfisher_server, "DROP ROLE IF EXISTS nobody", "CREATE ROLE nobody LOGIN")
    poor = _settings(kingfisher, "registry_reader:reading@", "nobody@").kingfisher
    assert poor is not None
    with pytest.raises(ConfigurationError, match="GRANT SELECT ON compiled_release, data TO nobody;"):
        check_database(poor)


def test_settings_without_the_services_or_with_a_garbled_address_are_refused(kingfisher: Kingfisher) -> None:
    import dataclasses

    with pytest.raises(ConfigurationError, match="no Kingfisher services"):
        type(kingfisher.backend)(dataclasses.replace(kingfisher.settings, kingfisher=None))
    with pytest.raises(ConfigurationError, match="KINGFISHER_PROCESS_DATABASE_URL can't be read"):
        type(kingfisher.backend)(_settings(kingfisher, "registry_reader:reading@", "a%zzb@"))


@pytest.mark.parametrize("url", ["http://user:canary-9f3c7a@[::1", "http://user:canary-9f3c7a@", "http://:0x/"])
def test_an_address_that_is_none_fails_and_is_not_shown(kingfisher: Kingfisher, url: str) -> None:
    """I6: nor in what the error came from."""
    import dataclasses

    found = kingfisher.settings.kingfisher
    assert found is not None
    changed = dataclasses.replace(kingfisher.settings, kingfisher=dataclasses.replace(found, process_url=url))
    with pytest.raises(UnexpectedError, match="the request can't be sent") as caught:
        type(kingfisher.backend)(changed).status(kingfisher.job(1))
    assert "canary" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_passwords_are_in_no_message(kingfisher: Kingfisher) -> None:
    """I6, DEF-12: not in those of the API, of the database, nor of both checks."""
    import dataclasses

    found = kingfisher.settings.kingfisher
    assert found is not None
    secret = "canary-9f3c7a"
    for api, database in (
        (f"http://user:{secret}@127.0.0.1:9", found.process_database_url.replace("reading", secret)),
        (kingfisher.process.url.replace("//", f"//user:{secret}@"), f"postgresql://user:{secret}@127.0.0.1:9/x"),
    ):
        changed = dataclasses.replace(found, process_url=api, process_database_url=database)
        backend = type(kingfisher.backend)(dataclasses.replace(kingfisher.settings, kingfisher=changed))
        kingfisher.process.fail("collections", Fault(302, headers={"Location": f"https://user:{secret}@host/login"}))
        said = [repr(changed)]
        for ask in (
            lambda b=backend: b.status(kingfisher.job(1)),
            lambda b=backend: b.wipe(kingfisher.job(1)),
            lambda b=backend: list(b.compiled_releases(kingfisher.job(1, process_compiled_collection_id=2))),
            lambda c=changed: check_api(c),
            lambda c=changed: check_database(c),
        ):
            try:
                said.append(str(ask()))
            except (RecoverableError, UnexpectedError, ConfigurationError) as error:
                said.append(str(error))
        assert secret not in " ".join(said)
        kingfisher.process._faults.clear()
