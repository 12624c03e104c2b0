"""The benchmark of exporting out of PostgreSQL runs, and leaves nothing behind."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_both_ways_out_of_postgresql_are_compared_on_invented_releases() -> None:
    """`make bench`, on one megabyte: a row for each way, a ratio, the same years, and no trace."""
    # Not below pytest's own folders, which the server's user can't enter if root runs the tests.
    with tempfile.TemporaryDirectory(prefix="registry-bench-") as folder:
        Path(folder).chmod(0o755)
        command = [sys.executable, ROOT / "benchmarks" / "bench_kingfisher.py", "--mb", "1", "--folder", folder]
        report = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        for way in ("plain", "ours"):
            assert re.search(rf"\| export, {way} \|( [\d.]+ \|){{5}}", report)
        assert re.search(r"[\d.]+ times as fast .*The years are the same, byte for byte", report)
        assert list(Path(folder).iterdir()) == []
