"""What columns hold: moments, texts, overrides and settings, as they were given."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import StatementError

from registry_resources.database import (
    Collection,
    Database,
    Job,
    License,
    Setting,
    SettingsBundle,
)

NOW = datetime.datetime(2024, 2, 29, 12, 0, 30, 123456, tzinfo=datetime.UTC)


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
        assert found.context == {"text": found.license, "number": ["inf", "nan", 2**70]}


def test_what_publishers_call_their_fields_does_not_keep_counts_from_being_read(database: Database, rows):
    """PostgreSQL reads no member of a JSON text that has a NUL or half a surrogate anywhere in it."""
    with database.session() as session:
        job = Job.plan(rows.collection())
        job.coverage = {"/tender/nul\0": 1, "/tender/half\ud800": 2, "/tender/\U0001f389": 3, "/ocid": 4}
        session.add(job)
    with database.session(read_only=True) as session:
        assert session.scalar(sa.select(Job.coverage["/ocid"].as_string())) == "4"
        found = session.get_one(Job, job.id).coverage
        assert found == {"/tender/nul\ufffd": 1, "/tender/half\ufffd": 2, "/tender/\U0001f389": 3, "/ocid": 4}


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
