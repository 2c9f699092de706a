"""Write the pages that are made from the code: `python docs/generate.py`."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from inspect import cleandoc
from pathlib import Path
from textwrap import dedent
from typing import Protocol, get_args

import click

from console.cli import cli
from console.deadletters.settings import SETTINGS as DEAD_LETTERS
from producer import contract
from producer.metrics import METRICS as PRODUCER_METRICS
from producer.settings import SETTINGS as PRODUCER
from worker.metrics import METRICS
from worker.settings import SETTINGS as WORKER

TARGET = Path(__file__).with_name("configuration.md")
METRICS_TARGET = Path(__file__).with_name("metrics.md")
CLI_TARGET = Path(__file__).with_name("cli.md")
CONTRACT_TARGET = Path(__file__).with_name("contract.md")

HEAD = """\
# Configuration

Everything is told by the environment. Each process reads it once, at its start, and names every
problem at once: which variable, what is wrong with it, what to give instead. Secrets are never
printed. This page is written by `python docs/generate.py`; a test compares the two.

The standard variables of AWS hold everywhere: the credential chain, `AWS_REGION` (the worker needs
it), `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_SQS`, and so on.
"""


METRICS_HEAD = """\
# Metrics

Log lines carry them in CloudWatch's embedded metric format, so they need no agent and no call:
namespace `Sluice`, dimension `Queue`. This page is written by `python docs/generate.py`.

## The worker

Its main process writes a line every half minute, and one at its end, with the sums over all chunks
since the line before. So the sampling of other lines (`SLUICE_LOG_SAMPLE`) loses no metric, and
`SLUICE_LOG_LEVEL` does not silence these. A worker that is killed loses the last half minute. Each
class of refusals has a line of its own, with the dimensions `Queue` and `Error`. Of a histogram the
line has up to 100 values, each the upper bound of its bucket.

The same is served as Prometheus text where `SLUICE_METRICS_PORT` is set, summed from the worker's
start on, with the label `queue`; refusals have the label `error` as well.

| CloudWatch | Prometheus | unit | meaning |
| --- | --- | --- | --- |
"""

PRODUCER_METRICS_HEAD = """
## The producer

The line of each invocation carries them, at log level INFO.

| CloudWatch | unit | meaning |
| --- | --- | --- |
"""


CLI_HEAD = """\
# Commands

`sluice …`, or `python -m console …`. `sluice --help` and `sluice COMMAND --help` say the same.
Every listing has `--json`. Exit codes: 0 fine, 1 found something wrong, 2 misuse, 130 interrupted.
This page is written by `python docs/generate.py`.
"""


CONTRACT_HEAD = """\
# The message

What the producer sends and the worker reads. Both know `producer/contract.py`, and nothing else of
each other. Messages of every version ever shipped are kept in `tests/contract/golden/`. This page
is written by `python docs/generate.py`.
"""


class Setting(Protocol):
    """What both processes say of a variable."""

    @property
    def name(self) -> str: ...

    @property
    def default(self) -> str | None: ...

    @property
    def doc(self) -> str: ...


def render() -> str:
    """The page."""
    return "\n".join(
        [
            HEAD,
            _table("The producer (the Lambda function)", PRODUCER),
            _table("The worker (`python -m worker`)", WORKER),
            _table("`sluice dead-letters`, beside what it shares with both", DEAD_LETTERS),
        ]
    )


def render_metrics() -> str:
    """The page of the metrics."""
    rows = (
        f"| `{metric.name}` | `{metric.prometheus}` | {metric.unit} | {metric.meaning} |"
        for metric in METRICS
    )
    of_producer = (f"| `{m.name}` | {m.unit} | {m.meaning} |" for m in PRODUCER_METRICS)
    parts = [METRICS_HEAD + "\n".join(rows), PRODUCER_METRICS_HEAD + "\n".join(of_producer), ""]
    return "\n".join(parts)


def render_cli() -> str:
    """The page of the commands."""
    return "\n".join([CLI_HEAD, *_describe_command(cli, click.Context(cli, info_name="sluice"))])


def _describe_command(command: click.Command, context: click.Context) -> Iterator[str]:
    """A section for the command, and one for each below it."""
    depth = min(context.command_path.count(" ") + 1, 4)
    if command is not cli:
        yield f"{'#' * depth} {context.command_path}\n"
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"```text\n{usage}\n```\n"
    yield from _paragraphs(command.help or "")
    records = (p.get_help_record(context) for p in command.params if "--help" not in p.opts)
    rows = [f"| `{name}` | {_escape(text)} |" for name, text in filter(None, records) if text]
    if rows:
        yield "\n".join(["| option | |", "| --- | --- |", *rows]) + "\n"
    yield from _paragraphs(command.epilog or "")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from _describe_command(
                    below, click.Context(below, info_name=name, parent=context)
                )


def _paragraphs(text: str) -> Iterator[str]:
    """Click's help as Markdown: what `\\b` keeps from being wrapped is a block."""
    for paragraph in re.split(r"\n\s*\n", cleandoc(text)):
        if paragraph.startswith("\b"):
            yield f"```text\n{paragraph.removeprefix(chr(8)).strip(chr(10))}\n```\n"
        elif paragraph:
            yield _escape(" ".join(paragraph.split())) + "\n"


def _escape(text: str) -> str:
    """Text as Markdown shows it to the letter, outside of backquotes."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"([*_<>\[\]|])", r"\\\1", part) for part in parts
    )


def render_contract() -> str:
    """The page of the message."""
    shapes = (contract.Chunk, contract.Change, contract.Overflow)
    return "\n".join(
        [
            CONTRACT_HEAD,
            "## The layers\n",
            _translate(contract.__doc__ or ""),
            "## In Python\n",
            *(_describe_shape(shape) for shape in shapes),
            "## Constants\n",
            "| name | value |\n| --- | --- |",
            *(
                f"| `{name}` | `{value}` |"
                for name, value in sorted(vars(contract).items())
                if name.isupper() and not name.startswith("_") and isinstance(value, int | str)
            ),
            "",
        ]
    )


def _describe_shape(shape: type) -> str:
    rows = (f"| `{field.name}` | `{_name_type(field.type)}` |" for field in fields(shape))
    head = [f"### {shape.__name__}", "", cleandoc(shape.__doc__ or ""), ""]
    return "\n".join([*head, "| field | type |", "| --- | --- |", *rows]) + "\n"


def _name_type(kind: object) -> str:
    """A type without the modules it comes from, fit for a table's cell."""
    name = kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", name).replace("|", r"\|")


def _translate(text: str) -> str:
    """A docstring as Markdown: its literal blocks are fenced, its first line is the page's."""
    _, _, body = cleandoc(text).partition("\n")
    body = re.sub(r"``([^`]+)``", r"`\1`", body).strip()
    fenced = re.sub(
        r"::\n\n((?: {4}.*\n?|\n(?= {4}))+)",
        lambda found: f":\n\n```text\n{dedent(found[1]).rstrip()}\n```\n",
        body,
    )
    return fenced + "\n"


def _table(title: str, settings: Sequence[Setting]) -> str:
    rows = [f"| `{s.name}` | {_default(s)} | {s.doc} |" for s in settings]
    return (
        "\n".join(
            [f"## {title}", "", "| variable | default | meaning |", "| --- | --- | --- |", *rows]
        )
        + "\n"
    )


def _default(setting: Setting) -> str:
    if setting.default is None:
        return "must be set"
    return f"`{setting.default}`" if setting.default else "empty"


if __name__ == "__main__":
    TARGET.write_text(render())
    METRICS_TARGET.write_text(render_metrics())
    CLI_TARGET.write_text(render_cli())
    CONTRACT_TARGET.write_text(render_contract())
