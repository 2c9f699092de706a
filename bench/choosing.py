"""Rows of choices that were tried, each beside what was kept. Not by default: for who tunes."""

import random
from collections.abc import Callable, Iterator, Mapping
from statistics import median
from typing import Final, TypeAlias

from bench.bulking import (
    CHOSEN,
    Way,
    make_chosen,
    run_bulks,
    run_processes,
    run_reads,
    run_threads,
)
from bench.corpus import make_posts
from bench.figures import Row, compare
from bench.pooling import (
    EVENT,
    PROCESSES,
    Cut,
    Posts,
    count_chunk,
    drain_queue,
    make_payloads,
    make_references,
    rotate,
    warm,
)
from bench.size import Size
from bench.stage import Stage
from worker.cluster import path
from worker.identity import document_id

OTHER_PROCESSES: Final = (1, 2, 4, 6)
OTHER_CUTS: Final = (
    *(Cut(event) for event in (50, 100, 250, 1_000)),
    Cut(750, 524_288),
    Cut(1_500, 1_048_576),
)
"""The last takes all that SQS does."""
OTHER_BULKS: Final = (50, 100, 250, 1_000, 2_500, 5_000)

Side: TypeAlias = Callable[[Posts], float]
"""Documents a second that one choice makes of posts."""


def measure_choices(stage: Stage, size: Size) -> Iterator[Row]:
    """Each choice beside the one that was kept."""
    make_references(stage)
    kept = _drain(stage, size, PROCESSES)
    yield from _choose_bulks(stage, size)
    yield from _choose_code(stage, size)
    yield from _choose_reads(stage, size)
    for count in OTHER_PROCESSES:
        rate = _drain(stage, size, count)
        yield _row(f"{count} processes", [rate], [kept], f"{PROCESSES} processes")
    yield from _choose_cuts(stage, size)


def _drain(stage: Stage, size: Size, processes: int) -> float:
    """Documents a second of a pool of so many processes."""
    with stage.pool(stage.make_queues(), processes) as pool:
        warm(stage, pool, size)
        return median(
            drain_queue(
                pool, make_posts(size.documents // 6, prefix=f"{processes}-{turn}"), "INSERT"
            ).rate
            for turn in range(size.pool_rounds)
        )


def _choose_cuts(stage: Stage, size: Size) -> Iterator[Row]:
    """How many changes are in a message, and how many bytes it may have."""

    def side(cut: Cut) -> Side:
        return lambda posts: drain_queue(pool, posts, "INSERT", cut=cut).rate

    cuts = {f"{cut.event} by {cut.message_bytes}": cut for cut in (Cut(), *OTHER_CUTS)}
    with stage.pool(stage.make_queues(), PROCESSES) as pool:
        warm(stage, pool, size)
        rates = _take_turns(size, {name: side(cut) for name, cut in cuts.items()}, "cuts")
    kept, *others = cuts
    for name in others:
        cut = cuts[name]
        chunk = count_chunk(make_posts(cut.event, prefix="chunk"), cut)
        yield _row(
            f"events of {cut.event} records, messages of at most {cut.message_bytes >> 10} KiB,"
            f" {chunk:.0f} of a bulk",
            rates[name],
            rates[kept],
            f"{EVENT} records, {Cut().message_bytes >> 10} KiB",
        )


def _choose_bulks(stage: Stage, size: Size) -> Iterator[Row]:
    """How raw bulks are sent."""
    kept = Way()
    others = {
        "compressed by gzip, level 1": Way(compressed=True),
        "a connection for each request": Way(fresh=True),
        **{f"cut at {count} documents": Way(documents=count) for count in OTHER_BULKS},
    }

    def side(way: Way) -> Side:
        return lambda posts: run_bulks(stage.search, posts, way)

    sides = {name: side(way) for name, way in {"kept": kept, **others}.items()}
    rates = _take_turns(size, sides, "bulks")
    for name in others:
        against = f"plain, connections kept, {EVENT} documents"
        yield _row(name, rates[name], rates["kept"], against, "raw bulks")


def _choose_code(stage: Stage, size: Size) -> Iterator[Row]:
    """The worker's own code on chunks of new documents, without its queue."""
    sides: Mapping[str, Side] = {
        "kept": lambda posts: run_processes(stage.search, make_payloads(posts, "INSERT")),
        "in threads": lambda posts: run_threads(stage.search, make_payloads(posts, "INSERT")),
        "positions read first, then created": lambda posts: run_processes(
            stage.search, make_payloads(posts, "INSERT"), create_first=False
        ),
    }
    make_chosen(stage)
    rates = _take_turns(size, sides, "code")
    for name in sides:
        if name != "kept":
            against = f"in {PROCESSES} processes, created first"
            yield _row(
                name,
                rates[name],
                rates["kept"],
                against,
                "the worker's code without its queue",
            )


def _choose_reads(stage: Stage, size: Size) -> Iterator[Row]:
    """How positions are read, of documents in random order."""
    make_chosen(stage, stored=True)
    posts = make_posts(size.documents // 3, prefix="read")
    run_processes(stage.search, make_payloads(posts, "INSERT"))
    stage.cluster.request("POST", path(CHOSEN, "_refresh"))
    ids = [document_id({"id": {"S": post["id"]}}) for post in posts]
    rates: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(size.pool_rounds + 1):
        for stored in (True, False) if turn % 2 else (False, True):
            some = random.Random(turn).sample(ids, len(ids))
            rate = run_reads(stage.search, some, stored=stored)
            if turn:
                rates[stored].append(rate)
    yield compare(
        "choice stored fields",
        "positions read by stored fields",
        rates[True],
        rates[False],
        unit="documents/s",
        against="by a source filter",
        aim=None,
        note="reads alone: an update is a read and a write",
    )


def _take_turns(size: Size, sides: Mapping[str, Side], prefix: str) -> dict[str, list[float]]:
    """Each side's rates over the rounds, after one that is not counted."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(size.pool_rounds + 1):
        for name in rotate(tuple(sides), turn):
            posts = make_posts(size.documents // 6, prefix=f"{prefix}-{name}-{turn}")
            rate = sides[name](posts)
            if turn:
                rates[name].append(rate)
    return rates


def _row(
    what: str, rates: list[float], kept: list[float], against: str, who: str = "worker pool"
) -> Row:
    return compare(
        f"choice {who}, {what}",
        f"{who}, new documents of 1.1 KB: {what}",
        rates,
        kept,
        unit="documents/s",
        against=against,
        aim=None,
    )
