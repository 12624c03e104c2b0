"""What the models hold, and what they and the database refuse."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError

from registry_resources.database import (
    JOB_TASKS_PLAN,
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

NOW = datetime.datetime(2024, 2, 29, 12, 0, 30, 123456, tzinfo=datetime.UTC)
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


def test_waiting_is_refused_before_it_reaches_a_row(database: Database, rows):
    """WAITING is a reported status, never a stored one (JOB-02)."""
    job = Job.plan(rows.collection())
    job.tasks[0].status = Task.Status.WAITING
    with pytest.raises(IntegrityError), database.session() as session:
        session.add(job)


def test_an_unknown_choice_is_refused_by_name(database: Database, rows):
    """The error names the value."""
    with pytest.raises(StatementError, match="'MARS' is not a valid Region"), database.session() as session:
        session.add(rows.collection(region="MARS"))


def test_a_planned_job_has_a_task_for_each_stage_in_order(database: Database, rows):
    """JOB-03, JOB-04."""
    with database.session() as session:
        job = Job.plan(rows.collection(), run_id="r1")
        session.add(job)
    with database.session(read_only=True) as session:
        found = session.get_one(Job, job.id)
        assert [(task.order, task.type.value) for task in found.tasks] == [
            (1, "collect"),
            (2, "process"),
            (3, "exporter"),
            (4, "coverage"),
            (5, "flattener"),
        ]
        assert tuple(task.type for task in found.tasks) == JOB_TASKS_PLAN
        assert {task.status for task in found.tasks} == {"PLANNED"}
        assert (found.status, found.result, found.start, found.run_id) == ("PLANNED", "", None, "r1")


def test_a_publication_has_one_incomplete_job_at_most(database: Database, rows):
    """Whoever starts the second one, the database refuses (JOB-20)."""
    with database.session() as session:
        collection = rows.collection()
        session.add_all([rows.succeeded(collection), rows.succeeded(collection), Job.plan(collection)])
    with pytest.raises(IntegrityError), database.session() as session:
        session.add(Job.plan(session.merge(collection)))


def test_a_job_with_a_task_that_did_not_succeed_cannot_succeed(rows):
    """A job said to be complete by hand isn't thereby successful (DEF-15)."""
    job = Job.plan(rows.collection())
    with pytest.raises(ValueError, match="did not succeed: collect, process"):
        job.complete(Job.Result.SUCCEEDED)


@pytest.mark.parametrize(
    ("result", "successful"), [("SUCCEEDED", True), ("FAILED", False), ("CANCELLED", False), ("", False)]
)
def test_a_job_is_successful_only_if_it_was_said_to_be(rows, result, successful):
    """JOB-06, DEF-15: an incomplete job is neither successful nor unsuccessful."""
    job = rows.succeeded(rows.collection())
    if result:
        job.complete(Job.Result(result), note="why")
    else:
        job.initiate()
    assert job.is_successful is successful
    assert job.is_unsuccessful is (bool(result) and not successful)


def test_a_failed_task_is_found(rows):
    """JOB-06: a task that failed before it completed may yet succeed (JOB-13)."""
    job = Job.plan(rows.collection())
    job.tasks[0].result = Task.Result.FAILED
    assert job.failed_task is None
    job.task(Task.Type.PROCESS).complete(Task.Result.FAILED, "no compiled collection")
    assert job.failed_task is job.tasks[1]


def test_beginning_a_task_again_forgets_how_it_ended(rows):
    """A restarted task has no result until it ends, and its attempts are counted (ASK-01)."""
    task = Job.plan(rows.collection()).tasks[0]
    task.initiate(NOW)
    task.complete(Task.Result.FAILED, "timeout", NOW)
    task.initiate(NOW + datetime.timedelta(hours=1))
    assert (task.status, task.result, task.note, task.end, task.attempts) == ("RUNNING", "", "", None, 2)


def test_deleting_a_licence_that_is_used_is_refused(database: Database, rows):
    """Publications don't go with their licence (DEF-17)."""
    with database.session() as session:
        session.add(rows.filled())
    with pytest.raises(DBAPIError), database.session() as session:
        session.delete(session.scalars(sa.select(License)).one())
    with database.session(read_only=True) as session:
        assert collection_by_key(session, "ruritania") is not None


def test_deleting_an_active_job_is_refused(database: Database, rows):
    """CAT-13."""
    with database.session() as session:
        session.add(rows.filled())
    with pytest.raises(DBAPIError), database.session() as session:
        session.delete(session.scalars(sa.select(Job)).one())


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


def test_an_active_job_of_another_publication_is_refused(database: Database, rows):
    """CAT-13: in Python with a reason, and in the database whoever writes."""
    with database.session() as session:
        session.add(rows.filled())
        other = rows.collection(key="graustark")
        session.add(other)
    with pytest.raises(ConfigurationError, match="one of its own"), database.session() as session:
        session.merge(other).active_job = session.scalars(sa.select(Job)).one()
    with pytest.raises(ConfigurationError, match="one of its own"), database.session() as session:
        session.merge(other).active_job_id = session.scalars(sa.select(Job.id)).one()
    with database.session() as session:
        session.execute(sa.update(Collection).where(Collection.key == "ruritania").values(active_job_id=None))
    with pytest.raises(IntegrityError), database.session() as session:
        session.execute(sa.text("UPDATE collection SET active_job_id = 1 WHERE key = 'graustark'"))


@pytest.mark.parametrize("result", ["FAILED", "CANCELLED", ""])
def test_an_active_job_has_to_have_succeeded(database: Database, rows, result):
    """CAT-13, DEF-15."""
    with database.session() as session:
        collection = rows.collection()
        job = rows.succeeded(collection)
        if result:
            job.complete(Job.Result(result))
        else:
            job.initiate()
        session.add(job)
    with pytest.raises(ConfigurationError, match="one that succeeded"), database.session() as session:
        session.scalars(sa.select(Collection)).one().active_job = session.scalars(sa.select(Job)).one()


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


def test_the_id_of_a_deleted_job_is_never_used_again(database: Database, rows):
    """Run keys and folders carry it, and run keys are remembered for ever."""
    with database.session() as session:
        job = Job.plan(rows.collection())
        session.add(job)
    with database.session() as session:
        session.delete(session.get_one(Job, job.id))
    with database.session() as session:
        other = Job.plan(session.scalars(sa.select(Collection)).one())
        session.add(other)
    assert other.id > job.id


def test_times_are_moments_in_utc(database: Database, rows):
    """Whatever the time zone in which they are given; a time without one is refused."""
    zone = datetime.timezone(datetime.timedelta(hours=-5))
    with database.session() as session:
        job = Job.plan(rows.collection())
        job.initiate(NOW.astimezone(zone))
        session.add(job)
    with database.session(read_only=True) as session:
        found = session.get_one(Job, job.id).start
        assert found == NOW
        assert found is not None
        assert found.utcoffset() == datetime.timedelta(0)
        assert session.scalar(sa.select(Job.id).where(Job.start <= NOW)) == job.id
    with pytest.raises(StatementError, match="has no time zone"), database.session() as session:
        session.get_one(Job, job.id).start = datetime.datetime(2024, 1, 1)  # noqa: DTZ001 - what is refused


def test_a_change_updates_modified_and_nothing_else_does(database: Database, rows):
    """CAT-20, also for statements without the models."""
    with database.session() as session:
        collection = rows.collection()
        session.add(collection)
    created, modified = collection.created, collection.modified
    with database.session() as session:
        session.execute(sa.update(Collection).values(frozen=True))
    with database.session(read_only=True) as session:
        found = session.scalars(sa.select(Collection)).one()
        assert found.created == created
        assert found.modified > modified


HOSTILE = "nul \0, surrogate \ud800, emoji \U0001f389, rtl \u202e"


def test_hostile_text_is_stored_on_any_database(database: Database, rows):
    """A publisher's licence or note never fails a job: what no database takes becomes U+FFFD."""
    with database.session() as session:
        job = Job.plan(rows.collection())
        job.license = HOSTILE
        job.context["text"] = HOSTILE
        job.context["number"] = [1e400, float("nan"), 2**70]
        session.add(job)
    with database.session(read_only=True) as session:
        found = session.get_one(Job, job.id)
        assert found.license == "nul \ufffd, surrogate \ufffd, emoji \U0001f389, rtl \u202e"
        assert found.context == {"text": HOSTILE, "number": ["inf", "nan", 2**70]}


def test_setting_a_key_of_the_context_is_saved(database: Database, rows):
    """JOB-22."""
    with database.session() as session:
        job = Job.plan(rows.collection())
        session.add(job)
    with database.session() as session:
        found = session.get_one(Job, job.id)  # in hand, since a session forgets what nobody holds
        found.context["process_id"] = 12
    with database.session(read_only=True) as session:
        assert session.get_one(Job, job.id).context == {"process_id": 12}


def test_a_text_that_is_not_translated_is_blank(rows):
    """CAT-04: no fallback to another language."""
    collection = rows.collection(country_en="Ruritania", country_ru="Руритания")
    assert [collection.text("country", language) for language in ("en", "es", "ru")] == ["Ruritania", "", "Руритания"]
    assert collection.texts("country") == {"en": "Ruritania", "ru": "Руритания"}
    with pytest.raises(KeyError, match="no language 'fr'"):
        collection.text("country", "fr")
    with pytest.raises(KeyError, match="no translated text 'title'"):
        collection.text("title")


def test_overrides_win_over_the_active_job_and_stand_without_one(rows):
    """CAT-10, CAT-18; total where there is neither (DEF-16)."""
    collection = rows.collection()

    def effective() -> tuple[Any, ...]:
        return (
            collection.effective_date_from,
            collection.effective_date_to,
            collection.effective_ocid_prefix,
            collection.effective_publication_policy,
            collection.effective_license_url,
        )

    assert effective() == (None, None, "", "", "")
    first, second = datetime.date(2020, 1, 1), datetime.date(2021, 1, 1)
    job = rows.succeeded(collection)
    job.date_from, job.date_to, job.ocid_prefix = first, first, "ocds-job"
    job.publication_policy, job.license = "https://example.com/p", "https://example.com/l"
    collection.active_job = job
    assert effective() == (first, first, "ocds-job", "https://example.com/p", "https://example.com/l")
    collection.date_from = collection.date_to = second
    collection.ocid_prefix, collection.publication_policy = "ocds-own", "https://example.com/own"
    collection.license_custom = License(name_en="Own", url="https://example.com/own-licence")
    assert effective() == (second, second, "ocds-own", "https://example.com/own", "https://example.com/own-licence")


def test_a_setting_is_written_as_key_and_value_but_not_in_logs():
    """CAT-19 and I6."""
    setting = Setting(key="API_TOKEN", value="canary")
    assert str(setting) == "API_TOKEN=canary"
    assert "canary" not in repr(setting)


def test_settings_are_ordered_by_key(database: Database):
    """CAT-19."""
    with database.session() as session:
        session.add(SettingsBundle(name="b", settings=[Setting(key=key) for key in ("B", "C", "A")]))
    with database.session(read_only=True) as session:
        bundle = session.scalars(sa.select(SettingsBundle)).one()
        assert [setting.key for setting in bundle.settings] == ["A", "B", "C"]


def test_spider_arguments_are_texts(rows):
    """Spiders get texts only."""
    with pytest.raises(ValueError, match="texts by name"):
        rows.collection(spider_arguments={"sample": 10})


def test_a_licence_has_a_key_by_default():
    """So that a catalogue file can name it."""
    assert License(name_en="Open Licence, v1.0").key == "open_licence_v1_0"
    assert License().key.startswith("license_")
