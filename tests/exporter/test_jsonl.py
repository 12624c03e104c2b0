"""JSON Lines by year: which release goes where, the bytes, bounded files, and who reads gzip files of many members."""

from __future__ import annotations

import gzip
import io
import json
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter import jsonl, manifest
from exporter.errors import EmptyExportError, LockFileError, PublishedExportError, StoppedError
from exporter.util import PUBLISHED, Export

Releases = list[tuple[str | None, bytes]]


@pytest.mark.parametrize(
    ("date", "year"),
    [
        ("2021-05-06T00:00:00Z", "2021"),
        ("2021-05", "2021"),
        ("2021-12-99", "2021"),  # only the year and the month are looked at
        ("1000-01-01", "1000"),
        ("9999-12-31", "9999"),
        ("0999-01-01", "undated"),
        ("0021-05-01", "undated"),
        ("0000-01-01", "undated"),
        ("2021", "undated"),
        ("2021-13-01", "undated"),
        ("2021-00-01", "undated"),
        ("2021/05/06", "undated"),
        ("06-05-2021", "undated"),
        ("20210506", "undated"),
        (" 2021-05", "undated"),
        ("12021-05", "undated"),
        ("２０２１-05", "undated"),  # noqa: RUF001 - digits, but not of a file name
        ("n/a", "undated"),
        ("", "undated"),
        (None, "undated"),
    ],
)
def test_a_year_is_1000_to_9999_with_a_valid_month(date: str | None, year: str) -> None:
    """EXP-04, DEF-07: what the download page would refuse is undated."""
    assert jsonl.year_of(date) == year


def test_each_line_is_in_the_full_file_and_in_its_year_as_it_came(target: Export) -> None:
    """EXP-04: bytes are written as they came; files appear only if they have content."""
    lines: Releases = [
        ("2021-01-01", b'{"z": 1,  "a":"\\u00e9"}'),
        (None, b'{"n": 1e400}'),
        ("2020-02-02", '{"é": "日本"}'.encode()),
        ("2021-03-03", b'{"z": 2}\t'),
    ]
    summary = jsonl.export(target, [lines[:1], [], lines[1:]])

    assert {path.name for path in target.directory.glob("*.gz")} == {
        "full.jsonl.gz",
        "2020.jsonl.gz",
        "2021.jsonl.gz",
        "undated.jsonl.gz",
    }
    read = {
        name: gzip.decompress((target.directory / f"{name}.jsonl.gz").read_bytes())
        for name in summary.details["years"]
    }
    assert read == {
        "2020": lines[2][1] + b"\n",
        "2021": lines[0][1] + b"\n" + lines[3][1] + b"\n",
        "undated": lines[1][1] + b"\n",
    }
    full = gzip.decompress((target.directory / "full.jsonl.gz").read_bytes())
    assert full == read["2020"] + read["2021"] + read["undated"]
    assert (summary.files, summary.rows, summary.details["uncompressed"]) == (4, 4, len(full))


def test_the_full_file_is_the_years_files_joined(exported: Export) -> None:
    """Each byte is compressed once: a gzip file may have many members."""
    parts = [(exported.directory / f"{name}.jsonl.gz").read_bytes() for name in ("2019", "2020", "2021", "undated")]
    assert (exported.directory / "full.jsonl.gz").read_bytes() == b"".join(parts)


def test_the_same_lines_give_the_same_bytes_however_batched_and_whatever_the_workers(
    tmp_path: Path, releases: Callable[[int], Releases], contents: Callable[[Path], dict[str, bytes]]
) -> None:
    """I7, with more than a member's worth of lines in each year."""
    lines = [(date, line[:-1] + b', "pad": "' + b"x y" * 4000 + b'"}') for date, line in releases(800)]
    one, other = Export("k", 1, root=tmp_path / "a"), Export("k", 1, root=tmp_path / "b")
    jsonl.export(one, [lines], workers=1)
    jsonl.export(other, ([line] for line in lines), workers=4)
    assert len(contents(one.directory)) == 6
    assert contents(one.directory) == contents(other.directory)


def test_gzip_headers_hold_no_time_and_no_name(exported: Export) -> None:
    """I7: RFC 1952: flags 0 (no name), modification time 0."""
    for path in exported.directory.glob("*.gz"):
        assert path.read_bytes()[:8] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00"


def test_zero_releases_are_a_named_failure_that_leaves_nothing(target: Export) -> None:
    """DEF-04: no waiting for a file that will never come; what was left out is in the message."""
    with pytest.raises(EmptyExportError, match="no compiled releases to export \\(left out: 3 invalid_json\\)"):
        jsonl.export(target, [[]], skipped={"invalid_json": 3, "blank_lines": 0})
    assert [path.name for path in target.directory.iterdir()] == []
    assert not target.locked


def test_a_failing_source_leaves_nothing(target: Export, releases: Callable[[int], Releases]) -> None:
    """An exception of the caller's iterator passes through, after cleaning up."""

    def batches():
        yield releases(50)
        raise RuntimeError("the connection broke")

    with pytest.raises(RuntimeError, match="the connection broke"):
        jsonl.export(target, batches())
    assert list(target.directory.iterdir()) == []


def test_it_can_be_stopped(target: Export, releases: Callable[[int], Releases]) -> None:
    """Cancelling a job leaves no partial output (ASK-02)."""
    stop = threading.Event()

    def batches():
        for _ in range(3):
            yield releases(50)
            stop.set()

    with pytest.raises(StoppedError):
        jsonl.export(target, batches(), stop=stop)
    assert list(target.directory.iterdir()) == []


def test_progress_tells_releases_and_bytes(
    target: Export, releases: Callable[[int], Releases], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is called about twice a second; here the clock goes a second a look."""
    ticks = iter(range(10_000))
    monkeypatch.setattr(jsonl.time, "monotonic", lambda: float(next(ticks)))
    seen: list[tuple[int, int]] = []
    batch = releases(10)
    jsonl.export(target, [batch, batch], progress=lambda *done: seen.append(done))
    size = sum(len(line) for _, line in batch)
    assert seen == [(10, size), (20, 2 * size)]


def test_two_exports_of_one_directory_exclude_each_other(target: Export, releases: Callable[[int], Releases]) -> None:
    """DEF-01: the second is refused and the first is not harmed."""

    def batches():
        yield releases(5)
        with pytest.raises(LockFileError, match=r"12\.export\.lock: the same work is under way, by process \d+ on"):
            jsonl.export(target, [releases(1)])
        yield releases(5)

    assert jsonl.export(target, batches()).rows == 10


def test_exporting_again_drops_what_was_made_of_the_old_lines(
    finished: Export, releases: Callable[[int], Releases]
) -> None:
    """DEF-05: coverage and tables of other releases are no longer there, nor recorded."""
    assert set(manifest.read(finished.directory).stages) == {"export", "coverage", "flatten"}
    jsonl.export(finished, [releases(3)])
    assert set(manifest.read(finished.directory).stages) == {"export"}
    assert {path.name for path in finished.directory.iterdir()} == {
        "manifest.json",
        "full.jsonl.gz",
        *(f"{name}.jsonl.gz" for name in (2019, 2020, 2021)),
    }


def test_a_published_directory_is_refused(exported: Export, releases: Callable[[int], Releases]) -> None:
    """I2: a published version never changes."""
    (exported.directory / PUBLISHED).touch()
    before = (exported.directory / "full.jsonl.gz").read_bytes()
    with pytest.raises(PublishedExportError):
        jsonl.export(exported, [releases(1)])
    assert (exported.directory / "full.jsonl.gz").read_bytes() == before


def test_line_feeds_between_values_become_spaces(target: Export) -> None:
    """JSON allows them there, and JSON Lines does not."""
    jsonl.export(target, [[(None, b'{\n"a":\n1}')]])
    assert gzip.decompress((target.directory / "full.jsonl.gz").read_bytes()) == b'{ "a": 1}\n'


def test_thousands_of_garbage_years_need_few_files_and_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DEF-08: one open file however many years; what is pending is written when it is too much."""
    monkeypatch.setattr(jsonl, "PENDING", 100_000)
    target = Export("garbage", 1, root=tmp_path)
    lines: Releases = [
        (f"{year}-01-01", b'{"year": %d, "pad": "%s"}' % (year, b"p" * 500)) for year in range(1000, 2200)
    ]
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, before[1]))
    try:
        jsonl.export(target, [lines, lines])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert len(list(target.directory.glob("*.jsonl.gz"))) == 1201
    assert gzip.decompress((target.directory / "2199.jsonl.gz").read_bytes()) == (lines[-1][1] + b"\n") * 2


def test_200_garbage_years_fit_a_process_with_64_files(tmp_path: Path) -> None:
    """DEF-08, through the command line under `ulimit -n 64`."""
    source = tmp_path / "garbage.jsonl"
    source.write_bytes(b"".join(b'{"ocid": "o%d", "date": "%d-01-01"}\n' % (year, year) for year in range(1000, 1200)))
    command = 'ulimit -n 64 && exec "$0" -m exporter export "$1" "$2"'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, source, tmp_path / "out"], capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"] == 201


@pytest.fixture(scope="module")
def many_members(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A full file of several members, of several years, one of more than a member."""
    target = Export("k", 1, root=tmp_path_factory.mktemp("members"))
    lines: Releases = [
        (f"{2019 + number % 3}-01-01", json.dumps({"n": number, "text": f"{number} " * 400}).encode())
        for number in range(2500)
    ]
    jsonl.export(target, [lines])
    path = target.directory / "full.jsonl.gz"
    assert path.read_bytes().count(b"\x1f\x8b\x08\x00\x00\x00\x00\x00") >= 4
    return path, sum(range(2500))


def test_zcat_reads_the_full_file(many_members: tuple[Path, int]) -> None:
    """The tool that analysts have."""
    path, total = many_members
    text = subprocess.run(["gzip", "-dc", path], capture_output=True, check=True).stdout
    assert sum(json.loads(line)["n"] for line in text.splitlines()) == total


def test_python_reads_the_full_file(many_members: tuple[Path, int]) -> None:
    """The standard library."""
    path, total = many_members
    with gzip.open(path, "rt") as file:
        assert sum(json.loads(line)["n"] for line in file) == total


def test_duckdb_reads_the_full_file(many_members: tuple[Path, int]) -> None:
    """`read_json` on the compressed file."""
    duckdb = pytest.importorskip("duckdb")
    path, total = many_members
    with duckdb.connect() as connection:
        query = "select sum(n) from read_json(?, format = 'newline_delimited')"
        assert connection.execute(query, [str(path)]).fetchone()[0] == total


def test_polars_reads_the_full_file(many_members: tuple[Path, int]) -> None:
    """`read_ndjson` takes decompressed bytes; `scan_ndjson` the file."""
    polars = pytest.importorskip("polars")
    path, total = many_members
    assert polars.scan_ndjson(path).select("n").collect()["n"].sum() == total


def test_pyarrow_reads_the_full_file(many_members: tuple[Path, int]) -> None:
    """`pyarrow.json` through a compressed stream."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import json as arrow_json

    path, total = many_members
    with pyarrow.CompressedInputStream(str(path), "gzip") as stream:
        assert sum(arrow_json.read_json(stream)["n"].to_pylist()) == total


def test_pandas_reads_the_full_file(many_members: tuple[Path, int]) -> None:
    """`read_json(lines=True)`."""
    pandas = pytest.importorskip("pandas")
    path, total = many_members
    assert pandas.read_json(path, lines=True)["n"].sum() == total


def test_sizes_are_at_most_8_percent_over_gzip_9(tmp_path: Path, shared: Path) -> None:
    """On every publisher's releases together, a thousand of each."""
    target = Export("size", 1, root=tmp_path)
    lines: Releases = []
    for path in sorted(shared.glob("data/*/compiled.jsonl.gz")):
        with gzip.open(path) as file:
            lines += [(None, line.rstrip(b"\n")) for line, _ in zip(file, range(1000), strict=False)]
    jsonl.export(target, [lines])
    plain = io.BytesIO()
    with gzip.GzipFile(fileobj=plain, mode="wb", compresslevel=9) as file:
        file.write(b"".join(line + b"\n" for _, line in lines))
    assert (target.directory / "full.jsonl.gz").stat().st_size <= 1.08 * len(plain.getvalue())
