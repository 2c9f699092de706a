"""Reading a DynamoDB stream through boto3: shards, iterators, pages, and what their errors mean.

Source: Amazon DynamoDB Streams API Reference, DescribeStream, GetShardIterator and GetRecords
(https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Operations_Amazon_DynamoDB_Streams.html).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from console.local.batches import StartingPosition

PAGE_RECORDS: Final = 1_000
"""Most records of one GetRecords call."""


class ReadLaterError(Exception):
    """A passing fault: the same read is tried again. It never means that a shard is at its end."""


class IteratorExpiredError(ReadLaterError):
    """The iterator is older than 15 minutes: a new one is taken where reading stopped."""


class RecordsTrimmedError(ReadLaterError):
    """Records left the stream unread: a gap is reported, reading goes on at the oldest."""


class ShardMissingError(ReadLaterError):
    """The stream does not know the shard: a gap is reported if the stream no longer lists it."""


_MEANINGS: Final[Mapping[str, type[ReadLaterError]]] = {
    "ExpiredIteratorException": IteratorExpiredError,
    "TrimmedDataAccessException": RecordsTrimmedError,
    "ResourceNotFoundException": ShardMissingError,
}


class StreamsClient(Protocol):
    """What is used of boto3's `dynamodbstreams` client."""

    @property
    def describe_stream(self) -> Callable[..., Any]: ...
    @property
    def get_shard_iterator(self) -> Callable[..., Any]: ...
    @property
    def get_records(self) -> Callable[..., Any]: ...


@dataclass(frozen=True, slots=True)
class Position:
    """Where the reading of a shard stands. Plain values: it can be stored as JSON."""

    start: StartingPosition = "TRIM_HORIZON"
    """Where to start if nothing has been settled yet."""
    after: str | None = None
    """Sequence number up to which everything is settled."""
    finished: bool = False
    """Whether the shard was read and settled to its end."""


@dataclass(frozen=True, slots=True)
class ListedShard:
    """A shard as the stream describes it."""

    id: str
    parent: str | None
    closed: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """The stream's shards, and the name of its table's partition key."""

    partition_key: str
    shards: Mapping[str, ListedShard]


@dataclass(frozen=True, slots=True)
class Page:
    """What one GetRecords returned. No next iterator: the shard is closed and read to its end."""

    records: Sequence[Mapping[str, Any]]
    iterator: str | None


class StreamReader:
    """Reads one stream. Its methods raise ReadLaterError, or a more exact kind of it."""

    def __init__(self, client: StreamsClient, arn: str) -> None:
        self._client = client
        self._arn = arn

    def list_shards(self) -> Listing:
        """All shards, over as many pages as it takes."""
        shards: dict[str, ListedShard] = {}
        start: dict[str, str] = {}
        with _translate_errors("DescribeStream"):
            while True:
                found = self._client.describe_stream(StreamArn=self._arn, **start)
                stream = found["StreamDescription"]
                shards |= {shard["ShardId"]: _read_shard(shard) for shard in stream["Shards"]}
                if not (last := stream.get("LastEvaluatedShardId")):
                    return Listing(_find_partition_key(stream.get("KeySchema", ())), shards)
                start = {"ExclusiveStartShardId": last}

    def open(self, shard_id: str, position: Position) -> str:
        """An iterator just after `position`."""
        at: dict[str, str] = {"ShardIteratorType": position.start}
        if position.after is not None:
            at = {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "SequenceNumber": position.after,
            }
        with _translate_errors("GetShardIterator"):
            found = self._client.get_shard_iterator(StreamArn=self._arn, ShardId=shard_id, **at)
            return str(found["ShardIterator"])

    def read(self, iterator: str) -> Page:
        """The next records; perhaps none, which says nothing about those after them."""
        with _translate_errors("GetRecords"):
            found = self._client.get_records(ShardIterator=iterator, Limit=PAGE_RECORDS)
            return Page(found["Records"], found.get("NextShardIterator"))


def _read_shard(shard: Mapping[str, Any]) -> ListedShard:
    return ListedShard(
        id=shard["ShardId"],
        parent=shard.get("ParentShardId"),
        closed="EndingSequenceNumber" in shard.get("SequenceNumberRange", {}),
    )


def _find_partition_key(schema: Sequence[Mapping[str, str]]) -> str:
    return next((part["AttributeName"] for part in schema if part["KeyType"] == "HASH"), "")


@contextmanager
def _translate_errors(operation: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        raise _MEANINGS.get(code, ReadLaterError)(f"{operation}: {error}") from error
    except BotoCoreError as error:
        raise ReadLaterError(f"{operation}: {error}") from error
