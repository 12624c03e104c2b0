"""The administrator's documentation: what it names exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from registry_assets.cli import COMMANDS, cli
from registry_assets.definitions import defs
from registry_resources.settings import KINGFISHER_VARIABLES, TASK_TYPES, Settings

ROOT = Path(__file__).parents[1]
DOCS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks" / "results.md"])
OTHERS = {
    "DAGSTER_HOME": "Dagster's own",
    "DAGSTER_DATABASE_URL": "read by deploy/postgres/dagster.yaml",
    "REGISTRY_CODE_HOST": "read by the units and deploy/postgres/workspace.yaml",
    "REGISTRY_CODE_PORT": "the same",
    "REGISTRY_SHARED": "read by the tests",
    "SSL_CERT_FILE": "OpenSSL's",
    "PGPASSWORD": "PostgreSQL's",
    "POSTGRES_PASSWORD": "read by deploy/compose/compose.yaml",
    "KINGFISHER_API2_URL": "Kingfisher Collect's",
    "RABBIT_URL": "the same",
    "RABBIT_EXCHANGE_NAME": "the same",
    "RABBIT_ROUTING_KEY": "the same",
}
"""Environment variables that the documentation may name, and that are no settings of the registry."""

named = pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))


def commands(text: str) -> list[list[str]]:
    """Every `registry …`, in a line of a code block or between backticks, as words."""
    text = re.sub(r"\\\n\s*", " ", text)
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))
    found = []
    for line in lines:
        match = re.match(r"(?:\$ |# )?(?:sudo -u registry )?(?:\S*/)?registry (?=[a-z-])(.*)", line.strip())
        if match:
            try:
                found.append(shlex.split(match[1].replace("…", ""), comments=True))
            except ValueError:  # an apostrophe of a sentence, such as of a unit's description
                found.append(match[1].split())
    return found


@named
def test_its_commands_have_these_options(path: Path) -> None:
    """`registry COMMAND --option` as written is understood: the command and each of its options exist."""
    context = click.Context(cli)
    for words in commands(path.read_text(encoding="utf-8")):
        if words[0].startswith("-"):
            continue
        assert words[0] in COMMANDS, words
        command = cli.get_command(context, words[0])
        assert command is not None
        options = {name for parameter in command.params for name in [*parameter.opts, *parameter.secondary_opts]}
        written = {word.partition("=")[0] for word in words[1:] if word.startswith("--")}
        assert written <= {*options, "--help"}, words


@named
def test_its_links_lead_somewhere(path: Path) -> None:
    """Files that are linked are there, and so are the headings in them."""
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        file, _, anchor = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {_anchor(heading) for heading in headings}, target


def _anchor(heading: str) -> str:
    """How the usual renderers of Markdown name a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@named
def test_its_variables_are_settings(path: Path) -> None:
    """Each environment variable that is named is read by the registry, or by what is listed here."""

    class Recording(dict[str, str]):
        def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
            read.add(key)
            return default

    read: set[str] = {*KINGFISHER_VARIABLES, "EXPORTER_PAGE_SIZE"}
    read |= {f"REGISTRY_{kind.upper()}_DEADLINE" for kind in TASK_TYPES}
    Settings.from_env(Recording())
    text = path.read_text(encoding="utf-8")
    prefixes = r"(?:REGISTRY|DAGSTER|EXPORTER|KINGFISHER|SCRAPYD|RABBIT|POSTGRES|SSL)_[A-Z0-9_]+"
    mentioned = set(re.findall(rf"\b(?:{prefixes}|[A-Z_]*DATABASE_URL|LOG_LEVEL)\b", text))
    assert mentioned - read <= set(OTHERS)


@named
def test_the_jobs_sensors_and_schedules_of_dagster_are_there(path: Path) -> None:
    """What it calls the sensor, the schedule or the job `x` is one."""
    repository = defs.get_repository_def()
    kinds = {
        "sensor": {sensor.name for sensor in repository.sensor_defs},
        "schedule": {schedule.name for schedule in repository.schedule_defs},
        "job": {job.name for job in repository.get_all_jobs()},
        "asset": {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()},
    }
    text = path.read_text(encoding="utf-8")
    for kind, name in re.findall(r"\b(sensor|schedule|job|asset)s? `([a-z_]+)`", text):
        assert name in kinds[kind], f"the {kind} `{name}`"


def test_the_environment_file_sets_what_is_read() -> None:
    """Each line of the services' environment file, those that are commented out too, is a setting."""
    text = (ROOT / "deploy" / "postgres" / "registry.env.example").read_text(encoding="utf-8")
    names = set(re.findall(r"^#?([A-Z_0-9]+)=", text, re.MULTILINE)) - {"MOLDOVA_CF_CLEARANCE"}
    documented = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {name for name in names if f"`{name}`" not in documented} <= set(OTHERS)
