"""The deployed entry point on boto3's own clients: environment to messages and objects, on moto."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from producer import handler as entry
from producer.contract import (
    ERROR_ATTRIBUTE,
    RECORD_TASK,
    Chunk,
    decode_chunk,
    decode_record,
    read_images,
)
from producer.errors import ConfigurationError
from tests.fakes import Invocation, make_record, noise, sequence

EVENTS = Path(__file__).parent.parent / "events"
BUCKET = "overflow"


@dataclass
class Account:
    """What the function finds in its account."""

    sqs: Any
    s3: Any
    queue: str
    dead: str

    def receive(self, url: str) -> list[dict[str, Any]]:
        """Take every message of a queue."""
        messages: list[dict[str, Any]] = []
        while page := self.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages"):
            messages += page
        return messages

    def chunks(self) -> list[Chunk]:
        """The chunks in the queue."""
        return [decode_chunk(argument(message)) for message in self.receive(self.queue)]


def argument(message: dict[str, Any]) -> object:
    return json.loads(json.loads(message["Body"])["body"])[0][0]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        sqs, s3 = boto3.client("sqs"), boto3.client("s3")
        queue, dead = (sqs.create_queue(QueueName=n)["QueueUrl"] for n in ("changes", "dead"))
        where: Any = {"LocationConstraint": "eu-west-1"}
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)
        monkeypatch.setenv("SLUICE_QUEUE_URL", queue)
        monkeypatch.setenv("SLUICE_DEAD_LETTER_URL", dead)
        monkeypatch.setenv("SLUICE_OVERFLOW_BUCKET", BUCKET)
        entry._producer.cache_clear()
        yield Account(sqs, s3, queue, dead)
        entry._producer.cache_clear()


def invoke(*records: object) -> dict[str, Any]:
    return entry.handler({"Records": list(records)}, Invocation())


@pytest.mark.parametrize(
    "name", ["insert_modify_remove", "every_type", "time_to_live", "partitions_and_tables"]
)
def test_an_event_as_aws_sends_it_reaches_the_queue(account: Account, name: str) -> None:
    records = json.loads((EVENTS / f"{name}.json").read_text())["Records"]
    assert invoke(*records) == {"batchItemFailures": []}
    changes = [change for chunk in account.chunks() for change in chunk.changes]
    assert sorted(str(change.sequence) for change in changes) == sorted(
        record["dynamodb"]["SequenceNumber"] for record in records
    )


def test_an_item_too_large_for_a_message_lies_in_the_bucket(account: Account) -> None:
    record = make_record(1, NewImage={"id": {"S": "1"}, "noise": {"B": noise(1, 300_000)}})
    assert invoke(record) == {"batchItemFailures": []}
    ((change,),) = [chunk.changes for chunk in account.chunks()]
    assert change.overflow is not None
    stored = account.s3.get_object(Bucket=BUCKET, Key=change.overflow.key)["Body"].read()
    assert read_images(change, stored).new == record["dynamodb"]["NewImage"]


def test_a_record_nobody_can_read_lies_in_the_dead_letter_queue(account: Account) -> None:
    assert invoke({"broken": "\ud800"}, make_record(2)) == {"batchItemFailures": []}
    (letter,) = account.receive(account.dead)
    assert json.loads(letter["Body"])["headers"]["task"] == RECORD_TASK
    assert decode_record(argument(letter)) == {"broken": "\ud800"}
    assert letter["MessageAttributes"][ERROR_ATTRIBUTE]["StringValue"] == "UnreadableRecord"
    assert len(account.chunks()) == 1


def test_a_queue_that_is_gone_is_answered_with_the_lowest_number(account: Account) -> None:
    account.sqs.delete_queue(QueueUrl=account.queue)
    answer = invoke(make_record(1), make_record(2))
    assert answer == {"batchItemFailures": [{"itemIdentifier": sequence(1)}]}


def test_clients_are_made_once_and_only_when_the_first_event_comes(account: Account) -> None:
    assert entry._producer.cache_info().currsize == 0
    invoke(make_record(1))
    first = entry._producer()
    invoke(make_record(2))
    assert entry._producer() is first


def test_a_wrong_environment_fails_each_invocation_until_it_is_mended(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_MESSAGE_BYTES", "many")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="SLUICE_MESSAGE_BYTES"):
            invoke(make_record(1))
    monkeypatch.delenv("SLUICE_MESSAGE_BYTES")
    assert invoke(make_record(1)) == {"batchItemFailures": []}
