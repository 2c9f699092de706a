"""The `sluice` command: finds the command that was named, and turns its end into an exit code.

Each command lives in a module of its own that offers `command`, and is imported only when it is
called, so that `sluice --help` stays fast. A command returns its exit code.

Exit codes: 0 fine, 1 found something wrong, 2 misuse (a wrong call, a wrong setting).
"""

import gc
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module, metadata
from typing import Final, NamedTuple

import click
from click.shell_completion import CompletionItem

from console.errors import InterruptedByUserError, MisuseError
from console.help import write_epilog
from console.local.process import ServiceError
from worker.errors import ConfigurationError, DeniedError, SluiceError

FINE: Final = 0
WRONG: Final = 1
MISUSE: Final = 2
INTERRUPTED: Final = 130
"""As a shell reports a command that Ctrl-C has ended (128 + SIGINT)."""

GARBAGE: Final = 50_000
"""Objects after which Python looks for garbage, instead of 700. A page of items is tens of
thousands and holds no cycle; looking through them was a quarter of what backfill and verify spent.
"""


class Entry(NamedTuple):
    """Where a command lives, and its line in `sluice --help`."""

    module: str
    line: str


COMMANDS: Final = {
    "backfill": Entry("console.backfill.command", "Index what a table holds already."),
    "check": Entry("console.check.command", "Try a declaration on real items before deploying it."),
    "completion": Entry("console.completion", "Print what completes commands in your shell."),
    "dead-letters": Entry(
        "console.deadletters.commands", "Find, understand and put back what could not be applied."
    ),
    "demo": Entry("console.demo.command", "Run the whole pipeline on this machine and check it."),
    "init": Entry("console.init.command", "Write a starting project for a table."),
    "repair": Entry("console.repair", "Mend what differs between a table and its index."),
    "rebuild": Entry(
        "console.rebuild.command", "Change a mapping or document function without downtime."
    ),
    "search": Entry("console.search", "Search a table's documents, page by page."),
    "show": Entry("console.show", "Show an item and its document side by side."),
    "status": Entry("console.status.command", "Show where each part stands, and what is red."),
    "tombstones": Entry("console.tombstones", "Remove the marks of items deleted long ago."),
    "trace": Entry("console.trace", "Tell everything known about one item."),
    "up": Entry("console.local.up", "Keep a local pipeline running, to write to from your code."),
    "valve": Entry("console.valve", "See and open the valves that stop a bad deploy."),
    "verify": Entry("console.verify.command", "Compare a table with its index."),
}


class _Commands(click.Group):
    """Commands by name, imported when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = import_module(entry.module).command
        return _complete_tables(command) if ctx.resilient_parsing else command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            # click looks for a name that is near among commands that are imported already.
            near = get_close_matches(args[0], COMMANDS)
            if not near:
                raise
            meant = " or ".join(repr(name) for name in near)
            raise click.UsageError(
                f"No such command {args[0]!r:.80}. Did you mean {meant}?", ctx
            ) from error

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        # click would import every command for its line of help.
        named = [n for n in self.list_commands(ctx) if n.startswith(incomplete)]
        items = [CompletionItem(name, help=COMMANDS[name].line) for name in named]
        return items or click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].line) for name in self.list_commands(ctx)])


def _complete_tables(command: click.Command) -> click.Command:
    from console.completion import offer_tables

    return offer_tables(command)


def _print_version(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    try:
        version = metadata.version("sluice")
    except metadata.PackageNotFoundError:
        version = "(not installed: run from its source)"
    click.echo(f"sluice {version}")
    ctx.exit()


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=write_epilog(
        "sluice demo",
        "sluice status",
        "sluice verify posts --help",
        codes="0 fine, 1 found something wrong, 2 misuse",
    ),
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Sluice keeps an Elasticsearch index equal to a DynamoDB table."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; answer its exit code. Prints errors of ours as one line."""
    gc.set_threshold(GARBAGE)
    if "" not in sys.path:
        # A console script, unlike `python -m`, does not look for modules where it is run.
        sys.path.append("")
    try:
        code = cli.main(args=arguments, prog_name="sluice", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (SluiceError, ServiceError) as error:
        return _complain(error, _choose_code(error))
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough: nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return WRONG
    return code if isinstance(code, int) else FINE


def _choose_code(error: Exception) -> int:
    if isinstance(error, ConfigurationError | MisuseError | DeniedError):
        return MISUSE  # a wrong key is a wrong setting
    return INTERRUPTED if isinstance(error, InterruptedByUserError) else WRONG


def _complain(error: Exception, code: int) -> int:
    text = str(error) if isinstance(error, ServiceError) else " ".join(str(error).split())
    click.echo(f"sluice: {text}", err=True)
    return code
