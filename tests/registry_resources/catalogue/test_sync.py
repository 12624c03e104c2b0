"""Bringing a catalogue file into the database, and writing it from there."""

from __future__ import annotations

import datetime
import re
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry_resources.catalogue import Change, Changes, FieldChange, apply, diff, export_catalogue, load
from registry_resources.database import (
    Collection,
    Database,
    Job,
    License,
    Setting,
    SettingsBundle,
    Task,
    collection_by_key,
)

DOCS = Path(__file__).parents[3] / "docs" / "catalogue.md"
FULL = """
    licenses:
      - {key: open, name: {en: Open, ru: Открытая}, description: "*Do*", url: https://example.com/open}
    settings_bundles:
      - {name: slow, settings: {DOWNLOAD_DELAY: 2, API_TOKEN: env:TOKEN, BLANK: }}
    publications:
      - key: ruritania
        title: Gazette
        country: {en: Ruritania, es: Ruritania}
        region: EU
        source_id: bulk
        spider_arguments: {urls: a.json}
        settings_bundle: slow
        retrieval_frequency: MONTHLY
        license: open
        date_from: 2020-01-01
        frozen: true
        public: true
"""
MINIMAL = "publications: [{key: ruritania, title: Gazette, source_id: bulk}]"


@pytest.fixture
def found(database: Database) -> Callable[[], Collection]:
    """The publication as the database has it."""

    def find() -> Collection:
        with database.session(read_only=True) as session:
            collection = collection_by_key(session, "ruritania")
            assert collection is not None
            assert collection.settings_bundle is None or collection.settings_bundle.settings
            assert collection.license_custom is None or collection.license_custom.key
            return collection

    return find


def test_a_file_becomes_rows(sync, found):
    """Every kind of field (ASK-17)."""
    changes = sync(FULL)
    assert [(change.kind, change.key, change.action) for change in changes.changes] == [
        ("license", "open", "add"),
        ("settings bundle", "slow", "add"),
        ("publication", "ruritania", "add"),
    ]
    collection = found()
    assert (collection.title, collection.country_es, collection.country_ru, collection.region) == (
        "Gazette",
        "Ruritania",
        None,
        "EU",
    )
    assert collection.spider_arguments == {"urls": "a.json"}
    assert (collection.frozen, collection.public, collection.incremental) == (True, True, False)
    assert collection.date_from == datetime.date(2020, 1, 1)
    assert collection.license_custom.text("name", "ru") == "Открытая"
    assert {str(setting) for setting in collection.settings_bundle.settings} == {
        "DOWNLOAD_DELAY=2",
        "API_TOKEN=env:TOKEN",
        "BLANK=",
    }


def test_synchronising_again_changes_and_writes_nothing(sync, found, database):
    """Idempotent: not even `modified` changes."""
    sync(FULL)
    before = found().modified
    assert sync(FULL) == Changes([], 3, {})
    assert found().modified == before


def test_a_changed_field_is_told_with_what_it_was(sync):
    """And no other."""
    sync(FULL)
    assert sync(FULL.replace("MONTHLY", "WEEKLY").replace("a.json", "b.json")).changes == [
        Change(
            "publication",
            "ruritania",
            "change",
            (
                FieldChange("spider_arguments", {"urls": "a.json"}, {"urls": "b.json"}),
                FieldChange("retrieval_frequency", "MONTHLY", "WEEKLY"),
            ),
        )
    ]


def test_a_field_that_is_gone_from_the_file_returns_to_its_default(sync, found):
    """The file is the truth, except for what is kept unless it is mentioned."""
    sync(FULL)
    sync(MINIMAL)
    collection = found()
    assert (collection.country_en, collection.region, collection.date_from) == (None, "", None)
    assert (collection.spider_arguments, collection.settings_bundle, collection.license_custom) == ({}, None, None)
    assert (collection.frozen, collection.public) == (True, True)


def test_what_the_registry_set_survives(sync, found, database: Database):
    """`freeze`, the policy of a first success (CAT-11), the active job and when it was retrieved (CAT-13, CAT-14)."""
    sync(FULL.replace("        frozen: true\n", ""))
    with database.session() as session:
        collection = session.scalars(sa.select(Collection)).one()
        job = Job.plan(collection)
        for task in job.tasks:
            task.initiate()
            task.complete(Task.Result.OK)
        job.initiate()
        job.complete(Job.Result.SUCCEEDED)
        session.add(job)
        collection.active_job = job
        collection.last_retrieved = datetime.date(2024, 1, 1)
        collection.publication_policy = "https://example.com/policy"
        collection.frozen = True
    assert not sync(FULL.replace("        frozen: true\n", ""))
    collection = found()
    assert (collection.frozen, collection.active_job_id, collection.last_retrieved) == (
        True,
        job.id,
        datetime.date(2024, 1, 1),
    )
    assert collection.publication_policy == "https://example.com/policy"
    sync(FULL.replace("frozen: true", "frozen: false"))
    assert found().frozen is False


def test_what_is_only_in_the_database_is_told_and_kept(sync, found):
    """Nothing is deleted."""
    sync(FULL)
    changes = sync("publications: [{key: zenda, title: Castle, source_id: bulk}]")
    assert changes.kept == {"license": ["open"], "settings bundle": ["slow"], "publication": ["ruritania"]}
    assert found().region == "EU"


def test_a_setting_that_is_gone_from_its_bundle_goes(sync, found):
    """The bundle is as the file says. Values are not shown, but for references and small numbers (DEF-12)."""
    sync(FULL.replace("BLANK: ", "COOKIE: canary"))
    changes = sync(FULL.replace("env:TOKEN", "other-canary").replace("DOWNLOAD_DELAY: 2", "DOWNLOAD_DELAY: 3"))
    assert changes.changes == [
        Change(
            "settings bundle",
            "slow",
            "change",
            (
                FieldChange("API_TOKEN", "env:TOKEN", "(hidden)"),
                FieldChange("BLANK", None, ""),
                FieldChange("COOKIE", "(hidden)", None),
                FieldChange("DOWNLOAD_DELAY", "2", "3"),
            ),
        )
    ]
    assert {setting.key for setting in found().settings_bundle.settings} == {"API_TOKEN", "BLANK", "DOWNLOAD_DELAY"}


def test_passwords_in_arguments_are_not_shown(sync):
    """I6: spiders may want them in a URL or by themselves."""
    text = MINIMAL.replace("}]", ", spider_arguments: {url: 'https://u:canary@example.com', token: canary}}]")
    changes = sync(text)
    assert "canary" not in str(changes.as_json())
    assert {"url": "https://u:***@example.com", "token": "***"} in [item.new for item in changes.changes[0].fields]


def test_a_difference_can_be_told_without_a_database(read):
    """So that a first file can be tried before there is one."""
    changes = diff(read(FULL), None)
    assert [change.action for change in changes.changes] == ["add", "add", "add"]


def test_an_exported_catalogue_synchronised_changes_nothing(sync, read, database: Database, tmp_path: Path):
    """And into another database, it makes the same catalogue."""
    sync(FULL)
    with database.session(read_only=True) as session:
        text = export_catalogue(session)
    assert sync(text) == Changes([], 3, {})
    other = Database(f"sqlite:///{tmp_path}/other.sqlite3")
    other.migrate()
    with other.session() as session:
        apply(read(text), session)
    with other.session(read_only=True) as session:
        assert export_catalogue(session) == text
    other.dispose()


def test_an_empty_catalogue_can_be_exported(read, sqlite_database: Database):
    """Even then it is a catalogue file."""
    with sqlite_database.session(read_only=True) as session:
        text = export_catalogue(session)
    assert read(text).publications == []


def test_five_thousand_publications_take_few_queries(sqlite_database: Database, read, count_queries):
    """Reading is in four queries, whatever the size."""
    document = read("publications:\n" + "".join(f"- {{key: p{n}, title: T, source_id: bulk}}\n" for n in range(5000)))
    with sqlite_database.session() as session:
        apply(document, session)
    with sqlite_database.session(read_only=True) as session, count_queries(sqlite_database) as statements:
        assert diff(document, session).unchanged == 5000
    assert len(statements) <= 4


# Whatever an administrator may type or a program may write, and what YAML makes trouble with.
ODD = "NO|null|~|1.10|2024-01-01|12:30|- a|a: b|# a| a|a |'|\"|\\|{|*a|&a|!a|%a|@|`|>|<<|=|yes|0x10|é́|\U0001f389"
BREAKS = ["a\n", "\na", "a\r\nb", "a\x85b", "a\u2028b", "\ufeffa", "a\tb", "\t", "a \nb", "\n\n", "a\n\n b\n"]
odd = st.sampled_from([*ODD.split("|"), *BREAKS, "|", "\x00", "\x07", "\ud800", "a" * 300])
texts = st.one_of(odd, st.text(max_size=40), st.lists(odd, max_size=3).map("".join))
filled = texts.filter(bool)
keys = st.text(string.ascii_lowercase + string.digits + "_", min_size=1, max_size=20)
links = st.one_of(st.just(""), texts.map("https://example.com/{}".format))
dates = st.one_of(st.none(), st.dates())


@st.composite
def collections(draw: st.DrawFn) -> dict[str, Any]:
    first, last = sorted([draw(st.dates()), draw(st.dates())])
    values: dict[str, Any] = {
        "title": draw(filled.filter(str.strip)),
        "source_id": draw(filled.filter(str.strip)),
        "country_flag": draw(texts),
        "region": draw(st.sampled_from(["", *Collection.Region])),
        "retrieval_frequency": draw(st.sampled_from(["", *Collection.RetrievalFrequency])),
        "update_frequency": draw(st.sampled_from(list(Collection.UpdateFrequency))),
        "last_reviewed": draw(dates),
        "source_url": draw(links),
        "publication_policy": draw(texts),
        "ocid_prefix": draw(texts),
        "spider_arguments": draw(st.dictionaries(filled, texts, max_size=3)),
        "date_from": draw(st.sampled_from([None, first])),
        "date_to": draw(st.sampled_from([None, last])),
    }
    values |= {name: draw(st.booleans()) for name in ("incremental", "frozen", "public")}
    for name in Collection.TRANSLATED:
        values |= {f"{name}_{language}": draw(st.one_of(st.none(), texts)) for language in ("en", "es", "ru")}
    return values


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=40
)
@given(collections(), st.dictionaries(filled, texts, max_size=3), st.tuples(texts, links, keys))
def test_any_catalogue_survives_export_and_synchronisation(
    sqlite_database: Database, tmp_path: Path, values, bundle, licence
):
    """Export, then sync: no changes. Into an empty database: the same catalogue again."""
    path = tmp_path / "catalogue.yaml"
    text, link, key = licence
    with sqlite_database.session() as session:
        for model in (Collection, License, SettingsBundle):
            session.execute(sa.delete(model))
        license_ = License(key=key, name_en=text, description_es=text, url=link)
        settings_ = [Setting(key=name, value=value) for name, value in clean_keys(bundle).items()]
        values = values | {"spider_arguments": clean_keys(values["spider_arguments"])}
        session.add(
            Collection(
                key=key,
                license_custom=license_,
                settings_bundle=SettingsBundle(name="b" + text, settings=settings_),
                **values,
            )
        )
    with sqlite_database.session(read_only=True) as session:
        exported = export_catalogue(session)
    path.write_text(exported, encoding="utf-8", newline="")
    document = load(path)
    with sqlite_database.session(read_only=True) as session:
        assert diff(document, session).changes == []
    with sqlite_database.session() as session:
        for model in (Collection, License, SettingsBundle):
            session.execute(sa.delete(model))
        apply(document, session)
    with sqlite_database.session(read_only=True) as session:
        assert export_catalogue(session) == exported


def clean_keys(values: dict[str, str]) -> dict[str, str]:
    """Names that are different only in what no database stores would become the same."""
    return {re.sub("[\0\ud800-\udfff]", "\ufffd", name): value for name, value in values.items()}


def test_the_examples_in_the_documentation_work(sync, found):
    """They are catalogue files, and the long one has every field."""
    minimal, full = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    sync(minimal)
    assert len(minimal.splitlines()) == 6
    sync(full)
    assert found().ocid_prefix == "ocds-rurita"
    table = re.findall(
        r"`(\w+)`", "\n".join(re.findall(r"^\| (`[^|]*) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    )
    used = {name for entry in yaml.safe_load(full)["publications"] for name in entry}
    assert used == set(table)
