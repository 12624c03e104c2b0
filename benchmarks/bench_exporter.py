"""Compare the exporter with the plain way, step by step on the same input, and tell time, memory and disk.

    bench_exporter.py                      480 MB of invented releases
    bench_exporter.py --input FILE         any JSON Lines
    bench_exporter.py --excel              workbooks too
    bench_exporter.py --scale              the exporter alone at 100 MB and 1 GB (with --large also 5 GB)
    bench_exporter.py --record             keep the tables in benchmarks/results.md

Belongs here: which commands are compared, and the tables. Does not belong here: the plain way, or measuring.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import generate  # noqa: E402
import measure  # noqa: E402

PYTHON = sys.executable
TARGETS = {"export": 5.0, "coverage": 1.4, "flatten": 2.7, "total": 3.2, "excel": 1.5}
RESULTS = HERE / "results.md"


def ours(step: str, *arguments: str | Path) -> list[str | Path]:
    """Return a command of the exporter."""
    return [PYTHON, "-m", "exporter", step, *arguments]


def plain(step: str, *arguments: str | Path) -> list[str | Path]:
    """Return a command of the plain way."""
    return [PYTHON, HERE / "plain.py", step, *arguments]


def machine() -> str:
    """Say what was measured on."""
    model = platform.processor() or platform.machine()
    with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
        model = next((line.partition(": ")[2].strip() for line in file if line.startswith("model name")), model)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC, "
        f"load before {os.getloadavg()[0]:.2f}"
    )


def row(name: str, found: measure.Measure) -> str:
    """Return a row of a table."""
    return (
        f"| {name} | {found.wall:.1f} | {found.cpu:.1f} | {found.memory / 2**20:.0f} | "
        f"{found.disk / 1e6:.0f} | {found.kept / 1e6:.0f} |"
    )


HEAD = "| Step | Wall s | CPU s | Memory MiB | Disk MB, most | Disk MB, kept |\n|---|--:|--:|--:|--:|--:|"


def compare(source: Path, folder: Path, *, excel: bool) -> str:
    """Run both ways in turn and return a report."""
    old, new = folder / "plain", folder / "ours"
    steps = [
        ("export", plain("export", source, old), ours("export", source, new)),
        ("coverage", plain("coverage", old), ours("coverage", new)),
        ("flatten", plain("csv", old), ours("flatten", new, "--formats", "csv,parquet")),
    ]
    if excel:
        steps.append(("excel", plain("xlsx", old), ours("flatten", new, "--formats", "xlsx")))
    lines, pairs = [HEAD], {}
    for step, slow, fast in steps:
        if step == "excel":  # each of both makes workbooks only
            shutil.rmtree(new / "parquet")
        before, after = measure.run(slow, folder), measure.run(fast, folder)
        pairs[step] = (before, after)
        for line in (row(f"{step}, plain", before), row(f"{step}, ours", after)):
            lines.append(line)
            print(line, flush=True)
    ratios = {step: before.wall / after.wall for step, (before, after) in pairs.items()}
    chosen = [pairs[step] for step in ("export", "coverage", "flatten")]
    ratios["total"] = sum(before.wall for before, _ in chosen) / sum(after.wall for _, after in chosen)
    packed = (new / "full.jsonl.gz").stat().st_size / (old / "full.jsonl.gz").stat().st_size - 1
    lines += ["", "| Step | Times as fast | Target |", "|---|--:|--:|"]
    lines += [f"| {step} | {ratio:.2f} | {TARGETS[step]} |" for step, ratio in ratios.items()]
    lines += ["", f"`full.jsonl.gz` is {packed:+.1%} of the size by gzip -9 (at most 8%). Excel is not in the total."]
    return "\n".join(lines)


def scale(folder: Path, sizes: list[int]) -> str:
    """Run the exporter alone at several sizes and return a report."""
    lines = [HEAD]
    for size in sizes:
        source, directory = folder / "source.jsonl", folder / "ours"
        generate.write(source, size * 1_000_000)
        for step, command in (
            ("export", ours("export", source, directory)),
            ("coverage", ours("coverage", directory)),
            ("flatten", ours("flatten", directory, "--formats", "csv,parquet")),
        ):
            line = row(f"{size} MB, {step}", measure.run(command, folder))
            lines.append(line)
            print(line, flush=True)
        shutil.rmtree(directory)
        source.unlink()
    return "\n".join(lines)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, help="JSON Lines of compiled releases, plain (default: invented)")
    parser.add_argument("--mb", type=int, default=480, help="size of the invented input in millions of bytes")
    parser.add_argument("--folder", type=Path, help="where to work (default: the system's temporary folder)")
    parser.add_argument("--excel", action="store_true", help="compare workbooks too")
    parser.add_argument("--scale", action="store_true", help="the exporter alone at 100 MB and 1 GB, instead")
    parser.add_argument("--large", action="store_true", help="with --scale: also 5 GB")
    parser.add_argument("--record", action="store_true", help=f"add the report to {RESULTS.name}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="bench-exporter-") as name:
        folder = Path(name)
        title, where = "", machine()
        if options.scale:
            title = "The exporter alone, at several sizes"
            report = scale(folder, [100, 1000, *([5000] if options.large else [])])
        else:
            source = options.input or folder / "source.jsonl"
            if options.input is None:
                generate.write(source, options.mb * 1_000_000)
            what = "invented releases" if options.input is None else source.name
            title = f"Both ways on {source.stat().st_size / 1e6:.0f} MB of {what}"
            report = compare(source, folder, excel=options.excel)
    text = f"## {title}\n\n{where}\n\n{report}\n"
    print(f"\n{text}")
    if options.record:
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(f"\n{text}")


if __name__ == "__main__":
    main()
