"""A table, its stream, the producer, the queue, the worker and the index, in memory, for one test.

Everything between the parts is Sluice's own code, as it runs in production; in memory are only
DynamoDB, SQS, S3 and Elasticsearch. There is no network, no thread, and no waiting.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any, Final, Generic, TypeVar

import orjson
from pydantic import BaseModel

from kit.aws import MemoryBucket, MemorySqs
from kit.errors import UnansweredLetterError, UnwritableItemError
from kit.mapped import Mapped
from kit.memory import MemoryDocuments, MemorySource, MemoryViews
from kit.records import Key, Record, Records, View, event
from kit.typed import check_key, same, write_item
from producer.contract import (
    CHANGES_TASK,
    Change,
    ContractError,
    Item,
    decode_chunk,
    queue_name,
)
from producer.forward import Producer
from producer.sender import Sender
from producer.settings import Settings
from worker.apply import Applier
from worker.calls import Caller
from worker.deadletters import DeadLetterQueue
from worker.identity import document_id, key_text
from worker.incoming import Call, Undecodable, read_body
from worker.mappings import META
from worker.messages import MessageHandlers
from worker.overflow import Bucket
from worker.tables import Table, index_body
from worker.tasks import MessageInfo
from worker.values import read_item

ItemT = TypeVar("ItemT")

LOGGER: Final = "kit.producer"
QUEUE: Final = "https://sqs.eu-west-1.amazonaws.com/123456789012/changes"
DEAD: Final = f"{QUEUE}-dead"
_MARGIN_MS: Final = 60_000
_HORIZON_MS: Final = 30 * 86_400_000
"""The worker's own defaults."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A change, or a message, that could not be applied, and why."""

    error: str
    """The cluster's error type, or the name of ours: docs/bad-input.md lists them."""
    reason: str
    id: str
    """Of the document; empty if there is none."""
    kind: str
    """INSERT, MODIFY or REMOVE; empty for what is no change."""
    key: Mapping[str, Any]
    """Of the item, as Python values."""
    handler: str | None
    """Whom it waits for, if not for the index."""


@dataclass
class _Invocation:
    """Lambda's context, with all the time in the world."""

    aws_request_id: str = "test"

    def get_remaining_time_in_millis(self) -> int:
        return 900_000


@dataclass
class _Services:
    """AWS and the cluster, in memory."""

    sqs: MemorySqs = field(default_factory=MemorySqs)
    bucket: MemoryBucket = field(default_factory=MemoryBucket)
    source: MemorySource = field(default_factory=MemorySource)
    documents: MemoryDocuments = field(default_factory=lambda: MemoryDocuments(poison=None))


class Pipeline(Generic[ItemT]):
    """One table's pipeline. Its methods take items as models, or as mappings of attributes.

    Writes go to the table and its stream at once; they are carried to the index by `deliver`, or
    by the first look at it.
    """

    def __init__(
        self,
        table: Table[ItemT],
        *,
        key: Key,
        old_images: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """An empty table with its index.

        key: the table's key attributes: `"id"`, or `("author", "number")`.
        old_images: whether the stream carries them and the producer forwards them to handlers.
        clock: seconds since the epoch.
        """
        view: View = "NEW_AND_OLD_IMAGES" if old_images else "NEW_IMAGE"
        self.table = table
        self.records: Records[ItemT] = Records.of(table, key, view=view, clock=clock)
        self._services = _Services()
        self._services.documents.mapped[table.write_alias] = Mapped.of(index_body(table))
        self._producer = _make_producer(self._services, old_images, clock)
        self._worker = _make_worker(self._services, table, clock)
        self._stream: list[Record] = []
        self._sent: list[str] = []
        self._seen_letters = 0

    def put(self, item: ItemT | Mapping[str, Any]) -> None:
        """Write an item, as PutItem does. One that is equal to what is there makes no record.

        Raises UnwritableItemError for what DynamoDB would not take.
        """
        new = self.records.write(item)
        place = self._place({name: new[name] for name in self.records.key})
        old = self._services.source.items.get(place)
        self._services.source.items[place] = new
        if old is None:
            self._stream.append(self.records.record("INSERT", new=new))
        elif not same(old, new):
            self._stream.append(self.records.record("MODIFY", new=new, old=old))

    def delete(self, key: Any) -> None:
        """Delete an item, as DeleteItem does: by its key, or the item itself. If it is not there,
        nothing happens.

        key: a value, a tuple of both parts, a mapping with the key attributes, or a model.
        """
        self._remove(key, expired=False)

    def expire(self, key: Any) -> None:
        """Delete an item as DynamoDB does when its time to live is over."""
        self._remove(key, expired=True)

    def item(self, key: Any) -> dict[str, Any] | None:
        """What the table holds under a key, as Python values."""
        there = self._services.source.items.get(self._place(self._key(key)))
        return None if there is None else read_item(there)

    def send(self, *records: object) -> None:
        """Put records of your own into the stream, good or bad; the table does not hear of them."""
        self._stream += records  # type: ignore[arg-type]  # a bad one may be anything

    def deliver(self, *, shuffled: bool = False, twice: bool = False, seed: int = 0) -> None:
        """Carry what was written since the last time to the index and the handlers.

        shuffled: each change in a message of its own, in an order that depends on `seed` alone.
        twice: each message comes twice, as a standard queue allows itself.
        """
        records, self._stream = self._stream, []
        for batch in [[one] for one in records] if shuffled else [records] if records else []:
            answer = self._producer.forward(event(*batch), _Invocation())
            if answer["batchItemFailures"]:
                raise UnwritableItemError(f"the producer could not send a record: {answer}")
        fresh = [message.body for message in self._services.sqs.queues.get(QUEUE, [])]
        self._sent += fresh
        for body in fresh if twice else ():
            self._services.sqs.send_message(QueueUrl=QUEUE, MessageBody=body)
        if shuffled:
            self._services.sqs.shuffle(QUEUE, seed)
        self._drain()

    def replay(self, *, seed: int = 0) -> None:
        """Let every message that ever was come again, late and in any order."""
        self.deliver()
        for body in Random(seed).sample(self._sent, len(self._sent)):  # noqa: S311
            self._services.sqs.send_message(QueueUrl=QUEUE, MessageBody=body)
        self._drain()

    def redrive(self) -> None:
        """Move all dead letters back into the queue, as `sluice dead-letters redrive` does."""
        self.deliver()
        letters = self._services.sqs.queues.pop(DEAD, [])
        self._seen_letters = 0
        for letter in letters:
            self._services.sqs.send_message(QueueUrl=QUEUE, MessageBody=letter.body)
        self._drain()

    def documents(self) -> dict[str, dict[str, Any]]:
        """What a search can find: documents by id, without Sluice's own object."""
        self.deliver()
        live = self._services.documents.live(self.table.write_alias)
        return {
            name: {field: value for field, value in body.items() if field != META}
            for name, body in live.items()
        }

    def document(self, key: Any) -> dict[str, Any] | None:
        """The document of an item, if a search can find it. key: as for `delete`."""
        return self.documents().get(document_id(self._key(key)))

    def state(self, key: Any) -> str | None:
        """`live`, `hidden` (by the document function) or `deleted`; None if nothing is there."""
        self.deliver()
        there = self._services.documents.documents(self.table.write_alias)
        body = there.get(document_id(self._key(key)))
        return None if body is None else str(body[META]["state"])

    def dead_letters(self) -> list[DeadLetter]:
        """What could not be applied so far, oldest first."""
        self.deliver()
        letters = self._services.sqs.queues.get(DEAD, [])
        self._seen_letters = len(letters)
        return [_read_letter(letter.body, letter.attributes) for letter in letters]

    def close(self) -> None:
        """Deliver the rest. Raises UnansweredLetterError for dead letters nobody looked at."""
        seen = self._seen_letters
        unseen = self.dead_letters()[seen:]
        if unseen:
            told = "\n".join(f"  {one.kind} {one.id}: {one.error}: {one.reason}" for one in unseen)
            raise UnansweredLetterError(
                f"{len(unseen)} dead letters of {self.table.name} that the test did not look at:\n"
                f"{told}",
                hint="if they are expected, assert what dead_letters() says",
            )

    def _remove(self, key: Any, *, expired: bool) -> None:
        old = self._services.source.items.pop(self._place(self._key(key)), None)
        if old is not None:
            self._stream.append(self.records.record("REMOVE", old=old, expired=expired))

    def _key(self, key: Any) -> Item:
        names = self.records.key
        if not isinstance(key, BaseModel | Mapping):
            parts = key if isinstance(key, tuple) else (key,)
            if len(parts) != len(names):
                raise UnwritableItemError(f"{key!r:.80} is no key of {', '.join(names)}")
            key = dict(zip(names, parts, strict=True))
        return check_key(write_item(key), names)

    def _place(self, key: Item) -> tuple[str, str]:
        return self.table.name, key_text(key)

    def _drain(self) -> None:
        sqs = self._services.sqs
        while messages := sqs.receive_message(QueueUrl=QUEUE).get("Messages"):
            (message,) = messages
            info = MessageInfo(
                message["MessageId"],
                int(message["Attributes"]["ApproximateReceiveCount"]),
                int(message["Attributes"]["SentTimestamp"]),
                task_id=message["MessageId"],
            )
            match read_body(message["Body"]):
                case Call(task, _, payload):
                    take = self._worker.changes if task == CHANGES_TASK else self._worker.record
                    take(payload, info)
                case Undecodable(body, reason):
                    self._worker.undecodable(body, reason, info)
            sqs.delete_message(QueueUrl=QUEUE, ReceiptHandle=message["ReceiptHandle"])


class Pipelines:
    """Makes the pipelines of one test, and closes them at its end."""

    def __init__(self) -> None:
        self._made: list[Pipeline[Any]] = []

    def __call__(
        self,
        table: Table[ItemT],
        *,
        key: Key,
        old_images: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> Pipeline[ItemT]:
        """A pipeline of this table: see `Pipeline`."""
        made = Pipeline(table, key=key, old_images=old_images, clock=clock)
        self._made.append(made)
        return made

    def close(self) -> None:
        """Close each. Raises UnansweredLetterError."""
        for pipeline in self._made:
            pipeline.close()


def _make_producer(services: _Services, old_images: bool, clock: Callable[[], float]) -> Producer:
    settings = Settings(QUEUE, DEAD, "overflow", old_images=old_images, log_level="ERROR")
    sender = Sender(
        queues=services.sqs,
        bucket=services.bucket,
        bucket_name=settings.overflow_bucket,
        batch_bytes=settings.batch_bytes,
        sleep=_hurry,
    )

    def now() -> datetime:
        return datetime.fromtimestamp(clock(), UTC)

    return Producer(settings, sender, logging.getLogger(LOGGER), now)


def _make_worker(
    services: _Services, table: Table[Any], clock: Callable[[], float]
) -> MessageHandlers:
    def clock_ms() -> int:
        return round(1000 * clock())

    tables = {table.name: table}
    sqs: Any = services.sqs
    bucket: Any = services.bucket
    overflow, queue = Bucket(bucket, "overflow"), queue_name(QUEUE)
    deadletters = DeadLetterQueue(sqs, DEAD, queue)
    applier = Applier(
        tables=tables,
        views=MemoryViews(),
        documents=services.documents,
        overflow=overflow,
        source=services.source,
        deadletters=deadletters,
        clock_ms=clock_ms,
        margin_ms=_MARGIN_MS,
        horizon_ms=_HORIZON_MS,
    )
    caller = Caller(tables, overflow, deadletters, sleep=_hurry)
    return MessageHandlers(applier, caller, deadletters, queue, clock_ms)


def _hurry(_: float) -> None:
    """Pauses between attempts are nothing to wait for here."""


def _read_letter(body: str, attributes: Mapping[str, Any]) -> DeadLetter:
    said = {name: value["StringValue"] for name, value in attributes.items()}
    change, handler = _read_change(body)
    return DeadLetter(
        error=said.get("sluice-error", ""),
        reason=said.get("sluice-reason", ""),
        id=said.get("sluice-id", ""),
        kind=change.kind if change else "",
        key=read_item(change.key) if change else {},
        handler=handler,
    )


def _read_change(body: str) -> tuple[Change | None, str | None]:
    """The change in a dead letter, and whom it is addressed to; it may be no change at all."""
    call = read_body(body)
    if not isinstance(call, Call) or call.task != CHANGES_TASK:
        return None, None
    try:
        chunk = decode_chunk(call.payload, loads=orjson.loads)
    except ContractError:
        return None, None
    return chunk.changes[0], chunk.handler
