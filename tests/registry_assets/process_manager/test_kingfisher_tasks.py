"""The process and exporter tasks with Kingfisher Process, driven to their ends."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import pytest

from registry_assets.process_manager import job_store
from registry_assets.process_manager.driver import Pace, TaskFailedError, drive
from registry_assets.process_manager.services import Services
from registry_assets.process_manager.tasks.collect import CollectTask
from registry_assets.process_manager.tasks.exporter import ExporterTask
from registry_resources.database import Job, Task
from registry_resources.exceptions import RecoverableError
from registry_resources.process.backend import ProcessJob
from registry_resources.process.kingfisher_tree import Patience
from tests.services.kingfisher_process import Fault
from tests.support.backends import COMPLETED, Listener, ScriptedProcess
from tests.support.kingfisher import VERSION, Kingfisher, kingfisher_on, prepare, release
from tests.support.registry import read_jsonl

PACE = Pace(first=0.02, longest=0.1)


@pytest.fixture
def kingfisher(postgresql: str, tmp_path: Path) -> Iterator[Kingfisher]:
    prepare(postgresql)
    with kingfisher_on(postgresql, tmp_path / "kingfisher") as bench:
        yield bench


def remember(services: Services, number: int, **context: object) -> None:
    with services.database.session() as session:
        found = session.get_one(Job, number)  # held, or what is changed in it is lost with it
        found.context.update(context)


def drive_task(services: Services, job_id: int, kind: str) -> Listener:
    listener = Listener()
    with services.database.session() as session:
        task = session.get_one(Job, job_id).task(Task.Type(kind))
    drive(task.id, services, listener, PACE)
    return listener


def job(services: Services, job_id: int) -> Job:
    with services.database.session() as session:
        found = session.get_one(Job, job_id)
        for task in found.tasks:
            assert task.notes is not None
        return found


def test_a_crawl_in_kingfisher_process_becomes_files(
    services: Services, collected_job: int, kingfisher: Kingfisher
) -> None:
    """PRO-01 to PRO-08: what the crawl fed is not wiped by processing it; it is described, and exported by year."""
    root = kingfisher.completed(
        {"a.json": [release(1, "2021-01-02"), release(2, "2022-03-04"), release(3, None), release(4)]},
        without=["ocds-213czf-004"],
    )
    services = dataclasses.replace(services, process=kingfisher.backend)
    remember(services, collected_job, process_id=str(root), data_version=VERSION, spider="ruritania", files=1)
    listener = drive_task(services, collected_job, "process")
    assert [request for request in kingfisher.process.requests if "DELETE" in request] == []
    found = job(services, collected_job)
    assert found.context["process_compiled_collection_id"] == 2
    assert found.context["process_counts"] == {
        "files": 1,
        "releases": 4,
        "ocids": 4,
        "compiled_releases": 3,
        "skipped_ocids": 1,
    }
    assert (str(found.date_from), str(found.date_to), found.ocid_prefix) == ("2021-01-02", "2022-03-04", "ocds-213czf")
    notes = {note.data["type"] for note in found.task(Task.Type.PROCESS).notes}
    assert notes == {"OcidsNotCompiled", "MissingDateKeyError"}
    (warning,) = [line for line in listener.lines if line.startswith("warning: Processing noted")]
    assert "OCID ocds-213czf-004 can't be compiled" in warning

    drive_task(services, collected_job, "exporter")
    folder = services.settings.exporter_dir / "ruritania" / str(collected_job)
    assert sorted(path.name for path in folder.glob("*.jsonl.gz")) == [
        "2021.jsonl.gz",
        "2022.jsonl.gz",
        "full.jsonl.gz",
        "undated.jsonl.gz",
    ]
    assert [each["ocid"][-3:] for each in read_jsonl(folder / "full.jsonl.gz")] == ["001", "002", "003"]


def test_an_empty_collection_fails_after_its_notes_and_metadata_are_stored(
    services: Services, collected_job: int, kingfisher: Kingfisher
) -> None:
    """PRO-09."""
    root = kingfisher.crawl({"a.json": [release(1), {"ocid": None}]})
    kingfisher.process.finish(root)
    services = dataclasses.replace(services, process=kingfisher.backend)
    remember(services, collected_job, process_id=root)
    with pytest.raises(TaskFailedError, match="Collection is empty: it has no compiled releases"):
        drive_task(services, collected_job, "process")
    found = job(services, collected_job)
    assert found.context["process_counts"] == {"files": 1, "skipped_files": 1}
    assert [note.data["type"] for note in found.task(Task.Type.PROCESS).notes] == ["FilesWithoutReleases"]
    assert found.task(Task.Type.EXPORTER).status == Task.Status.PLANNED


def test_the_deadline_tells_what_it_looks_like(services: Services, collected_job: int, kingfisher: Kingfisher) -> None:
    """I4: a collection that never completes ends the job, with what it looks like, and is deleted."""
    root = kingfisher.crawl({"a.json": [release(1)]})
    kingfisher.process.load_invalid_json(root, "b.json")
    kingfisher.process.close(root)
    settings = dataclasses.replace(services.settings, task_deadlines={"process": 1.0})
    backend = kingfisher.make(patience=Patience(look=0))
    services = dataclasses.replace(services, process=backend, settings=settings)
    remember(services, collected_job, process_id=root)
    with pytest.raises(TaskFailedError, match=r"REGISTRY_PROCESS_DEADLINE.*a file is not valid JSON"):
        drive_task(services, collected_job, "process")
    assert not kingfisher.process.exists(root)


def test_an_error_that_tells_nothing_of_the_data_leaves_it_to_be_looked_at_again(
    services: Services, collected_job: int, kingfisher: Kingfisher
) -> None:
    """ASK-01: days of crawling are not thrown away because an address is wrong. The cleanup deletes it later."""
    root = kingfisher.completed()
    services = dataclasses.replace(services, process=kingfisher.backend)
    remember(services, collected_job, process_id=root)
    kingfisher.process.fail("/metadata/", Fault(403, '{"detail": "x"}'))
    with pytest.raises(TaskFailedError, match="wants a login"):
        drive_task(services, collected_job, "process")
    assert kingfisher.process.exists(root)


def test_terminating_the_run_deletes_what_the_crawl_has_fed(
    services: Services, collected_job: int, kingfisher: Kingfisher
) -> None:
    """ASK-02."""
    root = kingfisher.crawl({"a.json": [release(1)]})
    services = dataclasses.replace(services, process=kingfisher.backend)
    remember(services, collected_job, process_id=root)
    with services.database.session() as session:
        task = session.get_one(Job, collected_job).task(Task.Type.PROCESS)

    def terminate(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive(task.id, services, Listener(), dataclasses.replace(PACE, sleep=terminate))
    assert not kingfisher.process.exists(root)


class Breaking(ScriptedProcess):
    """Breaks off in the middle a few times, and remembers how many streams were closed."""

    times = 2
    closed = 0

    def compiled_releases(self, job: ProcessJob) -> Generator[Sequence[tuple[str | None, bytes]]]:
        try:
            yield self.releases[:1]
            if self.times:
                self.times -= 1
                raise RecoverableError("the connection broke")
            yield self.releases[1:]
            yield from iter(lambda: (), None) if self.endless else ()
        finally:
            self.closed += 1

    endless = False


LINES = [("2021-01-01", b'{"ocid":"1"}'), ("2022-01-01", b'{"ocid":"2"}')]


def test_an_export_whose_source_breaks_begins_anew(services: Services, collected_job: int) -> None:
    """Nothing of the broken attempts is in the files, and the reason is told meanwhile."""
    process = Breaking(COMPLETED, releases=LINES)
    services = dataclasses.replace(services, process=process)
    drive_task(services, collected_job, "process")
    listener = drive_task(services, collected_job, "exporter")
    assert "warning: the connection broke (trying again)" in listener.lines
    folder = services.settings.exporter_dir / "ruritania" / str(collected_job)
    assert [each["ocid"] for each in read_jsonl(folder / "full.jsonl.gz")] == ["1", "2"]
    assert process.closed == 3
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_an_export_whose_source_stays_broken_ends_at_the_deadline(services: Services, collected_job: int) -> None:
    """I4, DEF-13."""
    process = Breaking(COMPLETED, releases=LINES)
    process.times = 10**6
    settings = dataclasses.replace(services.settings, task_deadlines={"exporter": 0.5})
    services = dataclasses.replace(services, process=process, settings=settings)
    drive_task(services, collected_job, "process")
    with pytest.raises(TaskFailedError, match=r"REGISTRY_EXPORTER_DEADLINE.*the connection broke"):
        drive_task(services, collected_job, "exporter")
    assert not list((services.settings.exporter_dir / "ruritania").glob("*/*.jsonl.gz"))


def test_a_cancelled_export_lets_go_of_its_source(services: Services, collected_job: int) -> None:
    """ASK-02: also while the source has nothing to give."""
    process = Breaking(COMPLETED, releases=LINES)
    process.times, process.endless = 0, True
    services = dataclasses.replace(services, process=process)
    with services.database.session() as session:
        task = job_store.load_task(session, session.get_one(Job, collected_job).task(Task.Type.EXPORTER).id)
    manager = ExporterTask(task, services)
    manager.run()
    assert manager.get_status() == (Task.Status.RUNNING, None)
    manager.cancel()
    assert process.closed == 1


class Crawls:
    """A collect backend that schedules, and deletes nothing."""

    poll = (0.1, 1.0)
    resumes = False
    makes_collections = True

    def schedule(self, request: object) -> dict[str, str]:
        return {}

    def wipe(self, *of: object) -> None:
        """Files are not in question here."""

    def context(self, crawl: str) -> dict[str, str]:
        return {}


def test_collecting_again_deletes_what_the_crawl_before_fed(
    services: Services, collected_job: int, kingfisher: Kingfisher
) -> None:
    """RET-05: nothing is left behind in Kingfisher Process of a crawl whose id the job forgets."""
    root = kingfisher.crawl({"a.json": [release(1)]})
    services = dataclasses.replace(services, process=kingfisher.backend, collect=Crawls())  # type: ignore[arg-type]
    remember(services, collected_job, process_id=root, job_id="before")
    with services.database.session() as session:
        task = job_store.load_task(session, session.get_one(Job, collected_job).task(Task.Type.COLLECT).id)
    CollectTask(task, services).run()
    assert not kingfisher.process.exists(root)
    assert job(services, collected_job).context["process_id"] is None


def test_an_export_whose_connection_is_ended_by_the_server_is_whole_in_the_end(
    services: Services, collected_job: int, kingfisher: Kingfisher
) -> None:
    """Such as when PostgreSQL is restarted: the second snapshot is exported as a whole, once."""
    process = kingfisher.process
    root = kingfisher.crawl({"a.json": [release(1)]})
    process.run(
        "WITH d AS (INSERT INTO data (hash_md5, data)"
        " SELECT '', jsonb_build_object('ocid', n::text, 'date', '2021-01-01', 'x', repeat(md5(n::text), 60))"
        " FROM generate_series(1, 10000) n RETURNING id)"
        " INSERT INTO compiled_release (collection_id, collection_file_id, data_id, ocid, release_date)"
        " SELECT %s, 1, id, '', '' FROM d",
        process.compiled_of(root),
    )
    process.finish(root, compiled=[])
    services = dataclasses.replace(services, process=kingfisher.backend)
    remember(services, collected_job, process_id=root)
    drive_task(services, collected_job, "process")
    ended = threading.Event()

    def end_one_copy() -> None:
        deadline = time.monotonic() + 60
        while not ended.is_set() and time.monotonic() < deadline:
            if process.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = 'registry_reader' AND query LIKE '%%COPY%%' AND state = 'active'"
            ):
                ended.set()

    thread = threading.Thread(target=end_one_copy)
    thread.start()
    listener = drive_task(services, collected_job, "exporter")
    thread.join()
    assert any("Kingfisher Process' database" in line and "(trying again)" in line for line in listener.lines)
    folder = services.settings.exporter_dir / "ruritania" / str(collected_job)
    found = [int(each["ocid"]) for each in read_jsonl(folder / "full.jsonl.gz")]
    assert found == list(range(1, 10_001))
