"""Compiled releases out of PostgreSQL: byte for byte, in order, of one snapshot, in little memory, or not at all."""

from __future__ import annotations

import json
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest

from registry_resources.exceptions import RecoverableError, UnexpectedError
from registry_resources.process.kingfisher_stream import _PLAN, _QUERY, stream
from tests.support.kingfisher import Kingfisher

AWKWARD = {
    "backslashes": '"a\\\\b \\\\n \\\\\\\\"',
    "escapes": '"tab\\t line\\n return\\r bell\\b feed\\f quote\\" slash/"',
    "unicode": '"Ελλάδα 中文 😀 \\u2028 é"',
    "DEL and C1": '"\x7f\x85\\u0001\\u001f"',
    "numbers": "[123456789012345678901234567890, 0.1, 1e400, -0, 1.10]",
    "COPY's own": '"\\\\N \\\\."',
}


def compiled_of(kingfisher: Kingfisher, *texts: str) -> int:
    """A completed crawl with these compiled releases. Returns the compiled collection's id."""
    root = kingfisher.crawl({"a.json": []})
    process = kingfisher.process
    child = process.compiled_of(root)
    process.run("INSERT INTO collection_file VALUES (999, %s, 'x', '', false)", child)
    for text in texts:
        process.run(
            "WITH d AS (INSERT INTO data (hash_md5, data) VALUES ('', %s) RETURNING id, data)"
            " INSERT INTO compiled_release (collection_id, collection_file_id, data_id, ocid, release_date)"
            " SELECT %s, 999, id, coalesce(data ->> 'ocid', ''), '' FROM d",
            *(text, child),
        )
    return child


def read(kingfisher: Kingfisher, child: int, page: int = 10_000, **context: object) -> list[tuple[str | None, bytes]]:
    backend = kingfisher.make()
    backend._page = page
    job = kingfisher.job(1, process_compiled_collection_id=child, **context)
    return [item for batch in backend.compiled_releases(job) for item in batch]


def test_text_is_that_of_postgresql_byte_for_byte(kingfisher: Kingfisher) -> None:
    """EXP-03: whatever is in it, as psql would show it."""
    texts = [f'{{"ocid": "{name}", "x": {value}}}' for name, value in AWKWARD.items()]
    child = compiled_of(kingfisher, *texts)
    expected = kingfisher.process.run("SELECT convert_to(data::text, 'UTF8') FROM data ORDER BY id")
    found = read(kingfisher, child)
    assert [line for _, line in found] == [bytes(row[0]) for row in expected]
    assert [date for date, _ in found] == [None] * len(texts)
    assert not any(b"\n" in line for _, line in found)
    assert json.loads(found[2][1])["x"] == "Ελλάδα 中文 😀 \u2028 é"


@pytest.mark.parametrize(
    ("value", "date"),
    [
        ('"2021-02-03T04:05:06Z"', "2021-02-03T04:05:06Z"),
        ('""', ""),
        ('"\\u0032021\\n\\"x\\\\"', '2021\n"x\\'),
        ('"é中"', "é中"),
        ("null", None),
        ("20220501", None),
        ("true", None),
        ('["2021-01-01"]', None),
        ('{"date": "2021-01-01"}', None),
    ],
)
def test_a_date_is_a_string_or_none(kingfisher: Kingfisher, value: str, date: str | None) -> None:
    """EXP-04: as observed, a number such as 20220501 is undated; what is nested is not the release's."""
    child = compiled_of(kingfisher, f'{{"ocid": "a", "date": {value}}}')
    assert [found for found, _ in read(kingfisher, child)] == [date]


@pytest.mark.parametrize("page", [1, 2, 3, 1000])
def test_rows_come_in_the_order_of_data_id_whatever_the_page(kingfisher: Kingfisher, page: int) -> None:
    """EXP-03: also if they were compiled in another order, and a row of data that two releases share comes twice."""
    child = compiled_of(kingfisher, *(f'{{"ocid": "{number}"}}' for number in range(5)))
    kingfisher.process.run(
        "INSERT INTO compiled_release (collection_id, collection_file_id, data_id, ocid, release_date)"
        " SELECT collection_id, collection_file_id, data_id, 'again', '' FROM compiled_release WHERE ocid = '2'"
    )
    kingfisher.process.run("UPDATE compiled_release SET ocid = ocid WHERE ocid = '0'")  # moves it to the end
    ocids = [json.loads(line)["ocid"] for _, line in read(kingfisher, child, page)]
    assert ocids == ["0", "1", "2", "2", "3", "4"]


def test_other_collections_are_left_out(kingfisher: Kingfisher) -> None:
    first = kingfisher.completed()
    other = kingfisher.completed(source_id="graustark", compiled=[{"ocid": "other"}])
    lines = [line for _, line in kingfisher.compiled(kingfisher.job(other))]
    assert [json.loads(line)["ocid"] for line in lines] == ["other"]
    assert len(kingfisher.compiled(kingfisher.job(first))) == 2


def test_releases_that_are_gone_fail_the_export(kingfisher: Kingfisher) -> None:
    """DEF-04: an empty result is never an export."""
    root = kingfisher.completed()
    child = kingfisher.process.compiled_of(root)
    kingfisher.process.wipe(root)
    with pytest.raises(UnexpectedError, match="has 0 compiled releases, and had 2 when it was completed"):
        read(kingfisher, child, process_counts={"compiled_releases": 2})
    with pytest.raises(UnexpectedError, match="is gone from Kingfisher Process"):
        kingfisher.compiled(kingfisher.job(root))


def test_fewer_releases_than_were_counted_fail_the_export(kingfisher: Kingfisher) -> None:
    """I8."""
    child = compiled_of(kingfisher, '{"ocid": "a"}')
    with pytest.raises(UnexpectedError, match="has 1 compiled releases, and had 3"):
        read(kingfisher, child, process_counts={"compiled_releases": 3})


def many(kingfisher: Kingfisher, number: int, size: int = 2000) -> int:
    """A compiled collection of so many releases of about so many bytes."""
    child = compiled_of(kingfisher)
    kingfisher.process.run(
        "WITH d AS (INSERT INTO data (hash_md5, data)"
        " SELECT '', jsonb_build_object('ocid', n::text, 'x', (SELECT string_agg(md5((n * 100 + m)::text), '')"
        " FROM generate_series(1, %s) m)) FROM generate_series(1, %s) n RETURNING id)"
        " INSERT INTO compiled_release (collection_id, collection_file_id, data_id, ocid, release_date)"
        " SELECT %s, 999, id, '', '' FROM d",
        *(size // 32, number, child),
    )
    return child


def test_one_snapshot_is_read_whatever_happens_meanwhile(kingfisher: Kingfisher) -> None:
    """Not half of what there was and half of what there is: releases deleted while reading change nothing."""
    child = many(kingfisher, 20_000)
    backend = kingfisher.make()
    batches = backend.compiled_releases(kingfisher.job(1, process_compiled_collection_id=child))
    first = next(batch for batch in batches if batch)
    kingfisher.process.run("DELETE FROM compiled_release WHERE collection_id = %s AND data_id %% 2 = 0", child)
    assert len(first) + sum(map(len, batches)) == 20_000


def test_few_megabytes_are_held_at_any_size(kingfisher: Kingfisher) -> None:
    """40 MB are read slowly, so that the thread which reads ahead could get far ahead."""
    child = many(kingfisher, 20_000)
    backend = kingfisher.make()
    size = 0
    tracemalloc.start()
    try:
        for batch in backend.compiled_releases(kingfisher.job(1, process_compiled_collection_id=child)):
            size += sum(len(line) for _, line in batch)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 38_000_000
    assert peak < 12_000_000


def test_a_connection_that_breaks_is_retried_and_nothing_of_it_used(kingfisher: Kingfisher) -> None:
    """Whoever reads gets an error, never a short result."""
    child = many(kingfisher, 20_000)
    batches = kingfisher.backend.compiled_releases(kingfisher.job(1, process_compiled_collection_id=child))
    found = len(next(batch for batch in batches if batch))
    kingfisher.process.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'registry_reader'"
        " AND application_name = 'ocds-data-registry'"
    )
    got: list[int] = []
    with pytest.raises(RecoverableError, match="Kingfisher Process' database"):
        got.extend(map(len, batches))
    assert found + sum(got) < 20_000


def test_a_server_that_is_down_is_retried(kingfisher: Kingfisher) -> None:
    def connect() -> None:
        raise psycopg2.OperationalError("connection refused")

    with pytest.raises(RecoverableError, match="connection refused"):
        list(stream(connect, kingfisher.backend._database.explained, 1, 10))  # type: ignore[arg-type]


def test_no_right_to_read_fails_with_the_remedy(kingfisher: Kingfisher) -> None:
    child = compiled_of(kingfisher, '{"ocid": "a"}')
    kingfisher.process.run("REVOKE SELECT ON data FROM registry_reader")
    try:
        with pytest.raises(UnexpectedError, match="permission denied for table data"):
            read(kingfisher, child)
    finally:
        kingfisher.process.run("GRANT SELECT ON data TO registry_reader")


def test_a_reader_may_stop_at_any_moment(kingfisher: Kingfisher) -> None:
    """ASK-02: the server's work is ended too, and the thread is gone."""
    child = many(kingfisher, 20_000)
    batches = kingfisher.backend.compiled_releases(kingfisher.job(1, process_compiled_collection_id=child))
    next(batch for batch in batches if batch)
    batches.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("copy-")]
    deadline = time.monotonic() + 10
    while kingfisher.process.run("SELECT 1 FROM pg_stat_activity WHERE usename = 'registry_reader' LIMIT 1") != []:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_empty_batches_come_while_the_server_is_busy(kingfisher: Kingfisher) -> None:
    """So that an export can be stopped while the server sorts."""
    root = kingfisher.completed()
    child = kingfisher.process.compiled_of(root)
    process = kingfisher.process
    release_lock = _locked(process.database_url)
    try:
        batches = kingfisher.backend.compiled_releases(kingfisher.job(root, process_compiled_collection_id=child))
        assert not next(batches)
        batches.close()
        assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("copy-")]
    finally:
        release_lock()


def _locked(url: str) -> Callable[[], None]:
    """Lock the table against reading, until the function that is returned is called."""
    connection = psycopg2.connect(url)
    connection.cursor().execute("LOCK TABLE compiled_release IN ACCESS EXCLUSIVE MODE")
    return connection.close


def test_the_role_can_write_nothing(kingfisher: Kingfisher) -> None:
    """Least privileges: it reads three tables, and is refused everything else."""
    settings = kingfisher.settings.kingfisher
    assert settings is not None
    connection = psycopg2.connect(settings.process_database_url)
    try:
        connection.autocommit = True
        for statement in (
            "DELETE FROM compiled_release",
            "UPDATE data SET hash_md5 = ''",
            "INSERT INTO release DEFAULT VALUES",
            "SELECT * FROM collection",
            "SELECT * FROM record",
            "CREATE TABLE t ()",
        ):
            with connection.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(statement)
    finally:
        connection.close()
    with kingfisher.backend._database.session() as reading, pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        reading.cursor().execute("CREATE TEMPORARY TABLE t ()")


def test_the_server_sorts_ids_and_never_releases(kingfisher: Kingfisher) -> None:
    """However much others have stored: no plan may sort wide rows on the server's disk, or read all of `data`."""
    process = kingfisher.process
    child = many(kingfisher, 2_000, size=64)
    process.run(
        "INSERT INTO data (hash_md5, data) SELECT '', '{}' FROM generate_series(1, 20000);"
        " ANALYZE data; ANALYZE compiled_release"
    )
    select = _QUERY.format(collection=child).partition("COPY (")[2].rpartition(") TO STDOUT")[0]
    with kingfisher.backend._database.session() as connection, connection.cursor() as cursor:
        cursor.execute(f"{_PLAN}; EXPLAIN (FORMAT JSON) {select}")
        ((plan,),) = cursor.fetchall()
    nodes = list(_nodes(plan[0]["Plan"]))
    assert [node["Node Type"] for node in nodes if node.get("Relation Name") == "data"] == ["Index Scan"]
    for node in nodes:
        if "Sort" in node["Node Type"]:
            assert not [each for each in _nodes(node) if each.get("Relation Name") == "data"]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for each in plan.get("Plans", ()):
        yield from _nodes(each)
