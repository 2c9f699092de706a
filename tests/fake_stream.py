# ruff: noqa: N803 - the arguments have boto3's names
"""A DynamoDB stream in memory, with shards, pages, trimming and faults on demand.

It answers like boto3's `dynamodbstreams` client, as the DynamoDB Streams API Reference describes:
an iterator marks a place, LATEST and AFTER_SEQUENCE_NUMBER included; a closed shard ends with no
next iterator; a trimmed place raises TrimmedDataAccessException.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from console.local.batches import TriggerSettings
from console.local.invocation import LambdaContext
from console.local.trigger import Trigger

ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/posts-a.b/stream/2024-01-01T00:00:00.000"
START = 1_700_000_000.0


def client_error(code: str, operation: str = "GetRecords") -> ClientError:
    """The error that boto3 raises for that code."""
    return ClientError({"Error": {"Code": code, "Message": "on demand"}}, operation)


@dataclass
class Clock:
    """Stands still until it is moved."""

    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass
class _Shard:
    parent: str | None = None
    records: list[dict[str, Any]] = field(default_factory=list)
    trimmed: int = 0
    closed: bool = False


class FakeStream:
    """The stream and its client in one."""

    def __init__(self, clock: Clock, page: int = 1_000) -> None:
        self.clock = clock
        self.page = page
        self.shards: dict[str, _Shard] = {}
        self.faults: dict[str, list[Exception]] = {}
        """Per operation, what its next calls raise."""
        self.expired: set[str] = set()
        self._sequence = 10**20
        self._iterators = 0

    def open_shard(self, id: str, parent: str | None = None) -> None:
        """Add a shard."""
        self.shards[id] = _Shard(parent)

    def close_shard(self, id: str) -> None:
        """Nothing more is written to it."""
        self.shards[id].closed = True

    def put(self, key: str, shard: str = "shard-1", size: int = 0, step: int = 7) -> str:
        """Write an INSERT of that key now; its sequence number. They have gaps, as in AWS."""
        if shard not in self.shards:
            self.open_shard(shard)
        self._sequence += step
        image = {"id": {"S": key}, **({"body": {"S": "x" * size}} if size else {})}
        self.shards[shard].records.append(
            {
                "eventID": f"e{self._sequence}",
                "eventName": "INSERT",
                "eventSource": "aws:dynamodb",
                "eventVersion": "1.1",
                "awsRegion": "us-east-1",
                "dynamodb": {
                    "ApproximateCreationDateTime": datetime.fromtimestamp(self.clock(), UTC),
                    "Keys": {"id": {"S": key}},
                    "NewImage": image,
                    "SequenceNumber": str(self._sequence),
                    "SizeBytes": 10 + size,
                    "StreamViewType": "NEW_AND_OLD_IMAGES",
                },
            }
        )
        return str(self._sequence)

    def trim(self, shard: str, count: int) -> None:
        """The oldest records leave the stream."""
        self.shards[shard].trimmed = count

    def expire_iterators(self) -> None:
        """Every iterator given out so far is too old."""
        self.expired.add(str(self._iterators))

    def describe_stream(
        self, *, StreamArn: str, ExclusiveStartShardId: str | None = None
    ) -> dict[str, Any]:
        """Two shards a page, to have pages."""
        self._fault("DescribeStream")
        assert StreamArn == ARN
        ids = list(self.shards)
        begin = ids.index(ExclusiveStartShardId) + 1 if ExclusiveStartShardId else 0
        described: dict[str, Any] = {
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "Shards": [self._describe(name) for name in ids[begin : begin + 2]],
        }
        if begin + 2 < len(ids):
            described["LastEvaluatedShardId"] = ids[begin + 1]
        return {"StreamDescription": described}

    def _describe(self, id: str) -> dict[str, Any]:
        shard = self.shards[id]
        numbers = {"StartingSequenceNumber": "1"} | (
            {"EndingSequenceNumber": "2"} if shard.closed else {}
        )
        parent = {"ParentShardId": shard.parent} if shard.parent else {}
        return {"ShardId": id, "SequenceNumberRange": numbers, **parent}

    def get_shard_iterator(
        self, *, StreamArn: str, ShardId: str, ShardIteratorType: str, SequenceNumber: str = ""
    ) -> dict[str, Any]:
        """An iterator names a place: the number of records before it."""
        self._fault("GetShardIterator")
        if ShardId not in self.shards:
            raise client_error("ResourceNotFoundException", "GetShardIterator")
        shard = self.shards[ShardId]
        match ShardIteratorType:
            case "TRIM_HORIZON":
                place = shard.trimmed
            case "LATEST":
                place = len(shard.records)
            case _:
                place = sum(_sequence_of(r) <= int(SequenceNumber) for r in shard.records)
        if place < shard.trimmed:
            raise client_error("TrimmedDataAccessException", "GetShardIterator")
        return {"ShardIterator": self._issue(ShardId, place)}

    def get_records(self, *, ShardIterator: str, Limit: int) -> dict[str, Any]:
        """A page."""
        self._fault("GetRecords")
        number, name, place_text = ShardIterator.split("|")
        place = int(place_text)
        if any(int(number) <= int(last) for last in self.expired):
            raise client_error("ExpiredIteratorException")
        if name not in self.shards:
            raise client_error("ResourceNotFoundException")
        shard = self.shards[name]
        if place < shard.trimmed:
            raise client_error("TrimmedDataAccessException")
        found = shard.records[place : place + min(Limit, self.page)]
        end = place + len(found)
        if shard.closed and end == len(shard.records):
            return {"Records": found}
        return {"Records": found, "NextShardIterator": self._issue(name, end)}

    def _issue(self, id: str, place: int) -> str:
        self._iterators += 1
        return f"{self._iterators}|{id}|{place}"

    def _fault(self, operation: str) -> None:
        if queued := self.faults.get(operation):
            raise queued.pop(0)


def _sequence_of(record: Mapping[str, Any]) -> int:
    return int(record["dynamodb"]["SequenceNumber"])


Answer = Callable[[list[str]], object]


class FakeFunction:
    """A function that notes the keys of each batch it gets and answers as told.

    poison: keys whose records it never accepts; it raises if one is in the batch. With `report`
    it names the first such record instead, and works on what lies before it.
    """

    def __init__(self, *, poison: frozenset[str] = frozenset(), report: bool = False) -> None:
        self.poison = poison
        self.report = report
        self.batches: list[list[str]] = []
        self.events: list[dict[str, Any]] = []
        self.contexts: list[LambdaContext] = []
        self.answer: Answer | None = None

    @property
    def keys(self) -> list[str]:
        """Every key given to it, in order, repeats included."""
        return [key for batch in self.batches for key in batch]

    def __call__(self, event: dict[str, Any], context: LambdaContext) -> object:
        keys = [record["dynamodb"]["Keys"]["id"]["S"] for record in event["Records"]]
        self.batches.append(keys)
        self.events.append(event)
        self.contexts.append(context)
        if self.answer is not None:
            return self.answer([r["dynamodb"]["SequenceNumber"] for r in event["Records"]])
        bad = [i for i, key in enumerate(keys) if key in self.poison]
        if bad and not self.report:
            raise RuntimeError(f"cannot take {keys[bad[0]]}")
        named = [event["Records"][bad[0]]["dynamodb"]["SequenceNumber"]] if bad else []
        return {"batchItemFailures": [{"itemIdentifier": number} for number in named]}


def fail_always(_: list[str]) -> object:
    """An answer for FakeFunction: the function raises."""
    raise RuntimeError("down")


@dataclass
class Scene:
    """A trigger on a fake stream, with its function, destination and clock."""

    settings: TriggerSettings = field(default_factory=TriggerSettings)
    function: FakeFunction = field(default_factory=FakeFunction)
    clock: Clock = field(default_factory=Clock)
    letters: list[dict[str, Any]] = field(default_factory=list)
    stream: FakeStream = field(init=False)
    trigger: Trigger = field(init=False)

    def __post_init__(self) -> None:
        self.stream = FakeStream(self.clock)
        self.trigger = self.start()

    def start(self, *, resume: bool = False) -> Trigger:
        """A new trigger in place of the old one, from its snapshot if wanted."""
        self.trigger = Trigger(
            ARN,
            self.stream,
            self.function,
            self.settings,
            self.letters.append,
            clock=self.clock,
            resume=self.trigger.snapshot() if resume else None,
        )
        return self.trigger

    def poll(self, times: int = 1, seconds: float = 0.0) -> None:
        """So many rounds, the clock moved on after each."""
        for _ in range(times):
            self.trigger.poll_once()
            self.clock.now += seconds

    def settle(self, rounds: int = 500) -> None:
        """Poll until nothing moves any more, longer than any window and fault in these tests."""
        quiet = 0
        for _ in range(rounds):
            done = self.trigger.poll_once()
            self.clock.now += 1.0
            quiet = quiet + 1 if done.idle and not done.invoked else 0
            if quiet == 5:
                return
        raise AssertionError(f"still moving after {rounds} rounds")


def scene(function: FakeFunction | None = None, **settings: Any) -> Scene:
    """A scene with these settings, and shard-1 open."""
    made = Scene(TriggerSettings(**settings), function or FakeFunction())
    made.stream.open_shard("shard-1")
    return made
