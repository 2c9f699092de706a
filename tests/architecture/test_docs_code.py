"""What the pages tell one to type works: Python runs, commands and options exist."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import SkipTest

import click
import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, SkipParser

from console.cli import cli
from tests.architecture.pages import PAGES, ROOT, name_page, read_blocks, read_inline
from tests.services.engines import refuse

FILE = re.compile(r"# (?P<name>[a-z_]+\.py)\n")
"""A block that starts with a file's name stands for that file."""

SHELL = ("sh", "console", "")
"""A block that is only indented is one of commands, too, if a line of it starts with one."""

PLACEHOLDER = re.compile(r"[A-Z][A-Z_]+|…|.*\.\.\..*")
CLOSED = (click.Choice, type(click.INT), type(click.FLOAT))
"""Types whose values can be judged without a look at the machine."""
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def run(example: Example) -> None:
    """Run a block in the names of its page; write it down first if it is a file."""
    named = FILE.match(example.parsed)
    if named:
        (example.namespace["folder"] / named["name"]).write_text(example.parsed)
    line = example.line + example.parsed.line_offset
    exec(compile("\n" * line + example.parsed, example.path, "exec"), example.namespace)  # noqa: S102


PYTHON = Sybil(parsers=[CodeBlockParser("python", run), SkipParser()], path=str(ROOT))


@pytest.mark.parametrize(
    "page", [page for page in PAGES if read_blocks(page, "python")], ids=name_page
)
def test_python_in_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From top to bottom; `<!--- skip: next "reason" -->` before a block leaves it out.

    Then pytest runs the page's files whose names say that they are tests.
    """
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    document = PYTHON.parse(page)
    document.namespace.update(__name__="page", folder=tmp_path)
    try:
        for example in document.examples():
            try:
                example.evaluate()
            except SkipTest:
                continue
    finally:
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
                del sys.modules[name]
    if list(tmp_path.glob("test_*.py")):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "kit.plugin", "-p", "no:cacheprovider"],
            cwd=tmp_path,
            env={
                **os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_what_is_skipped_says_why(page: Path) -> None:
    skips = re.findall(r"<!---* *skip: *(.*?)-->", page.read_text())
    assert [skip for skip in skips if not re.fullmatch(r'(next|start) ".+" |end ', skip)] == []


def read_commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Where, and the words of, each call of `sluice` or `make` in a page's blocks."""
    for block in read_blocks(page, *SHELL):
        text = block.text.replace("\\\n", " ")
        for line in text.splitlines():
            for words in split_commands(line.removeprefix("$ ")):
                yield f"{name_page(page)}:{block.line}: {line}", words


def split_commands(line: str) -> Iterator[list[str]]:
    """The calls in a line: `;`, `&&` and `|` part them, comments and redirections end them."""
    try:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";|&<>")
        lexer.whitespace_split = True
        lexer.commenters = "#"
        words = list(lexer)
    except ValueError:
        return  # no shell: what `sluice` prints, or JSON
    call: list[str] = []
    for word in [*words, ";"]:
        if set(word) <= set(";|&<>"):
            if call and call[0] in ("sluice", "make"):
                yield call
            call = [] if set(word) <= set(";|&") else ["a file"]
        elif not (re.fullmatch(r"[A-Z_]+=.*", word) and not call):  # a variable for the command
            call.append(word)


def find_fault(words: list[str], *, whole: bool = True) -> str | None:
    """What is wrong with a call; it is not run. whole: required arguments must be there."""
    if words[0] == "make":
        targets = {word for word in words[1:] if "=" not in word}
        return ", ".join(sorted(targets - TARGETS)) or None
    command: click.Command = cli
    context = click.Context(cli)
    rest = words[1:]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(context, rest[0])
        if found is None:
            return None if PLACEHOLDER.fullmatch(rest[0]) else f"no command {rest[0]}"
        context = click.Context(found, info_name=rest[0], parent=context)
        command, rest = found, rest[1:]
    return _check_options(command, context, rest, whole=whole)


def _check_options(
    command: click.Command, context: click.Context, words: list[str], *, whole: bool
) -> str | None:
    try:
        options, left, _ = command.make_parser(context).parse_args(list(words))
    except click.BadOptionUsage as error:  # an option without its value
        return error.format_message() if whole else None
    except click.UsageError as error:
        return error.format_message()
    if left and not isinstance(command, click.Group):
        return f"too many arguments: {left}"
    return _check_values(command, context, options, whole=whole)


def _check_values(
    command: click.Command, context: click.Context, options: dict[str, object], *, whole: bool
) -> str | None:
    for option in command.params:
        value = options.get(option.name or "")
        given = isinstance(value, str) or (isinstance(value, tuple) and value != ())
        if whole and option.required and not given:
            return f"{option.name} is missing"
        if (
            isinstance(option.type, CLOSED)
            and isinstance(value, str)
            and not PLACEHOLDER.fullmatch(value)
        ):
            try:
                kind: click.ParamType[Any] = option.type
                kind.convert(value, option, context)
            except click.BadParameter as error:
                return error.format_message()
    return None


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_every_command_in_a_page_exists(page: Path) -> None:
    assert [
        f"{place}: {fault}" for place, words in read_commands(page) if (fault := find_fault(words))
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_every_command_in_a_sentence_exists(page: Path) -> None:
    """It may be named without its arguments there."""
    faults = [
        f"{text}: {fault}"
        for text in read_inline(page)
        if not text.endswith("…")
        for words in split_commands(text)
        if len(words) > 1 and (fault := find_fault(words, whole=False))
    ]
    assert faults == []


@pytest.mark.parametrize(
    "line",
    [
        "sluice nonsense",
        "sluice verify",
        "sluice verify posts more",
        "sluice verify posts --nonsense",
        "sluice verify posts --segments many",
        "sluice rebuild posts nonsense",
        "sluice dead-letters nonsense",
        ". ./sluice.env; sluice status --nonsense",
        "make nonsense",
        "make test nonsense",
    ],
)
def test_a_command_that_does_not_exist_is_noticed(line: str) -> None:
    assert [find_fault(words) for words in split_commands(line)] not in ([], [None])


@pytest.mark.parametrize("page", [p for p in PAGES if read_blocks(p, "hcl")], ids=name_page)
def test_terraform_in_a_page_is_formatted(page: Path) -> None:
    terraform = shutil.which("terraform")
    if terraform is None:
        refuse("Terraform is not installed", {})
    for block in read_blocks(page, "hcl"):
        done = subprocess.run(
            [str(terraform), "fmt", "-check", "-diff", "-"],
            input=block.text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{page}:{block.line}\n{done.stdout}{done.stderr}"
