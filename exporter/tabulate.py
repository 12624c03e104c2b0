"""From a part of the compiled releases to tables of text, in a worker process.

Belongs here: running flatterer over one file of lines, what is done when it refuses it, and turning its CSV files into
Arrow files with the evidence for their types. Does not belong here: cutting parts, or what follows from all of them.
"""

from __future__ import annotations

import csv
import errno
import importlib.util
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from exporter import files, mend, rewrite, tables, types
from exporter.errors import StageError
from exporter.types import Evidence

_OS_ERROR = re.compile(r"\(os error ([0-9]+)\)")
_BLOCK = 4 << 20  # bytes of CSV in a batch


def _flatten_rs() -> Any:
    """Return flatterer's function without importing its package, which would load pandas: 80 MB and half a second."""
    spec = importlib.util.find_spec("flatterer")
    if spec is None or not spec.submodule_search_locations:
        raise StageError("flatterer is not installed: install the project's dependencies")
    for place in spec.submodule_search_locations:
        for library in sorted(Path(place).glob("flatterer*.so")) + sorted(Path(place).glob("flatterer*.pyd")):
            found = importlib.util.spec_from_file_location("flatterer.flatterer", library)
            if found is not None and found.loader is not None:
                module = importlib.util.module_from_spec(found)
                found.loader.exec_module(module)
                return module.flatten_rs
    raise StageError("flatterer's library is not where its package is: install flatterer 0.25 again")


# The arguments of flatterer 0.25's function, in its order. FLA-03, but for the separator, and with one thread: with
# more the order of rows and columns differs at each run. Types are found here, so all are text (`all_strings`).
_OPTIONS: dict[str, Any] = {
    "csv": True, "xlsx": False, "ods": False, "sqlite": False, "parquet": False, "main_table_name": tables.RAW_MAIN,
    "tables_csv": "", "only_tables": False, "fields_csv": "", "only_fields": False, "inline_one_to_one": False,
    "path_separator": mend.SEPARATOR, "preview": 0, "table_prefix": "", "id_prefix": "", "emit_obj": [], "force": True,
    "schema": "", "schema_titles": "", "path": [], "json_stream": False, "ndjson": True, "sqlite_path": "",
    "threads": 1, "log_error": False, "postgres": "", "postgres_schema": "", "drop": False, "pushdown": ["ocid", "id"],
    "sql_scripts": False, "evolve": False, "no_link": True, "stats": False, "low_disk": False, "low_memory": False,
    "gzip_input": False, "json_path": "", "arrays_new_table": False, "truncate": False, "all_strings": True,
    "schema_only": False, "stream_wrapped": True,
}  # fmt: skip


def _run(source: Path, folder: Path) -> str | None:
    """Run flatterer.

    Returns:
        Why it refused the lines, if it did.

    Raises:
        OSError: if the machine is at fault, not the lines: a full disk, for one.
    """
    try:
        _flatten_rs()([str(source)], str(folder), *_OPTIONS.values())
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # noqa: BLE001 - a panic of Rust is no Exception
        reason = " ".join(str(error).split()).partition(" Location:")[0] or type(error).__name__
        for code in map(int, _OS_ERROR.findall(reason)):
            if code not in {errno.ENOENT, errno.ENAMETOOLONG}:  # these are about names, which come from the lines
                raise OSError(code, os.strerror(code)) from None
        return reason
    return None


def tabulate(source: str, lines: int, folder: str) -> dict[str, Any]:
    """Make tables of text of a file of compiled releases.

    Args:
        source: the file, one release a line. It is deleted on success.
        lines: how many it has.
        folder: where to write `<number>.arrow` for each table: a stream of record batches of columns of text,
            compressed, named by their numbers. Null is no value.

    Returns:
        `tables`: by raw name `{file, rows, columns, clashes}` (see `tables.RawTable`); `counts`.

    Raises:
        StageError: if flatterer fails on these lines. The file is as it was.
    """
    path, out = Path(source), Path(folder)
    work, mended = out.with_name(f"{out.name}-flatterer"), path.with_suffix(".mended")
    counts: Counter[str] = Counter()
    longest, places = rewrite.look(path)
    if places:
        rewrite.rewrite(path, mended, places, counts)
    try:
        if _run(mended if places else path, work) is not None:
            counts.clear()
            rewrite.rewrite_all(path, mended, counts)
            if mended.stat().st_size and (reason := _run(mended, work)) is not None:
                raise StageError(reason)
        files.delete(mended)
        files.delete(path)
        out.mkdir(parents=True)
        found = _to_arrow(work, out, longest) if (work / "tables.csv").exists() else {}
    finally:
        files.delete(mended)
        files.delete(work)
    # As long as no release had a value for its main table, flatterer gives no row to any, such as `{}`.
    rows = found.get(tables.RAW_MAIN, {}).get("rows", 0)
    if empty := lines - rows - sum(count for name, count in counts.items() if name.startswith("skipped_")):
        counts["skipped_empty_releases"] = empty
    return {"tables": found, "counts": counts}


def _to_arrow(work: Path, out: Path, longest: int) -> dict[str, Any]:
    csv.field_size_limit(sys.maxsize)
    with (work / "fields.csv").open(encoding="utf-8", newline="") as file:
        columns: dict[str, list[str]] = {}
        least: Counter[str] = Counter()  # rows that a table has at least: those with the column that most have
        for row in csv.DictReader(file):
            columns.setdefault(row["table_name"], []).append(row["field_name"])
            least[row["table_name"]] = max(least[row["table_name"]], int(row["count"]))
    block = max(_BLOCK, 4 * longest, 2 * (work / "fields.csv").stat().st_size)
    found = {}
    for number, (raw, names) in enumerate(columns.items()):
        source = work / "csv" / f"{raw}.csv"
        # flatterer does not look whether the end of a file could be written.
        whole = _ends_a_line(source)
        table = _table(source, out / f"{number}.arrow", names, block) if whole else None
        if table is None or table.rows < least[raw]:
            raise OSError(errno.EIO, "flatterer's output is cut off: is the disk full?")
        found[raw] = {"file": str(out / f"{number}.arrow"), **table.to_dict()}
        files.delete(source)
    return found


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        return file.read() == b"\n"


def _table(source: Path, final: Path, names: list[str], block: int) -> tables.RawTable:
    """Turn one CSV file into an Arrow file, gathering evidence on the way."""
    schema = pa.schema([(str(number), pa.string()) for number in range(len(names))])
    reader = arrow_csv.open_csv(
        source,
        read_options=arrow_csv.ReadOptions(
            use_threads=False,
            block_size=min(block, source.stat().st_size + 1),
            column_names=schema.names,  # the header has other names: spaces for control characters
            skip_rows_after_names=1,
        ),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(column_types=schema, strings_can_be_null=True, null_values=[""]),
    )
    evidence = [
        Evidence(possible=0 if types.is_text_by_name(tuple(name.split(mend.SEPARATOR))) else types.ANY)
        for name in names
    ]
    shared = [[names.index(name) for name in group] for group in tables.groups(names)]
    clashing: set[int] = set()
    rows = 0
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with pa.OSFile(str(final), "wb") as file, pa.ipc.new_stream(file, schema, options=options) as writer:
        for batch in reader:
            rows += batch.num_rows
            for seen, column in zip(evidence, batch.columns, strict=True):
                seen.add(column)
            for number, group in enumerate(shared):
                present = [pc.cast(pc.is_valid(batch.column(index)), pa.int64()) for index in group]
                total = present[0]
                for other in present[1:]:
                    total = pc.add(total, other)
                if (pc.max(total).as_py() or 0) > 1:
                    clashing.add(number)
            writer.write_batch(batch)
    clashes = [tables.joined(names[shared[number][0]]) for number in sorted(clashing)]
    return tables.RawTable.of(rows, names, evidence, clashes)
