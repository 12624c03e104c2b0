"""The command line of the exporter: `python -m exporter export | coverage | flatten | verify | status`.

Belongs here: arguments, progress on standard error, the JSON summary on standard output, signals and exit codes. Does
not belong here: any work.

Exit codes: 0 all is well; 1 a failure, told in one line; 2 wrong arguments; 3 done, but the source was cut off; 130
and 143 ended by SIGINT and SIGTERM, with nothing left behind.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporter import files
from exporter.errors import ExporterError
from exporter.util import Export

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from exporter import manifest

FORMATS = ("csv", "parquet", "xlsx")


class _EndedError(BaseException):
    """A signal asked this process to end. Not an `Exception`: it passes through every handler of failures."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _end(number: int, _: FrameType | None) -> None:
    # Once is enough: while everything is being cleaned up, another signal would leave something behind.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise _EndedError(number)


@dataclass
class _Progress:
    """Progress lines on standard error, each a JSON object: `stage`, `done`, `bytes`, `seconds`."""

    stage: str
    start: float = field(default_factory=time.monotonic)
    last: float = 0.0

    def __call__(self, done: int, size: int) -> None:
        now = time.monotonic()
        if now - self.last >= 0.5:
            self.last = now
            line = {"stage": self.stage, "done": done, "bytes": size, "seconds": round(now - self.start, 1)}
            sys.stderr.write(json.dumps(line) + "\n")
            sys.stderr.flush()


def _say(line: str) -> None:
    sys.stderr.write(" ".join(line.split()) + "\n")


def _export(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    from exporter import jsonl  # noqa: PLC0415 - each command loads what it needs: workers start often

    source = jsonl.read_source(options.source)
    target = Export.at(options.directory)
    if options.source != "-" and target.directory.resolve() in Path(options.source).resolve().parents:
        raise ExporterError(f"{options.source}: it lies in the export directory, which is emptied first: move it away")
    summary = jsonl.export(
        target,
        source,
        workers=options.workers,
        progress=_Progress("export"),
        skipped=source.skipped,
        noticed=source.noticed,
    )
    for remark in source.remarks:
        _say(remark)
    for example in source.examples:
        _say(f"left out: {example}")
    return {**summary.to_dict(), "examples": source.examples}, 3 if source.skipped["truncated_source"] else 0


def _coverage(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    from exporter import coverage  # noqa: PLC0415

    progress = _Progress("coverage")
    return coverage.measure(Export.at(options.directory), workers=options.workers, progress=progress).to_dict(), 0


def _flatten(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    from exporter import flatten  # noqa: PLC0415

    formats = tuple(dict.fromkeys(options.formats.split(",")))
    if unknown := [name for name in formats if name not in FORMATS]:
        raise ExporterError(f"--formats: {unknown[0]!r} is none of {', '.join(FORMATS)}")
    summary = flatten.flatten(
        Export.at(options.directory),
        formats=formats,
        workers=options.workers,
        xlsx_max_bytes=options.xlsx_max_bytes,
        progress=_Progress("flatten"),
    )
    return summary.to_dict(), 0


def _verify(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    from exporter import verify  # noqa: PLC0415

    start = time.monotonic()
    found, wrong = verify.verify(Export.at(options.directory), workers=options.workers, progress=_Progress("verify"))
    for line in wrong:
        _say(line)
    return {**_held(found), "seconds": round(time.monotonic() - start, 3), "wrong": wrong}, 1 if wrong else 0


def _held(found: manifest.Manifest) -> dict[str, Any]:
    """Say what an export holds, in the words of the stages' summaries."""
    return {
        "files": len(found.files),
        "rows": found.counts.get("releases", 0),
        "bytes": sum(entry.bytes for entry in found.files),
        "skipped": {name: count for name, count in found.counts.items() if name.startswith("skipped_") and count},
    }


def _status(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    from exporter import manifest  # noqa: PLC0415

    start = time.monotonic()
    target = Export.at(options.directory)
    if not target.directory.is_dir():
        raise ExporterError(f"{target.directory}: there is no such folder: export first")
    found = manifest.read(target.directory) or manifest.Manifest()
    return {
        "status": target.status,
        "published": target.published,
        "stages": list(found.stages),
        **_held(found),
        "seconds": round(time.monotonic() - start, 3),
        "counts": found.counts,
        "missing": [entry.model_dump() for entry in found.missing],
        "downloads": target.files,
    }, 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m exporter", description="Files for analysts from compiled releases."
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], tuple[dict[str, Any], int]], text: str) -> Any:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    def common(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("directory", metavar="DIR", help="the export directory")
        sub.add_argument(
            "--workers", type=int, default=2, metavar="N", help="threads or processes that work (default 2)"
        )
        sub.add_argument("--outlive-parent", action="store_true", help="go on after the process that started it ends")

    sub = command("export", _export, "Write gzipped JSON Lines: in full, by year, and undated.")
    sub.add_argument(
        "source", metavar="SOURCE", help="JSON Lines of compiled releases, plain or gzip; - reads them in"
    )
    common(sub)
    common(command("coverage", _coverage, "Count how often each field is filled."))
    sub = command("flatten", _flatten, "Write tables: CSV, Parquet and Excel.")
    common(sub)
    sub.add_argument("--formats", default=",".join(FORMATS), help="which, with commas (default csv,parquet,xlsx)")
    sub.add_argument(
        "--xlsx-max-bytes", type=int, default=2**30, metavar="BYTES", help="no Excel of more JSON than this (1 GiB)"
    )
    common(command("verify", _verify, "Compare every file with the manifest."))
    common(command("status", _status, "Tell what is there and whether somebody works on it."))
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    result: dict[str, Any]
    code: int
    try:
        signal.signal(signal.SIGTERM, _end)
        signal.signal(signal.SIGINT, _end)
        if not options.outlive_parent:
            files.die_with_parent(signal.SIGTERM)
        result, code = options.run(options)
    except _EndedError as ended:
        _say(f"ended by {signal.Signals(ended.number).name}")
        return 128 + ended.number
    except ExporterError as error:
        _say(str(error))
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _say(f"{where}{error.strerror or error}: free space or grant permission, and start again")
        return 1
    sys.stdout.write(json.dumps(result) + "\n")
    return code
