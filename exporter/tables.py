"""The tables of an export: one schema per table, the union over all parts and years, whatever order they came in.

Belongs here: from the paths flatterer found to final tables and columns with names, types and descriptions. Does not
belong here: reading or writing rows.

flatterer runs with a separator that no key holds, so a table is known by its path. Joining the names with `_` here
shows where two paths get the same name: such columns become one as in flatterer, unless a row has a value in both,
where flatterer would drop one of them; then the later ones are named `…_2`, `…_3`.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from exporter.descriptions import describe
from exporter.mend import SEPARATOR, STAND_INS
from exporter.types import Evidence

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

MAIN = "main"
PARTITION = "year"  # what readers of a Parquet dataset call the column that they make of its folders' names
# What flatterer calls that table here, so that a list called `main` is a table of its own: no key is called that, for
# it would be two characters that no text holds, and `main`.
RAW_MAIN = f"{STAND_INS['/']}{STAND_INS[SEPARATOR]}main"
_UNSAFE = {".": "_.", "..": "_..", "": "_"}  # names of tables that no folder can have
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_NO_FILE = re.compile(r'[/\\:*?"<>|\[\]]')
_LONGEST = 200  # bytes of a table's name


@dataclass(frozen=True)
class RawTable:
    """A table as flatterer gave it for a part. There is one for each part and table, so it is kept small.

    Attributes:
        rows: how many.
        columns: the raw names, in order.
        values: of each column, how many values.
        possible: of each column, which types all values would bear (see `types`).
        clashes: joined names of columns where a row has values in several of that name.
    """

    rows: int
    columns: tuple[str, ...]
    values: array[int]
    possible: bytes
    clashes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, rows: int, columns: Sequence[str], evidence: Sequence[Evidence], clashes: Iterable[str] = ()
    ) -> RawTable:
        """Make one of the evidence for each column."""
        values = array("q", (found.values for found in evidence))
        return cls(rows, tuple(columns), values, bytes(found.possible for found in evidence), tuple(clashes))

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {**vars(self), "values": list(self.values), "possible": list(self.possible)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], known: dict[tuple[str, ...], tuple[str, ...]]) -> RawTable:
        """Return what `to_dict` gave. Lists of columns seen before, in `known`, are shared."""
        names = tuple(data["columns"])
        columns = known.setdefault(names, names)
        return cls(data["rows"], columns, array("q", data["values"]), bytes(data["possible"]), tuple(data["clashes"]))


@dataclass(frozen=True)
class Column:
    """A final column, and the raw columns that hold its values (the first one with a value gives it)."""

    name: str
    arrow_type: pa.DataType
    description: str
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A final table, and the raw tables whose rows it has."""

    name: str
    columns: tuple[Column, ...]
    sources: tuple[str, ...]

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema, with the columns' descriptions as metadata of the fields.

        A column called as the partition, in any case, has another name here, and so in Parquet: of two columns `year`
        some readers drop the file's, others stop.
        """
        fields, taken = [], {column.name.lower() for column in self.columns}
        for column in self.columns:
            name = column.name
            if name.lower() == PARTITION:
                name = _free(PARTITION, taken)
                taken.add(name)
            metadata = {"description": column.description} if column.description else None
            fields.append(pa.field(name, column.arrow_type, metadata=metadata))
        return pa.schema(fields)

    @property
    def renamed_in_parquet(self) -> int:
        """How many columns have another name in Parquet."""
        return sum(column.name.lower() == PARTITION for column in self.columns)


def joined(raw: str) -> str:
    """Return the name that users see for a raw name: its parts joined by `_`.

    Control characters become spaces, as flatterer does in the headers of its CSV files.
    """
    raw = raw.replace(RAW_MAIN, MAIN)
    return _CONTROL.sub(" ", raw.replace(SEPARATOR, "_").replace(STAND_INS["/"], "/"))


def _path(raw: str) -> tuple[str, ...]:
    return tuple(raw.replace(RAW_MAIN, MAIN).split(SEPARATOR))


def table_name(raw: str) -> str:
    """Return the name of a raw table: also the name of a file and of a folder, on any system, and in patterns."""
    name = _NO_FILE.sub("_", joined(raw))
    name = _UNSAFE.get(name, name)
    data = name.encode()
    if len(data) > _LONGEST:
        digest = hashlib.sha256(data).hexdigest()[:16]
        name = f"{data[: _LONGEST - 17].decode('utf-8', 'ignore')}_{digest}"
    return name


def groups(names: Iterable[str]) -> list[list[str]]:
    """Return those of the raw columns that share a joined name, in order."""
    by_name: dict[str, list[str]] = {}
    for name in names:
        by_name.setdefault(joined(name), []).append(name)
    return [group for group in by_name.values() if len(group) > 1]


def _free(name: str, taken: Collection[str]) -> str:
    """Return the name with the first number that makes it another than those taken."""
    number = 2
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"


def union(parts: Sequence[Mapping[str, RawTable]]) -> tuple[list[Table], Counter[str]]:
    """Make the final tables.

    Args:
        parts: the raw tables of each part, by raw name, the parts in the order of their rows.

    Returns:
        The tables, in the order of their first appearance (`main` first), and what had to be renamed:
        `columns_renamed`, because of clashes; `tables_renamed`, which is that of a list called `main`.
    """
    names = {raw: table_name(raw) for part in parts for raw in part}
    renamed: Counter[str] = Counter()
    for raw, name in names.items():
        if name == MAIN and raw != RAW_MAIN:
            names[raw] = _free(MAIN, names.values())
            renamed["tables_renamed"] += 1
    evidence: dict[str, dict[str, Evidence]] = {}
    sources: dict[str, dict[str, None]] = {}
    clashing: dict[str, set[str]] = {}
    for part in parts:
        for raw, found in part.items():
            name = names[raw]
            sources.setdefault(name, {})[raw] = None
            known = evidence.setdefault(name, {})
            for column, values, possible in zip(found.columns, found.values, found.possible, strict=True):
                known.setdefault(column, Evidence()).merge(Evidence(values, possible))
            clashing.setdefault(name, set()).update(found.clashes)
    paths = {_path(raw) for raws in sources.values() for raw in raws if raw != RAW_MAIN}
    result = []
    for name in sorted(evidence, key=lambda name: name != MAIN):  # stable: otherwise as they appeared
        columns, more = _columns(tuple(sources[name]), evidence[name], clashing[name], paths)
        if more:
            renamed["columns_renamed"] += more
        result.append(Table(name, columns, tuple(sources[name])))
    return result, renamed


def _columns(
    raw_tables: tuple[str, ...], evidence: Mapping[str, Evidence], clashing: set[str], paths: set[tuple[str, ...]]
) -> tuple[tuple[Column, ...], int]:
    by_name: dict[str, list[str]] = {}
    renamed = 0
    published = {joined(raw) for raw in evidence}
    for raw in evidence:
        name = joined(raw)
        if name in by_name and name in clashing:
            name, renamed = _free(name, by_name.keys() | published), renamed + 1
        by_name.setdefault(name, []).append(raw)
    base = () if raw_tables[0] == RAW_MAIN else _path(raw_tables[0])
    columns = []
    for name, raws in by_name.items():
        total = Evidence()
        for raw in raws:
            total.merge(evidence[raw])
        path = _path(raws[0])
        of_a_list = path[0] == MAIN and not raws[0].startswith(RAW_MAIN)  # called `main`: the standard has none
        text = "" if of_a_list else describe(base, path, paths)
        columns.append(Column(name, total.arrow_type(), text, tuple(raws)))
    return tuple(columns), renamed
