"""How dead letters look on a terminal."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from console.deadletters.filters import Group
from console.deadletters.lambdafailures import Failure
from console.deadletters.model import Letter
from console.deadletters.sweep import Outcome
from console.output import make_console
from worker.deadletters import write_time

_REASON = 300


def print_json(value: object) -> None:
    """One JSON document."""
    click.echo(json.dumps(value, ensure_ascii=False))


def print_letters(letters: Sequence[Letter]) -> None:
    """Two lines a letter, the oldest first. Ids stay in one piece, however narrow the terminal."""
    for letter in letters:
        documents = _abbreviate(letter.ids or letter.keys)
        _print_line(letter.message, write_time(letter.since_ms), letter.table or "-", documents)
        _print_line(f"    {letter.error}: {_cut(letter.reason)}")


def print_groups(groups: Sequence[Group]) -> None:
    """Two lines a group: what it is, and its newest letter."""
    for group in groups:
        oldest, newest = write_time(group.oldest_ms), write_time(group.newest_ms)
        _print_line(f"{group.count:,}", group.error, group.table or "-", f"{oldest} to {newest}")
        _print_line(f"    {group.example.message}: {_cut(group.example.reason)}")


def print_failures(failures: Sequence[Failure]) -> None:
    """Two lines a batch that Lambda gave up on."""
    for failure in failures:
        _print_line(failure.at, failure.table or "-", f"{failure.records:,} records")
        _print_line(f"    {failure.condition}: {failure.key}")


def _print_line(*parts: str) -> None:
    click.echo(printable("  ".join(parts)))


def describe_group(group: Group) -> dict[str, Any]:
    """A group for programs."""
    return {
        "error": group.error,
        "table": group.table,
        "count": group.count,
        "oldest": write_time(group.oldest_ms),
        "newest": write_time(group.newest_ms),
        "example": {"message": group.example.message, "reason": group.example.reason},
    }


def print_explanation(said: Mapping[str, Any]) -> None:
    """All of one letter, the document included."""
    for name, value in said.items():
        if name == "changes":
            for change in value:
                click.echo("change:")
                for field, text in change.items():
                    click.echo(f"  {field}: {_write(text)}")
        else:
            click.echo(f"{name}: {_write(value)}")


def print_end(outcome: Outcome) -> None:
    """What a person must know of how the scan ended, on the side."""
    if outcome.missed:
        click.echo(
            f"sluice: about {outcome.missed:,} messages were hidden with another reader and are"
            " not in this; try again in a minute, or with a longer --wait",
            err=True,
        )
    if outcome.hidden:
        click.echo(
            f"sluice: {outcome.hidden:,} messages could not be given back; they come back by"
            f" themselves within {outcome.hold_s} s",
            err=True,
        )
    if outcome.interrupted:
        click.echo("Interrupted.", err=True)


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr while the context lasts, if that is a terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = make_console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(label, total=total)
        yield lambda count: bar.advance(task, count)


def printable(text: str) -> str:
    """Text without characters that would steer the terminal: it comes from outside."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _write(value: object) -> str:
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _abbreviate(names: Sequence[str], most: int = 2) -> str:
    shown = ", ".join(names[:most]) or "-"
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"


def _cut(text: str) -> str:
    return text if len(text) <= _REASON else text[: _REASON - 1] + "…"
