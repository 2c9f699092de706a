"""The shell completes commands, options and the names of declared tables."""

import subprocess
import sys

import pytest
from click.shell_completion import CompletionItem, ShellComplete

from console import cli
from console.completion import SHELLS, find_names


def complete(*words: str) -> list[CompletionItem]:
    """What the shell would be offered for the last of these words."""
    *args, incomplete = words
    made = ShellComplete(cli.cli, {}, "sluice", "_SLUICE_COMPLETE")
    return made.get_completions(args, incomplete)


def offered(*words: str) -> list[str]:
    return [item.value for item in complete(*words)]


def test_commands_are_offered_with_their_lines() -> None:
    assert offered("") == sorted(cli.COMMANDS)
    assert [(item.value, item.help) for item in complete("verif")] == [
        ("verify", cli.COMMANDS["verify"].line)
    ]
    assert "redrive" in offered("dead-letters", "re")
    assert "--json" in offered("check", "--j")


@pytest.mark.parametrize("command", ["search", "verify", "repair", "backfill", "status", "check"])
def test_tables_are_offered_where_a_table_is_wanted(
    monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("SLUICE_TABLES", "examples.posts.tables,examples.plain.tables")
    assert offered(command, "") == ["notes", "posts"]
    assert offered(command, "po") == ["posts"]


@pytest.mark.parametrize("modules", ["", " ", "no.such.module", "this", ",,", "tests.unit"])
def test_what_cannot_be_told_is_nothing_and_prints_nothing(
    modules: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """`this` prints when it is imported, and declares no table."""
    assert find_names(modules) == []
    said = capfd.readouterr()
    assert said.out == said.err == ""


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_clicks_own(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    said = capsys.readouterr().out
    assert f"_SLUICE_COMPLETE={shell}_complete" in said


def test_the_shells_question_is_answered_and_names_of_commands_load_none_of_them() -> None:
    code = (
        "import os, sys; os.environ.update(_SLUICE_COMPLETE='bash_complete',"
        " COMP_WORDS='sluice ver', COMP_CWORD='1');"
        " from console.cli import main\n"
        "try: main([])\n"
        "finally: print(sorted({'boto3', 'rich', 'pydantic'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.splitlines() == ["plain,verify", "[]"]
