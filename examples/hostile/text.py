"""Texts that break spreadsheets, XML, UTF-8 or whoever reads a cell."""

from __future__ import annotations

from examples.hostile.case import Case, raw_line, simple, titled

NEVER_RUN = "Unchanged, and never a formula: a text cell in Excel; CSV has it as published."
CUT = "Unchanged, except that an Excel cell is cut at 32,767 characters, and the cut counted."
ILLEGAL = "Unchanged in JSON Lines, CSV and Parquet; replaced and counted in Excel, whose XML can't hold it."
SURROGATE = "Passes, or is skipped, counted and named: UTF-8 can't hold half a character."

_FORMULAS = {
    "formula-equals": "=1+1",
    "formula-plus": "+1+1",
    "formula-minus": "-1",
    "formula-at": "@SUM(1,1)",
    "formula-tab": "\t=1+1",
    "formula-return": "\r=1+1",
    "formula-link": '=HYPERLINK("http://127.0.0.1/x","press")',
    "formula-command": "=cmd|' /C calc'!A0",
    "formula-web": '=WEBSERVICE("http://127.0.0.1/x")',
    "formula-quoted": '"=1+1"',
    "formula-phone": "+999 (1) 555 0100",
    "formula-full-width": "\uff1d1+1",
}

_LOOKALIKES = {
    "looks-like-leading-zeros": "007",
    "looks-like-exponent": "1E5",
    "looks-like-nan": "NaN",
    "looks-like-infinity": "-Infinity",
    "looks-like-null": "null",
    "looks-like-true": "TRUE",
    "looks-like-date": "1-2",
    "looks-like-percent": "12%",
    "looks-like-long-digits": "12345678901234567890",
    "looks-like-decimal-comma": "1.234,50",
    "looks-like-na": "#N/A",
    "looks-like-excel-escape": "_x000D_ and _x0041_",
    "looks-like-hive-null": "__HIVE_DEFAULT_PARTITION__",
}

_CHARACTERS = {
    "characters-crlf": "one\r\ntwo\r\nthree",
    "characters-lone-cr": "one\rtwo",
    "characters-tabs": "one\ttwo",
    "characters-unicode-line-breaks": "one\u2028two\u2029three\u0085four\x0bfive\x0csix",
    "characters-only-blanks": "   \u00a0\u3000 ",
    "characters-blanks-around": "  padded  ",
    "characters-quotes": "a \"quoted\" 'text', with; commas\\ and `ticks`",
    "characters-open-quote": '"never closed, then a comma',
    "characters-replacement": "Men\ufffdez \ufffd\ufffd",
    "characters-emoji": "\U0001f3db\ufe0f \U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1fa\U0001f1f3",
    "characters-outside-bmp": "\U00020bb7\U0001d518\U00010348\U000e0041",
    "characters-last": "\U0010ffff",
    "characters-combining": "Z\u0351\u036b\u0343\u036a\u0302a\u0300\u0301\u0302\u0303\u0304 e\u0301 \u00e9",
    "characters-zero-width": "a\u200bb\u200cc\u200dd\ufeffe\u2060f\u00adg",
    "characters-arabic": "\u0645\u0646\u0627\u0642\u0635\u0629 \u0639\u0627\u0645\u0629 123",
    "characters-hebrew": "\u05de\u05db\u05e8\u05d6 \u05e4\u05d5\u05de\u05d1\u05d9",
    "characters-bidi-override": "invoice\u202e gpj.exe\u202c \u2066x\u2069",
    "characters-cyrillic": "\u0417\u0430\u043a\u0443\u043f\u043a\u0430 \u0449\u0435\u0442\u043e\u043a",
    "characters-armenian": "\u0533\u0576\u0578\u0582\u0574 \u0574\u057f\u0580\u0561\u056f\u0576\u0565\u0580\u056b",
    "characters-georgian": "\u10e8\u10d4\u10e1\u10e7\u10d8\u10d3\u10d5\u10d0",
    "characters-chinese": "\u63a1\u8cfc\u6383\u5e1a\u4e00\u767e\u628a",
    "characters-thai": "\u0e08\u0e31\u0e14\u0e0b\u0e37\u0e49\u0e2d\u0e44\u0e21\u0e49\u0e01\u0e27\u0e32\u0e14",
    "characters-devanagari": "\u0928\u093f\u0935\u093f\u0926\u093e",
    "characters-html": "<script>alert(1)</script><!-- </title> &amp; &#x41; -->",
    "characters-markdown": "[press](javascript:alert(1)) **bold** | a | b |\n|---|---|",
    "characters-template": "{{ 7*7 }} ${7*7} %s %(x)s {0} $(id) `id`",
    "characters-ansi": "\x1b[31mred\x1b[0m\x07\x08",
    "characters-mojibake": "M\u00c3\u00a9nage \u00e2\u20ac\u0153quoted\u00e2\u20ac\u009d",
}

_ILLEGAL = {
    "xml-illegal-nul": "before\x00after",
    "xml-illegal-controls": "".join(map(chr, range(1, 32))),
    "xml-illegal-delete": "a\x7fb\x80c\x9fd",
    "xml-illegal-noncharacters": "\ufffe\uffff\ufdd0\U0001fffe",
}

_LONG = {
    "long-32767": "x" * 32_767,
    "long-32768": "x" * 32_768,
    "long-emoji": "\U0001f9f9" * 16_384,  # 16,384 characters to Python, 32,768 UTF-16 units to Excel
    "long-cut-inside-emoji": "x" * 32_766 + "\U0001f9f9",
    "long-100000": "a long clause; " * 6_667,
    "long-one-megabyte": "0123456789abcdef" * 65_536,
    "long-line-breaks": "\r\n" * 20_000,
}

_SURROGATES = {
    "surrogate-high": r'"a\ud800b"',
    "surrogate-low": r'"a\udc00b"',
    "surrogate-reversed": r'"\udc00\ud800"',
    "surrogate-high-at-end": r'"\ud83e"',
}

_ESCAPES = {
    "escape-pair": r'"\ud83e\uddf9 broom"',
    "escape-everything": r'"\"\\\/\b\f\n\r\t\u0041\u00e9"',
    "escape-upper-case": r'"\u00E9\u00Fc"',
    "escape-script": r'"<\/script>"',
}

CASES: tuple[Case, ...] = (
    *(titled(name, title, NEVER_RUN) for name, title in _FORMULAS.items()),
    *(titled(name, title, "Text stays text, to the letter.") for name, title in _LOOKALIKES.items()),
    *(titled(name, title) for name, title in _CHARACTERS.items()),
    *(titled(name, title, ILLEGAL) for name, title in _ILLEGAL.items()),
    *(titled(name, title, CUT) for name, title in _LONG.items()),
    *(Case(name, (raw_line(name, w),), SURROGATE, compiled=None) for name, w in _SURROGATES.items()),
    *(Case(name, (raw_line(name, w),), "The escape's character arrives.") for name, w in _ESCAPES.items()),
    simple(
        "text-codes",
        "Identifiers, postal codes and telephones are text, also where they look like numbers.",
        parties=[
            {
                "id": "000123",
                "identifier": {"scheme": "QK-REG", "id": "00098765432109876543"},
                "address": {"postalCode": "01067", "region": "7E3"},
                "contactPoint": {"telephone": "0015550100", "faxNumber": "+999 1 555"},
            },
            {
                "id": "000124",
                "identifier": {"scheme": "QK-REG", "id": "98765432"},
                "address": {"postalCode": "10001", "region": "12"},
                "contactPoint": {"telephone": "5550100", "faxNumber": "5550101"},
            },
        ],
    ),
)
