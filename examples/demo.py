"""What `make demo` runs: from nothing to four published publications, with what was made at the end.

Belongs here: the order of the steps, and the summary. Does not belong here: any step itself, which is a command that
anybody can run: the sources (`generate`), the API (`serve`), and the registry, through its own command line.
Running it again publishes only what is not published yet.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from examples import generate, serve

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[1]
CATALOGUE = Path(__file__).with_name("catalogue.yaml")
INSTANCE = ROOT / "deploy" / "local" / "dagster.yaml"

# How catalogue.yaml, which is for reading too, says where things are.
SOURCES_IN_FILE = "var/demo/sources"
SERVER_IN_FILE = f"http://{serve.HOST}:{serve.PORT}"


def main(arguments: list[str] | None = None) -> int:
    """Run the demo. The exit code is 0 only if every publication is published."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description="Publish the demo's publications.")
    parser.add_argument("--large", type=int, default=generate.RELEASES, help="releases of the large one (%(default)s)")
    options = parser.parse_args(arguments)
    start = time.monotonic()
    environment = prepare_environment(os.environ)
    folder = Path(environment["REGISTRY_HOME"]) / "demo"
    sources = folder / "sources"
    try:
        made = generate.generate(sources, large=options.large)
        say(f"sources {'made' if made else 'already'} in {sources}")
        url = start_server(sources)
        say(f"serving the API of Ruritania at {url}")
        catalogue = write_catalogue(folder / "catalogue.yaml", sources, url)
    except (OSError, ValueError) as e:
        say(f"failed: {e}")
        return 1
    keys = [publication["key"] for publication in catalogue["publications"]]
    if registry(["sync", str(folder / "catalogue.yaml")], environment):
        say("failed: the catalogue could not be synchronised; see above")
        return 1
    exports = Path(environment["EXPORTER_DIR"])
    failed = []
    for key in keys:
        if is_current(exports / key, sources):
            say(f"{key}: already published, from these sources")
        elif registry(["run", key], environment):
            failed.append(key)
    print(f"\n{table(exports, keys)}\n")
    for key in failed:
        say(f"{key} failed: see above for the reason; run the demo again to try again")
    if not failed:
        print(how_to_open(exports / keys[0], environment))
    say(f"ended after {time.monotonic() - start:.0f} s")
    return 1 if failed else 0


def say(message: str) -> None:
    """Say how far the demo is."""
    print(f"demo: {message}", flush=True)


def prepare_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables for the registry's commands: everything under `var` in the checkout, unless set otherwise.

    Dagster's home is made too, with the settings for one machine.
    """
    home = Path(environ.get("REGISTRY_HOME") or ROOT / "var").absolute()
    dagster = Path(environ.get("DAGSTER_HOME") or home / "dagster").absolute()
    dagster.mkdir(parents=True, exist_ok=True)
    if not (dagster / "dagster.yaml").exists():
        shutil.copyfile(INSTANCE, dagster / "dagster.yaml")
    exports = Path(environ.get("EXPORTER_DIR") or home / "exports").absolute()
    return {**environ, "REGISTRY_HOME": str(home), "DAGSTER_HOME": str(dagster), "EXPORTER_DIR": str(exports)}


def start_server(sources: Path) -> str:
    """Serve the sources until this process ends, where they were served at last if that port is free.

    Returns:
        The server's address, which is written down beside the sources for the next time.
    """
    port = serve.remembered_port(sources)
    if serve.is_served(sources, port):
        return f"http://{serve.HOST}:{port}"
    try:
        server = serve.Publisher(sources, port)
    except OSError:
        server = serve.Publisher(sources, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (sources.parent / "port").write_text(f"{server.server_address[1]}\n")
    return server.url


def write_catalogue(path: Path, sources: Path, url: str) -> dict[str, Any]:
    """Write the catalogue with absolute paths and the server's address.

    Returns:
        What was written.
    """
    catalogue: dict[str, Any] = yaml.safe_load(CATALOGUE.read_text(encoding="utf-8"))
    for publication in catalogue["publications"]:
        arguments = publication["spider_arguments"]
        if "url" in arguments:
            arguments["url"] = arguments["url"].replace(SERVER_IN_FILE, url)
        if "urls" in arguments:
            # A list in JSON, as a path may hold blanks.
            arguments["urls"] = json.dumps([arguments["urls"].replace(SOURCES_IN_FILE, str(sources))])
    text = yaml.safe_dump(catalogue, allow_unicode=True, sort_keys=False, width=1000)
    path.write_text(f"# Written by the demo from {CATALOGUE.name}: changes are lost.\n{text}", encoding="utf-8")
    return catalogue


def registry(arguments: list[str], environment: dict[str, str]) -> int:
    """Run a command of the registry, showing what it says, and return its exit code."""
    command = [sys.executable, "-m", "registry_assets.cli", *arguments]
    say(f"registry {' '.join(arguments)}")
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def is_current(folder: Path, sources: Path) -> bool:
    """Whether a publication's latest version was published since the sources were made."""
    pointer, _ = latest(folder)
    if not pointer:
        return False
    published = datetime.datetime.fromisoformat(pointer["published_at"])
    # The pointer has whole seconds.
    return published.timestamp() >= int((sources / generate.STAMP).stat().st_mtime)


def latest(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pointer and the manifest of a publication's latest version; both empty if there is none."""
    try:
        pointer = json.loads((folder / "latest.json").read_bytes())
        return pointer, json.loads((folder / pointer["directory"] / "manifest.json").read_bytes())
    except FileNotFoundError:
        return {}, {}


def table(exports: Path, keys: list[str]) -> str:
    """What was made, a line a publication, from the manifests of the latest versions."""
    rows: list[tuple[str, ...]] = [("publication", "releases", "years", "tables", "rows", "files", "size", "where")]
    for key in keys:
        pointer, manifest = latest(exports / key)
        if not pointer:
            rows.append((key, "-", "-", "-", "-", "-", "-", "not published"))
            continue
        files = manifest["files"]
        years = sorted({file["year"] for file in files if file["format"] == "jsonl" and isinstance(file["year"], int)})
        full = {file["format"]: file["rows"] for file in files if file["year"] == "full"}
        span = f"{years[0]}-{years[-1]}" if years else "undated"
        numbers = (full.get("jsonl", 0), span, len(manifest["tables"]), full.get("csv", 0), len(files))
        size = f"{sum(file['bytes'] for file in files) / 1e6:.1f} MB"
        texts = [f"{number:,}" if isinstance(number, int) else number for number in numbers]
        rows.append((key, *texts, size, str(exports / key / pointer["directory"])))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            # Names to the left, numbers to the right.
            text.ljust(width) if column in {0, len(row) - 1} else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def how_to_open(folder: Path, environment: Mapping[str, str]) -> str:
    """How to go on from here."""
    pointer, _ = latest(folder)
    version = folder / pointer["directory"]
    homes = " ".join(f"{name}={environment[name]}" for name in ("REGISTRY_HOME", "DAGSTER_HOME"))
    return f"""Dagit, with these publications:
    make dev
The registry's commands, such as what one publication had skipped and why:
    export {homes}
    {Path(sys.executable).with_name("registry")} show quirk
The files, which {folder / "latest.json"} and the version's manifest.json list:
    pandas.read_json("{version / "full.jsonl.gz"}", lines=True)
    duckdb.read_parquet("{version}/parquet/awards/*/*.parquet", hive_partitioning=True)
"""


if __name__ == "__main__":
    sys.exit(main())
