"""What makes a catalogue file right or wrong."""

from __future__ import annotations

import datetime
import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry_resources.catalogue import CatalogueError, load
from registry_resources.exceptions import ConfigurationError

MINIMAL = """\
publications:
  - key: ruritania
    title: Gazette
    source_id: bulk
"""


def lines(error: pytest.ExceptionInfo[CatalogueError]) -> list[tuple[int, str]]:
    return [(problem.line, problem.message) for problem in error.value.problems]


def test_five_lines_make_a_publication(read):
    """Issue-free: the rest has defaults."""
    (entry,) = read(MINIMAL + "    spider_arguments: {urls: a.json}\n    retrieval_frequency: MONTHLY\n").publications
    assert (entry.key, entry.line) == ("ruritania", 2)
    assert entry.values["spider_arguments"] == {"urls": "a.json"}
    assert entry.values["update_frequency"] == "UNKNOWN"
    assert {"frozen", "public", "publication_policy"}.isdisjoint(entry.values)


@pytest.mark.parametrize("text", ["", "# nothing\n", "publications:\n", "publications: []\n", "~\n"])
def test_an_empty_file_is_an_empty_catalogue(read, text):
    """And no error."""
    assert read(text).publications == []


def test_texts_are_taken_as_they_are_written(read):
    """Plain YAML would make something else of them: no country, a number, a date, base 60, nothing."""
    (entry,) = read("""
        publications:
          - key: 0123
            title: 1.10
            source_id: on
            country: NO
            language: {en: 12:30:45, es: 0x10, ru: 1_000}
            region: NA
            ocid_prefix: 2024-01-01
            spider_arguments: {sample: 10, from_date: 2020-01-01, full: yes, none: ~, empty: ""}
    """).publications
    values = entry.values
    assert (entry.key, values["title"], values["source_id"]) == ("0123", "1.10", "on")
    assert (values["country_en"], values["region"], values["ocid_prefix"]) == ("NO", "NA", "2024-01-01")
    assert [values[f"language_{name}"] for name in ("en", "es", "ru")] == ["12:30:45", "0x10", "1_000"]
    assert values["spider_arguments"] == {
        "sample": "10",
        "from_date": "2020-01-01",
        "full": "yes",
        "none": "",
        "empty": "",
    }


@pytest.mark.parametrize(
    ("written", "read_as"), [("true", True), ("yes", True), ("On", True), ("false", False), ("NO", False)]
)
def test_yes_and_no_are_flags(read, written, read_as):
    """As in YAML 1.1."""
    assert read(f"{MINIMAL}    frozen: {written}\n").publications[0].values["frozen"] is read_as


def test_a_date_is_a_date(read):
    """With or without quotes."""
    (entry,) = read(
        f'{MINIMAL}    date_from: 2020-02-29\n    date_to: "2020-03-01"\n    last_reviewed:\n'
    ).publications
    assert entry.values["date_from"] == datetime.date(2020, 2, 29)
    assert entry.values["date_to"] == datetime.date(2020, 3, 1)
    assert entry.values["last_reviewed"] is None


def test_every_error_is_told_with_its_line_and_the_remedy(read):
    """All at once: so that a file is mended in one go."""
    with pytest.raises(CatalogueError) as error:
        read("""\
            publication: []
            licenses:
              - url: https://example.com
              - name: Open
              - key: open
                url: ftp://example.com
            settings_bundles:
              - settings: {A: 1}
              - name: slow
              - name: slow
            publications:
              - key: Ruritania
                titel: Gazette
                source_id: bulk
                region: XX
                retrieval_frequency: monthly
                update_frequency:
                frozen: "true"
                date_from: 2020-02-30
                country: {en: Ruritania, fr: Ruritanie}
                last_retrieved: 2020-01-01
                spider: bulk
              - key: zenda
                title: Castle
                source_id: bulk
                source_id: links_next
                license: opne
                settings_bundle: slo
                spider_arguments: {urls: [a, b]}
                source_url: example.com
                date_from: 2020-01-02
                date_to: 2020-01-01
              - key: zenda
                title: [a]
                source_id: bulk
              - bulk
        """)
    assert lines(error) == [
        (1, "A catalogue has no publication. Did you mean publications?"),
        (3, "This licence has neither a key nor an English name. Add a key."),
        (5, "There is another licence open. Give one of them another key."),
        (6, "ftp://example.com is no link. Begin it with https:// or http://."),
        (8, "This bundle has no name. Add a name."),
        (10, "There is another bundle slow. Give one of them another name."),
        (12, "A publication needs a title. Add `title: …`."),
        (12, "Ruritania can't be a key. Add `key:` with lower-case letters, digits and underscores."),
        (13, "A publication has no titel. Did you mean title?"),
        (15, "XX is none of the choices. Choose one of MEA, AS, EECA, EU, LAC, NA, OC."),
        (
            16,
            "monthly is none of the choices. Choose one of WEEKLY, BIWEEKLY, MONTHLY, HALF_YEARLY, ANNUALLY, NEVER.",
        ),
        (
            17,
            (
                "Nothing is none of the choices. Choose one of UNKNOWN, REAL_TIME, HOURLY, DAILY, WEEKLY, MONTHLY, "
                "QUARTERLY, HALF_YEARLY, ANNUALLY."
            ),
        ),
        (18, "This should be true or false, without quotes."),
        (19, "2020-02-30 is no date. Write it like 2024-12-31."),
        (20, "A text by language has no fr. There is: en, es, ru."),
        (21, "last_retrieved is set by the registry, never by the file. Delete the line."),
        (22, "A publication has no spider. Did you mean spider_arguments?"),
        (26, "source_id is here twice. Keep one of them."),
        (27, "There is no opne under licenses. Did you mean open?"),
        (28, "There is no slo under settings_bundles. Did you mean slow?"),
        (29, "This should be one text. For several lines, write `|` and indent the lines below."),
        (30, "example.com is no link. Begin it with https:// or http://."),
        (32, "date_to is before date_from. Exchange them."),
        (33, "There is another publication zenda. Give one of them another key."),
        (34, "A publication needs a title. Add `title: …`."),
        (34, "This should be one text. For several lines, write `|` and indent the lines below."),
        (36, "This should be a publication: lines of `name: value`."),
    ]
    text = str(error.value).splitlines()
    assert all(re.match(r"/.*catalogue\.yaml:\d+: ", line) for line in text[:-1])
    assert text[-1].endswith("has 27 errors, so nothing was read from it.")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("publications:\n  - key: a\n   title: b\n", 3, "This is not YAML"),
        ("publications:\n\t- key: a\n", 2, "This is not YAML"),
        ("a: 1\n---\nb: 2\n", 2, "This is not YAML"),
        ("publications:\n  - *nobody\n", 2, "This is not YAML"),
        ("a\n", 1, "This should be a catalogue: lines of `name: value`."),
        ("publications:\n  key: a\n", 2, "This should be a list of publications, each beginning with `- `."),
        (MINIMAL + "    country: !!python/object:os.system ls\n", 5, "A text by language|tagged|This"),
        (MINIMAL + "    country: !secret x\n", 5, "This is tagged !secret. If it is a text, put it in quotes."),
        (MINIMAL + "    ? [a]\n    : b\n", 5, "A name should be one word."),
        (MINIMAL + "    <<: x\n", 5, "`<<` should be followed by"),
    ],
)
def test_what_is_no_catalogue_is_told_with_its_line(read, text, line, message):
    """Never a traceback."""
    if "python/object" in text:  # a text to us, whatever its tag says: nothing is ever constructed
        assert read(text).publications[0].values["country_en"] == "ls"
        return
    with pytest.raises(CatalogueError, match=message.replace("(", r"\(")) as error:
        read(text)
    assert lines(error)[0][0] == line


def test_a_file_that_is_not_utf_8_is_told_with_its_line(tmp_path: Path):
    """Spreadsheets and old editors write Latin-1."""
    path = tmp_path / "c.yaml"
    path.write_bytes("publications:\n  - key: a\n    title: Administración\n".encode("latin-1"))
    with pytest.raises(CatalogueError, match=r"c\.yaml:3: This is not UTF-8\. Save the file as UTF-8"):
        load(path)


def test_a_control_character_is_told_with_its_line(read):
    """YAML allows it only as an escape; then it is stored as any database takes it."""
    with pytest.raises(CatalogueError) as error:
        read(f"{MINIMAL}    country: a\x00b\n")
    assert [line for line, _ in lines(error)] == [5]
    assert read(f'{MINIMAL}    country: "a\\0b"\n').publications[0].values["country_en"] == "a\ufffdb"


@pytest.mark.parametrize("name", ["none.yaml", "."])
def test_a_file_that_cannot_be_read_is_one_clear_error(tmp_path: Path, name):
    """No such file, a folder."""
    with pytest.raises(ConfigurationError, match=r"can't be read: .*\. Give the path of a catalogue file"):
        load(tmp_path / name)


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path: Path):
    """Windows editors write one."""
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    assert load(path).publications[0].key == "ruritania"


def test_publications_can_share_lines(read):
    """With anchors; a publication's own line wins."""
    first, second = read("""
        publications:
          - &base
            key: a
            title: A
            source_id: bulk
            region: EU
          - <<: *base
            key: b
            title: B
    """).publications
    assert (second.key, second.values["title"], second.values["region"]) == ("b", "B", "EU")
    assert first.values["title"] == "A"


def test_lines_that_share_themselves_end_in_an_error(read):
    """And not in an endless loop."""
    with pytest.raises(CatalogueError, match="refers to too many others"):
        read("publications:\n  - &a\n    <<: *a\n    key: a\n    title: A\n    source_id: bulk\n")


def test_a_secret_in_the_file_is_warned_of_without_being_shown(read):
    """DEF-12: secrets by reference."""
    document = read("""
        settings_bundles:
          - name: slow
            settings:
              CF_CLEARANCE: canary
              API_TOKEN: env:RURITANIA_TOKEN
              DOWNLOAD_DELAY: 2
              USER_AGENT: Registry of publications (mail@example.com)
              ODD: 0123456789abcdef0123456789abcdef
    """)
    (warning,) = document.warnings
    assert "settings bundle slow holds CF_CLEARANCE, ODD in plain text. Write env:NAME instead" in warning
    assert "canary" not in warning


def test_a_licence_is_referred_to_by_key_or_english_name(read):
    """Whichever reads better."""
    document = read("""
        licenses:
          - {key: own, name: Own Licence}
          - {name: {en: "Open Licence, v1.0", es: Abierta}}
        publications:
          - {key: a, title: A, source_id: bulk, license: own}
          - {key: b, title: B, source_id: bulk, license: Own Licence}
          - {key: c, title: C, source_id: bulk, license: open_licence_v1_0}
          - {key: d, title: D, source_id: bulk, license: }
    """)
    assert [entry.values["license_custom"] for entry in document.publications] == [
        "own",
        "own",
        "open_licence_v1_0",
        None,
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(
    st.one_of(
        st.text(),
        st.lists(
            st.sampled_from(
                [
                    "publications:",
                    "  - key: a",
                    "    title: b",
                    "    source_id: c",
                    "    <<: *x",
                    "  - &x",
                    "    - [",
                    "}",
                ]
            )
        ).map("\n".join),
    )
)
def test_no_file_makes_anything_but_a_catalogue_or_an_error(tmp_path: Path, text):
    """Whatever it holds."""
    path = tmp_path / f"{os.getpid()}.yaml"
    path.write_bytes(text.encode("utf-8", "replace"))
    try:
        load(path)
    except CatalogueError as error:
        assert error.problems  # noqa: PT017 - there may be none
