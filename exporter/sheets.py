"""The content of Excel sheets: rows as XML text, whole columns at a time.

Belongs here: cells, and what Excel cannot hold in one. Does not belong here: files (see `workbook`), limits of files
(see `xlsx`).

A cell is a number only in a column of numbers, and with at most 15 digits, which is what Excel keeps; all else is text
(`inlineStr`), so nothing is ever a formula. Cells and rows carry no references, which the standard leaves out freely
and which lets the same rows stand in several workbooks.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

CELL = 32_767  # UTF-16 units that a cell holds
_DIGITS = 15  # characters of a number: a sign or a point among them costs a digit, and never a wrong one
_ILLEGAL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x{fffe}\x{ffff}]"  # characters that XML has no way to write
_ESCAPE = r"_(x[0-9A-Fa-f]{4}_)"  # what Excel would read as a character
_ODD = r"[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\x{fffe}\x{ffff}]|_x[0-9A-Fa-f]{4}_"
_EDGE = r"^\s|\s$"
_EMPTY = "<c/>"
_TEXT = ('<c t="inlineStr"><is><t>', "</t></is></c>")
_SPACED = ('<c t="inlineStr"><is><t xml:space="preserve">', "</t></is></c>")
_NUMBER = ("<c><v>", "</v></c>")

HEAD = (
    b'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
    b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
)
TAIL = b"</sheetData></worksheet>"


def rows(columns: Sequence[pa.StringArray], types: Sequence[pa.DataType], counts: Counter[str]) -> pa.Buffer:
    """Return the XML of rows.

    Args:
        columns: of text; null is an empty cell.
        types: of the columns in the table.
        counts: is added to: `xlsx_cells_cut`, `xlsx_cells_with_replaced_characters`.
    """
    cells = [
        _numbers(column, counts)
        if pa.types.is_integer(type_) or pa.types.is_floating(type_)
        else _texts(column, counts)
        for column, type_ in zip(columns, types, strict=True)
    ]
    lines = pc.binary_join_element_wise("<row>", *cells, "</row>", "")
    offsets = memoryview(lines.buffers()[1]).cast("i")
    return lines.buffers()[2].slice(offsets[0], offsets[len(lines)] - offsets[0])


def header(names: Sequence[str], counts: Counter[str]) -> bytes:
    """Return the XML of the first row."""
    columns = [pa.array([name], pa.string()) for name in names]
    return bytes(memoryview(rows(columns, [pa.string()] * len(columns), counts)))


def _wrapped(column: pa.StringArray, tags: tuple[str, str]) -> pa.StringArray:
    return pc.binary_join_element_wise(tags[0], column, tags[1], "")


def _texts(column: pa.StringArray, counts: Counter[str]) -> pa.StringArray:
    if column.null_count == len(column):
        return pa.repeat(_EMPTY, len(column))
    column = _cut(column, counts)
    spaced = pc.any(pc.match_substring_regex(column, _EDGE)).as_py()
    if pc.any(pc.match_substring_regex(column, _ODD)).as_py():
        column = _escaped(column, counts)
    return pc.fill_null(_wrapped(column, _SPACED if spaced else _TEXT), _EMPTY)


def _escaped(column: pa.StringArray, counts: Counter[str]) -> pa.StringArray:
    illegal = pc.sum(pc.match_substring_regex(column, _ILLEGAL)).as_py()
    if illegal:
        counts["xlsx_cells_with_replaced_characters"] += illegal
        column = pc.replace_substring_regex(column, _ILLEGAL, "\ufffd")
    column = pc.replace_substring_regex(column, _ESCAPE, r"_x005F_\1")
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\r", "&#13;")):
        column = pc.replace_substring(column, character, entity)
    return column


def _cut(column: pa.StringArray, counts: Counter[str]) -> pa.StringArray:
    """Cut texts that a cell does not hold. Bytes are never fewer than UTF-16 units, so most need no look."""
    long = pc.fill_null(pc.greater(pc.binary_length(column), CELL), fill_value=False)
    if not pc.any(long).as_py():
        return column
    texts = column.to_pylist()
    for place in pc.indices_nonzero(long).to_pylist():
        units = texts[place].encode("utf-16-le")
        if len(units) > 2 * CELL:
            texts[place] = units[: 2 * CELL].decode("utf-16-le", "ignore")  # half a pair at the end goes too
            counts["xlsx_cells_cut"] += 1
    return pa.array(texts, pa.string())


def _numbers(column: pa.StringArray, counts: Counter[str]) -> pa.StringArray:
    number = pc.fill_null(_wrapped(column, _NUMBER), _EMPTY)
    long = pc.fill_null(pc.greater(pc.binary_length(column), _DIGITS), fill_value=False)
    if not pc.any(long).as_py():
        return number
    return pc.if_else(long, _texts(column, counts), number)
