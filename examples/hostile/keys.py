"""Members' names that collide, escape or vanish once objects become tables, files and sheets."""

from __future__ import annotations

from examples.hostile.case import Case, named, raw_line, release, simple, to_line

BOTH = "Both values are there afterwards, in columns of their own, or the loss is counted and named."
NAMED = "The value is there afterwards, and the table's or column's name is a safe one."
INSIDE = "The name stays a name: no file is written outside the export's folder."

_ROWS = [{"id": "r1", "name": "first"}, {"id": "r2", "name": "second"}]

_NAMES = {
    "key-dotted": "tender.value.amount",
    "key-dots-only": "..",
    "key-blank": " ",
    "key-hyphens": "x-procurement-type",
    "key-dollar": "$date",
    "key-at": "@context",
    "key-quotes": "a \"quoted\" 'key', with; commas",
    "key-line-break": "two\r\nlines",
    "key-nul": "nul\x00inside",
    "key-emoji": "\U0001f511",
    "key-right-to-left": "\u0645\u0641\u062a\u0627\u062d",
    "key-300-characters": "k" * 300,
    "key-formula": "=1+1",
    "key-digits": "2021",
    "key-select": "select",
    "key-proto": "__proto__",
    "key-language-suffix": "title_hy",
    "key-spanish": "fecha_de_publicaci\u00f3n",
    "key-bracket": "lines[]",
    "key-star": "a*b?c:d",
    "key-tilde": "a~1b~0c",
}

_TABLES = {
    "table-path": "../../escaped",
    "table-absolute-path": "/tmp/escaped",  # noqa: S108 - a hostile name, nothing is written there
    "table-slash": "a/b",
    "table-backslash": "..\\..\\escaped",
    "table-device": "CON",
    "table-sheet-illegal": "[a]:*?/\\b",
    "table-apostrophes": "'quoted'",
    "table-history": "History",
    "table-300-characters": "t" * 300,
    "table-emoji": "\U0001f4ca",
    "table-empty-name": "",
    "table-main": "main",
    "table-blank": " ",
}

CASES: tuple[Case, ...] = (
    *(simple(name, NAMED, tender={"id": "t", key: "kept"}) for name, key in _NAMES.items()),
    *(named(name, INSIDE, {key: _ROWS}) for name, key in _TABLES.items()),
    simple("key-empty", NAMED, tender={"id": "t", "": "kept", "value": {"": 5}}),
    simple("keys-all-empty", NAMED, x_nothing={"": {"": {"": "kept"}}}),
    Case(
        "keys-duplicate",
        (
            raw_line(
                "keys-duplicate", '{"title":"first","title":"second","value":1,"value":{"amount":2}}', member="tender"
            ),
        ),
        "The last of each wins, as in every common JSON reader.",
    ),
    Case(
        "keys-duplicate-ocid",
        (to_line(release("keys-duplicate-ocid-overruled"))[:-1] + b',"ocid":"ocds-quirk0-keys-duplicate-ocid"}',),
        "The last ocid wins.",
    ),
    Case(
        "keys-duplicate-escaped",
        (raw_line("keys-duplicate-escaped", r'{"title":"first","t\u0069tle":"second"}', member="tender"),),
        "An escaped name is the same name: the last wins.",
    ),
    simple(
        "keys-collide-underscore",
        BOTH,
        tender={"id": "t", "value": {"amount": 1}, "value_amount": 2},
        x_a={"b_c": 1, "b": {"c": 2}},
        x_a_b={"c": 3},
    ),
    simple(
        "tables-collide-underscore",
        BOTH,
        x_lots={"lines": [{"id": "nested"}]},
        x_lots_lines=[{"id": "flat"}],
    ),
    named("keys-collide-dots", BOTH, {"x_value": {"amount": 1}, "x_value.amount": 2, "x_value/amount": 3}),
    simple(
        "keys-differ-by-case",
        BOTH,
        tender={"id": "t", "title": "lower", "Title": "capital", "TITLE": "upper", "ID": "T"},
    ),
    simple("tables-differ-by-case", BOTH, x_lines=[{"id": "lower"}], X_Lines=[{"id": "capital"}]),
    simple(
        "keys-differ-by-normal-form", BOTH, tender={"id": "t", "caf\u00e9": "composed", "cafe\u0301": "decomposed"}
    ),
    simple("keys-differ-by-blank", BOTH, tender={"id": "t", "title": "plain", "title ": "blank after"}),
    simple(
        "keys-of-the-tables-themselves",
        "Members named as the columns that join tables don't hide those, or the loss is counted and named.",
        main_ocid="not the ocid",
        _link="not a link",
        _link_main="not a link",
        parties=[{"id": "p1", "ocid": "not the ocid", "main_ocid": "nor this", "parties_id": "nor this"}],
        tender={
            "id": "t",
            "items": [{"id": "i1", "tender_id": "not the parent", "main_id": "nor this", "year": 1999}],
        },
    ),
    named(
        "sheets-collide-at-31",
        "Sheet names are cut at 31 characters and then made unique.",
        {f"x_a_table_whose_name_is_quite_long_{n}": [{"id": str(n)}] for n in range(12)},
    ),
    simple(
        "keys-600",
        "A table of more than 600 columns passes.",
        x_wide={f"column_{n:03}": n for n in range(600)},
    ),
    simple(
        "ids-inside-deep-tables",
        "Each table has the ids of all its parents.",
        contracts=[
            {
                "id": "c1",
                "implementation": {
                    "transactions": [{"id": "x1", "documents": [{"id": "d1", "notes": [{"id": "n1"}]}]}]
                },
            }
        ],
    ),
)
