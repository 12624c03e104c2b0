"""The demo's order of steps, on a registry that only pretends; the registry's own commands have their own tests."""

from __future__ import annotations

import datetime
import json
import socket
from pathlib import Path

import pytest
import yaml

from examples import demo, generate, serve
from registry_resources.catalogue import load

KEYS = ["ruritania", "graustark", "costaguana", "quirk"]


class PretendedRegistry:
    """Stands where `demo.registry` does: remembers the commands, and publishes two files a publication."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.failing: set[str] = set()
        self.environment: dict[str, str] = {}

    def __call__(self, arguments: list[str], environment: dict[str, str]) -> int:
        """Take the place of `demo.registry`."""
        self.commands.append(arguments)
        self.environment = environment
        if arguments[-1] in self.failing:
            return 1
        if arguments[0] == "run":
            self._publish(Path(environment["EXPORTER_DIR"]) / arguments[1])
        return 0

    def _publish(self, folder: Path) -> None:
        files = [
            {"name": "full.jsonl.gz", "format": "jsonl", "year": "full", "rows": 1234, "bytes": 2_000_000},
            {"name": "2019.jsonl.gz", "format": "jsonl", "year": 2019, "rows": 234, "bytes": 500_000},
            {"name": "2023.jsonl.gz", "format": "jsonl", "year": 2023, "rows": 1000, "bytes": 1_500_000},
            {"name": "full.csv.tar.gz", "format": "csv", "year": "full", "rows": 56789, "bytes": 3_000_000},
            {"name": "coverage.json", "format": "coverage", "year": None, "rows": 99, "bytes": 1000},
        ]
        (folder / "7").mkdir(parents=True, exist_ok=True)
        (folder / "7" / "manifest.json").write_text(json.dumps({"files": files, "tables": {"main": [], "awards": []}}))
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        (folder / "latest.json").write_text(json.dumps({"job": "7", "directory": "7", "published_at": now}))


@pytest.fixture(autouse=True)
def _servers_end_with_the_test(monkeypatch):
    """The demo's server ends with its process, which is this one."""
    servers = []

    class Remembered(serve.Publisher):
        def serve_forever(self, poll_interval=0.05):
            servers.append(self)
            super().serve_forever(poll_interval)

    monkeypatch.setattr(serve, "Publisher", Remembered)
    yield
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def registry(monkeypatch, tmp_path: Path) -> PretendedRegistry:
    pretended = PretendedRegistry()
    monkeypatch.setattr(demo, "registry", pretended)
    monkeypatch.setattr(serve, "PORT", 0)  # never the port of a demo that runs for real
    monkeypatch.setenv("REGISTRY_HOME", str(tmp_path / "var"))
    for name in ("DAGSTER_HOME", "EXPORTER_DIR"):
        monkeypatch.delenv(name, raising=False)
    return pretended


def run() -> int:
    return demo.main(["--large", "20"])


def test_it_synchronises_the_catalogue_and_then_runs_each_publication(registry, tmp_path: Path, capsys):
    assert run() == 0
    assert registry.commands == [
        ["sync", str(tmp_path / "var" / "demo" / "catalogue.yaml")],
        *(["run", key] for key in KEYS),
    ]
    assert registry.environment["DAGSTER_HOME"] == str(tmp_path / "var" / "dagster")
    said = capsys.readouterr().out
    folder = tmp_path / "var" / "exports" / "ruritania" / "7"
    # Releases, years, tables, rows of all tables, files, and bytes of all files.
    assert ["ruritania", "1,234", "2019-2023", "2", "56,789", "5", "7.0", "MB", str(folder)] in [
        line.split() for line in said.splitlines()
    ]
    assert "make dev" in said


def test_a_second_time_it_runs_only_what_is_not_published(registry, capsys):
    """Running it again is quick and safe."""
    registry.failing = {"quirk"}
    assert run() == 1
    assert "quirk failed" in capsys.readouterr().out
    registry.failing, registry.commands = set(), []
    assert run() == 0
    assert [command for command in registry.commands if command[0] == "run"] == [["run", "quirk"]]
    assert "ruritania: already published" in capsys.readouterr().out


def test_other_sources_are_published_anew(registry, monkeypatch):
    """A version that was published before the sources were made is not theirs."""
    assert run() == 0
    stamp = Path(registry.environment["REGISTRY_HOME"]) / "demo" / "sources" / generate.STAMP
    later = datetime.datetime.now().timestamp() + 60  # noqa: DTZ005 - only a number of seconds
    monkeypatch.setattr(Path, "stat", _later(Path.stat, stamp, later))
    registry.commands = []
    assert run() == 0
    assert [command[0] for command in registry.commands] == ["sync", "run", "run", "run", "run"]


def _later(real, path: Path, moment: float):
    """`Path.stat` that says one file was changed at another moment."""

    class Changed:
        st_mtime = moment

    return lambda self, **options: Changed() if self == path else real(self, **options)


def test_a_catalogue_that_is_refused_ends_it(registry, tmp_path: Path, capsys):
    registry.failing = {str(tmp_path / "var" / "demo" / "catalogue.yaml")}
    assert run() == 1
    assert [command[0] for command in registry.commands] == ["sync"]
    assert "could not be synchronised" in capsys.readouterr().out


def test_a_home_that_cannot_be_written_is_said_in_one_line(registry, tmp_path: Path, capsys):
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "demo").write_text("a file where a folder should be")
    assert run() == 1
    said = capsys.readouterr().out
    assert said.startswith("demo: failed: ")
    assert str(tmp_path / "var" / "demo") in said


def test_the_catalogue_has_absolute_paths_and_the_servers_address(registry, tmp_path: Path):
    assert run() == 0
    sources = tmp_path / "var" / "demo" / "sources"
    catalogue = yaml.safe_load((tmp_path / "var" / "demo" / "catalogue.yaml").read_text(encoding="utf-8"))
    publications = {publication["key"]: publication["spider_arguments"] for publication in catalogue["publications"]}
    assert list(publications) == KEYS
    for arguments in publications.values():
        for path in json.loads(arguments.get("urls", "[]")):
            assert Path(path).is_relative_to(sources)
            assert Path(path).exists()
    port = (tmp_path / "var" / "demo" / "port").read_text().strip()
    assert publications["ruritania"]["url"] == f"http://127.0.0.1:{port}/ruritania/releases"


def test_the_registry_accepts_the_catalogue_as_it_is_in_the_checkout():
    """A wrong catalogue is refused with everything that is wrong with it (ASK-17); this one has not even a warning."""
    document = load(demo.CATALOGUE)
    assert [entry.key for entry in document.publications] == KEYS
    assert document.warnings == []


def test_a_port_that_is_taken_is_exchanged_for_a_free_one(tmp_path: Path):
    sources = tmp_path / "sources"
    sources.mkdir()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        (tmp_path / "port").write_text(str(taken))
        url = demo.start_server(sources)
    assert url != f"http://127.0.0.1:{taken}"
    port = serve.remembered_port(sources)
    assert url == f"http://127.0.0.1:{port}"
    # The same sources are served there from now on, so that nothing is started a second time.
    assert demo.start_server(sources) == url
