"""The `sluice` command answers, finds its commands, and ends with the exit code it promises."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

from console import cli
from console.errors import MisuseError
from console.local.process import ServiceFailedError
from worker.errors import ConfigurationError, DeniedError, SluiceError, UnavailableError

HEAVY = ("boto3", "celery", "elasticsearch", "pydantic", "rich")


def test_help_lists_every_command_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown and entry.line in shown for name, entry in cli.COMMANDS.items())
    assert "0 fine, 1 found something wrong, 2 misuse" in shown


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_each_listed_module_offers_a_command_that_explains_itself(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(import_module(cli.COMMANDS[name].module).command, click.Command)
    assert cli.main([name, "--help"]) == 0
    assert f"sluice {name}" in capsys.readouterr().out


def test_help_is_fast_because_it_loads_nothing_heavy() -> None:
    code = (
        "import sys; from console.cli import main; main(['--help']);"
        f"sys.exit(' '.join(m for m in {HEAVY!r} if m in sys.modules) or 0)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("sluice ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--nonsense"],
        ["search"],
        ["search", "posts", "--size", "0"],
        ["search", "posts", "--size", "1001"],
        ["demo", "--edits", "many"],
        ["up", "--key", "a,b,c"],
        ["up", "--key", "id:X"],
        ["up", "--tables", "no.such.module"],
    ],
)
def test_a_wrong_call_ends_with_2_and_says_why(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err


def test_a_command_that_is_spelled_wrongly_is_told_which_was_meant(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["serch"]) == 2
    assert "Did you mean 'search'?" in capsys.readouterr().err
    assert cli.main(["dead-letters", "lst"]) == 2
    assert "Did you mean 'list'?" in capsys.readouterr().err


def test_a_search_without_a_cluster_names_the_setting_and_no_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["search", "posts", "words"]) == 2
    said = capsys.readouterr().err
    assert "SLUICE_ELASTICSEARCH_URL is not set" in said
    assert "SLUICE_QUEUE_URL" not in said
    assert said.count("\n") == 1


def test_a_cluster_that_is_away_ends_a_search_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Port 9 is the discard service: nothing listens there.
    monkeypatch.setenv("SLUICE_ELASTICSEARCH_URL", "http://127.0.0.1:9")
    assert cli.main(["search", "posts", "words"]) == 1
    assert capsys.readouterr().err.startswith("sluice: Elasticsearch does not answer")


def test_a_check_of_a_cluster_that_is_away_leaves_nothing_behind_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLUICE_ELASTICSEARCH_URL", "http://127.0.0.1:9")
    assert cli.main(["check", "examples.posts.tables", "--offline"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("sluice: Elasticsearch does not answer")
    assert "left behind" not in said


def test_a_table_that_does_not_answer_ends_init_with_1_and_a_hint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert cli.main(["init", "posts", "--directory", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "AWS_ENDPOINT_URL" in said
    assert "--file items.json" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SluiceError("it broke", hint="mend it"), 1),
        (UnavailableError("it is away", hint="wait"), 1),
        (DeniedError("it refuses us", hint="check the key"), 2),
        (ConfigurationError("it is wrong", hint="set it"), 2),
        (MisuseError("you cannot", hint="do this"), 2),
        (ServiceFailedError("moto ended", "read its log"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_an_error_becomes_its_exit_code_and_a_line_with_its_hint(
    error: BaseException,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise error

    command = click.Command("fail", callback=fail)
    monkeypatch.setattr(cli.cli, "get_command", lambda *_: command)
    assert cli.main(["fail"]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert getattr(error, "hint", "Interrupted") in said.err


def test_an_error_of_the_program_itself_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli.cli, "get_command", lambda *_: click.Command("fail", callback=fail))
    with pytest.raises(ZeroDivisionError):
        cli.main(["fail"])


def test_what_a_command_answers_is_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.cli, "get_command", lambda *_: click.Command("x", callback=lambda: 1))
    assert cli.main(["x"]) == 1
