"""Rows of the worker pool from a full queue, beside elasticsearch-py and the cluster's limit."""

import gc
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, field
from statistics import median
from typing import Any, Final

import orjson
from elasticsearch import Elasticsearch
from elasticsearch.helpers import parallel_bulk

from bench.corpus import LARGE, SMALL, TABLE, make_changes, make_posts, name_stream
from bench.figures import Aim, Row, compare, tell
from bench.size import Size
from bench.spending import Spent, read_spent
from bench.stage import Pool, Stage
from bench.tables import posts as declared
from producer.chunks import fit_limits, pack
from producer.contract import queue_name, write_envelope
from tests.workers import Queues
from worker.cluster import path
from worker.tables import Table, index_body

PROCESSES: Final = 3
"""Of the worker, and threads of both references."""
CHUNK: Final = 500
"""Documents of a bulk of both references: elasticsearch-py's default."""
EVENT: Final = 375
"""Records of an event: batch_size of infra/variables.tf."""
SIDES: Final = ("theirs", "ours", "raw")
REFERENCE: Final = "bench-reference"
RAW: Final = "bench-raw"

Posts = Sequence[dict[str, Any]]


@dataclass
class Sequences:
    """Sequence numbers that go up through a whole run, so that every change is a newer one."""

    last: int = field(default_factory=time.time_ns)

    def take(self, count: int) -> int:
        """The first of the next `count`."""
        first = self.last + 1
        self.last += count
        return first


SEQUENCES: Final = Sequences()


def make_bodies(
    posts: Posts, queue: str, kind: str, tables: Sequence[str] = (TABLE,), event: int = EVENT
) -> list[str]:
    """The messages that the producer makes of these posts, in events as Lambda delivers them.

    tables: events go to them in turns. event: records of each.
    """
    limits = fit_limits(queue_name(queue), 262_144, 1_048_576)
    now = time.time_ns() // 1_000_000
    bodies: list[str] = []
    for start in range(0, len(posts), event):
        part = posts[start : start + event]
        table = tables[start // event % len(tables)]
        changes = make_changes(part, at_ms=now, kind=kind, first=SEQUENCES.take(len(part)))
        bodies += [
            write_envelope(packed.payload, queue_name(queue))
            for packed in pack(table, name_stream(table), changes, limits)
        ]
    return bodies


def send(queues: Queues, bodies: Iterable[str]) -> None:
    """One message a call: ElasticMQ takes 256 KiB in total."""

    def post(body: str) -> None:
        queues.client.send_message(QueueUrl=queues.url, MessageBody=body)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(post, bodies))


def drain_queue(
    pool: Pool, posts: Posts, kind: str, *, tables: Sequence[str] = (TABLE,), event: int = EVENT
) -> float:
    """Documents a second that the pool takes from a queue that was full before it began."""
    began = fill_queue(pool, posts, kind, tables=tables, event=event)
    pool.drain()
    return len(posts) / (time.perf_counter() - began)


def fill_queue(
    pool: Pool, posts: Posts, kind: str, *, tables: Sequence[str] = (TABLE,), event: int = EVENT
) -> float:
    """Fill the queue while the pool is held; the time at which it was let go."""
    bodies = make_bodies(posts, pool.queues.url, kind, tables, event)
    pool.hold()
    try:
        send(pool.queues, bodies)
    finally:
        began = time.perf_counter()
        pool.resume()
    return began


def count_chunk(posts: Posts, event: int = EVENT) -> float:
    """Mean documents of a message, and so of a bulk of the pool, where posts are such as these."""
    part = posts[:event]
    return len(part) / len(make_bodies(part, "http://127.0.0.1/0/bench", "INSERT", event=event))


def run_parallel_bulk(stage: Stage, posts: Posts) -> float:
    """Documents a second of elasticsearch-py's own helper, its defaults but for the threads."""
    actions = [{"_index": REFERENCE, "_id": post["id"], "_source": post} for post in posts]
    with Elasticsearch(stage.search, request_timeout=60) as client:
        client.cat.indices()
        gc.collect()
        began = time.perf_counter()
        for done, answer in parallel_bulk(
            client, actions, thread_count=PROCESSES, chunk_size=CHUNK
        ):
            if not done:
                raise RuntimeError(f"the reference is refused: {answer}")
        return len(posts) / (time.perf_counter() - began)


def run_raw(stage: Stage, posts: Posts) -> float:
    """Documents a second of bulks that were serialised before: the cluster's own limit."""
    bulks = [
        b"".join(
            b'{"index":{"_id":"%b"}}\n%b\n' % (post["id"].encode(), orjson.dumps(post))
            for post in posts[start : start + CHUNK]
        )
        for start in range(0, len(posts), CHUNK)
    ]

    def post_bulk(lines: bytes) -> None:
        # Only asks whether something failed: reading each result would be a client's work.
        answer = stage.cluster.request(
            "POST", path(RAW, "_bulk"), params={"filter_path": "errors"}, lines=lines
        )
        if answer.body.get("errors"):
            raise RuntimeError("the raw reference is refused")

    began = time.perf_counter()
    with ThreadPoolExecutor(PROCESSES) as threads:
        list(threads.map(post_bulk, bulks))
    return len(posts) / (time.perf_counter() - began)


def make_references(stage: Stage, table: Table[Any] = declared) -> None:
    """Empty indexes for the references, made as the worker makes that table's; and none of its
    own."""
    stage.remove_posts()
    for name in (REFERENCE, RAW):
        stage.remove_index(name)
        answer = stage.cluster.request("PUT", path(name), body=index_body(table))
        if answer.status != 200:
            raise RuntimeError(f"cannot make {name}: {answer.reason}")


def warm(stage: Stage, pool: Pool, size: Size, table: str = TABLE, share: float = 1.0) -> None:
    """Let the JVMs compile and the pool connect: each side writes as much as the others.

    share: of `Size.warm`, where documents are dear.
    """
    step = max(1, round(share * size.warm / 6))
    first = make_posts(100, prefix="first")
    send(pool.queues, make_bodies(first, pool.queues.url, "INSERT", (table,)))
    pool.drain()  # it has started, and is held only from here on
    for turn in range(2):
        posts = make_posts(step, prefix=f"warm{turn}")
        run_parallel_bulk(stage, posts)
        run_raw(stage, posts)
        drain_queue(pool, posts, "INSERT", tables=(table,))


def measure_pool(stage: Stage, size: Size) -> Iterator[Row]:
    """New documents, random updates, 10 KB, and a hot key."""
    queues = stage.make_queues()
    make_references(stage)
    with stage.pool(queues, PROCESSES) as pool:
        warm(stage, pool, size)
        yield from _measure_documents(stage, pool, size, SMALL)
        yield from _measure_documents(stage, pool, size, LARGE)
        yield _measure_hot_key(pool, size)
    letters = queues.depth(queues.dead_url)
    if letters:
        raise RuntimeError(f"{letters} dead letters: the figures mean nothing")


def _measure_documents(stage: Stage, pool: Pool, size: Size, each: int) -> Iterator[Row]:
    """New documents, then updates of the same in random order, each round beside its references."""
    label = "1.1 KB" if each == SMALL else "10 KB"
    count = size.documents if each == SMALL else size.documents // 12
    rates: dict[tuple[str, str], list[float]] = {}
    spent: dict[tuple[str, str], list[Spent]] = {}
    chunk = 0.0
    for turn in range(size.pool_rounds):
        fresh = make_posts(count, prefix=f"{each}-{turn}", size=each)
        changed = make_posts(count, prefix=f"{each}-{turn}", size=each, seed=1)
        random.Random(turn).shuffle(changed)
        chunk = count_chunk(fresh)
        for kind, posts in (("INSERT", fresh), ("MODIFY", changed)):
            for side in rotate(SIDES, turn):
                rate, cost = _run_side(side, stage, pool, posts, kind)
                rates.setdefault((kind, side), []).append(rate)
                spent.setdefault((kind, side), []).append(cost)
    for kind, words, aim in (("INSERT", "new documents", 1.0), ("MODIFY", "random updates", 0.9)):
        for side, against, least in (
            ("theirs", "parallel_bulk, no order guard, no queue", aim),
            ("raw", "pre-serialised bulks, as many threads", 0.7),
        ):
            yield compare(
                f"pool {words} {label} / {'parallel_bulk' if side == 'theirs' else 'raw'}",
                f"worker pool from a full queue, {words} of {label}",
                rates[kind, "ours"],
                rates[kind, side],
                unit="documents/s",
                against=against,
                aim=Aim("at least", least),
                note=f"{count} documents a round, {PROCESSES} processes; {chunk:.0f} documents of"
                f" a bulk on average, {CHUNK} of the reference's",
            )
        yield from _tell_spent(f"{words} of {label}", spent[kind, "ours"], spent[kind, "theirs"])
        yield _tell_busy(f"{words} of {label}", rates, spent, kind)


def _tell_spent(words: str, ours: Sequence[Spent], theirs: Sequence[Spent]) -> Iterator[Row]:
    """Why the rates are what they are: who spent the machine's processor time."""
    of = f"processor time a document, {words}"
    sides = (
        ("worker", [one.worker for one in ours], "client", [one.client for one in theirs]),
        ("cluster", [one.cluster for one in ours], "cluster", [one.cluster for one in theirs]),
    )
    for who, figures, peer, references in sides:
        yield compare(
            f"{of} / {who}",
            f"{of}: the {who}, for the pool",
            figures,
            references,
            unit="µs",
            against=f"parallel_bulk: the {peer}",
            aim=None,
        )
    queue = median(one.queue for one in ours)
    yield tell(
        f"{of} / queue", f"{of}: ElasticMQ, for the pool", queue, unit="µs", rounds=len(ours)
    )


def _tell_busy(
    words: str,
    rates: Mapping[tuple[str, str], Sequence[float]],
    spent: Mapping[tuple[str, str], Sequence[Spent]],
    kind: str,
) -> Row:
    """Whether something waits: with all cores busy, only less work would be faster."""

    def busy(side: str) -> list[float]:
        pairs = zip(rates[kind, side], spent[kind, side], strict=True)
        return [rate * sum(astuple(cost)) / 1e6 for rate, cost in pairs]

    of = f"cores busy, {words}"
    return compare(
        of,
        f"{of}: for the pool",
        busy("ours"),
        busy("theirs"),
        unit="cores",
        against="parallel_bulk",
        aim=None,
    )


def rotate(sides: Sequence[str], turn: int) -> Sequence[str]:
    """Each round begins with another side: what comes after a merge or a pause is each in turn."""
    first = turn % len(sides)
    return [*sides[first:], *sides[:first]]


def _run_side(side: str, stage: Stage, pool: Pool, posts: Posts, kind: str) -> tuple[float, Spent]:
    if side == "ours":
        began = fill_queue(pool, posts, kind)
        before = read_spent(stage, pool)
        pool.drain()
        rate = len(posts) / (time.perf_counter() - began)
    else:
        before = read_spent(stage, pool)
        run = run_parallel_bulk if side == "theirs" else run_raw
        rate = run(stage, posts)
    return rate, read_spent(stage, pool).since(before, len(posts))


def _measure_hot_key(pool: Pool, size: Size) -> Row:
    """A thousand updates of one item in a row, and the next item, against as many items."""
    count = size.documents // 4
    ours: list[float] = []
    theirs: list[float] = []
    for turn in range(size.pool_rounds):
        spread = make_posts(count, prefix=f"hot-{turn}")
        hot = [{**post, "id": f"hot-{turn}-{n // 1_000}"} for n, post in enumerate(spread)]
        random.Random(turn).shuffle(spread)
        drain_queue(pool, spread, "INSERT")
        for side in rotate(("theirs", "ours"), turn):
            posts, rates = (spread, theirs) if side == "theirs" else (hot, ours)
            rates.append(drain_queue(pool, posts, "MODIFY"))
    return compare(
        "hot key",
        "changes of hot keys: 1,000 updates of one item in a row",
        ours,
        theirs,
        unit="changes/s",
        against="the same number of updates, spread over as many items",
        aim=Aim("at least", 1.0),
        note=f"{count} changes a round",
    )
