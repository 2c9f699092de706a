# ruff: noqa: N803 - the arguments have boto3's names
"""The kit's SQS and S3 with faults on demand, and a Lambda invocation.

A fault is what the next call raises, or, for SQS, a function from the entries to those that fail.
"""

import base64
import json
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kit.aws import MESSAGE_BYTES, Entry, MemoryBucket, MemorySqs, check_batch, count_entry
from producer.contract import Change, Chunk, decode_chunk, decode_record

Fault = Exception | Callable[[Sequence[Entry]], list[dict[str, Any]]]


def refuse(*places: int, code: str = "InternalError", sender: bool = False) -> Fault:
    """A fault that refuses these entries of the next batch."""

    def fail(entries: Sequence[Entry]) -> list[dict[str, Any]]:
        return [
            {"Id": entries[place]["Id"], "Code": code, "SenderFault": sender} for place in places
        ]

    return fail


@dataclass(frozen=True)
class Sent:
    """A message that the fake took."""

    url: str
    body: str
    attributes: Mapping[str, str]

    @property
    def task_id(self) -> str:
        """The id that the worker's task will have."""
        return str(json.loads(self.body)["headers"]["id"])

    @property
    def task(self) -> str:
        """Name of the Celery task it calls."""
        return str(json.loads(self.body)["headers"]["task"])

    @property
    def payload(self) -> object:
        """The task's argument."""
        return json.loads(json.loads(self.body)["body"])[0][0]

    @property
    def chunk(self) -> Chunk:
        """The chunk it carries."""
        return decode_chunk(self.payload)

    @property
    def record(self) -> object:
        """The unreadable record it carries."""
        return decode_record(self.payload)


@dataclass
class FakeSQS(MemorySqs):
    """SendMessageBatch with SQS's own checks, faults, and a record of each call."""

    most_bytes: int = MESSAGE_BYTES
    faults: deque[Fault] = field(default_factory=deque)
    always: dict[str, Fault] = field(default_factory=dict)
    """Per queue URL, a fault that stays."""
    sent: list[Sent] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    """Entries of each call, failed ones included."""
    call_bytes: list[int] = field(default_factory=list)

    def send_message_batch(self, *, QueueUrl: str, Entries: Sequence[Entry]) -> dict[str, Any]:
        """Take the entries, except those that a fault refuses."""
        self.calls.append(len(Entries))
        self.call_bytes.append(sum(map(count_entry, Entries)))
        check_batch(Entries, self.most_bytes)
        fault = self.always.get(QueueUrl) or (self.faults.popleft() if self.faults else None)
        if isinstance(fault, Exception):
            raise fault
        failed = fault(Entries) if fault is not None else []
        lost = {entry["Id"] for entry in failed}
        taken = [entry for entry in Entries if entry["Id"] not in lost]
        first = len(self.sent)
        self.sent += [Sent(QueueUrl, e["MessageBody"], _attributes(e)) for e in taken]
        done = [{"Id": e["Id"], "MessageId": f"m-{n}"} for n, e in enumerate(taken, first)]
        answer: dict[str, Any] = {"Successful": done}
        return answer | ({"Failed": failed} if failed else {})

    def chunks(self, url: str) -> list[Chunk]:
        """The chunks sent to that queue."""
        return [message.chunk for message in self.sent if message.url == url]

    def changes(self, url: str) -> list[Change]:
        """The changes in them."""
        return [change for chunk in self.chunks(url) for change in chunk.changes]


def _attributes(entry: Entry) -> dict[str, str]:
    given = entry.get("MessageAttributes", {})
    return {name: attribute["StringValue"] for name, attribute in given.items()}


@dataclass
class FakeS3(MemoryBucket):
    """A bucket with faults."""

    faults: deque[Exception] = field(default_factory=deque)
    puts: int = 0

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> dict[str, Any]:
        """Store, unless a fault is waiting."""
        self.puts += 1
        if self.faults:
            raise self.faults.popleft()
        return super().put_object(Bucket=Bucket, Key=Key, Body=Body)


@dataclass
class Invocation:
    """Lambda's context, with a clock that only sleeping moves."""

    remaining_ms: int = 60_000
    aws_request_id: str = "request-1"
    slept_ms: list[float] = field(default_factory=list)

    def get_remaining_time_in_millis(self) -> int:
        """What is left of the invocation."""
        return self.remaining_ms

    def sleep(self, seconds: float) -> None:
        """Let that much of it pass."""
        self.slept_ms.append(1_000 * seconds)
        self.remaining_ms -= round(1_000 * seconds)


ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/posts-a.b/stream/2024-01-01T00:00:00.000"


def make_record(number: int, *, arn: str = ARN, **body: Any) -> dict[str, Any]:
    """A MODIFY record; its sequence number is 10**24 + `number`."""
    fields = {
        "ApproximateCreationDateTime": 1_700_000_000,
        "Keys": {"id": {"S": str(number)}},
        "NewImage": {"id": {"S": str(number)}, "title": {"S": f"post {number}"}},
        "SequenceNumber": sequence(number),
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    } | body
    return {
        "eventID": str(number),
        "eventName": "MODIFY",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "eventSourceARN": arn,
        "dynamodb": {name: value for name, value in fields.items() if value is not None},
    }


def sequence(number: int) -> str:
    """The sequence number of `make_record(number)`."""
    return str(10**24 + number)


def noise(seed: int, count: int) -> str:
    """Base64 of so many bytes that no compression makes smaller, the same for each seed."""
    return base64.b64encode(random.Random(seed).randbytes(count)).decode()
