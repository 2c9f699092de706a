"""`sluice trace`: everything known about one item."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import click

from console.deadletters.display import print_json, printable
from console.deadletters.explain import describe_letter
from console.deadletters.filters import Filter
from console.deadletters.model import Letter, Received, read_contents
from console.deadletters.peek import Peek, peek
from console.deadletters.queue import open_pair
from console.deadletters.settings import BATCH_BYTES
from console.deadletters.sweep import interruptible
from console.help import write_epilog
from console.item import NO_INDEX, Pair, Stored, look_up, read_plain
from console.sending import Depth
from console.session import Session
from console.status.words import write_span, write_time
from console.verify.model import KINDS
from producer.contract import Chunk
from worker.errors import UnavailableError
from worker.identity import key_text

PATIENCE_S: Final = 15
LETTERS: Final = 1_000
LETTERS_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Trace:
    """What is known of an item at one moment."""

    pair: Pair
    depth: Depth | None
    """Of the queue: while messages wait, a difference may only be late. None: not known."""
    waiting: Peek | None
    """Dead letters with this key; None: not looked for, or SQS did not answer."""
    problem: str = ""
    """Why the queues could not be asked."""

    @property
    def overflow(self) -> list[str]:
        """Objects of the overflow bucket that those dead letters name for this item."""
        found = self.waiting.found if self.waiting else ()
        return [name for received, _ in found for name in _objects(received, self.pair)]


def _objects(received: Received, pair: Pair) -> Iterator[str]:
    contents = read_contents(received.body)
    for change in contents.changes if isinstance(contents, Chunk) else ():
        if change.overflow is not None and change.key == pair.key:
            yield change.overflow.key


def trace(session: Session, name: str, text: str, most: int) -> Trace:
    """Ask for everything. most: dead letters to look through.

    Raises MisuseError, ConfigurationError; UnavailableError if table or cluster do not answer.
    """
    pair = look_up(session, name, text)
    try:
        depth = session.depth()
        return Trace(pair, depth, _find_letters(session, pair, most) if most else None)
    except UnavailableError as error:
        # Table and index are what was asked for first.
        return Trace(pair, None, None, str(error))


def _find_letters(session: Session, pair: Pair, most: int) -> Peek:
    s = session.settings
    queues = open_pair(session.sqs, s.queue_url, s.dead_letter_url, BATCH_BYTES)
    meant = Filter(tables=(pair.table.name,), keys=(key_text(pair.key),))
    return peek(queues, meant, most=most, seconds=LETTERS_S, stop=session.stop)


@click.command(
    epilog=write_epilog(
        "sluice trace posts 7f3a",
        """sluice trace orders '{"customer": "ann", "number": 42}'""",
        "sluice trace posts 7f3a --json",
        codes="0 table and index agree, 1 they do not, 2 misuse",
        more="Needs SLUICE_TABLES, SLUICE_ELASTICSEARCH_URL, SLUICE_QUEUE_URL and"
        " SLUICE_DEAD_LETTER_URL, and credentials of AWS to read the table and the queues.",
    )
)
@click.argument("table")
@click.argument("key")
@click.option(
    "--letters",
    type=click.IntRange(0, 100_000),
    default=LETTERS,
    show_default=True,
    help="Most dead letters to look through; 0: none.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, table: str, key: str, letters: int, as_json: bool) -> int:
    """Tell everything known about one item: table, documents, positions, times, dead letters.

    KEY is JSON, plain or typed; or the document's id; or, where the key is one attribute, its
    value. The item is read consistently, and compared with its document in each index. Not looked
    at are the batches that Lambda gave up on: `sluice dead-letters lambda list` has those.
    """
    session = Session(os.environ, patience_s=PATIENCE_S)
    with interruptible() as stop:
        session.stop = stop
        traced = trace(session, table, key, letters)
    if as_json:
        print_json(describe_trace(traced))
    else:
        for line in write_trace(traced):
            click.echo(printable(line))
    return 0 if traced.pair.agrees else 1


def describe_trace(traced: Trace) -> dict[str, Any]:
    """For programs."""
    pair = traced.pair
    return {
        "table": pair.table.name,
        "key": pair.key,
        "id": pair.place.id,
        "routing": pair.place.routing,
        "agrees": pair.agrees,
        "read_ms": pair.read_ms,
        "stream": pair.facts.label if pair.facts.stream_on else None,
        "image": pair.item,
        "documents": [describe_stored(one) for one in pair.stored],
        "queue": None
        if traced.depth is None
        else {"waiting": traced.depth.waiting, "in_work": traced.depth.hidden},
        "dead_letters": None
        if traced.waiting is None
        else {
            "looked_at": traced.waiting.seen,
            "complete": traced.waiting.complete,
            "found": [*map(describe_letter, traced.waiting.letters)],
        },
        "overflow": traced.overflow,
        "problem": traced.problem,
    }


def describe_stored(stored: Stored) -> dict[str, Any]:
    """The document in one index, for programs. Times in milliseconds since the epoch."""
    doc, position, finding = stored.doc, stored.position, stored.finding
    return {
        "index": stored.destination.index,
        "version": stored.destination.version,
        "served": stored.served,
        "agrees": finding is None,
        "difference": finding.kind if finding else None,
        "why": finding.why if finding else "",
        "state": doc.state if doc else None,
        "label": position.label if position else None,
        "sequence": position.sequence.lstrip("0") if position else None,
        "time": doc.time if doc else None,
        "read": doc.read if doc else None,
        "digest": doc.digest if doc else None,
        "document": doc.content if doc else None,
    }


def write_trace(traced: Trace) -> Iterator[str]:
    """For people."""
    pair = traced.pair
    routing = f", routing {pair.place.routing}" if pair.place.routing else ""
    yield f"{pair.table.name}  {key_text(pair.key)}"
    yield f"id {pair.place.id}{routing}"
    there = f"{len(pair.item):,} attributes" if pair.item is not None else "no such item"
    yield f"table: {there}, read at {write_time(pair.read_ms)}"
    if pair.item is not None:
        yield f"  {_write_json(read_plain(pair))}"
    if not pair.stored:
        yield NO_INDEX
    for stored in pair.stored:
        yield from _write_stored(stored, pair)
    yield from _write_letters(traced)
    yield _conclude(traced)


def _write_stored(stored: Stored, pair: Pair) -> Iterator[str]:
    role = "" if stored.served else ", which searches do not see"
    yield f"{stored.destination.index}{role}: {_STATES[stored.doc.state if stored.doc else '']}"
    doc, position = stored.doc, stored.position
    if doc is not None and doc.content:
        yield f"  {_write_json(doc.content)}"
    if doc is not None and doc.time is not None:
        ago = write_span(max(0, pair.read_ms - doc.time) / 1_000)
        yield f"  newest change: {write_time(doc.time)}, {ago} before this look"
    if position is not None:
        current = "" if position.label == pair.facts.label else ", not the table's stream of now"
        yield f"  position: {position.sequence.lstrip('0')} of the stream {position.label}{current}"
    if doc is not None and doc.read is not None:
        yield f"  content from a read of the table at {write_time(doc.read)}"
    finding = stored.finding
    if finding is None:
        yield "  agrees with the table"
    else:
        why = f": {finding.why}" if finding.why else ""
        yield f"  DIFFERS: {finding.kind}, {KINDS[finding.kind]}{why}"


def _write_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


class _States(dict[str | None, str]):
    def __missing__(self, state: str | None) -> str:
        return "a document that Sluice did not write"


_STATES: Final = _States(
    {
        "": "no document",
        "live": "a document, live",
        "hidden": "a document, hidden by the table's document function",
        "deleted": "a tombstone: the item was deleted",
    }
)


def _write_letters(traced: Trace) -> Iterator[str]:
    looked = traced.waiting
    if traced.problem:
        yield f"dead letters: not known: {traced.problem}"
    if looked is None:
        return
    some = "" if looked.complete else f" among the {looked.seen:,} looked at (there are more)"
    if not looked.found:
        yield f"dead letters: none of this item{some}"
    for letter in looked.letters:
        yield f"dead letter {letter.message}, since {write_time(letter.since_ms)}{some}"
        yield f"  {letter.error}: {letter.reason:.300}"
    for name in traced.overflow:
        yield f"  its images lie in the overflow bucket: {name}"
    yield "not looked at: batches that Lambda gave up on (sluice dead-letters lambda list)"


def _conclude(traced: Trace) -> str:
    pair, depth = traced.pair, traced.depth
    if pair.agrees:
        return "Table and index agree." if pair.stored else "Neither item nor index is there."
    if traced.waiting is not None and traced.waiting.found:
        return _advise(traced.waiting.letters)
    if depth is not None and depth.total:
        return (
            f"They differ, but {depth.waiting:,} messages wait and {depth.hidden:,} are in work: it"
            " may only be late. Trace it again."
        )
    if not pair.stored:
        return f"No index holds it. Once the worker has made one: sluice backfill {pair.table.name}"
    return f"They differ, and nothing waits. To mend it: sluice repair {pair.table.name}"


def _advise(letters: list[Letter]) -> str:
    return (
        "They differ, and a change of it was refused. Mend the cause, then:"
        f" sluice dead-letters redrive --message {letters[0].message}"
    )
