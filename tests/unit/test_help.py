"""Each command's help ends with examples that can be copied, and with its exit codes."""

import shlex
from collections.abc import Iterator

import click
import pytest

from console import cli


def walk(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path[-1])
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from walk(found, (*path, name))


def help_of(command: click.Command, path: str) -> str:
    # Wide: an example in one line, however long.
    return command.get_help(click.Context(command, info_name=path, terminal_width=200))


def examples(text: str) -> list[str]:
    _, _, after = text.partition("Examples:" if "Examples:" in text else "Example:")
    lines = after.split("Exit codes:")[0].splitlines()
    return [line.strip() for line in lines if line.strip()]


COMMANDS = dict(walk(cli.cli, ("sluice",)))


@pytest.mark.parametrize("path", sorted(COMMANDS))
def test_help_has_an_example_and_the_exit_codes(path: str) -> None:
    command = COMMANDS[path]
    text = help_of(command, path)
    assert "Exit codes: 0 " in text, text
    if path == "sluice completion":
        assert "sluice completion bash" in text
        return
    shown = examples(text)
    assert shown, text
    assert all(example.startswith("sluice ") for example in shown)
    if path != "sluice":
        assert any(f"{example} ".startswith(f"{path} ") for example in shown), shown


@pytest.mark.parametrize("path", sorted(COMMANDS))
def test_each_example_names_a_command_and_options_that_there_are(path: str) -> None:
    for example in examples(help_of(COMMANDS[path], path)):
        words = shlex.split(example.partition(" | ")[0])
        name = words[0]
        while len(words) > 1 and f"{name} {words[1]}" in COMMANDS:
            name = f"{name} {words.pop(1)}"
        command = COMMANDS[name]
        known = {text for p in command.params for text in (*p.opts, *p.secondary_opts)}
        options = {word for word in words[1:] if word.startswith("--") and word != "--help"}
        assert options <= known, example
        assert len(words) == 1 or not isinstance(command, click.Group), example


@pytest.mark.parametrize("path", sorted(p for p, c in COMMANDS.items() if c.params))
def test_each_option_is_explained(path: str) -> None:
    for param in COMMANDS[path].params:
        if isinstance(param, click.Option):
            assert param.help, f"{path} {param.opts[0]}"
