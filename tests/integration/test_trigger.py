"""The trigger on streams of real tables: moto in this process, and DynamoDB Local."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from types_boto3_dynamodb import DynamoDBClient
from types_boto3_dynamodbstreams import DynamoDBStreamsClient

from console.local.trigger import Trigger, TriggerSettings
from tests.services.engines import Engine

DEADLINE_S = 30.0


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    """A moto server of this module's own."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["moto", "dynamodb"])
def url(request: pytest.FixtureRequest) -> str:
    """The server the test runs on."""
    if request.param == "moto":
        return str(request.getfixturevalue("moto_url"))
    engine: Engine = request.getfixturevalue("dynamodb")
    return engine.url


class Table:
    """A table with a stream: key `id` (binary) and `at` (number)."""

    def __init__(self, url: str, name: str) -> None:
        self.name = f"{name}.with-dots"
        session = boto3.Session("testing", "testing", region_name="eu-west-1")
        self.client: DynamoDBClient = session.client("dynamodb", endpoint_url=url)
        self.streams: DynamoDBStreamsClient = session.client("dynamodbstreams", endpoint_url=url)
        made = self.client.create_table(
            TableName=self.name,
            KeySchema=[
                {"AttributeName": "id", "KeyType": "HASH"},
                {"AttributeName": "at", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "id", "AttributeType": "B"},
                {"AttributeName": "at", "AttributeType": "N"},
            ],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        self.arn = made["TableDescription"]["LatestStreamArn"]

    def put(self, id: bytes, **item: Any) -> None:
        """Put an item with that id, at 1."""
        self.client.put_item(TableName=self.name, Item={"id": {"B": id}, "at": {"N": "1"}, **item})

    def delete(self, id: bytes) -> None:
        """Delete it."""
        self.client.delete_item(TableName=self.name, Key={"id": {"B": id}, "at": {"N": "1"}})


@pytest.fixture
def table(url: str, fresh_name: str) -> Table:
    """A fresh table."""
    return Table(url, fresh_name)


def poll_until(trigger: Trigger, condition: Callable[[], bool]) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, trigger.counters
        if trigger.poll_once().idle:
            time.sleep(0.02)


class Notes:
    """A function that notes its records and refuses those whose id is in `poison`."""

    def __init__(self, *poison: str) -> None:
        self.poison = poison
        self.records: list[dict[str, Any]] = []

    def __call__(self, event: dict[str, Any], context: object) -> dict[str, Any]:
        for record in event["Records"]:
            if record["dynamodb"]["Keys"]["id"]["B"] in self.poison:
                number = record["dynamodb"]["SequenceNumber"]
                return {"batchItemFailures": [{"itemIdentifier": number}]}
            self.records.append(record)
        return {"batchItemFailures": []}


def test_changes_arrive_in_the_form_lambda_sends(table: Table) -> None:
    """Insert, modify and remove; a binary key, every kind of set, nesting, a long number."""
    number = "12345678901234567890.123456789012345678"
    typed: dict[str, Any] = {
        "bs": {"BS": [b"\x00\xff"]},
        "ss": {"SS": ["ü"]},
        "ns": {"NS": ["2.5"]},
        "m": {"M": {"b": {"B": b"x"}, "l": {"L": [{"NULL": True}, {"BOOL": False}]}}},
        "n": {"N": number},
    }
    table.put(b"\x00\x01", **typed)
    table.put(b"\x00\x01", title={"S": "new"})
    table.delete(b"\x00\x01")
    function = Notes()
    trigger = Trigger(table.arn, table.streams, function, TriggerSettings())
    poll_until(trigger, lambda: len(function.records) >= 3)
    key = {"id": {"B": "AAE="}, "at": {"N": "1"}}
    before = (
        key
        | typed
        | {
            "bs": {"BS": ["AP8="]},
            "m": {"M": {"b": {"B": "eA=="}, "l": {"L": [{"NULL": True}, {"BOOL": False}]}}},
        }
    )
    after = key | {"title": {"S": "new"}}
    changes = [record["dynamodb"] for record in function.records]
    assert [r["eventName"] for r in function.records] == ["INSERT", "MODIFY", "REMOVE"]
    assert [c["Keys"] for c in changes] == [key] * 3
    assert [c.get("OldImage") for c in changes] == [None, before, after]
    assert [c.get("NewImage") for c in changes] == [before, after, None]
    for record in function.records:
        assert record["eventSourceARN"] == table.arn
        assert record["eventVersion"] == "1.1"
        assert isinstance(record["dynamodb"]["ApproximateCreationDateTime"], int)
    numbers = [int(change["SequenceNumber"]) for change in changes]
    assert numbers == sorted(set(numbers))


def test_all_changes_arrive_in_order_and_the_poison_one_alone_is_given_up(table: Table) -> None:
    """Partial responses and bisecting, on a real stream."""
    for n in range(200):
        table.put(b"%03d" % n)
    function = Notes("MDQy")
    letters: list[dict[str, Any]] = []
    settings = TriggerSettings(batch_size=50, retries=1, bisect=True, report_failures=True)
    trigger = Trigger(table.arn, table.streams, function, settings, letters.append)
    poll_until(trigger, lambda: trigger.counters.delivered + trigger.counters.discarded >= 200)
    first_seen = list(dict.fromkeys(r["dynamodb"]["Keys"]["id"]["B"] for r in function.records))
    assert len(first_seen) == 199
    numbers = [int(r["dynamodb"]["SequenceNumber"]) for r in function.records]
    assert numbers == sorted(numbers)
    [letter] = letters
    assert letter["DDBStreamBatchInfo"]["batchSize"] == 1
    assert "MDQy" in letter["payload"]


def test_a_new_trigger_goes_on_from_the_snapshot(table: Table) -> None:
    """AFTER_SEQUENCE_NUMBER, also where there is no record after it yet."""
    table.put(b"1")
    function = Notes()
    trigger = Trigger(table.arn, table.streams, function, TriggerSettings())
    poll_until(trigger, lambda: len(function.records) == 1)
    again = Trigger(
        table.arn, table.streams, function, TriggerSettings(), resume=trigger.snapshot()
    )
    again.poll_once()
    table.put(b"2")
    poll_until(again, lambda: len(function.records) >= 2)
    assert [r["dynamodb"]["Keys"]["id"]["B"] for r in function.records] == ["MQ==", "Mg=="]
    assert again.counters.read_errors == 0


def test_latest_leaves_out_what_was_there(table: Table) -> None:
    """StartingPosition LATEST."""
    table.put(b"old")
    function = Notes()
    settings = TriggerSettings(starting_position="LATEST")
    trigger = Trigger(table.arn, table.streams, function, settings)
    trigger.poll_once()
    table.put(b"new")
    poll_until(trigger, lambda: len(function.records) >= 1)
    assert [r["dynamodb"]["Keys"]["id"]["B"] for r in function.records] == ["bmV3"]


def test_a_stream_that_is_not_there_is_tried_again(table: Table) -> None:
    """The server's error is counted, and nothing is taken for an end."""
    missing = table.arn.replace(table.name, "missing")
    trigger = Trigger(missing, table.streams, Notes(), TriggerSettings())
    trigger.poll_once()
    trigger.poll_once()
    assert trigger.counters.read_errors == 2
    assert trigger.snapshot() == {}
