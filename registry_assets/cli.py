"""The `registry` command.

Belongs here: which commands there are, and how errors end them. Does not belong here: what a command does.

Exit codes: 0 if all went well, 1 if it did not, 2 if the command was used wrongly, 130 after Ctrl-C. Results go to
standard output; progress, warnings and errors to standard error, without secrets. Nothing heavy is imported before a
command needs it, so that `registry --help` is quick.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Mapping

import click

from registry_resources.exceptions import DataRegistryError
from registry_resources.redaction import redact

COMMANDS: Mapping[str, str] = {
    "accept": "registry_assets.commands.accept:accept",
    "backfill": "registry_assets.commands.backfill:backfill",
    "check": "registry_assets.commands.check:check",
    "cleanup": "registry_assets.commands.cleanup:cleanup",
    "delete-job": "registry_assets.commands.delete_job:delete_job",
    "dev": "registry_assets.commands.dev:dev",
    "due": "registry_assets.commands.due:due",
    "export-catalogue": "registry_assets.commands.sync:export_catalogue",
    "freeze": "registry_assets.commands.freeze:freeze",
    "keep": "registry_assets.commands.keep:keep",
    "list": "registry_assets.commands.list:list_",
    "migrate": "registry_assets.commands.migrate:migrate",
    "notify-test": "registry_assets.commands.notify_test:notify_test",
    "remove": "registry_assets.commands.remove:remove",
    "run": "registry_assets.commands.run:run",
    "show": "registry_assets.commands.show:show",
    "sync": "registry_assets.commands.sync:sync",
    "unfreeze": "registry_assets.commands.freeze:unfreeze",
}
"""Where each command is: module and attribute. A command is added by a line here."""


class LazyGroup(click.Group):
    """A group that imports a command when it is used, or when all are listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands, in alphabetical order."""
        return sorted({*super().list_commands(ctx), *COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command."""
        if cmd_name in self.commands or cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, name = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name]} is no command")
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ocds-data-registry")
def cli() -> None:
    """Keep a registry of OCDS publications: what there is, when it was last collected, and what became of it.

    Settings are environment variables, such as REGISTRY_HOME and DATABASE_URL: `registry check` shows whether they
    work.
    """


def main() -> None:
    """Run the command line, and end the process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # where it takes ASCII only, titles are not worth failing for
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        code = _fail("Interrupted.", 130)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except KeyboardInterrupt:
        code = _fail("Interrupted.", 130)
    except BrokenPipeError:
        # Whoever read our output has gone, such as `head`: say nothing, also when Python flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except DataRegistryError as error:
        code = _fail(str(error))
    except Exception as error:
        if not type(error).__module__.startswith("sqlalchemy."):
            raise
        from registry_resources.database.failures import explain  # noqa: PLC0415 - not before it is needed

        code = _fail(explain(error))  # type: ignore[arg-type]
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int = 1) -> int:
    # Of several lines, the last one sums up; those before begin with a file and a line, as editors read them.
    details, _, conclusion = redact(message).rpartition("\n")
    if details:
        click.echo(details, err=True)
    click.echo(f"Error: {conclusion}", err=True)
    return code


if __name__ == "__main__":
    main()
