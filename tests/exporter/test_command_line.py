"""The command line: summaries, progress, one-line errors, exit codes, signals."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from exporter import cli, manifest

Releases = list[tuple[str | None, bytes]]


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command and return its end."""
    return subprocess.run(
        [sys.executable, "-m", "exporter", *map(str, arguments)],
        capture_output=True,
        check=False,
        text=True,
        **options,
    )


@pytest.fixture
def source(tmp_path: Path, releases: Callable[[int], Releases]) -> Path:
    """A file of 40 releases, one of them broken."""
    path = tmp_path / "source.jsonl"
    path.write_bytes(b"".join(line + b"\n" for _, line in releases(40)) + b"{broken\n")
    return path


def test_a_whole_session(source: Path, tmp_path: Path) -> None:
    """Each command prints a JSON summary on standard output, and exits with 0."""
    directory = tmp_path / "out"
    done = run("export", source, directory)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["files"], summary["rows"], summary["skipped"]) == (5, 40, {"invalid_json": 1})
    assert summary["bytes"] == sum(path.stat().st_size for path in directory.glob("*.gz"))
    assert "left out: line 41: invalid_json\n" in done.stderr

    done = run("coverage", directory)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["details"]["counts"]["tenders_count"] == 40

    done = run("status", directory)
    assert (json.loads(done.stdout)["status"], json.loads(done.stdout)["stages"]) == (
        "WAITING",
        ["export", "coverage"],
    )

    done = run("flatten", directory, "--formats", "csv,parquet", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert (directory / "full.csv.tar.gz").is_file()
    assert not (directory / "full.xlsx").exists()

    done = run("verify", directory)
    assert (done.returncode, json.loads(done.stdout)["wrong"]) == (0, []), done.stderr
    done = run("status", directory)
    assert json.loads(done.stdout)["status"] == "COMPLETED"
    assert json.loads(done.stdout)["counts"]["skipped_export_invalid_json"] == 1
    assert json.loads(done.stdout)["skipped"] == {"skipped_export_invalid_json": 1}
    assert json.loads(done.stdout)["rows"] == 40
    assert json.loads(done.stdout)["files"] == len(manifest.read(directory).files)
    assert json.loads(done.stdout)["downloads"]["csv"]["full"] == (directory / "full.csv.tar.gz").stat().st_size

    (directory / "2020.jsonl.gz").unlink()
    done = run("verify", directory)
    assert done.returncode == 1
    assert "2020.jsonl.gz: it is missing\n" in done.stderr


def test_standard_input_plain_and_compressed(source: Path, tmp_path: Path) -> None:
    """`-`: the first bytes tell whether it is gzip."""
    with source.open("rb") as file:
        done = run("export", "-", tmp_path / "a", stdin=file)
    assert json.loads(done.stdout)["rows"] == 40
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(source.read_bytes()))
    with packed.open("rb") as file:
        done = run("export", "-", tmp_path / "b", stdin=file)
    assert json.loads(done.stdout)["rows"] == 40
    assert (tmp_path / "a" / "full.jsonl.gz").read_bytes() == (tmp_path / "b" / "full.jsonl.gz").read_bytes()


def test_the_same_input_twice_gives_the_same_bytes(
    source: Path, tmp_path: Path, contents: Callable[[Path], dict[str, bytes]]
) -> None:
    """I7, manifest included."""
    for name in ("a", "b"):
        run("export", source, tmp_path / name)
        run("coverage", tmp_path / name)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_cut_off_source_is_told_by_the_exit_code(source: Path, tmp_path: Path) -> None:
    """All is not well, though what came before is exported."""
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(source.read_bytes())[:-30])
    done = run("export", path, tmp_path / "out")
    assert done.returncode == 3
    assert json.loads(done.stdout)["skipped"]["truncated_source"] == 1
    assert "cut off" in done.stderr
    assert manifest.read(tmp_path / "out").counts["skipped_export_truncated_source"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("export", "{tmp}/none", "{tmp}/out"), "none: No such file or directory: give a readable file"),
        (("export", "{tmp}/empty", "{tmp}/out"), "there are no compiled releases to export"),
        (("export", "{tmp}/source.jsonl", "{tmp}/empty/out"), "Not a directory"),
        (("coverage", "{tmp}/none"), "there is nothing of the stage export: do it first"),
        (("flatten", "{tmp}/none", "--formats", "pdf"), "'pdf' is none of csv, parquet, xlsx"),
        (("verify", "{tmp}/none"), "manifest.json: it is missing: export first"),
        (("status", "{tmp}/none"), "there is no such folder: export first"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_errors_are_one_line_that_says_what_to_do(
    source: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    """File, cause, remedy; nothing on standard output."""
    (tmp_path / "empty").touch()
    done = run(*(text.format(tmp=tmp_path) for text in arguments))
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_wrong_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code that argparse has."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["export", str(tmp_path)])
    assert ended.value.code == 2
    assert "SOURCE" in capsys.readouterr().err or "DIR" in capsys.readouterr().err


def slow_source(releases: Releases) -> Iterator[bytes]:
    """Lines for a pipe, one by one."""
    for _, line in releases:
        yield line + b"\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ended_by_a_signal_an_export_leaves_nothing(
    tmp_path: Path, releases: Callable[[int], Releases], number: signal.Signals
) -> None:
    """No temporary file, no lock, no message but one line."""
    process = subprocess.Popen(
        [sys.executable, "-m", "exporter", "export", "-", tmp_path / "root" / "out"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        process.stdin.write(b"".join(slow_source(releases(3000))))
        process.stdin.flush()
        wait_for(lambda: list((tmp_path / "root").glob("out/.tmp-*")))
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 128 + number
    assert errors.decode() == f"ended by {number.name}\n"
    assert [path.name for path in (tmp_path / "root").rglob("*")] == ["out"]


def test_ended_by_a_signal_coverage_leaves_no_worker(tmp_path: Path, releases: Callable[[int], Releases]) -> None:
    """Its worker processes end with it."""
    source, directory = tmp_path / "source", tmp_path / "root" / "out"
    lines = b"".join(line + b"\n" for _, line in releases(2000))
    source.write_bytes(lines * 60)
    assert run("export", source, directory).returncode == 0
    before = sorted(path.name for path in directory.parent.rglob("*"))
    process = subprocess.Popen(
        [sys.executable, "-m", "exporter", "coverage", directory], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        wait_for(lambda: len(list(directory.glob(".tmp-*/*"))) > 1)
        workers = psutil.Process(process.pid).children()
        process.terminate()
        process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 143
    assert workers
    assert not [worker for worker in workers if worker.is_running()]
    assert sorted(path.name for path in directory.parent.rglob("*")) == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent ended")
def test_it_ends_with_its_parent(tmp_path: Path, releases: Callable[[int], Releases]) -> None:
    """A killed registry leaves no exporter behind that goes on writing; the workers go too."""
    program = (
        "import subprocess, sys, time;"
        "command = [sys.executable, '-m', 'exporter', 'export', '-', sys.argv[1]];"
        "child = subprocess.Popen(command, stdin=subprocess.PIPE);"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "root" / "out"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        child = psutil.Process(int(parent.stdout.readline()))
        wait_for((tmp_path / "root" / "out").exists)
        parent.kill()
        parent.wait()
        wait_for(lambda: not child.is_running())
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    assert [path.name for path in (tmp_path / "root").rglob("*")] == ["out"]


def test_a_full_disk_is_one_line(source: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk; nothing is left."""
    command = 'ulimit -f 1 && exec "$0" -m exporter export "$1" "$2"'
    with source.open("ab") as file:
        for number in range(3000):
            file.write(b'{"r": "%s"}\n' % os.urandom(200).hex().encode() if number else b"\n")
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, source, tmp_path / "root" / "out"],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "File too large: free space or grant permission, and start again"
    assert [path.name for path in (tmp_path / "root").rglob("*")] == ["out"]


def wait_for(condition: Callable[[], object]) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
