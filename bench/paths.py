"""Where the processor time of one change goes, step by step: `python -m bench.paths`.

No service and no network: the producer's and the worker's own steps, each timed alone on the same
event of 500 records, as microseconds a change; then the choices that were tried
(docs/performance.md). `--profile` tells the functions of the producer's handler and of the
worker's, by cProfile, which makes every call dearer: take shares from it, not times.
"""

import argparse
import cProfile
import gc
import gzip
import json
import pstats
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from itertools import chain
from statistics import median
from typing import Any, Final, TypeAlias

import orjson
from boto3.dynamodb.types import TypeDeserializer
from zlib_ng import zlib_ng

from bench.carrying import MESSAGE, build_handlers
from bench.corpus import LARGE, SMALL, STREAM, make_posts, make_records
from bench.producing import SETTINGS, quiet_producer
from bench.tables import posts as declared
from producer.batch import read_batch
from producer.chunks import LEVEL
from producer.contract import Change, decode_chunk, read_payload, write_change
from producer.message import Message
from producer.stream import read_record
from worker.documents import make_document
from worker.fate import count_lags
from worker.identity import document_id, key_text
from worker.index import Write, _read_result, _write_lines
from worker.plan import Content, Target, fold, plan, state_of
from worker.values import digest, plain_item

ROUNDS: Final = 7
TOP: Final = 25

Work: TypeAlias = Callable[[], object]


def main() -> None:
    """Both corpora."""
    parser = argparse.ArgumentParser(prog="python -m bench.paths", description=__doc__)
    parser.add_argument("--changes", type=int, default=500)
    parser.add_argument("--profile", action="store_true", help="the functions that take the time")
    asked = parser.parse_args()
    for label, size in (("1.1 KB", SMALL), ("10 KB", LARGE)):
        count = asked.changes if size == SMALL else asked.changes // 8
        event = Event(count, size)
        if asked.profile:
            print_profiles(label, event)
            continue
        unit = measure(event.write_json) * 1e6 / count
        print(f"\n{label}, {count} changes in {len(event.payloads)} messages; a change, in µs and")
        print(f"in json.dumps of its stream record ({unit:.1f} µs), medians of {ROUNDS} rounds\n")
        for name, work in chain(producer_steps(event), worker_steps(event), choices(event)):
            taken = measure(work) * 1e6 / count
            print(f"| {name:62} | {taken:8.1f} | {taken / unit:6.2f} |", flush=True)


def measure(work: Work) -> float:
    """Processor seconds, the median of several rounds after one that is not counted."""
    work()
    taken: list[float] = []
    for _ in range(ROUNDS):
        gc.collect()
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return median(taken)


def print_profiles(label: str, event: "Event") -> None:
    """The functions that take the most time of their own, of either side."""
    for side, work in (("producer", event.forward), ("worker", event.apply)):
        work()
        profile = cProfile.Profile()
        profile.enable()
        for _ in range(ROUNDS):
            work()
        profile.disable()
        print(f"\n{side}, {label}: {ROUNDS} times {event.count} changes")
        pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(TOP)


@dataclass
class Event:
    """One event, and what becomes of it on its way."""

    count: int
    size: int

    @cached_property
    def posts(self) -> list[dict[str, Any]]:
        """Its posts as plain JSON."""
        return make_posts(self.count, prefix="p", size=self.size)

    @cached_property
    def now(self) -> datetime:
        """Its time."""
        return datetime.now(UTC)

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """Its records, as parsed from what Lambda delivers."""
        at_s = int(self.now.timestamp())
        records: list[dict[str, Any]] = json.loads(
            json.dumps(list(make_records(self.posts, at_s=at_s)))
        )
        return records

    @cached_property
    def changes(self) -> list[Change]:
        """Its changes."""
        return [read_record(record)[1] for record in self.records]

    @cached_property
    def payloads(self) -> list[str]:
        """The messages made of it."""
        return [read_argument(message) for message in self.read().messages]

    def read(self) -> Any:
        """The producer's pure part: records to messages."""
        return read_batch({"Records": self.records}, SETTINGS, self.now)

    def write_json(self) -> str:
        """What times are compared with."""
        return json.dumps(self.records)

    def forward(self) -> object:
        """The whole handler of the producer, its log line included, on a network without cost."""
        return self._producer({"Records": self.records})

    def apply(self) -> None:
        """The whole handler of the worker, on a cluster without cost."""
        for payload in self.payloads:
            self._handlers.changes(payload, MESSAGE)

    @cached_property
    def _producer(self) -> Callable[[Any], object]:
        return quiet_producer()

    @cached_property
    def _handlers(self) -> Any:
        return build_handlers(declared, int(self.now.timestamp() * 1000))


def read_argument(message: Message) -> str:
    """The payload within a message's envelope."""
    inner = json.loads(json.loads(message.body)["body"])
    return str(inner[0][0])


def producer_steps(event: Event) -> Iterator[tuple[str, Work]]:
    """The whole handler, and its parts."""
    bodies = [write_change(change) for change in event.changes]
    whole = b"".join(bodies)
    yield "producer: whole handler, its log line included", event.forward
    yield "producer: records to messages, all of it", event.read
    yield "producer: check and read records", lambda: [read_record(one) for one in event.records]
    yield "producer: serialise changes (json)", lambda: [write_change(c) for c in event.changes]
    yield f"producer: zlib level {LEVEL}", lambda: zlib.compress(whole, LEVEL)


def worker_steps(event: Event) -> Iterator[tuple[str, Work]]:
    """The whole handler, and its parts."""
    payloads, changes = event.payloads, event.changes
    inflated = [read_payload(payload) for payload in payloads]
    label = STREAM.rsplit("/", 1)[-1]
    images = [change.new or {} for change in changes]

    def aim() -> list[Target]:
        return fold(Target(document_id(c.key), None, c, state_of(c, label)) for c in changes)

    targets = aim()
    operations, _ = plan(targets, {}, 60_000)
    fields = [make_document(declared, image) or {} for image in images]
    digests = [digest(image, checked=True) for image in images]

    def fill() -> list[Write]:
        return [
            Write(operation, Content("live", made, image, key_text(operation.target.change.key)))
            for operation, made, image in zip(operations, fields, digests, strict=True)
        ]

    writes = fill()
    answer = orjson.dumps({"items": [{"create": {"status": 201}}] * len(writes)})
    items = orjson.loads(answer)["items"]
    now = int(event.now.timestamp() * 1000)
    yield "worker: whole handler", event.apply
    yield "worker: inflate", lambda: [read_payload(one, zlib_ng) for one in payloads]
    yield "worker: parse (orjson)", lambda: [orjson.loads(one) for one in inflated]
    yield (
        "worker: inflate, parse, check",
        lambda: [decode_chunk(one, loads=orjson.loads, library=zlib_ng) for one in payloads],
    )
    yield "worker: ids, positions, folding", aim
    yield "worker: decide", lambda: plan(targets, {}, 60_000)
    yield "worker: document (typed to plain)", lambda: [plain_item(image) for image in images]
    yield "worker: digest", lambda: [digest(image, checked=True) for image in images]
    yield "worker: key text, content, write", fill
    yield "worker: lines of the bulk (orjson)", lambda: [_write_lines(write) for write in writes]
    yield "worker: parse the bulk's answer", lambda: orjson.loads(answer)
    yield (
        "worker: read the results",
        lambda: [_read_result(w, i) for w, i in zip(writes, items, strict=True)],
    )
    yield "worker: count lags", lambda: count_lags((now - c.at) / 1000 for c in changes)


def choices(event: Event) -> Iterator[tuple[str, Work]]:
    """What was tried, each beside what was kept: figures of docs/performance.md."""
    bodies = [write_change(change) for change in event.changes]
    whole = b"".join(bodies)
    images = [change.new or {} for change in event.changes]
    inflated = [read_payload(payload) for payload in event.payloads]
    for level in (1, 2, 3, 4, 5, 6):
        share = len(zlib.compress(whole, level)) / len(whole)
        yield (
            f"choice: zlib level {level}, {share:.1%} left",
            partial(zlib.compress, whole, level),
        )
        left = len(zlib_ng.compress(whole, level)) / len(whole)
        yield (
            f"choice: zlib-ng level {level}, {left:.1%} left",
            partial(zlib_ng.compress, whole, level),
        )
    encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
    yield (
        "choice: records by json.dumps, compact",
        lambda: [
            json.dumps(r, separators=(",", ":"), ensure_ascii=False).encode() for r in event.records
        ],
    )
    yield (
        "choice: the same by an encoder made once",
        lambda: [encode(record).encode() for record in event.records],
    )
    yield "choice: the same by orjson", lambda: [orjson.dumps(record) for record in event.records]
    yield "choice: inflated by zlib", lambda: [read_payload(one) for one in event.payloads]
    yield "choice: a chunk parsed by json", lambda: [json.loads(one) for one in inflated]
    deserialize: Any = TypeDeserializer().deserialize
    yield (
        "choice: boto3's deserialiser for plain values",
        lambda: [{k: deserialize(v) for k, v in image.items()} for image in images],
    )
    yield "choice: posts by orjson", lambda: [orjson.dumps(post) for post in event.posts]
    yield "choice: posts by json.dumps", lambda: [json.dumps(post) for post in event.posts]
    lines = b"".join(b'{"create":{"_id":"p"}}\n%b\n' % orjson.dumps(p) for p in event.posts)
    share = len(gzip.compress(lines, 1)) / len(lines)
    yield (
        f"choice: gzip level 1 of the bulk's lines, {share:.1%} left",
        lambda: gzip.compress(lines, 1),
    )
    yield from _choose_answers(event.posts)


def _choose_answers(posts: Sequence[dict[str, Any]]) -> Iterator[tuple[str, Work]]:
    """Elasticsearch's whole answer to a bulk, and what `filter_path` leaves of it."""
    whole = {
        "_index": "bench-posts-v1",
        "_version": 1,
        "result": "created",
        "_shards": {"total": 2, "successful": 1, "failed": 0},
        "_seq_no": 123_456,
        "_primary_term": 1,
        "status": 201,
    }
    kept = {"status": 201}
    for name, item in (("whole", whole), ("by filter_path", kept)):
        named = item is whole
        items = [{"create": {**item, "_id": post["id"]} if named else item} for post in posts]
        answer = orjson.dumps({"errors": False, "took": 30, "items": items})
        yield (
            f"choice: a bulk's answer parsed, {name}, {len(answer) / len(posts):.0f} bytes",
            partial(orjson.loads, answer),
        )


if __name__ == "__main__":
    main()
