"""`sluice status`: where each part stands, and what to do about what is red."""

import json
import os
from dataclasses import dataclass
from typing import Any, Final

import click

from console.deadletters.sweep import interruptible
from console.help import write_epilog
from console.output import make_console
from console.session import Session
from console.status.facts import Facts, Pipeline
from console.status.gather import Look
from console.status.judge import Sign, judge
from console.status.pipeline import judge_pipeline
from console.status.render import (
    describe_pipeline,
    describe_table,
    write_pipeline,
    write_table,
)
from worker.clock import read_clock_ms
from worker.tables import Table

PATIENCE_S: Final = 10
"""Longest that the cluster is waited for: whoever looks wants to know now."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One look, judged."""

    pipeline: Pipeline
    tables: tuple[Facts, ...]
    signs: tuple[list[Sign], ...]
    """Of the pipeline, then of each table."""

    @property
    def is_red(self) -> bool:
        """Whether somebody must act."""
        return any(sign.level == "red" for signs in self.signs for sign in signs)


@click.command(
    epilog=write_epilog(
        "sluice status",
        "sluice status posts --watch",
        "sluice status --json | jq '.pipeline.signs'",
        codes="0 nothing is red, 1 something is, 2 misuse",
        more="docs/runbook.md has a page for each alarm.",
    )
)
@click.argument("tables", nargs=-1)
@click.option("--watch", is_flag=True, help="Ask again and again, until Ctrl-C.")
@click.option(
    "--every",
    type=click.FloatRange(0.2, 3_600),
    default=5.0,
    show_default=True,
    help="Seconds between two looks of --watch.",
)
@click.option(
    "--peek/--no-peek",
    default=True,
    show_default=True,
    help="Receive up to 200 dead letters for a moment, to count them by reason.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with --watch a line a look.")
def command(
    *, tables: tuple[str, ...], watch: bool, every: float, peek: bool, as_json: bool
) -> int:
    """Show the queue with its workers, and stream, trigger and index of TABLES, or of every table.

    What cannot be asked is told as unknown. The age of the oldest message is CloudWatch's figure,
    which leaves out messages that were received three times or more.
    """
    session = Session(os.environ, patience_s=PATIENCE_S)
    chosen = [session.table(name) for name in tables] or list(session.tables.values())
    console = make_console()
    before: Pipeline | None = None
    with interruptible() as stop:
        session.stop = stop
        while True:
            seen = look(session, chosen, before, peek=peek)
            before = seen.pipeline
            if watch and not as_json:
                console.clear()
            click.echo(_dump(seen)) if as_json else _print(seen)
            if not watch or stop.wait(every):
                break
    return int(seen.is_red)


def look(
    session: Session, tables: list[Table[Any]], before: Pipeline | None, *, peek: bool
) -> Seen:
    """Ask for everything, and judge it. before: the look before, if there was one."""
    asked = Look(session, read_clock_ms(), before, peek)
    pipeline = asked.pipeline()
    facts = tuple(asked.table(table) for table in tables)
    return Seen(pipeline, facts, (judge_pipeline(pipeline), *map(judge, facts)))


def _dump(seen: Seen) -> str:
    pipeline, *tables = seen.signs
    fields = {
        "pipeline": describe_pipeline(seen.pipeline, pipeline),
        "tables": [describe_table(f, s) for f, s in zip(seen.tables, tables, strict=True)],
    }
    return json.dumps(fields, ensure_ascii=False, default=str)


def _print(seen: Seen) -> None:
    pipeline, *tables = seen.signs
    _print_part(write_pipeline(seen.pipeline), pipeline)
    for facts, signs in zip(seen.tables, tables, strict=True):
        _print_part(write_table(facts), signs)


def _print_part(lines: list[str], signs: list[Sign]) -> None:
    from rich.text import Text

    console = make_console()
    shown = [Text(line) for line in lines]
    for sign in signs:
        red = sign.level == "red"
        shown.append(Text.assemble("  ", ("RED " if red else "note", "red" if red else ""), " "))
        shown[-1].append(sign.what)
        if sign.remedy:
            shown.append(Text(f"       → {sign.remedy}"))
    if not signs:
        shown.append(Text("  all well"))
    for line in shown:
        # Lines stay whole, however narrow the terminal: they are there to be copied.
        console.print(line, soft_wrap=True)
