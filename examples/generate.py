"""Writes the demo's sources: `python -m examples.generate DIR`.

Belongs here: the command, and how a folder of sources becomes complete at once. Does not belong here: what the
publications hold (`publications`). The same arguments give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import time
from pathlib import Path

from examples import publications

SEED = "1894"
RELEASES = 30_000
STAMP = "sources.json"
"""Written last: a folder that has it is complete, and says what it was made with."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.generate", description="Write the demo's invented sources."
    )
    parser.add_argument("directory", type=Path, help="where to; replaced if it holds other sources")
    parser.add_argument("--large", type=int, default=RELEASES, help="releases of the large publication (%(default)s)")
    parser.add_argument("--seed", default=SEED, help="another seed gives other inventions (%(default)s)")
    options = parser.parse_args(arguments)
    start = time.monotonic()
    try:
        made = generate(options.directory, large=options.large, seed=options.seed)
    except (OSError, ValueError) as e:
        print(f"{options.directory}: the sources can't be written: {e}", file=sys.stderr)
        return 1
    done = f"made in {time.monotonic() - start:.1f} s" if made else "already there"
    print(f"{options.directory}: sources {done}")
    return 0


def generate(directory: Path, *, large: int = RELEASES, seed: str = SEED) -> bool:
    """Write the sources, unless the same are there.

    Args:
        directory: the folder to write: one folder a publication in it. It appears complete, or not at all.
        large: how many releases the large publication has.
        seed: what the random numbers start from.

    Returns:
        Whether anything was written.

    Raises:
        OSError: if the folder can't be written.
        ValueError: if the folder holds anything but sources, which would be lost.
    """
    stamp = {"seed": seed, "large": large, "code": _code()}
    if _stamp(directory) == stamp:
        return False
    if directory.exists() and not (directory / STAMP).is_file() and any(directory.iterdir()):
        raise ValueError("the folder holds something else. Choose another folder, or empty it.")
    directory.parent.mkdir(parents=True, exist_ok=True)
    unfinished = directory.with_name(f".{directory.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    files = {
        "ruritania": publications.ruritania(seed),
        "quirk": publications.quirk(seed),
        "graustark": publications.graustark(seed, large),
        "costaguana": publications.costaguana(seed),
    }
    for key, contents in files.items():
        for name, body in contents:
            path = unfinished / key / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
    (unfinished / STAMP).write_text(json.dumps(stamp))
    shutil.rmtree(directory, ignore_errors=True)
    unfinished.rename(directory)
    return True


def _stamp(directory: Path) -> object:
    try:
        return json.loads((directory / STAMP).read_bytes())
    except (OSError, ValueError):
        return None


def _code() -> str:
    """What identifies the code of the inventions: sources made by other code are made anew."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(here.rglob("*.py")):
        if path.name not in {"demo.py", "serve.py"}:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(main())
