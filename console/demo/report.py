"""How the demo ends: the verdict as a table, and sample searches."""

from typing import Any, Final

from rich.console import Console
from rich.table import Table as Grid

from console.demo.play import Outcome
from console.local.pipeline import Pipeline
from console.search import preview, search_page

SAMPLES: Final = ("river gate", '"stone lock"', "late rain -boat")
SHOWN: Final = 10


def print_outcome(console: Console, outcome: Outcome) -> None:
    """The verdict, each difference, and the dead letters."""
    verdict = outcome.verdict
    grid = Grid(title="Table and index, item by item", title_justify="left")
    grid.add_column("")
    grid.add_column("count", justify="right")
    for name, count in _rows(outcome):
        grid.add_row(name, f"{count:,}")
    console.print()
    console.print(grid)
    for difference in verdict.differences[:SHOWN]:
        console.print(f"{difference.kind}: {difference.id}: {difference.why}")
    if len(verdict.differences) > SHOWN:
        console.print(f"and {len(verdict.differences) - SHOWN} more")
    if outcome.poison is None:
        console.print("The poison post is not in the dead-letter queue.")
    else:
        console.print(f"Dead letter: {outcome.poison.id}: {outcome.poison.error}:")
        console.print(f"  {outcome.poison.reason}")
    for letter in outcome.strangers[:SHOWN]:
        console.print(f"Unexpected dead letter: {letter.id}: {letter.error}: {letter.reason}")


def _rows(outcome: Outcome) -> list[tuple[str, int]]:
    verdict = outcome.verdict
    return [
        ("items in the table", verdict.items),
        ("indexed as they are", verdict.live),
        ("hidden drafts", verdict.hidden),
        ("refused, in the dead-letter queue", len(verdict.refused)),
        ("missing", verdict.count("missing")),
        ("stale", verdict.count("stale")),
        ("left over", verdict.count("left over")),
        ("tombstones of deleted posts", verdict.tombstones),
    ]


def print_samples(console: Console, pipeline: Pipeline, alias: str) -> None:
    """A few searches, as `sluice search` does them."""
    for words in SAMPLES:
        page = search_page(pipeline.cluster, alias, words, size=2)
        console.print(f"\nsluice search {alias} {words!r}: {page.total:,} found")
        for hit in page.hits:
            console.print(f"  {hit.score:g}  {hit.id}  {preview(_short(hit.document), 80)}")


def _short(document: dict[str, Any]) -> dict[str, Any]:
    return {name: document[name] for name in ("title", "author") if name in document}


def print_end(console: Console, outcome: Outcome, took_s: float) -> None:
    """The last line."""
    if outcome.fine:
        console.print(f"\nIndex and table agree. ({took_s:.0f} s)", style="bold green")
    else:
        console.print(
            f"\nIndex and table do NOT agree as they should. ({took_s:.0f} s)", style="bold red"
        )
