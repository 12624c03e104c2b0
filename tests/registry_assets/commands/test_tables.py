"""How tables of commands look in terminals of different widths, and on outputs that take ASCII only."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest

from registry_assets.commands.common import print_json, print_table, table

ROWS = [
    (
        "costaguana",
        "Registro de Compras Públicas",
        "HALF_YEARLY",
        "2026-11-24",
        "registry run costaguana --select exported+",
    ),
    ("ruritania", "Royal Gazette", "MONTHLY", "2026-11-23", "fine"),
]


def printed(monkeypatch: pytest.MonkeyPatch, width: int) -> list[str]:
    """The lines of a table in a terminal of this width."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for name, value in {"COLUMNS": str(width), "LINES": "24", "NO_COLOR": "1", "TERM": "dumb"}.items():
        monkeypatch.setenv(name, value)
    output = Terminal()
    monkeypatch.setattr(sys, "stdout", output)
    view = table("Key", "Title", "Frequency", "Due on", "Note")
    for row in ROWS:
        view.add_row(*row)
    print_table(view, ("Title",))
    return output.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 72, 80, 100, 200])
def test_nothing_is_cut_and_no_short_word_is_broken(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """Keys and dates are read at one glance; the rest goes on in the next line."""
    lines = printed(monkeypatch, width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "…" not in text
    for word in ("costaguana", "HALF_YEARLY", "2026-11-24", "exported+", "registry"):
        assert word in text


def test_what_is_optional_goes_where_there_is_no_room_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a whole, rather than by breaking all others' words."""
    assert "Title" in "\n".join(printed(monkeypatch, 100))
    assert "Title" not in "\n".join(printed(monkeypatch, 60))


def test_in_hardly_any_room_all_is_there_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """However it looks."""
    lines = printed(monkeypatch, 30)
    assert max(map(len, lines)) <= 30
    assert "…" not in "\n".join(lines)


def test_json_is_valid_where_the_output_takes_ascii_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """With escapes; elsewhere it is readable."""
    for encoding, expected in (("ascii", b"P\\u00fablicas"), ("utf-8", "Públicas".encode())):
        raw = io.BytesIO()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, write_through=True))
            print_json({"title": "Públicas"}, indent=None)
            assert expected in raw.getvalue()
            assert json.loads(raw.getvalue()) == {"title": "Públicas"}


def test_a_terminal_without_unicode_is_no_reason_to_fail() -> None:
    """What it can't show is replaced."""
    code = "from registry_assets import cli; cli.cli.main = lambda **_: print('P\\u00fablicas'); cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "P?blicas\n"
