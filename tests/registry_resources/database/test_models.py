"""What the models hold, and what they and the database refuse."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError

from registry_resources.database import (
    Base,
    Collection,
    Database,
    Job,
    License,
    Setting,
    SettingsBundle,
    Task,
    TaskNote,
    collection_by_key,
)
from registry_resources.exceptions import ConfigurationError

TRANSLATED = "description description_long country additional_data language summary no_data_rationale"


FIELDS = {
    "collection": "id key title country_flag region update_frequency last_reviewed license_custom_id "
    "publication_policy source_url source_id spider_arguments incremental retrieval_frequency settings_bundle_id "
    "active_job_id last_retrieved frozen public date_from date_to ocid_prefix history created modified "
    + " ".join(f"{name}_{language}" for name in TRANSLATED.split() for language in ("en", "es", "ru")),
    "job": "id collection_id run_id start end status result note context archived keep_all_data coverage "
    "tenders_count tenderers_count tenders_items_count parties_count awards_count awards_items_count "
    "awards_suppliers_count contracts_count contracts_items_count contracts_transactions_count documents_count "
    "plannings_count milestones_count amendments_count date_from date_to ocid_prefix license publication_policy "
    "blocked accepted_at accepted_by accepted_reason created modified",
    "task": "id job_id type order status result note start end heartbeat attempts created modified",
    "task_note": "id task_id level note data created modified",
    "license": "id key name_en name_es name_ru description_en description_es description_ru url created modified",
    "settings_bundle": "id name created modified",
    "setting": "id bundle_id key value created modified",
}


@pytest.mark.parametrize("table", FIELDS)
def test_each_model_has_the_documented_fields(table):
    """Models hold what the registry's documentation names, texts by language (CAT-04, CAT-20, JOB-22)."""
    assert {column.name for column in Base.metadata.tables[table].columns} == set(FIELDS[table].split())


@pytest.mark.parametrize(
    ("choices", "values"),
    [
        (Collection.Region, "MEA AS EECA EU LAC NA OC"),
        (Collection.RetrievalFrequency, "WEEKLY BIWEEKLY MONTHLY HALF_YEARLY ANNUALLY NEVER"),
        (
            Collection.UpdateFrequency,
            "UNKNOWN REAL_TIME HOURLY DAILY WEEKLY MONTHLY QUARTERLY HALF_YEARLY ANNUALLY",
        ),
        (Job.Status, "PLANNED RUNNING COMPLETED"),
        (Job.Result, "SUCCEEDED FAILED CANCELLED"),
        (Task.Status, "WAITING PLANNED RUNNING COMPLETED"),
        (Task.Result, "OK FAILED"),
        (Task.Type, "collect process exporter coverage flattener"),
        (TaskNote.Level, "CRITICAL ERROR WARNING INFO UNKNOWN"),
    ],
)
def test_each_choice_has_its_values_and_labels(choices, values):
    """CAT-05, CAT-07, CAT-08, JOB-01, JOB-02, COL-11, DEF-15."""
    assert [choice.value for choice in choices] == values.split()
    assert all(choice.label for choice in choices)


def test_never_is_told_as_no_longer_updated():
    """CAT-08."""
    assert Collection.RetrievalFrequency.NEVER.label == "This dataset is no longer updated by the publisher"


def test_a_publication_needs_only_a_title_and_a_spider(database: Database, rows):
    """The rest has defaults: the key is the source_id, nothing is public or frozen (CAT-07, CAT-15, CAT-16)."""
    with database.session() as session:
        session.add(rows.collection())
    with database.session(read_only=True) as session:
        found = collection_by_key(session, "ruritania")
        assert found is not None
        assert (found.region, found.retrieval_frequency, found.update_frequency) == ("", "", "UNKNOWN")
        assert (found.frozen, found.public, found.incremental) == (False, False, False)
        assert (found.active_job, found.last_retrieved, found.license_custom, found.settings_bundle) == (None,) * 4
        assert (found.spider_arguments, found.publication_policy, found.source_url) == ({}, "", "")


@pytest.mark.parametrize("key", ["", "A", "a-b", "a b", "é", "a" * 101, "a\n"])
def test_a_key_is_lower_case_letters_digits_and_underscores(key, rows):
    """A key names a partition and a folder."""
    with pytest.raises(ValueError, match="can't be a key"):
        rows.collection(key=key)


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("collection", {"key": "A"}),
        ("collection", {"key": ""}),
        ("collection", {"key": "a-b"}),
        ("collection", {"title": ""}),
        ("collection", {"source_id": ""}),
        ("collection", {"region": "XX"}),
        ("collection", {"region": None}),
        ("collection", {"update_frequency": ""}),
        ("collection", {"retrieval_frequency": "DAILY"}),
        ("collection", {"source_url": "javascript:alert(1)"}),
        ("collection", {"date_from": "2020-01-02", "date_to": "2020-01-01"}),
        ("license", {"url": "ftp://example.com"}),
        ("settings_bundle", {"name": ""}),
        ("setting", {"key": ""}),
        ("job", {"status": "WAITING"}),
        ("job", {"status": "PLANNED"}),
        ("job", {"result": ""}),
        ("job", {"result": "OK"}),
        ("job", {"end": None}),
        ("job", {"status": "RUNNING", "result": "", "start": None}),
        ("job", {"tenders_count": -1}),
        ("job", {"amendments_count": -1}),
        ("task", {"status": "WAITING"}),
        ("task", {"type": "wipe"}),
        ("task", {"result": ""}),
        ("task", {"status": "RUNNING"}),
        ("task", {"end": None}),
        ("task", {"attempts": -1}),
        ("task", {"order": 0}),
        ("task_note", {"level": "DEBUG"}),
    ],
)
def test_the_database_refuses_what_makes_no_sense(database: Database, rows, table, values):
    """Also when something else than the models writes to it (DEF-15; WAITING is never stored, JOB-02)."""
    with database.session() as session:
        session.add(rows.filled())
    settings = ", ".join(f'"{name}" = :{name}' for name in values)
    statement = sa.text(f'UPDATE "{table}" SET {settings} WHERE id = (SELECT min(id) FROM "{table}")')  # noqa: S608
    with pytest.raises(IntegrityError), database.session() as session:
        session.execute(statement, values)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: Task(type=Task.Type.COLLECT, order=6, job_id=1),
        lambda rows: Setting(bundle_id=1, key="DOWNLOAD_DELAY"),
        lambda rows: SettingsBundle(name="slow"),
        lambda rows: License(key="open"),
        lambda rows: rows.collection(),
    ],
)
def test_what_has_to_be_unique_is(database: Database, rows, change):
    """Keys, names, a bundle's settings (CAT-19), a job's tasks."""
    with database.session() as session:
        session.add(rows.filled())
    with pytest.raises(IntegrityError), database.session() as session:
        session.add(change(rows))


def test_an_unknown_choice_is_refused_by_name(database: Database, rows):
    """The error names the value."""
    with pytest.raises(StatementError, match="'MARS' is not a valid Region"), database.session() as session:
        session.add(rows.collection(region="MARS"))


def test_deleting_a_licence_that_is_used_is_refused(database: Database, rows):
    """Publications don't go with their licence (DEF-17)."""
    with database.session() as session:
        session.add(rows.filled())
    with pytest.raises(DBAPIError), database.session() as session:
        session.delete(session.scalars(sa.select(License)).one())
    with database.session(read_only=True) as session:
        assert collection_by_key(session, "ruritania") is not None


def test_deleting_a_settings_bundle_leaves_its_publications(database: Database, rows):
    """CAT-19: SET_NULL; its settings go."""
    with database.session() as session:
        session.add(rows.filled())
    with database.session() as session:
        session.delete(session.scalars(sa.select(SettingsBundle)).one())
    with database.session(read_only=True) as session:
        found = collection_by_key(session, "ruritania")
        assert found is not None
        assert found.settings_bundle is None
        assert session.scalars(sa.select(Setting)).all() == []


def test_deleting_a_publication_deletes_its_jobs_tasks_and_notes(database: Database, rows):
    """Also while one of the jobs is active."""
    with database.session() as session:
        session.add(rows.filled())
    with database.session() as session:
        session.delete(session.scalars(sa.select(Collection)).one())
    with database.session(read_only=True) as session:
        for model in (Collection, Job, Task, TaskNote):
            assert session.scalar(sa.select(sa.func.count()).select_from(model)) == 0


def test_a_key_in_use_never_changes(database: Database, rows):
    """Its partition, folders and runs carry it. Before there are jobs, it can be mended."""
    with database.session() as session:
        session.add(rows.collection())
    with database.session() as session:
        session.scalars(sa.select(Collection)).one().key = "mended"
    with database.session() as session:
        session.add(Job.plan(session.scalars(sa.select(Collection)).one()))
    message = "mended can't become other, since it has jobs"
    with pytest.raises(ConfigurationError, match=message), database.session() as session:
        session.scalars(sa.select(Collection)).one().key = "other"


def test_a_licence_has_a_key_by_default():
    """So that a catalogue file can name it."""
    assert License(name_en="Open Licence, v1.0").key == "open_licence_v1_0"
    assert License().key.startswith("license_")
