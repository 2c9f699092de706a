"""`sluice show`: an item and its document side by side."""

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click

from console.deadletters.display import print_json, printable
from console.help import write_epilog
from console.item import NO_INDEX, Pair, look_up, read_plain
from console.output import make_console
from console.session import NEEDED, Session
from console.status.words import write_time
from console.verify.model import Doc
from worker.identity import key_text

PATIENCE_S: Final = 15

_QUEUES: Final = frozenset({"SLUICE_QUEUE_URL", "SLUICE_DEAD_LETTER_URL"})


@click.command(
    epilog=write_epilog(
        "sluice show posts 7f3a",
        """sluice show orders '{"customer": "ann", "number": 42}'""",
        codes="0 item or document is there, 1 neither is, 2 misuse",
        more="Needs SLUICE_TABLES and SLUICE_ELASTICSEARCH_URL, and credentials of AWS to read the"
        " table. `sluice trace` says more: positions, times, dead letters.",
    )
)
@click.argument("table")
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, table: str, key: str, as_json: bool) -> int:
    """Show one item of TABLE and its document, attribute by attribute.

    KEY is JSON, plain or typed; or the document's id; or, where the key is one attribute, its
    value. The document is the one that searches see.
    """
    session = Session(os.environ, needed=NEEDED - _QUEUES, patience_s=PATIENCE_S)
    pair = look_up(session, table, key)
    if as_json:
        print_json(describe(pair))
    else:
        _print(pair)
    return 0 if pair.item is not None or find_doc(pair) is not None else 1


def find_doc(pair: Pair) -> Doc | None:
    """The document that searches would see."""
    return pair.served.doc if pair.served else None


def describe(pair: Pair) -> dict[str, Any]:
    """For programs."""
    doc, served = find_doc(pair), pair.served
    return {
        "table": pair.table.name,
        "key": pair.key,
        "id": pair.place.id,
        "item": read_plain(pair),
        "image": pair.item,
        "index": served.destination.index if served else None,
        "state": doc.state if doc else None,
        "document": doc.content if doc else None,
        "agrees": pair.agrees if served is None else served.finding is None,
    }


def write_rows(
    item: Mapping[str, Any] | None, document: Mapping[str, Any] | None
) -> Iterator[tuple[str, str, str]]:
    """Name, item's value, document's value: the item's attributes first, then what is new."""
    there, made = item or {}, document or {}
    for name in [*there, *(name for name in made if name not in there)]:
        left = _write(there[name]) if name in there else ""
        right = _write(made[name]) if name in made else ""
        yield printable(name), left, "=" if left == right else right


def _write(value: Any) -> str:
    plain = isinstance(value, str) and value != ""
    text = value if plain else json.dumps(value, ensure_ascii=False, default=str)
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


def _print(pair: Pair) -> None:
    from rich.table import Table as Grid

    console = make_console()
    doc = find_doc(pair)
    index = pair.served.destination.index if pair.served else "no index"
    click.echo(printable(f"{pair.table.name}  {key_text(pair.key)}  id {pair.place.id}"))
    rows = list(write_rows(read_plain(pair), doc.content if doc else None))
    if rows:
        grid = Grid(box=None, pad_edge=False, header_style="bold")
        for heading in ("attribute", "item", f"document in {index}"):
            grid.add_column(heading, overflow="fold")
        for row in rows:
            grid.add_row(*row)
        console.print(grid)
    if pair.item is None:
        click.echo("The table holds no such item.")
    for line in _write_state(pair):
        click.echo(printable(line))


def _write_state(pair: Pair) -> Iterator[str]:
    if pair.served is None:
        yield NO_INDEX
        return
    doc, index = pair.served.doc, pair.served.destination.index
    when = f" of {write_time(doc.time)}" if doc is not None and doc.time is not None else ""
    if doc is None:
        yield f"{index} holds no document of it."
    elif doc.state == "deleted":
        yield f"{index} holds a tombstone{when}: the item was deleted."
    elif doc.state == "hidden":
        yield f"Searches do not see it: its document function hides it, as in the change{when}."
    elif doc.state != "live":
        yield f"The document in {index} was not written by Sluice."
    if pair.served.finding is not None:
        yield f"They differ: {pair.served.finding.kind}. More: sluice trace {pair.table.name} KEY"
