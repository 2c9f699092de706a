"""Rows of growth: ten times the documents, the queue, the tables; does the rate stay?

Each load goes into indexes that held nothing before, and rates are taken from the cluster's own
count while a load goes from a tenth done to nine tenths: what a queue takes to begin and to end
would weigh more on the small side.
"""

import random
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from bench.backlog import rate_between
from bench.corpus import make_posts
from bench.figures import Aim, Row, compare
from bench.pooling import fill_queue, make_references, rotate, warm
from bench.size import Size
from bench.stage import Pool, Stage
from bench.tables import name_table
from worker.cluster import path

PROCESSES: Final = 2
TIMES: Final = 10
AIM: Final = Aim("within", 0.1)
LOOK_S: Final = 0.05


def measure_growth(stage: Stage, size: Size) -> Iterator[Row]:
    """Each figure beside the same one of a tenth of the load, their order changing by rounds."""
    step = size.documents // 5
    queues = stage.make_queues()
    make_references(stage)
    tables = TIMES + 2 * (size.pool_rounds + 1)
    with stage.pool(queues, PROCESSES, BENCH_TABLES=str(tables)) as pool:
        warm(stage, pool, size)
        yield _grow_tables(stage, pool, step, size)
        yield from _grow_queue(stage, pool, step, size)


def _grow_tables(stage: Stage, pool: Pool, step: int, size: Size) -> Row:
    rates: dict[str, list[float]] = {"one": [], "ten": []}
    tables = {"one": [name_table(0)], "ten": [name_table(n) for n in range(TIMES)]}
    for turn in range(size.pool_rounds + 1):
        for side in rotate(tuple(rates), turn):
            posts = make_posts(step, prefix=f"tables-{side}-{turn}")
            rate = _drain(stage, pool, posts, "INSERT", tables[side])
            if turn:  # the first makes the other tables' indexes warm
                rates[side].append(rate)
    what = f"{TIMES} tables, {step} documents in all"
    return _row("tables", rates["ten"], rates["one"], what, "one table")


def _grow_queue(stage: Stage, pool: Pool, step: int, size: Size) -> Iterator[Row]:
    """A long queue into one fresh index, a short one into another; then as many random updates of
    the large index as of the small one."""
    rates: dict[str, list[float]] = {"short": [], "long": []}
    counts = {"short": step, "long": TIMES * step}
    posts: dict[str, list[dict[str, Any]]] = {}
    for turn in range(size.pool_rounds):
        for side in rotate(tuple(rates), turn):
            posts[side] = make_posts(counts[side], prefix=f"{side}-{turn}")
            table = _fresh(turn, side)
            rates[side].append(_drain(stage, pool, posts[side], "INSERT", [table]))
    what, against = f"a queue of {counts['long']} documents", f"one of {step}"
    yield _row("queue", rates["long"], rates["short"], what, against)
    updates: dict[str, list[float]] = {"short": [], "long": []}
    for turn in range(size.pool_rounds):
        for side in rotate(tuple(updates), turn):
            table = _fresh(size.pool_rounds - 1, side)
            # Refreshed before: else the first reads pay for the writes that came just before them.
            stage.count(table)
            some = random.Random(turn).sample(posts[side], step)
            updates[side].append(_drain(stage, pool, some, "MODIFY", [table]))
    yield _row(
        "documents",
        updates["long"],
        updates["short"],
        f"{step} random updates of an index of {counts['long']} documents",
        f"of one of {step}",
    )


def _fresh(turn: int, side: str) -> str:
    """A table of its own for each round and side, after those of the row of tables."""
    return name_table(TIMES + 2 * turn + (side == "long"))


def _drain(
    stage: Stage, pool: Pool, posts: list[dict[str, Any]], kind: str, tables: Sequence[str]
) -> float:
    """Documents a second in the middle of a full queue's draining."""
    names = ",".join(tables)
    looks = [(time.perf_counter(), _count_indexed(stage, names))]
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(LOOK_S):
            looks.append((time.perf_counter(), _count_indexed(stage, names)))

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        fill_queue(pool, posts, kind, tables=tables)
        pool.resume()
        pool.drain()
    finally:
        stop.set()
        looking.join()
    looks.append((time.perf_counter(), _count_indexed(stage, names)))
    return rate_between(looks)


def _count_indexed(stage: Stage, names: str) -> int:
    """Operations that these tables' indexes have carried out since they were made."""
    answer = stage.cluster.request("GET", path(names, "_stats", "indexing"))
    return int(answer.body["_all"]["primaries"]["indexing"]["index_total"])


def _row(name: str, ours: list[float], theirs: list[float], what: str, against: str) -> Row:
    return compare(
        f"growth {name}",
        f"growth: {what}",
        ours,
        theirs,
        unit="documents/s",
        against=against,
        aim=AIM,
        note=f"{PROCESSES} processes; from a tenth to nine tenths done",
    )
