"""Reads of the table on their way into the queue, packed and sent as live changes are."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson
from botocore.exceptions import BotoCoreError, ClientError
from zlib_ng import zlib_ng

from console.aws import explain_aws
from console.errors import InterruptedByUserError, MisuseError
from producer.chunks import Limits, Packed, Packer, fit_limits
from producer.contract import (
    Change,
    ContractError,
    Item,
    queue_name,
    write_envelope,
    write_json,
)
from producer.message import Message
from producer.sender import Sender
from producer.settings import Settings as ProducerSettings
from worker.errors import UnavailableError

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

_FOREVER_MS: Final = 10**9
_CHECK_EVERY_S: Final = 1.0
_RESUME_AT: Final = 0.5
"""A paused reader goes on once the queue has fallen to this share of the limit."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of some reads."""

    changes: int = 0
    messages: int = 0
    objects: int = 0
    bytes: int = 0
    unsendable: int = 0
    """Items that can travel in no message; there is no legal item of this kind."""


@dataclass(frozen=True, slots=True)
class Outlet:
    """Sends reads of tables."""

    sender: Sender
    queue_url: str
    limits: Limits
    stop: threading.Event

    def send(self, table: str, changes: Iterable[Change]) -> Sent:
        """Send reads; once this returns, they are in the queue.

        Waits out what may pass. Raises MisuseError or UnavailableError for what does not,
        InterruptedByUserError when told to stop.
        """
        packed, unsendable = _pack(table, changes, self.limits)
        messages = [self._message(chunk) for chunk in packed]
        try:
            sending = self.sender.send(messages, lambda: 0 if self.stop.is_set() else _FOREVER_MS)
        except (BotoCoreError, ClientError) as error:
            raise explain_aws(error, "cannot send to the queue") from error
        codes = Counter(refusal.code for refusal in sending.refusals)
        if codes and self.stop.is_set():
            raise InterruptedByUserError("interrupted")
        if codes:
            told = ", ".join(sorted(codes))
            raise MisuseError(
                f"the queue or the overflow bucket refuses reads of {table}: {told}",
                hint="check SLUICE_QUEUE_URL, SLUICE_OVERFLOW_BUCKET, SLUICE_BATCH_BYTES and the"
                " credentials",
            )
        changes_sent = sum(len(chunk.places) for chunk in packed)
        return Sent(changes_sent, sending.messages, sending.objects, sending.bytes, unsendable)

    def _message(self, chunk: Packed) -> Message:
        body = write_envelope(chunk.payload, queue_name(self.queue_url))
        return Message(self.queue_url, body, chunk.places, objects=chunk.objects)


def make_read(key: Item, item: Item | None, read_ms: int) -> Change:
    """A read of the table as a change; item None: nothing was there."""
    return Change("READ", key, read_ms, new=item)


def open_outlet(settings: ProducerSettings, sqs: Any, s3: Any, stop: threading.Event) -> Outlet:
    """An outlet into the queue that the settings name."""
    sender = Sender(
        queues=sqs,
        bucket=s3,
        bucket_name=settings.overflow_bucket,
        batch_bytes=settings.batch_bytes,
        sleep=stop.wait,
    )
    limits = fit_limits(settings.queue, settings.message_bytes, settings.chunk_bytes)
    return Outlet(sender, settings.queue_url, limits, stop)


def dump_json(value: object) -> bytes:
    """As `write_json`, in a seventh of the time: that was a sixth of a backfill's."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return write_json(value)


def _pack(table: str, changes: Iterable[Change], limits: Limits) -> tuple[list[Packed], int]:
    packer = Packer(limits, dump_json, zlib_ng)
    packed: list[Packed] = []
    unsendable = 0
    for place, change in enumerate(changes):
        try:
            packed += packer.add(table, None, change, place)
        except ContractError:
            unsendable += 1
    return packed + packer.close(), unsendable


@dataclass(frozen=True, slots=True)
class Depth:
    """What a queue holds, as far as SQS knows."""

    waiting: int
    hidden: int
    """Received, and not yet deleted."""
    delayed: int

    @property
    def total(self) -> int:
        return self.waiting + self.hidden + self.delayed


def read_depth(sqs: "SQSClient", url: str) -> Depth:
    """How deep a queue is. Raises MisuseError, UnavailableError."""
    try:
        answer = sqs.get_queue_attributes(
            QueueUrl=url,
            AttributeNames=[
                "ApproximateNumberOfMessages",
                "ApproximateNumberOfMessagesNotVisible",
                "ApproximateNumberOfMessagesDelayed",
            ],
        )["Attributes"]
    except (BotoCoreError, ClientError) as error:
        raise explain_aws(error, "cannot ask the queue how deep it is") from error
    return Depth(
        int(answer["ApproximateNumberOfMessages"]),
        int(answer["ApproximateNumberOfMessagesNotVisible"]),
        int(answer.get("ApproximateNumberOfMessagesDelayed", 0)),
    )


@dataclass
class Gate:
    """Lets readers through while the queue is shallow, so that live changes stay fresh."""

    depth: Callable[[], Depth]
    most: int
    """Messages waiting."""
    stop: threading.Event
    clock: Callable[[], float] = time.monotonic
    yielded_s: float = 0.0
    """Seconds that readers were held back, all together at once."""
    _asked: float | None = None
    _shut: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self) -> None:
        """Return as soon as there is room. Raises InterruptedByUserError."""
        with self._lock:  # one asks, the others wait for its answer
            while self._is_shut():
                began = self.clock()
                if self.stop.wait(_CHECK_EVERY_S / 2):
                    break
                self.yielded_s += self.clock() - began
        if self.stop.is_set():
            raise InterruptedByUserError("interrupted")

    def _is_shut(self) -> bool:
        now = self.clock()
        if self._asked is None or self._shut or now - self._asked >= _CHECK_EVERY_S:
            try:
                waiting = self.depth().waiting
            except UnavailableError:
                return True
            self._shut = waiting > self.most * (_RESUME_AT if self._shut else 1)
            self._asked = now
        return self._shut


def wait_until_empty(
    depth: Callable[[], Depth],
    stop: threading.Event,
    *,
    patience_s: float,
    looks: int = 3,
    every_s: float = 0.5,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Until the queue holds nothing, several looks in a row: its counts are approximate.

    False if it did not come to that within `patience_s`. Raises InterruptedByUserError.
    """
    deadline = clock() + patience_s
    empty = 0
    while True:
        try:
            empty = empty + 1 if depth().total == 0 else 0
        except UnavailableError:
            empty = 0
        if empty >= looks:
            return True
        if clock() > deadline:
            return False
        if stop.wait(every_s):
            raise InterruptedByUserError("interrupted")
