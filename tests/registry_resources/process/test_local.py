"""The backend of this machine: real workers, killed, cancelled and wiped."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from registry_resources.exceptions import RecoverableError, UnexpectedError
from registry_resources.process.backend import ProcessJob, ProcessState
from registry_resources.process.result import JobFolder

MANY = "".join(
    json.dumps(
        {
            "ocid": f"ocds-abcdef-{n % 6000}",
            "id": str(n),
            "date": f"20{n % 20:02}-01-01",
            "tender": {"id": n, "a": [n] * 40},
        }
    )
    + "\n"
    for n in range(24000)
)


def holder(bench):
    return JobFolder(bench.settings.process_dir, "invented", 7).holder()


def test_a_job_is_processed_from_start_to_wipe(bench):
    """The whole life of a job, and each step twice."""
    assert bench.backend.status(bench.job).state == ProcessState.WAITING
    bench.backend.wipe(bench.job)
    bench.backend.cancel(bench.job)
    bench.collect(
        {
            "1.json": {
                "license": "L",
                "publicationPolicy": "P",
                "releases": [{"ocid": "ocds-abcdef-b", "date": "2020-01-02"}],
            }
        }
        | {"2.json": {"ocid": "ocds-abcdef-a"}, "3.json": "{"}
    )
    bench.backend.start(bench.job)
    bench.backend.start(bench.job)
    progress = bench.wait()
    assert (progress.state, progress.reason, progress.done, progress.total) == (ProcessState.COMPLETED, "", 2, 2)
    bench.backend.start(bench.job)
    metadata = bench.backend.metadata(bench.job)
    assert (metadata.date_from, metadata.ocid_prefix) == (metadata.date_to, "ocds-abcdef")
    assert (metadata.license, metadata.publication_policy) == ("L", "P")
    assert metadata.counts["skipped_invalid_json"] == 1
    assert "releases_not_merged" not in metadata.counts
    assert [note.level for note in bench.backend.notes(bench.job)] == ["ERROR"]
    assert bench.compiled() == [
        (None, b'{"tag":["compiled"],"id":"ocds-abcdef-a-None","ocid":"ocds-abcdef-a"}'),
        (
            "2020-01-02",
            b'{"tag":["compiled"],"id":"ocds-abcdef-b-2020-01-02","date":"2020-01-02","ocid":"ocds-abcdef-b"}',
        ),
    ]
    bench.backend.wipe(bench.job)
    bench.backend.wipe(bench.job)
    assert not list(bench.settings.process_dir.iterdir())
    assert bench.source.is_dir()
    with pytest.raises(UnexpectedError, match=r"publication invented, job 7.*materialise `processed` again"):
        bench.backend.metadata(bench.job)
    with pytest.raises(UnexpectedError, match="are gone"):
        bench.compiled()


@pytest.mark.parametrize("files", [{}, {"1.json": b""}, {"1.json": b" \n", "2.json": b""}])
def test_a_collection_with_nothing_to_read_fails_as_empty(bench, files):
    """PRO-09."""
    bench.source.mkdir(parents=True)
    bench.collect(files)
    progress = bench.run()
    assert progress.state == ProcessState.FAILED
    assert "publication invented, job 7" in progress.reason
    assert "Collection is empty" in progress.reason
    assert str(bench.source) in progress.reason
    assert bench.backend.notes(bench.job) == []


@pytest.mark.parametrize("content", [{"releases": []}, {"error": 1}, "<html>", [{"id": "no ocid"}]])
def test_a_collection_without_compiled_releases_is_completed_with_none(bench, content):
    """Zero compiled releases is a definite outcome, which the export names (DEF-04)."""
    bench.collect({"1.json": content})
    assert bench.run().state == ProcessState.COMPLETED
    assert bench.backend.metadata(bench.job).counts["compiled_releases"] == 0
    assert bench.compiled() == []


@pytest.mark.parametrize(
    ("directory", "reason"),
    [
        (None, "nothing was collected"),
        (7, "nothing was collected"),
        ("", "nothing was collected"),
        ("a\0b", "nothing was collected"),
        ("invented/20260101_000000", "are gone"),
        ("..", "not a folder within"),
        ("invented/../../outside", "not a folder within"),
        ("link/inside", "not a folder within"),
        (".", "not a folder within"),
        ("ABSOLUTE", "not a folder within"),
    ],
)
def test_a_missing_or_foreign_folder_fails_with_the_remedy(bench, directory, reason):
    """Only folders within the file store are read (DEF-11)."""
    outside = bench.settings.files_store.parent / "outside"
    (outside / "inside").mkdir(parents=True)
    bench.settings.files_store.mkdir()
    (bench.settings.files_store / "link").symlink_to(outside)
    context = {"directory": str(outside) if directory == "ABSOLUTE" else directory}
    job = dataclasses.replace(bench.job, context={} if directory is None else context)
    bench.backend.start(job)
    progress = bench.backend.status(job)
    assert progress.state == ProcessState.FAILED
    assert reason in progress.reason
    assert "Materialise `collected`" in progress.reason


def test_after_a_failure_start_begins_anew(bench):
    """A retry needs no wipe."""
    bench.backend.start(bench.job)
    assert bench.backend.status(bench.job).state == ProcessState.FAILED
    bench.collect({"1.json": {"ocid": "o", "date": "2020"}})
    assert bench.run().state == ProcessState.COMPLETED


@pytest.mark.parametrize(("key", "job"), [("..", 1), ("a/b", 1), ("", 1), ("Ä", 1), ("a", -1)])
def test_a_key_that_is_none_touches_nothing(bench, key, job):
    """I5: never outside the root."""
    for method in (bench.backend.start, bench.backend.status, bench.backend.wipe, bench.backend.cancel):
        with pytest.raises(UnexpectedError, match="nothing was touched"):
            method(ProcessJob(key, job, {}))


def test_a_wipe_does_not_follow_links(bench, tmp_path):
    """I5: never outside the root."""
    (tmp_path / "else" / "7").mkdir(parents=True)
    bench.settings.process_dir.mkdir(parents=True)
    (bench.settings.process_dir / "invented").symlink_to(tmp_path / "else")
    with pytest.raises(UnexpectedError, match="symbolic link"):
        bench.backend.wipe(bench.job)
    assert (tmp_path / "else" / "7").is_dir()


def running(bench):
    """Start a job that takes a while, and give its worker's process id once it works."""
    bench.backend.start(bench.job)
    pid = holder(bench)
    assert pid
    return pid


def gone(pids):
    deadline = time.monotonic() + 60
    while alive := [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)


def test_a_killed_worker_is_noticed_and_a_new_one_gives_the_same_bytes(bench_factory):
    """I7, and SIGKILL at any time: nothing half done is ever taken for whole."""
    bench = bench_factory(2)
    bench.collect({"1.json": MANY, "2.json": MANY[: len(MANY) // 2], "3.json": "{"})
    assert bench.run().state == ProcessState.COMPLETED
    expected = {path.name: path.read_bytes() for path in (bench.folder / "result").iterdir()}
    bench.backend.wipe(bench.job)
    for delay in (0, 0.05, 0.2, 0.4, 0.7):
        pid = running(bench)
        time.sleep(delay)
        children = [child.pid for child in psutil.Process(pid).children(recursive=True)]
        os.kill(pid, signal.SIGKILL)
        gone([pid, *children])
        assert bench.wait().state == ProcessState.WAITING
    assert bench.run().state == ProcessState.COMPLETED
    assert {path.name: path.read_bytes() for path in (bench.folder / "result").iterdir()} == expected
    assert sorted(path.name for path in bench.folder.iterdir()) == ["lock", "progress.json", "result", "worker.log"]


def test_a_child_of_the_worker_that_is_killed_fails_the_job(bench_factory):
    """As when the kernel is out of memory: a reason, and a retry that works."""
    bench = bench_factory(2)
    bench.collect({"1.json": MANY, "2.json": MANY})
    pid = running(bench)
    while not (
        children := [child for child in psutil.Process(pid).children() if "spawn_main" in " ".join(child.cmdline())]
    ):
        time.sleep(0.01)
    time.sleep(0.2)
    children[0].kill()
    progress = bench.wait()
    assert progress.state == ProcessState.FAILED
    assert "one of its processes was killed" in progress.reason
    assert bench.run().state == ProcessState.COMPLETED


def test_cancelling_ends_all_processes_and_leaves_nothing_half_done(bench_factory):
    """Returns when they are gone; start begins anew afterwards."""
    bench = bench_factory(2)
    bench.collect({"1.json": MANY, "2.json": MANY})
    pid = running(bench)
    time.sleep(0.3)
    children = [child.pid for child in psutil.Process(pid).children(recursive=True)]
    bench.backend.cancel(bench.job)
    assert holder(bench) is None
    gone([pid, *children])
    assert bench.backend.status(bench.job).state == ProcessState.WAITING
    assert not list(bench.folder.glob("work-*"))
    running(bench)
    bench.backend.wipe(bench.job)
    assert not bench.folder.exists()


def test_the_worker_ends_with_the_process_that_started_it(bench_factory):
    """A run that is killed leaves no worker; a thread of it that ends does."""
    bench = bench_factory(2)
    bench.collect({f"{n}.json": MANY for n in range(8)})
    thread = threading.Thread(target=bench.backend.start, args=(bench.job,))
    thread.start()
    thread.join()
    time.sleep(0.4)
    assert bench.backend.status(bench.job).state in {ProcessState.RUNNING, ProcessState.COMPLETED}
    bench.backend.wipe(bench.job)
    script = (
        "import sys, time, pathlib\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from conftest import Bench\n"
        f"bench = Bench(pathlib.Path({str(bench.settings.home.parent)!r}), 2)\n"
        "bench.backend.start(bench.job); print('started', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"started\n"
        pid = holder(bench)
        assert pid
        children = [child.pid for child in psutil.Process(pid).children(recursive=True)]
        parent.kill()
    gone([pid, *children])
    assert bench.backend.status(bench.job).state == ProcessState.WAITING
    bench.backend.wipe(bench.job)


def test_a_second_backend_sees_the_same_and_starts_nothing(bench_factory, tmp_path):
    """After a restart of the run, another process looks at the same folder: LockFileError's harm is none."""
    bench = bench_factory(2)
    bench.collect({"1.json": MANY, "2.json": MANY})
    pid = running(bench)
    other = type(bench)(tmp_path, 2)
    other.backend.start(other.job)
    assert holder(bench) == pid
    assert other.backend.status(other.job).state == ProcessState.RUNNING
    assert bench.wait().state == other.wait().state == ProcessState.COMPLETED


def test_a_full_disk_is_a_failure_with_its_remedy(bench):
    """Here by the limit of a file's size, as for a full disk: nothing half done is left, and a retry succeeds."""
    bench.collect(
        {"1.json": "".join(json.dumps({"ocid": f"o{n}", "x": os.urandom(300).hex()}) + "\n" for n in range(3000))}
    )
    script = (
        "import resource, sys, pathlib\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from conftest import Bench\n"
        f"bench = Bench(pathlib.Path({str(bench.settings.home.parent)!r}))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "print(bench.run().reason)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "publication invented, job 7 failed: File too large" in done.stdout
    assert "Free space, then materialise `processed` again" in done.stdout
    assert not list(bench.folder.glob("work-*"))
    assert bench.run().state == ProcessState.COMPLETED
    assert len(bench.compiled()) == 3000


def test_a_folder_that_cannot_be_written_is_told(bench):
    """A file stands where the folder should be."""
    bench.collect({"1.json": {"ocid": "o"}})
    bench.settings.home.mkdir()
    bench.settings.process_dir.write_text("in the way")
    with pytest.raises(RecoverableError, match=r"publication invented, job 7 can't begin: .* \(.*process"):
        bench.backend.start(bench.job)


@pytest.mark.parametrize("damage", ["cut", "flip", "delete", "count"])
def test_a_broken_result_is_noticed_while_it_is_read(bench, damage):
    """UnexpectedError with the remedy, never fewer releases in silence."""
    bench.collect({"1.json": "".join(json.dumps({"ocid": f"o{n}"}) for n in range(50))})
    assert bench.run().state == ProcessState.COMPLETED
    part = max((bench.folder / "result").glob("part-*"), key=lambda path: path.stat().st_size)
    data = part.read_bytes()
    if damage == "cut":
        part.write_bytes(data[:-1])
    elif damage == "flip":
        part.write_bytes(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
    elif damage == "delete":
        part.unlink()
    else:
        path = bench.folder / "result" / "result.json"
        path.write_text(path.read_text().replace('"compiled_releases":50', '"compiled_releases":51'))
    with pytest.raises(UnexpectedError, match=r"publication invented, job 7 .*materialise `processed` again"):
        bench.compiled()


def test_batches_are_a_few_megabytes_and_sorted_by_ocid(bench):
    """A stream in constant memory, always in the same order (I7)."""
    bench.collect(
        {"1.json": "".join(json.dumps({"ocid": f"o{n * 7919 % 3000:04}", "x": "y" * 6000}) for n in range(3000))}
    )
    assert bench.run().state == ProcessState.COMPLETED
    batches = list(bench.backend.compiled_releases(bench.job))
    sizes = [sum(len(line) for _, line in batch) for batch in batches]
    assert len(sizes) == 5
    assert max(sizes) < (4 << 20) + 10_000
    ocids = [json.loads(line)["ocid"] for batch in batches for _, line in batch]
    assert ocids == [f"o{n:04}" for n in range(3000)]


def test_it_works_with_few_open_files(bench):
    """`ulimit -n 64`: buckets and parts are open only while they are written or read."""
    files = {f"{n}.json": {"ocid": f"o{n}", "date": "2020"} for n in range(300)}
    bench.collect(files)
    script = (
        "import resource, sys, pathlib\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import registry_resources.process.pipeline as pipeline\n"
        "from conftest import Bench\n"
        f"bench = Bench(pathlib.Path({str(bench.settings.home.parent)!r}))\n"
        "print(bench.run().state, len(bench.compiled()))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "COMPLETED 300\n"
