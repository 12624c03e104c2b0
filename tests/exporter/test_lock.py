"""The lock that cannot be defeated: taking, refusing, taking over, keeping alive, giving back."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from exporter import lock
from exporter.errors import LockFileError
from exporter.util import Export

HOLD = """
import sys, time
from pathlib import Path
from exporter import lock
held = lock.Locks([Path(sys.argv[1])])
held.acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the lock file is."""
    return tmp_path / ".work.lock"


def test_the_file_says_who_and_since_when(path: Path) -> None:
    """Of two workers on the same files, a person can look up the other (DEF-01)."""
    with lock.Locks([path]):
        holder = json.loads(path.read_bytes())
    assert holder["pid"] == os.getpid()
    assert set(holder) == {"pid", "host", "boot", "namespace", "started", "since"}
    assert not path.exists()


def test_the_same_work_twice_is_refused_and_the_first_is_unharmed(path: Path) -> None:
    """A LockFileError means that the same work was asked for twice."""
    with lock.Locks([path]) as first:
        for _ in range(3):
            with pytest.raises(LockFileError, match=f"by process {os.getpid()} on .* since 20"):
                lock.Locks([path]).acquire()
        first.check()
        assert lock.is_held(path)
    assert not lock.is_held(path)


def test_all_or_none(tmp_path: Path) -> None:
    """Several locks are taken together; those taken before the refusal are given back."""
    one, two = tmp_path / "one", tmp_path / "two"
    with lock.Locks([two]):
        with pytest.raises(LockFileError):
            lock.Locks([one, two]).acquire()
        assert not one.exists()
        assert two.exists()


def test_a_killed_workers_lock_is_taken_over_at_once(path: Path) -> None:
    """DEF-02: a killed exporter is not running for ever; on the same boot nobody waits for a heartbeat."""
    worker = subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE)
    try:
        assert worker.stdout.readline() == b"held\n"
        with pytest.raises(LockFileError, match=f"by process {worker.pid} "):
            lock.Locks([path]).acquire()
    finally:
        worker.kill()
        worker.wait()
        worker.stdout.close()
    assert path.exists()
    assert not lock.is_held(path)
    with lock.Locks([path]):
        assert json.loads(path.read_bytes())["pid"] == os.getpid()


def test_a_zombies_lock_is_taken_over_at_once(path: Path) -> None:
    """Killed, but its parent has not looked yet."""
    worker = subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE)
    try:
        assert worker.stdout.readline() == b"held\n"
        worker.kill()
        deadline = time.monotonic() + 60
        while lock.is_held(path) and time.monotonic() < deadline:
            time.sleep(0.01)
        with lock.Locks([path]):
            pass
    finally:
        worker.wait()
        worker.stdout.close()


def test_a_process_id_that_was_given_again_is_not_the_holder(path: Path) -> None:
    """The start of the process tells them apart."""
    path.write_text(json.dumps({**lock._me(), "started": 1}))
    with lock.Locks([path]):
        pass


@pytest.mark.parametrize(
    "other", [{"boot": "another boot"}, {"namespace": "pid:[1]"}, {"boot": "another", "host": "elsewhere"}]
)
def test_a_holder_that_cannot_be_looked_up_is_given_five_minutes(path: Path, other: dict[str, str]) -> None:
    """Another machine, another container, or before a reboot: only its heartbeat tells."""
    path.write_text(json.dumps({**lock._me(), **other}))
    fresh = time.time() - lock.STALE_AFTER + 20
    os.utime(path, (fresh, fresh))
    with pytest.raises(LockFileError):
        lock.Locks([path]).acquire()
    old = time.time() - lock.STALE_AFTER - 1
    os.utime(path, (old, old))
    with lock.Locks([path]):
        pass


def test_a_living_holder_on_this_machine_is_never_declared_dead(path: Path) -> None:
    """However long one call holds up its heartbeat."""
    path.write_text(json.dumps(lock._me()))
    os.utime(path, (0, 0))
    with pytest.raises(LockFileError):
        lock.Locks([path]).acquire()
    path.unlink()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pid": 1}'])
def test_a_file_that_says_nothing_legible_is_taken_over(path: Path, text: str) -> None:
    """Its maker died between two system calls. What is legible but old is judged by its age."""
    path.write_text(text)
    os.utime(path, (0, 0))
    with lock.Locks([path]):
        pass


def test_the_heartbeat_touches_the_file(path: Path) -> None:
    """So that those who cannot look up the holder see that it lives."""
    with lock.Locks([path], beat_every=0.01):
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 60
        while path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > 0


def test_a_holder_that_lost_its_lock_sees_it_and_leaves_the_new_one_alone(path: Path) -> None:
    """It slept for longer than the limit: before its files become visible it must stop."""
    old = lock.Locks([path])
    old.acquire()
    path.unlink()
    with lock.Locks([path]) as new:
        with pytest.raises(LockFileError, match="another took over this work"):
            old.check()
        old.release()
        new.check()
        assert path.exists()


def test_a_forked_child_gives_nothing_back(path: Path) -> None:
    """A child that ends must not end its parent's lock."""
    with lock.Locks([path]) as held:
        child = multiprocessing.get_context("fork").Process(target=held.release)
        child.start()
        child.join()
        assert child.exitcode == 0
        held.check()
        assert path.exists()


def test_of_many_at_once_one_gets_a_stale_lock(path: Path) -> None:
    """Taking over is atomic: the winner's new lock is not deleted by a loser that saw the old one."""
    for _ in range(20):
        path.write_text(json.dumps({**lock._me(), "started": 1}))
        barrier, winners = threading.Barrier(8), []

        def contend(barrier: threading.Barrier = barrier, winners: list[lock.Locks] = winners) -> None:
            mine = lock.Locks([path])
            barrier.wait()
            try:
                mine.acquire()
            except LockFileError:
                return
            winners.append(mine)

        threads = [threading.Thread(target=contend) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(winners) == 1
        winners[0].check()
        winners[0].release()


def test_waiting_for_a_lock(path: Path) -> None:
    """Locks that are held for moments are waited for."""
    first = lock.Locks([path])
    first.acquire()
    timer = threading.Timer(0.2, first.release)
    timer.start()
    with lock.Locks([path], wait=10):
        pass
    timer.join()


def test_the_lock_lies_beside_the_directory(target: Export) -> None:
    """DEF-01: emptying or deleting the directory does not delete the lock."""
    assert target.lockfile.parent == target.directory.parent


def test_without_flock_a_lock_is_never_taken_over(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems: taking over could not be atomic there, so a person is asked."""

    def flock(*_: object) -> None:
        raise OSError(lock.errno.EBADF, "no flock here")

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with lock.Locks([path]):
        pass
    path.write_text(json.dumps({**lock._me(), "started": 1}))
    with pytest.raises(LockFileError, match="if it is gone, delete the file"):
        lock.Locks([path]).acquire()


def test_locks_of_the_dead_are_swept_and_those_of_the_living_are_not(tmp_path: Path) -> None:
    """A killed process may have worked in a directory that nobody works in again."""
    dead, alive = tmp_path / ".a.lock", tmp_path / ".b.lock"
    dead.write_text(json.dumps({**lock._me(), "started": 1}))
    with lock.Locks([alive]):
        lock.sweep(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [".b.lock"]


def test_a_lock_is_given_back_also_without_file_descriptors(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a process that lives on would be its own obstacle."""
    held = lock.Locks([path])
    held.acquire()
    with monkeypatch.context() as patch:
        patch.setattr(lock.os, "open", lambda *_: (_ for _ in ()).throw(OSError(lock.errno.EMFILE, "none left")))
        held.release()
    assert not path.exists()


def test_a_signal_in_the_middle_of_giving_back_leaves_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line turns SIGTERM into an exception, which may be raised anywhere."""
    paths = [tmp_path / name for name in ("a", "b", "c")]
    held = lock.Locks(paths)
    held.acquire()
    delete = lock._delete_own
    calls: list[Path] = []

    def interrupted(path: Path, descriptor: int) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        delete(path, descriptor)

    monkeypatch.setattr(lock, "_delete_own", interrupted)
    with pytest.raises(KeyboardInterrupt):
        held.release()
    assert list(tmp_path.iterdir()) == []
