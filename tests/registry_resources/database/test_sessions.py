"""Transactions, and how processes share a database."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from registry_resources.database import Collection, Database, License
from registry_resources.exceptions import ConfigurationError
from registry_resources.redaction import redact

INCREMENT = """
import sys
from sqlalchemy import select
from registry_resources.database import Collection, Database
for _ in range(20):
    database = Database(sys.argv[1])
    with database.session() as session:
        found = session.scalars(select(Collection).with_for_update()).one()
        found.spider_arguments = {"n": str(int(found.spider_arguments["n"]) + 1)}
    database.dispose()
"""


def test_an_error_undoes_the_whole_transaction(database: Database):
    """All or nothing (JOB-15)."""

    def work() -> None:
        with database.session() as session:
            session.add(License(key="a"))
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    with database.session(read_only=True) as session:
        assert session.scalars(sa.select(License)).all() == []


def test_a_reading_transaction_cannot_write(database: Database):
    """And the next one on the same connection can."""
    with pytest.raises(DBAPIError, match=r"read.?only"), database.session(read_only=True) as session:
        session.add(License(key="a"))
    with database.session() as session:
        session.add(License(key="a"))


def test_what_was_read_stays_readable_after_the_transaction(database: Database, rows):
    """So that work can be done outside of transactions."""
    with database.session() as session:
        collection = rows.collection()
        session.add(collection)
    assert collection.key == "ruritania"
    assert collection.created is not None


def test_writers_in_several_processes_wait_for_each_other(database: Database, url: str, rows):
    """None fails, and no update is lost."""
    with database.session() as session:
        session.add(rows.collection(spider_arguments={"n": "0"}))
    writers = [
        subprocess.Popen([sys.executable, "-c", INCREMENT, url], stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    errors = [writer.communicate()[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4, errors
    with database.session(read_only=True) as session:
        assert session.scalars(sa.select(Collection)).one().spider_arguments == {"n": "80"}


def test_a_reader_does_not_wait_for_a_writer(database: Database, rows):
    """It sees what was there before."""
    with database.session() as writing:
        writing.add(rows.collection())
        writing.flush()
        with database.session(read_only=True) as reading:
            assert reading.scalars(sa.select(Collection)).all() == []


def test_sqlite_is_set_up_for_several_processes(sqlite_database: Database):
    """WAL, a busy timeout of 30 s, foreign keys on."""
    with sqlite_database.session() as session:
        found = {
            name: session.connection().exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "busy_timeout", "foreign_keys")
        }
    assert found == {"journal_mode": "wal", "busy_timeout": 30_000, "foreign_keys": 1}


def test_looking_never_creates_a_database(tmp_path: Path, connect):
    """SQLite would. The error has the remedy."""
    database = connect(f"sqlite:///{tmp_path}/none/registry.sqlite3")
    for look in (
        database.check,
        database.revision,
        lambda: database.session().__enter__().execute(sa.text("SELECT 1")),
    ):
        with pytest.raises(ConfigurationError, match=r"There is no database at .* Run `registry sync FILE`"):
            look()
    assert not database.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path, connect):
    """Here a file is where the folder should be."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"can't be created: .*\. Point DATABASE_URL or REGISTRY_HOME"):
        connect(f"sqlite:///{tmp_path}/file/registry.sqlite3").migrate()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "no database URL"),
        ("postgresql://user:canary-9@host:port/db", "no database URL"),
        ("mysql://user:canary-9@host/db", "SQLite or PostgreSQL"),
        ("sqlite://", "in memory"),
    ],
)
def test_a_wrong_url_is_told_without_its_password(url, message):
    """I6."""
    with pytest.raises(ConfigurationError, match=message) as error:
        Database(url)
    assert "canary" not in str(error.value)
    assert "Set DATABASE_URL like" in str(error.value)


def test_a_password_is_in_no_text_about_the_database(connect):
    """I6, DEF-12: not in its repr, nor in the error when it can't be reached, nor in any later log."""
    database = connect("postgresql://user:canary%2Fsecret@127.0.0.1:1/db?connect_timeout=1")
    with pytest.raises(ConfigurationError, match=r"can't be reached: .* Check DATABASE_URL") as error:
        database.check()
    for text in (repr(database), repr(database.engine), str(error.value), redact("log canary/secret canary%2Fsecret")):
        assert "canary" not in text


def test_errors_of_the_database_show_no_values(database: Database):
    """Values are publishers' and administrators' (I6)."""
    with pytest.raises(DBAPIError) as error, database.session() as session:
        session.add_all([License(key="a", url="https://example.com/canary"), License(key="a", name_en="canary")])
    assert "canary" not in str(error.value).replace("parameters hidden", "") or "DETAIL" in str(error.value)
