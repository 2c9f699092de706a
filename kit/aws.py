# ruff: noqa: N803 - the arguments have boto3's names
"""A small SQS and a small S3 in memory, called as boto3's clients are.

`tests/integration/test_queues.py` holds the queue to what ElasticMQ does. Of SQS's disorder it
shows what it is asked to: messages come in the order they were sent in, unless `shuffle` is called.
"""

import io
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, TypeAlias

from botocore.exceptions import ClientError

MESSAGE_BYTES: Final = 1_048_576
"""Of a message, and of a SendMessageBatch in total, attributes counted (Amazon SQS: quotas)."""

BATCH_ENTRIES: Final = 10
VISIBILITY_S: Final = 30

ILLEGAL: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What SendMessage refuses (Amazon SQS API reference)."""

Entry: TypeAlias = Mapping[str, Any]


def client_error(code: str, status: int = 400, words: str = "on demand") -> ClientError:
    """The error that boto3 raises for that answer."""
    response: Any = {
        "Error": {"Code": code, "Message": words},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "Operation")


def count_entry(entry: Entry) -> int:
    """What SQS counts of a message: its body and each attribute's name, type and value."""
    attributes = sum(
        len(name.encode()) + len(value["DataType"]) + len(value["StringValue"].encode())
        for name, value in entry.get("MessageAttributes", {}).items()
    )
    return len(entry["MessageBody"].encode()) + attributes


def check_batch(entries: Sequence[Entry], most_bytes: int = MESSAGE_BYTES) -> None:
    """Raise the ClientError that SQS answers a SendMessageBatch with, if it refuses it whole."""
    names = {entry["Id"] for entry in entries}
    if not entries:
        raise client_error("AWS.SimpleQueueService.EmptyBatchRequest")
    if len(entries) > BATCH_ENTRIES:
        raise client_error("AWS.SimpleQueueService.TooManyEntriesInBatchRequest")
    if len(names) != len(entries):
        raise client_error("AWS.SimpleQueueService.BatchEntryIdsNotDistinct")
    if sum(map(count_entry, entries)) > most_bytes:
        raise client_error("AWS.SimpleQueueService.BatchRequestTooLong")
    for entry in entries:
        check_message(entry, most_bytes)


def check_message(entry: Entry, most_bytes: int = MESSAGE_BYTES) -> None:
    """Raise the ClientError that SQS answers a message with that it does not take."""
    given = entry.get("MessageAttributes", {})
    texts = [entry["MessageBody"], *(value["StringValue"] for value in given.values())]
    if not all(texts):
        raise client_error("InvalidParameterValue", words="empty text")
    if any(map(ILLEGAL.search, texts)):
        raise client_error("InvalidMessageContents", words="characters that SQS does not take")
    if count_entry(entry) > most_bytes:
        raise client_error("InvalidParameterValue", words=f"longer than {most_bytes} bytes")


@dataclass(slots=True)
class Message:
    """A message in a queue."""

    body: str
    attributes: Mapping[str, Any]
    sent_ms: int
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    received: int = 0
    receipt: str = ""
    hidden_until: float = 0.0


@dataclass
class MemorySqs:
    """Standard queues, each made by the first use of its URL."""

    clock: Callable[[], float] = time.monotonic
    """Seconds, for visibility timeouts."""
    queues: dict[str, list[Message]] = field(default_factory=dict)
    """What is there, in flight or not."""

    def send_message(
        self, *, QueueUrl: str, MessageBody: str, MessageAttributes: Any = None
    ) -> dict[str, Any]:
        """Raises ClientError for what SQS refuses."""
        entry = {"MessageBody": MessageBody, "MessageAttributes": MessageAttributes or {}}
        check_message(entry)
        return {"MessageId": self._add(QueueUrl, entry)}

    def send_message_batch(self, *, QueueUrl: str, Entries: Sequence[Entry]) -> dict[str, Any]:
        """Raises ClientError for a batch that SQS refuses."""
        check_batch(Entries)
        return {
            "Successful": [{"Id": e["Id"], "MessageId": self._add(QueueUrl, e)} for e in Entries]
        }

    def receive_message(
        self,
        *,
        QueueUrl: str,
        MaxNumberOfMessages: int = 1,
        VisibilityTimeout: int = VISIBILITY_S,
        **_: Any,
    ) -> dict[str, Any]:
        """The first messages that are visible, all their attributes with them, now hidden."""
        now = self.clock()
        visible = [m for m in self.queues.get(QueueUrl, []) if m.hidden_until <= now]
        taken = visible[:MaxNumberOfMessages]
        for message in taken:
            message.received += 1
            message.receipt = uuid.uuid4().hex
            message.hidden_until = now + VisibilityTimeout
        return {"Messages": [_as_answer(message) for message in taken]} if taken else {}

    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> dict[str, Any]:
        """Delete by the last receipt; any other deletes nothing, which is no error."""
        there = self.queues.get(QueueUrl, [])
        self.queues[QueueUrl] = [m for m in there if m.receipt != ReceiptHandle]
        return {}

    def change_message_visibility(
        self, *, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int
    ) -> dict[str, Any]:
        """Hide a message in flight for so long from now."""
        for message in self.queues.get(QueueUrl, []):
            if message.receipt == ReceiptHandle:
                message.hidden_until = self.clock() + VisibilityTimeout
        return {}

    def shuffle(self, url: str, seed: int) -> None:
        """Let the messages that are there come in another order, as a standard queue may."""
        Random(seed).shuffle(self.queues.get(url, []))  # noqa: S311 - sameness is the point

    def _add(self, url: str, entry: Entry) -> str:
        attributes = entry.get("MessageAttributes", {})
        message = Message(entry["MessageBody"], attributes, time.time_ns() // 1_000_000)
        self.queues.setdefault(url, []).append(message)
        return message.id


def _as_answer(message: Message) -> dict[str, Any]:
    answer = {
        "MessageId": message.id,
        "ReceiptHandle": message.receipt,
        "Body": message.body,
        "Attributes": {
            "ApproximateReceiveCount": str(message.received),
            "SentTimestamp": str(message.sent_ms),
        },
    }
    return answer | ({"MessageAttributes": message.attributes} if message.attributes else {})


@dataclass
class MemoryBucket:
    """S3, as far as claim checks need it: one bucket, whatever name it is called by."""

    objects: dict[str, bytes] = field(default_factory=dict)

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> dict[str, Any]:
        """Store an object."""
        self.objects[Key] = Body
        return {}

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        """An object. Raises ClientError where there is none."""
        if Key not in self.objects:
            raise client_error("NoSuchKey", 404)
        return {"Body": io.BytesIO(self.objects[Key])}
