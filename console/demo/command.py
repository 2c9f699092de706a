"""`sluice demo`: the whole pipeline on this machine, and whether it kept its promise."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from console.help import write_epilog
from console.local.logs import log_folder
from console.local.signals import ended_by_signals

if TYPE_CHECKING:
    from rich.console import Console

    from console.demo.play import Outcome


@click.command(
    epilog=write_epilog("sluice demo", codes="0 index and table agree, 1 they do not, 2 misuse")
)
@click.option("--seed", default=1, show_default=True, help="The same seed writes the same posts.")
@click.option(
    "--posts",
    type=click.IntRange(50, 10_000),
    default=650,
    show_default=True,
    help="Posts that are there before the spike.",
)
@click.option(
    "--edits",
    type=click.IntRange(100, 100_000),
    default=5_000,
    show_default=True,
    help="Edits in the spike.",
)
@click.option("--keep", is_flag=True, help="Keep the logs, whatever the outcome.")
def command(seed: int, posts: int, edits: int, keep: bool) -> int:
    """Run the whole pipeline on this machine and check it.

    Starts embedded services on free ports, indexes posts, writes a spike of edits and kills a
    worker in the middle of it. Then it compares every item with every document. Takes one to two
    minutes; needs no account, no Docker and no Java.
    """
    from console.output import make_console

    console = make_console()
    with log_folder("demo") as logs, ended_by_signals():
        logs.keep = keep
        fine = _perform(console, logs.path, seed, posts, edits).fine
        logs.keep = keep or not fine
    return 0 if fine else 1


def _perform(console: "Console", directory: Path, seed: int, posts: int, edits: int) -> "Outcome":
    from console.demo.display import choose_display
    from console.demo.play import MODULE, VISIBILITY_S, Play
    from console.demo.report import print_end, print_outcome, print_samples
    from console.demo.scenario import TABLE
    from console.local.pipeline import Plan, run_pipeline

    started = time.monotonic()
    plan = Plan(directory=directory, modules=MODULE, visibility_s=VISIBILITY_S)
    display = choose_display(console)
    display.tell("services start: moto for DynamoDB, SQS and S3, osmem for Elasticsearch")
    with run_pipeline(plan) as pipeline:
        with display:
            display.tell(f"{plan.workers} workers of {plan.concurrency} processes start")
            outcome = Play(pipeline, display, posts, edits, seed).run()
        print_outcome(console, outcome)
        print_samples(console, pipeline, pipeline.tables[TABLE].alias)
        print_end(console, outcome, time.monotonic() - started)
        # Nothing is left to drain; an idle worker would wait for the end of its long poll.
        pipeline.workers.kill()
    return outcome
