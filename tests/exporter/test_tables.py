"""One schema per table: the union over parts, with names as flatterer gives them, and descriptions."""

from __future__ import annotations

import pyarrow as pa

from exporter import tables
from exporter.descriptions import describe
from exporter.tables import RAW_MAIN, RawTable
from exporter.types import ANY, INTEGER, Evidence


def raw(*columns: str, rows: int = 1, possible: int = 0, clashes: tuple[str, ...] = ()) -> RawTable:
    return RawTable.of(rows, columns, [Evidence(1, possible) for _ in columns], clashes)


def test_columns_are_the_union_in_order_of_appearance() -> None:
    """Year files have the same columns, so they can be appended."""
    found, renamed = tables.union(
        [{RAW_MAIN: raw("ocid", "a\x1fb")}, {"items": raw("id"), RAW_MAIN: raw("z", "ocid")}]
    )
    assert [(table.name, [column.name for column in table.columns]) for table in found] == [
        ("main", ["ocid", "a_b", "z"]),
        ("items", ["id"]),
    ]
    assert not renamed


def test_columns_of_one_name_are_one_unless_a_row_has_both() -> None:
    """Of two values in a row flatterer drops one; here neither is."""
    one, _ = tables.union([{RAW_MAIN: raw("a_b")}, {RAW_MAIN: raw("a\x1fb")}])
    assert [(column.name, column.sources) for column in one[0].columns] == [("a_b", ("a_b", "a\x1fb"))]
    two, renamed = tables.union([{RAW_MAIN: raw("a_b", "a\x1fb", "a_b_2", clashes=("a_b",))}])
    assert [(column.name, column.sources) for column in two[0].columns] == [
        ("a_b", ("a_b",)),
        ("a_b_3", ("a\x1fb",)),  # not the name of another, in which a row may have a value too
        ("a_b_2", ("a_b_2",)),
    ]
    assert renamed == {"columns_renamed": 1}


def test_types_are_the_same_in_every_year() -> None:
    """A column is a number only if it is in all parts."""
    found, _ = tables.union(
        [
            {RAW_MAIN: raw("n", "m", possible=ANY)},
            {RAW_MAIN: raw("n", possible=INTEGER)},
            {RAW_MAIN: raw("m", possible=0)},
        ]
    )
    assert [str(column.arrow_type) for column in found[0].columns] == ["int64", "string"]


def test_tables_of_one_name_are_one() -> None:
    """As in flatterer: their rows go to one file."""
    found, _ = tables.union([{RAW_MAIN: raw("x"), "a\x1fb": raw("p"), "a_b": raw("q")}])
    assert [(table.name, table.sources) for table in found] == [
        ("main", (RAW_MAIN,)),
        ("a_b", ("a\x1fb", "a_b")),
    ]


def test_a_list_called_main_is_a_table_of_its_own() -> None:
    """In flatterer its rows are among those of the releases."""
    found, renamed = tables.union([{RAW_MAIN: raw("x"), "main": raw("y"), "main_2": raw("z")}])
    assert [(table.name, table.sources) for table in found] == [
        ("main", (RAW_MAIN,)),
        ("main_3", ("main",)),
        ("main_2", ("main_2",)),
    ]
    assert renamed == {"tables_renamed": 1}


def test_names_of_tables_are_names_of_files_on_any_system() -> None:
    """Keys come from outside: none leaves its folder."""
    names = ["..", ".", "", "a\x1db", "..\x1d..\x1dx", "c\\d", 'e*?"<>|[:]']
    assert [tables.table_name(name) for name in names] == [
        "_..", "_.", "_", "a_b", ".._.._x", "c_d", "e_________"
    ]  # fmt: skip
    long = tables.table_name("é" * 300)
    assert len(long.encode()) <= 200
    assert long != tables.table_name("é" * 301)


def test_evidence_survives_the_way_between_processes() -> None:
    """Workers answer in JSON."""
    table = raw("a", "b", rows=7, possible=INTEGER, clashes=("x",))
    known: dict[tuple[str, ...], tuple[str, ...]] = {}
    back = RawTable.from_dict(table.to_dict(), known)
    assert back == table
    assert RawTable.from_dict(table.to_dict(), known).columns is back.columns


def test_columns_are_described_where_the_standard_has_their_path() -> None:
    """ASK-09: a schema people can read."""
    assert "Postal code" in describe(("parties",), ("address", "postalCode"))
    assert "Amount" in describe((), ("tender", "value", "amount"))
    assert describe(("tender", "items"), ("main", "ocid")).endswith("joins to ocid in the table main.")
    paths = {("main",), ("awards",), ("awards", "items"), ("tender", "items")}
    assert describe(("awards", "items"), ("awards", "id"), paths).endswith("joins to id in the table awards.")
    assert describe(("tender", "items"), ("tender", "id"), paths).endswith("joins to tender_id in the table main.")
    assert describe(("x_rows",), ("address",)) == ""
    assert describe((), ("tender", "x_local")) == ""


def test_descriptions_are_metadata_of_the_fields() -> None:
    """They go into Parquet."""
    found, _ = tables.union([{RAW_MAIN: raw("ocid", "x")}])
    assert found[0].schema.field("ocid").metadata[b"description"].startswith(b"Open contracting ID")
    assert found[0].schema.field("x").metadata is None
    assert found[0].schema.field("x").type == pa.string()


def test_a_column_called_as_the_partition_has_another_name_in_parquet() -> None:
    """Of two columns `year`, DuckDB and polars drop the one in the file, and pandas and pyarrow stop."""
    found, renamed = tables.union([{RAW_MAIN: raw("ocid", "Year", "year_2", "year", "a\x1fyear")}])
    assert [column.name for column in found[0].columns] == ["ocid", "Year", "year_2", "year", "a_year"]
    assert found[0].schema.names == ["ocid", "year_3", "year_2", "year_4", "a_year"]
    assert found[0].renamed_in_parquet == 2
    assert not renamed
