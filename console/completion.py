"""Shell completion: click's own script, and the names of declared tables for TABLE."""

import contextlib
import io
import os
from collections.abc import Mapping
from typing import Final

import click
from click.shell_completion import CompletionItem, get_completion_class

PROGRAM: Final = "sluice"
VARIABLE: Final = "_SLUICE_COMPLETE"
"""click's own name for it: of the program, in upper case, with this end."""

SHELLS: Final = ("bash", "zsh", "fish")

_WHERE: Final[Mapping[str, str]] = {
    "bash": "sluice completion bash > ~/.local/share/bash-completion/completions/sluice",
    "zsh": 'eval "$(sluice completion zsh)", as a line of ~/.zshrc',
    "fish": "sluice completion fish > ~/.config/fish/completions/sluice.fish",
}
_TABLES: Final = frozenset({"table", "tables", "target"})
"""Arguments of our commands that take the name of a declared table."""


class TableName(click.types.StringParamType):
    """Text, completed by the names of the tables that SLUICE_TABLES declares."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        names = find_names(os.environ.get("SLUICE_TABLES", ""))
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def find_names(modules: str) -> list[str]:
    """The names of the tables that these modules declare; none if that cannot be told."""
    if not modules.strip():
        return []
    try:
        # Whatever the owner's module prints would be taken for completions.
        nowhere = io.StringIO()
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            from worker.tables import load_tables

            return sorted(load_tables(modules))
    except Exception:  # noqa: BLE001 - a shell that completes has no place to show an error
        return []


def offer_tables(command: click.Command) -> click.Command:
    """The command, its TABLE arguments completed by the declared names."""
    for parameter in command.params:
        if isinstance(parameter, click.Argument) and parameter.name in _TABLES:
            parameter.type = TableName()
    return command


@click.command(
    epilog="\b\nTo have it in every new shell:\n"
    + "\n".join(f"  {where}" for where in _WHERE.values())
    + "\n\nExit codes: 0 fine, 2 misuse."
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> int:
    """Print the script that completes commands, options and tables in SHELL."""
    made = get_completion_class(shell)
    assert made is not None  # noqa: S101 - for the type checker: click knows all of SHELLS
    # Not `source`: that one asks the bash on PATH for its version, and only warns.
    completer = made(ctx.find_root().command, {}, PROGRAM, VARIABLE)
    click.echo(completer.source_template % completer.source_vars())
    return 0
