"""Migrations, on tables that are filled."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.schema import CreateIndex, CreateTable

from registry_resources.database import Base, Collection, Database, Job, Notice, Trouble, schema, utcnow
from registry_resources.exceptions import ConfigurationError

TABLES = {"collection", "job", "task", "task_note", "license", "settings_bundle", "setting", "trouble", "notice"}


def test_filled_tables_go_down_and_up_again(empty_url: str, connect: Callable[[str], Database], rows):
    """Down to nothing and up again, and the tables work."""
    database = connect(empty_url)
    database.migrate()
    for _ in range(2):
        with database.session() as session:
            session.add(rows.filled())
        assert set(sa.inspect(database.engine).get_table_names()) == TABLES | {schema.VERSION_TABLE}
        database.downgrade("base")
        assert set(sa.inspect(database.engine).get_table_names()) == {schema.VERSION_TABLE}
        assert database.revision() is None
        database.migrate()
        database.check()


def test_migrating_again_keeps_the_data(database: Database, rows):
    """It is safe to repeat."""
    with database.session() as session:
        session.add(rows.filled())
    database.migrate()
    with database.session(read_only=True) as session:
        assert session.scalars(sa.select(Job)).one().coverage == {"/ocid": 3}


def test_models_and_migrations_agree(database: Database):
    """Tables, columns, types, indexes, unique constraints and foreign keys."""
    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "version_table": schema.VERSION_TABLE}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_checks_deletions_and_conditions_of_models_and_migrations_agree(
    empty_url: str, connect: Callable[[str], Database]
):
    """What Alembic doesn't compare: CHECKs, ON DELETE, conditions of indexes."""
    database = connect(empty_url)
    database.migrate()

    def described(database: Database) -> dict[str, object]:
        inspector = sa.inspect(database.engine)
        return {
            table: (
                {
                    item["name"]: re.sub(r"[\s()]", "", item["sqltext"])
                    for item in inspector.get_check_constraints(table)
                },
                {str(item["name"]): item["options"] for item in inspector.get_foreign_keys(table)},
                {
                    (item["name"], name, str(option))
                    for item in inspector.get_indexes(table)
                    for name, option in item.get("dialect_options", {}).items()
                },
                {str(item["name"]) for item in inspector.get_unique_constraints(table)},
            )
            for table in TABLES
        }

    migrated = described(database)
    database.downgrade("base")
    with database.session() as session:
        # A copy, since creating on PostgreSQL marks the foreign key that closes a circle as made elsewhere.
        metadata = sa.MetaData(naming_convention=Base.metadata.naming_convention)
        for table in Base.metadata.tables.values():
            table.to_metadata(metadata)
        if session.connection().dialect.name == "postgresql":
            metadata.create_all(session.connection())
        else:  # where create_all leaves that foreign key out
            for table in metadata.sorted_tables:
                session.execute(CreateTable(table))
                for index in table.indexes:
                    session.execute(CreateIndex(index))
    assert described(database) == migrated


def test_two_processes_may_migrate_at_once(empty_url: str, connect: Callable[[str], Database]):
    """One waits for the other."""
    code = "import sys; from registry_resources.database import Database; Database(sys.argv[1]).migrate()"
    processes = [
        subprocess.Popen([sys.executable, "-c", code, empty_url], stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    connect(empty_url).check()


def test_a_migration_that_fails_changes_nothing(
    empty_url: str, connect: Callable[[str], Database], monkeypatch: pytest.MonkeyPatch
):
    """It is one transaction."""
    database = connect(empty_url)

    def fail(_: object) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(schema, "_check_foreign_keys", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            database.migrate()
    assert sa.inspect(database.engine).get_table_names() == []
    database.migrate()
    database.check()


def test_a_database_without_tables_is_told_with_the_remedy(empty_url: str, connect: Callable[[str], Database]):
    """Also where there is a file, but an empty one."""
    database = connect(empty_url)
    if database.engine.dialect.name == "sqlite":
        Path(database.engine.url.database or "").touch()
    with pytest.raises(ConfigurationError, match=r"has no tables yet\. Run `registry sync FILE`"):
        database.check()


def test_an_older_schema_is_told_with_the_remedy(database: Database, monkeypatch: pytest.MonkeyPatch):
    """As when the registry was upgraded and its database wasn't."""
    head = schema.head()
    monkeypatch.setattr(schema, "head", lambda: "9999")
    with pytest.raises(
        ConfigurationError, match=rf"is at version {head}, and this registry needs 9999.*registry migrate"
    ):
        database.check()


def test_a_newer_schema_is_left_alone(database: Database):
    """As when the registry was downgraded and its database wasn't."""
    with database.session() as session:
        session.execute(sa.text("UPDATE registry_version SET version_num = 'future'"))
    for action in (database.check, database.migrate, lambda: database.downgrade("base")):
        with pytest.raises(ConfigurationError, match="version future, which this registry doesn't know"):
            action()


def test_sqlite_rows_that_refer_to_nothing_stop_a_migration(sqlite_database: Database, rows):
    """While SQLite migrates, foreign keys are off: they are checked at the end."""
    with sqlite_database.session() as session:
        session.add(rows.filled())
    connection = sqlite_database.engine.raw_connection()
    connection.cursor().execute("PRAGMA foreign_keys=OFF")
    connection.cursor().execute("UPDATE collection SET settings_bundle_id = 99")
    connection.close()
    with pytest.raises(ConfigurationError, match="1 rows that refer to nothing, the first in table collection"):
        sqlite_database.migrate()


def test_migrations_come_with_the_package():
    """They are modules of it, so that an installed registry has them."""
    folder = Path(schema.__file__).parent / "migrations"
    assert (folder / "__init__.py").is_file()
    assert (folder / "versions" / "__init__.py").is_file()
    assert schema.head() >= "0002"


def test_a_key_of_a_hundred_characters_fits(database: Database, rows):
    """And one more does not, whoever writes it."""
    with database.session() as session:
        session.add(rows.collection(key="k" * 100))
    with pytest.raises(sa.exc.IntegrityError), database.session() as session:
        session.execute(sa.update(Collection).values(key="k" * 101))


def test_what_was_there_before_has_no_history_and_is_not_blocked(
    empty_url: str, connect: Callable[[str], Database], rows
):
    """0002 on filled tables: up, down and up again, and what was there stays."""
    database = connect(empty_url)
    database.migrate()
    with database.session() as session:
        collection = rows.filled()
        collection.active_job.blocked = "half of it is missing"
        session.add(collection)
    database.downgrade("0001")
    columns = {column["name"] for column in sa.inspect(database.engine).get_columns("job")}
    assert not columns & {"blocked", "accepted_at", "accepted_by", "accepted_reason"}
    database.migrate("0002")
    database.migrate()
    with database.session(read_only=True) as session:
        job = session.scalars(sa.select(Job)).one()
        assert (job.coverage, job.collection.history, job.blocked, job.accepted_at) == ({"/ocid": 3}, {}, "", None)
        assert job.collection.active_job_id == job.id
        assert len(job.tasks) == 5


def test_what_was_told_is_forgotten_only_by_going_back(empty_url: str, connect: Callable[[str], Database], rows):
    """0003 on filled tables: migrating again keeps it; down to 0002 loses it, and nothing else."""
    database = connect(empty_url)
    database.migrate("0002")
    with database.session() as session:
        session.add(rows.filled())
    database.migrate()
    now = utcnow()
    with database.session() as session:
        session.add(Trouble(collection_id=1, since=now, job_id=1, causes=["failed: it"]))
        session.add(Notice(number="n", channel="webhook", subject="s", text="t", events=[{"job": 1}], next_try=now))
    database.migrate()
    with database.session() as session:
        told = session.scalars(sa.select(Trouble)).one()
        assert (told.since, told.causes, told.proposed) == (now, ["failed: it"], False)
        assert session.scalars(sa.select(Notice.events)).one() == [{"job": 1}]
        session.delete(session.scalars(sa.select(Collection)).one())
        session.flush()
        assert session.scalars(sa.select(Trouble)).all() == []
        session.rollback()
    database.downgrade("0002")
    database.migrate()
    with database.session(read_only=True) as session:
        assert session.scalars(sa.select(Trouble)).all() == []
        assert session.scalars(sa.select(Job)).one().collection.key == "ruritania"
