"""Rows of the worker pool from a full queue, beside elasticsearch-py and the cluster's limit."""

import gc
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any, Final

import orjson
from elasticsearch import Elasticsearch
from elasticsearch.helpers import parallel_bulk

from bench.cores import find_halves, keep_apart
from bench.corpus import LARGE, SMALL, TABLE, make_changes, make_posts, name_stream
from bench.figures import Aim, Row, compare, tell
from bench.size import Size
from bench.spending import Meter, Spent, read_spent
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
MESSAGE_BYTES: Final = 262_144
"""Of a message at most: the producer's own default."""
WAITING: Final = 60
"""Full messages in the queue at once while it warms."""
SIDES: Final = ("theirs", "ours", "raw")
REFERENCE: Final = "bench-reference"
RAW: Final = "bench-raw"

Posts = Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Cut:
    """How changes are cut into messages."""

    event: int = EVENT
    """Records of an event."""
    message_bytes: int = MESSAGE_BYTES
    """Of a message at most; its chunk may have four times as many before compression."""


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


def make_payloads(
    posts: Posts,
    kind: str,
    *,
    queue: str = "bench",
    tables: Sequence[str] = (TABLE,),
    cut: Cut = Cut(),
) -> list[str]:
    """The chunks that the producer makes of these posts, in events as Lambda delivers them.

    queue: its name. tables: events go to them in turns.
    """
    limits = fit_limits(queue, cut.message_bytes, 4 * cut.message_bytes)
    now = time.time_ns() // 1_000_000
    payloads: list[str] = []
    for start in range(0, len(posts), cut.event):
        part = posts[start : start + cut.event]
        table = tables[start // cut.event % len(tables)]
        changes = make_changes(part, at_ms=now, kind=kind, first=SEQUENCES.take(len(part)))
        payloads += [one.payload for one in pack(table, name_stream(table), changes, limits)]
    return payloads


def make_bodies(
    posts: Posts, queue: str, kind: str, tables: Sequence[str] = (TABLE,), cut: Cut = Cut()
) -> list[str]:
    """The same as messages. queue: its URL."""
    name = queue_name(queue)
    payloads = make_payloads(posts, kind, queue=name, tables=tables, cut=cut)
    return [write_envelope(payload, name) for payload in payloads]


def send(queues: Queues, bodies: Iterable[str]) -> None:
    """One message a call."""

    def post(body: str) -> None:
        queues.client.send_message(QueueUrl=queues.url, MessageBody=body)

    with ThreadPoolExecutor(2) as threads:
        sent = [threads.submit(post, body) for body in bodies]
        try:
            for one in sent:
                one.result()
        except BaseException:
            # A queue that is gone would be tried with every other message, too.
            threads.shutdown(cancel_futures=True)
            raise


def take(queues: Queues, count: int) -> None:
    """Receive and delete so many messages; waits until there are."""
    while count:
        answer = queues.client.receive_message(
            QueueUrl=queues.url, MaxNumberOfMessages=10, WaitTimeSeconds=1
        )
        for message in answer.get("Messages", ()):
            queues.client.delete_message(
                QueueUrl=queues.url, ReceiptHandle=message["ReceiptHandle"]
            )
            count -= 1


def drain_queue(
    pool: Pool,
    posts: Posts,
    kind: str,
    *,
    tables: Sequence[str] = (TABLE,),
    cut: Cut = Cut(),
    look: Callable[[], Spent] = Spent,
) -> Meter:
    """What the pool needs for a queue that was full before it began."""
    fill_queue(pool, posts, kind, tables=tables, cut=cut)
    meter = Meter(len(posts), look)
    with meter:
        pool.resume()
        pool.drain()
    return meter


def fill_queue(
    pool: Pool,
    posts: Posts,
    kind: str,
    *,
    tables: Sequence[str] = (TABLE,),
    cut: Cut = Cut(),
) -> None:
    """Hold the pool and fill its queue. The pool stays held: whoever times it lets it go."""
    bodies = make_bodies(posts, pool.queues.url, kind, tables, cut)
    pool.hold()
    send(pool.queues, bodies)


def count_chunk(posts: Posts, cut: Cut = Cut()) -> float:
    """Mean documents of a message, and so of a bulk of the pool, where posts are such as these."""
    part = posts[: cut.event]
    return len(part) / len(make_bodies(part, "http://127.0.0.1/0/bench", "INSERT", cut=cut))


def run_parallel_bulk(stage: Stage, posts: Posts, *, look: Callable[[], Spent] = Spent) -> Meter:
    """What elasticsearch-py's own helper needs, its defaults but for the threads."""
    actions = [{"_index": REFERENCE, "_id": post["id"], "_source": post} for post in posts]
    with Elasticsearch(stage.search, request_timeout=60) as client:
        client.cat.indices()
        gc.collect()
        meter = Meter(len(posts), look)
        with meter:
            for done, answer in parallel_bulk(
                client, actions, thread_count=PROCESSES, chunk_size=CHUNK
            ):
                if not done:
                    raise RuntimeError(f"the reference is refused: {answer}")
    return meter


def run_raw(stage: Stage, posts: Posts, *, look: Callable[[], Spent] = Spent) -> Meter:
    """What bulks that were serialised before need: the cluster's own limit."""
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

    meter = Meter(len(posts), look)
    with meter, ThreadPoolExecutor(PROCESSES) as threads:
        list(threads.map(post_bulk, bulks))
    return meter


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
    """Let the JVMs compile and the pool connect: each side writes and updates as much as the
    others. The first time on a stage is the long one.

    share: of the documents, where they are dear.
    """
    warm_queue(stage, size)
    count = size.warm if "search" in stage.warmed else size.warm_first
    step = max(1, round(share * count / 6))
    first = make_posts(100, prefix="first")
    send(pool.queues, make_bodies(first, pool.queues.url, "INSERT", (table,)))
    pool.drain()  # it has started, and is held only from here on
    fresh = make_posts(step, prefix="warm")
    changed = make_posts(step, prefix="warm", seed=1)
    random.Random("warm").shuffle(changed)
    for kind, posts in (("INSERT", fresh), ("MODIFY", changed)):
        run_parallel_bulk(stage, posts)
        run_raw(stage, posts)
        drain_queue(pool, posts, kind, tables=(table,))
    stage.warmed.add("search")


def warm_queue(stage: Stage, size: Size) -> None:
    """Once a stage: full messages through a queue of their own, so that its JVM compiles."""
    if "queue" in stage.warmed:
        return
    queues = stage.make_queues()
    body = max(make_bodies(make_posts(EVENT, prefix="warm"), queues.url, "INSERT"), key=len)
    for start in range(0, size.warm_messages, WAITING):
        count = min(WAITING, size.warm_messages - start)
        send(queues, [body] * count)
        take(queues, count)
    stage.warmed.add("queue")


def measure_pool(stage: Stage, size: Size) -> Iterator[Row]:
    """New documents, random updates, the same with cores for the cluster alone, 10 KB, and a hot
    key."""
    queues = stage.make_queues()
    make_references(stage)
    with stage.pool(queues, PROCESSES) as pool:
        warm(stage, pool, size)
        yield from _measure_documents(stage, pool, size, SMALL)
        yield from _measure_apart(stage, pool, size)
        yield from _measure_documents(stage, pool, size, LARGE)
        yield _measure_hot_key(pool, size)
    letters = queues.depth(queues.dead_url)
    if letters:
        raise RuntimeError(f"{letters} dead letters: the figures mean nothing")


def _measure_apart(stage: Stage, pool: Pool, size: Size) -> Iterator[Row]:
    """As in production nobody takes the cluster's cores; no rows where they cannot be set apart."""
    halves = find_halves()
    if halves is not None:
        rest, own = halves
        with keep_apart(stage.pids["search"], own, rest):
            # All rows before the first leaves: nobody else is to run while cores are held.
            rows = list(_measure_documents(stage, pool, size, SMALL, apart=True))
        yield from rows


def _measure_documents(
    stage: Stage, pool: Pool, size: Size, each: int, *, apart: bool = False
) -> Iterator[Row]:
    """New documents, then updates of the same in random order, each round beside its references."""
    label = f"{'1.1 KB' if each == SMALL else '10 KB'}{', cluster apart' if apart else ''}"
    count = size.documents if each == SMALL else size.documents // 12
    meters: dict[tuple[str, str], list[Meter]] = {}
    chunk = 0.0
    for turn in range(size.pool_rounds):
        fresh = make_posts(count, prefix=f"{each}-{apart:d}-{turn}", size=each)
        changed = make_posts(count, prefix=f"{each}-{apart:d}-{turn}", size=each, seed=1)
        random.Random(turn).shuffle(changed)
        chunk = count_chunk(fresh)
        for kind, posts in (("INSERT", fresh), ("MODIFY", changed)):
            for side in rotate(SIDES, turn):
                meter = _run_side(side, stage, pool, posts, kind)
                meters.setdefault((kind, side), []).append(meter)
    for kind, words, aim in (("INSERT", "new documents", 1.0), ("MODIFY", "random updates", 0.9)):
        ours = meters[kind, "ours"]
        for side, against, least in (
            ("theirs", "parallel_bulk, no order guard, no queue", aim),
            ("raw", "pre-serialised bulks, as many threads", 0.7),
        ):
            yield compare(
                f"pool {words} {label} / {'parallel_bulk' if side == 'theirs' else 'raw'}",
                f"worker pool from a full queue, {words} of {label}",
                [one.rate for one in ours],
                [one.rate for one in meters[kind, side]],
                unit="documents/s",
                against=against,
                aim=Aim("at least", least),
                note=f"{count} documents a round, {PROCESSES} processes; {chunk:.0f} documents of"
                f" a bulk on average, {CHUNK} of the reference's",
            )
        yield from _tell_spent(f"{words} of {label}", ours, meters[kind, "theirs"])
        yield _tell_busy(f"{words} of {label}", ours, meters[kind, "theirs"])


def _tell_spent(words: str, ours: Sequence[Meter], theirs: Sequence[Meter]) -> Iterator[Row]:
    """Why the rates are what they are: who spent the machine's processor time."""
    of = f"processor time a document, {words}"
    costs = [one.cost for one in ours]
    peers = [one.cost for one in theirs]
    sides = (
        ("worker", [one.worker for one in costs], "client", [one.client for one in peers]),
        ("cluster", [one.cluster for one in costs], "cluster", [one.cluster for one in peers]),
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
    queue = median(one.queue for one in costs)
    yield tell(
        f"{of} / queue", f"{of}: ElasticMQ, for the pool", queue, unit="µs", rounds=len(ours)
    )


def _tell_busy(words: str, ours: Sequence[Meter], theirs: Sequence[Meter]) -> Row:
    """Whether something waits: with all cores busy, only less work would be faster."""
    of = f"cores busy, {words}"
    return compare(
        of,
        f"{of}: for the pool",
        [one.cores for one in ours],
        [one.cores for one in theirs],
        unit="cores",
        against="parallel_bulk",
        aim=None,
    )


def rotate(sides: Sequence[str], turn: int) -> Sequence[str]:
    """Each round begins with another side: what comes after a merge or a pause is each in turn."""
    first = turn % len(sides)
    return [*sides[first:], *sides[:first]]


def _run_side(side: str, stage: Stage, pool: Pool, posts: Posts, kind: str) -> Meter:
    look = partial(read_spent, stage, pool)
    if side == "ours":
        return drain_queue(pool, posts, kind, look=look)
    run = run_parallel_bulk if side == "theirs" else run_raw
    return run(stage, posts, look=look)


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
            rates.append(drain_queue(pool, posts, "MODIFY").rate)
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
