"""The plain way, to compare with: what a person would write who knows the tools, one step after another.

Belongs here: each step as a command of its own. Does not belong here: measuring.

`export`: each line to the full file and to its year's, then gzip -9 each. `coverage`: decompress the full file, give
it to ocdscardinal. `csv` and `xlsx`: decompress, flatten and (CSV) tar.gz -9 each file alone, the full file too.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

import flatterer
import ocdscardinal
import orjson

LIMIT = 1 << 30  # bytes of JSON beyond which no workbook is made


def export(source: Path, directory: Path) -> None:
    """Write plain files, then compress them."""
    directory.mkdir(parents=True)
    files = {"full": (directory / "full.jsonl").open("wb")}
    with source.open("rb") as lines:
        for line in lines:
            year = (orjson.loads(line).get("date") or "undated")[:4].replace("unda", "undated")
            if year not in files:
                files[year] = (directory / f"{year}.jsonl").open("wb")
            files["full"].write(line)
            files[year].write(line)
    for file in files.values():
        file.close()
    for path in sorted(directory.glob("*.jsonl")):
        with path.open("rb") as plain, gzip.open(f"{path}.gz", "wb", compresslevel=9) as packed:
            shutil.copyfileobj(plain, packed, 1 << 20)
        path.unlink()


def gunzip(path: Path, final: Path) -> int:
    """Decompress a file and return its size."""
    with gzip.open(path) as packed, final.open("wb") as plain:
        shutil.copyfileobj(packed, plain, 1 << 20)
    return final.stat().st_size


def coverage(directory: Path) -> None:
    """One run over the full file."""
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        plain = Path(folder) / "full.jsonl"
        gunzip(directory / "full.jsonl.gz", plain)
        result = ocdscardinal.coverage(str(plain))
    (directory / "coverage.json").write_text(json.dumps(result))


def flatten(directory: Path, format_: str) -> None:
    """Each file alone."""
    for path in sorted(directory.glob("*.jsonl.gz")):
        stem = path.name.removesuffix(".jsonl.gz")
        with tempfile.TemporaryDirectory(dir=directory) as folder:
            plain = Path(folder) / f"{stem}.jsonl"
            if gunzip(path, plain) > LIMIT and format_ == "xlsx":
                continue
            out = Path(folder) / stem
            flatterer.flatten(
                str(plain),
                str(out),
                csv=format_ == "csv",
                xlsx=format_ == "xlsx",
                ndjson=True,
                force=True,
                threads=4,
                pushdown=["ocid", "id"],
                no_link=True,
            )
            if format_ == "csv":
                with tarfile.open(directory / f"{stem}.csv.tar.gz", "w:gz", compresslevel=9) as archive:
                    archive.add(out / "csv", arcname=stem)
            else:
                shutil.move(out / "output.xlsx", directory / f"{stem}.xlsx")


if __name__ == "__main__":
    step, *paths = sys.argv[1:]
    if step == "export":
        export(Path(paths[0]), Path(paths[1]))
    elif step == "coverage":
        coverage(Path(paths[0]))
    else:
        flatten(Path(paths[0]), step)
