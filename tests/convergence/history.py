"""Random true histories of tables, and the statements that a pipeline would deliver about them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from producer.contract import Change, Chunk, Item, Kind

DAY_MS: Final = 86_400_000
MARGIN_MS: Final = 60_000
HORIZON_DAYS: Final = 30

WORDS: Final = ["river", "stone", "lamp", "orchard", "signal", "quiet", "copper", "harbour"]


@dataclass
class History:
    """One table's life: the changes in true order, reads taken on the way, and what is left."""

    table: str
    streams: list[str]
    """ARNs, oldest first: the stream was switched off and on in between."""
    changes: list[tuple[str, Change]] = field(default_factory=list)
    """Each with the ARN of its stream."""
    reads: list[Change] = field(default_factory=list)
    items: dict[str, Item] = field(default_factory=dict)
    """The table at the end, by the key's text."""


def arn(table: str, label: str) -> str:
    return f"arn:aws:dynamodb:eu-west-1:123456789012:table/{table}/stream/{label}"


def live_history(
    rng: random.Random, table: str, *, keys: int, changes: int, now_ms: int, days: float
) -> History:
    """A life of `days` days that ends now, with many changes of one key in one second.

    Sequence numbers grow with gaps, through 21, 22 and 23 digits, so that text order is not number
    order; the second stream starts them again. Reported times are floored to the second.
    """
    labels = ("2020-01-01T00:00:00.000", "2020-06-01T00:00:00.000")
    history = History(table, [arn(table, label) for label in labels])
    start = now_ms - int(days * DAY_MS)
    moments = sorted(_moments(rng, changes, start, now_ms))
    restart = rng.randrange(changes // 3, 2 * changes // 3)
    sequence = 10**20
    names = [f"{rng.choice(WORDS)}-{number}" for number in range(keys)]
    for place, moment in enumerate(moments):
        if place == restart:
            sequence = 10**20
        sequence += rng.randrange(1, 10 ** rng.choice((5, 20, 21, 22)))
        name = rng.choice(names)
        change = _change(rng, history, name, sequence, moment)
        history.changes.append((history.streams[place >= restart], change))
        if rng.random() < 0.05:
            history.reads.append(_read(rng, history, rng.choice(names), moment))
    return history


def _moments(rng: random.Random, count: int, start: int, now: int) -> Iterator[int]:
    """Bursts: half of all changes fall within a few seconds, some of them in the last minute."""
    bursts = [rng.randrange(start, now) for _ in range(4)] + [now - 30_000]
    for _ in range(count):
        if rng.random() < 0.5:
            yield min(now, rng.choice(bursts) + rng.randrange(5_000))
        else:
            yield rng.randrange(start, now)


def _change(rng: random.Random, history: History, name: str, sequence: int, at: int) -> Change:
    there = name in history.items
    kind: Kind = "INSERT" if not there else "REMOVE" if rng.random() < 0.3 else "MODIFY"
    image = None if kind == "REMOVE" else _item(rng, name, sequence)
    if image is None:
        del history.items[name]
    else:
        history.items[name] = image
    floored = at // 1000 * 1000
    return Change(kind, {"id": {"S": name}}, floored, str(sequence), new=image)


def _item(rng: random.Random, name: str, sequence: int) -> Item:
    extra: dict[str, Any] = {
        "words": {"SS": sorted(rng.sample(WORDS, 3))},
        "exact": {"N": str(sequence)},
        "blob": {"B": "AAEC"},
        "nested": {"M": {"list": {"L": [{"N": "1.5"}, {"NULL": True}]}}},
    }
    chosen = rng.sample(sorted(extra), rng.randrange(len(extra) + 1))
    return {
        "id": {"S": name},
        "revision": {"S": f"{sequence}"},
        "title": {"S": " ".join(rng.choices(WORDS, k=4))},
        **{field: extra[field] for field in chosen},
    }


def _read(rng: random.Random, history: History, name: str, moment: int) -> Change:
    """A consistent read of one item at this moment; R lies a little before it."""
    started = moment - rng.randrange(50)
    return Change("READ", {"id": {"S": name}}, started, new=history.items.get(name))


def lose(rng: random.Random, history: History, now_ms: int) -> list[str]:
    """Lose the last change of some keys, as a stream off for too long does; answers their names."""
    last = {change.key["id"]["S"]: (origin, change) for origin, change in history.changes}
    settled = sorted(n for n, (_, c) in last.items() if c.at < now_ms - 3 * MARGIN_MS)
    chosen = rng.sample(settled, len(settled) // 4)
    for name in chosen:
        history.changes.remove(last[name])
    return chosen


def repair(history: History, names: list[str], now_ms: int) -> None:
    """Reads of items as they are now, to be delivered at any time among the changes."""
    history.reads += [
        Change("READ", {"id": {"S": name}}, now_ms, new=history.items.get(name)) for name in names
    ]


def haunt(
    rng: random.Random, history: History, chunks: list[Chunk], purged: set[str]
) -> tuple[list[Chunk], list[Chunk]]:
    """Old writes of some items whose tombstones were purged, and the chunks that say otherwise.

    Delivered without those chunks, only the horizon keeps such a write from bringing its item back.
    """
    ghosts = set(rng.sample(sorted(purged), min(len(purged), 10)))
    writes = [
        Chunk(history.table, stream, (change,))
        for stream, change in history.changes
        if change.key["id"]["S"] in ghosts and change.kind != "REMOVE"
    ]
    silencers = [
        chunk
        for chunk in chunks
        if chunk.table == history.table
        and any(one.key["id"]["S"] in ghosts and one.new is None for one in chunk.changes)
    ]
    return writes, silencers


def deliver_by_key(history: History) -> list[Chunk]:
    """Every change a message of its own, those of one key side by side: all workers meet there."""
    order = sorted(history.changes, key=lambda pair: pair[1].key["id"]["S"])
    return [Chunk(history.table, stream, (change,)) for stream, change in order]


def deliver(rng: random.Random, history: History) -> list[Chunk]:
    """The history as a careless network delivers it: split, repeated, shuffled."""
    chunks: list[Chunk] = []
    for stream in history.streams:
        of_stream = [change for origin, change in history.changes if origin == stream]
        chunks += _split(rng, history.table, stream, of_stream)
    chunks += _split(rng, history.table, None, history.reads)
    chunks += rng.choices(chunks, k=len(chunks) // 2)
    rng.shuffle(chunks)
    return chunks


def _split(
    rng: random.Random, table: str, stream: str | None, changes: list[Change]
) -> Iterator[Chunk]:
    start = 0
    while start < len(changes):
        size = rng.choice((1, 2, 5, 20))
        part = changes[start : start + size]
        if rng.random() < 0.3:
            rng.shuffle(part)
        yield Chunk(table, stream, tuple(part))
        start += size
