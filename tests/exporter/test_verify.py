"""Verifying: every kind of damage is named, with the package and with the standard library alone."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter import publish, verify
from exporter.errors import BrokenExportError
from exporter.util import Export


def flip(directory: Path) -> str:
    path = directory / "2020.jsonl.gz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return "2020.jsonl.gz"


def truncate(directory: Path) -> str:
    path = directory / "coverage.json"
    path.write_bytes(path.read_bytes()[:-1])
    return "coverage.json"


def lengthen(directory: Path) -> str:
    with (directory / "full.csv.tar.gz").open("ab") as file:
        file.write(b"\0")
    return "full.csv.tar.gz"


def drop(directory: Path) -> str:
    path = next(directory.glob("parquet/*/*/*"))
    path.unlink()
    return path.relative_to(directory).as_posix()


def add(directory: Path) -> str:
    (directory / "parquet" / "surprise").mkdir()
    (directory / "parquet" / "surprise" / "part-1.parquet").touch()
    return "parquet/surprise/part-1.parquet"


def leave(directory: Path) -> str:
    (directory / ".tmp-2020.jsonl.gz-1-ab").touch()
    return ".tmp-2020.jsonl.gz-1-ab"


DAMAGES: dict[Callable[[Path], str], str] = {
    flip: "its bytes are changed",
    truncate: "cut off",
    lengthen: "too long",
    drop: "missing",
    add: "not in the manifest",
    leave: "not in the manifest",
}


def test_a_whole_export_is_whole(finished: Export) -> None:
    """I1, published or not: the mark is known."""
    assert verify.verify(finished)[1] == []
    publish.publish(finished, job=12)
    assert verify.verify(finished)[1] == []


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_each_damage_is_named(finished: Export, damage: Callable[[Path], str]) -> None:
    """A flipped bit, a missing, an added, a truncated, a lengthened file."""
    name = damage(finished.directory)
    (wrong,) = verify.verify(finished)[1]
    assert wrong.startswith(f"{name}: ")
    assert DAMAGES[damage] in wrong


def test_all_damages_are_named_at_once(finished: Export) -> None:
    """One fault does not hide the others."""
    names = [damage(finished.directory) for damage in DAMAGES]
    assert [line.partition(": ")[0] for line in verify.verify(finished)[1]] == sorted(names)


def test_a_link_is_not_the_file(exported: Export, tmp_path: Path) -> None:
    """A published file that leads elsewhere may change."""
    path = exported.directory / "2020.jsonl.gz"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert verify.verify(exported)[1] == ["2020.jsonl.gz: it is a link"]


def test_without_a_manifest_nothing_can_be_said(tmp_path: Path) -> None:
    """One clear message."""
    with pytest.raises(BrokenExportError, match="it is missing: export first"):
        verify.verify(Export("k", 1, root=tmp_path))


def documented_script(tmp_path: Path) -> Path:
    """The script of docs/exporter.md that needs nothing but Python."""
    text = (Path(__file__).parents[2] / "docs" / "exporter.md").read_text()
    (script,) = re.findall(r"```python\n(# verify\.py.*?)```", text, flags=re.DOTALL)
    path = tmp_path / "verify.py"
    path.write_text(script)
    return path


def run_script(script: Path, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run it without site-packages."""
    return subprocess.run(
        [sys.executable, "-I", "-S", script, directory], capture_output=True, check=False, text=True, cwd="/"
    )


def test_the_documented_script_needs_the_standard_library_alone(finished: Export, tmp_path: Path) -> None:
    """Analysts can verify a download with Python and the manifest."""
    script = documented_script(tmp_path)
    publish.publish(finished, job=12)
    done = run_script(script, finished.directory)
    assert (done.returncode, done.stdout, done.stderr) == (0, "whole\n", "")


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_the_documented_script_names_each_damage(
    finished: Export, tmp_path: Path, damage: Callable[[Path], str]
) -> None:
    """The same damages as the package finds."""
    name = damage(finished.directory)
    done = run_script(documented_script(tmp_path), finished.directory)
    assert done.returncode == 1
    assert name in done.stderr
