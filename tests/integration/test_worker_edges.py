"""The worker's edges to AWS: overflow bucket, table and dead-letter queue."""

import zlib
from typing import Any

import boto3
import pytest

from producer.contract import Change, Chunk, Overflow, decode_chunk, write_images
from tests.services.engines import Engine
from tests.workers import REGION, Queues, connect_sqs
from worker.deadletters import DeadLetterQueue, Letter
from worker.errors import RefusedError, UnavailableError
from worker.identity import document_id
from worker.incoming import Call, read_body
from worker.overflow import Bucket
from worker.source import DynamoSource
from worker.wire import keep_wire

KEY = {"id": {"S": "a"}}


def connect(service: Any, url: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


@pytest.fixture
def bucket(s3: Engine, fresh_name: str) -> tuple[Any, Bucket]:
    client = connect("s3", s3.url)
    client.create_bucket(Bucket=fresh_name)

    def put(key: str, body: bytes) -> None:
        client.put_object(Bucket=fresh_name, Key=key, Body=body)

    return put, Bucket(client, fresh_name)


def checked(size: int = 100) -> Change:
    return Change("MODIFY", KEY, 5, "7", overflow=Overflow("posts/7", size))


def test_a_claim_check_is_redeemed(bucket: tuple[Any, Bucket]) -> None:
    put, overflow = bucket
    whole = Change("MODIFY", KEY, 5, "7", new={"id": {"S": "a"}}, old={"id": {"S": "b"}})
    put("posts/7", zlib.compress(write_images(whole)))
    assert overflow.fetch(checked()) == whole


def test_a_claim_check_without_its_object_is_refused(bucket: tuple[Any, Bucket]) -> None:
    with pytest.raises(RefusedError, match="OverflowMissing"):
        bucket[1].fetch(checked())


@pytest.mark.parametrize(
    "content", [b"", b"no zlib", zlib.compress(b"[]"), zlib.compress(b'{"new": 7}')]
)
def test_an_object_that_is_no_pair_of_images_is_refused(
    bucket: tuple[Any, Bucket], content: bytes
) -> None:
    put, overflow = bucket
    put("posts/7", content)
    with pytest.raises(RefusedError, match="OverflowUnreadable"):
        overflow.fetch(checked())


def test_an_object_that_grows_past_the_bound_is_refused(bucket: tuple[Any, Bucket]) -> None:
    put, overflow = bucket
    put("posts/7", zlib.compress(b" " * 17 * 1024 * 1024))
    with pytest.raises(RefusedError, match="longer than"):
        overflow.fetch(checked())


def test_without_a_bucket_a_claim_check_is_refused(s3: Engine) -> None:
    with pytest.raises(RefusedError, match="none is configured"):
        Bucket(connect("s3", s3.url), "").fetch(checked())


def test_a_bucket_that_is_not_there_makes_the_message_stay(s3: Engine, fresh_name: str) -> None:
    with pytest.raises(UnavailableError):
        Bucket(connect("s3", s3.url), fresh_name).fetch(checked())


def test_the_table_is_read_in_the_order_asked_whatever_the_keys(
    dynamodb: Engine, fresh_name: str
) -> None:
    client = connect("dynamodb", dynamodb.url)
    keep_wire(client)
    client.create_table(
        TableName=fresh_name,
        KeySchema=[
            {"AttributeName": "maker", "KeyType": "HASH"},
            {"AttributeName": "number", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "maker", "AttributeType": "B"},
            {"AttributeName": "number", "AttributeType": "N"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    for number in range(0, 130, 2):
        client.put_item(
            TableName=fresh_name,
            Item={
                "maker": {"B": b"\x00\xff"},
                "number": {"N": str(number)},
                "data": {"M": {"blobs": {"BS": [b"a", b"b"]}}},
            },
        )
    keys = [{"maker": {"B": "AP8="}, "number": {"N": str(number)}} for number in range(130)]
    items = DynamoSource(client).read(fresh_name, [*keys, keys[4]])
    assert [item is not None for item in items] == [n % 2 == 0 for n in range(130)] + [True]
    assert items[4] is not None
    assert sorted(items[4]["data"]["M"]["blobs"]["BS"]) == ["YQ==", "Yg=="]
    assert document_id({name: items[4][name] for name in ("maker", "number")}) == document_id(
        keys[4]
    )


def test_a_table_that_is_not_there_makes_the_message_stay(
    dynamodb: Engine, fresh_name: str
) -> None:
    with pytest.raises(UnavailableError):
        DynamoSource(connect("dynamodb", dynamodb.url)).read(fresh_name, [KEY])


def test_a_refused_change_is_a_message_of_its_own_with_its_reason(
    elasticmq: Engine, fresh_name: str
) -> None:
    queues = Queues.create(connect_sqs(elasticmq.url), fresh_name)
    stream = "arn:aws:dynamodb:eu-west-1:123456789012:table/posts/stream/2024-01-01T00:00:00.000"
    change = Change("INSERT", KEY, 5, "7", new={"id": {"S": "a"}})
    other = Change("INSERT", {"id": {"S": "b"}}, 5, "8", new={"id": {"S": "b"}})
    letters = DeadLetterQueue(queues.client, queues.dead_url, fresh_name)
    reason = "bad \x00 value " + "é" * 3_000
    letter = Letter("mapper_parsing_exception", reason, "posts", "posts-write", "a")
    letters.send_change(Chunk("posts", stream, (change, other)), change, letter)
    ((body, attributes),) = queues.drain_dead()
    call = read_body(body)
    assert isinstance(call, Call)
    assert decode_chunk(call.payload) == Chunk("posts", stream, (change,))
    assert attributes["sluice-error"] == "mapper_parsing_exception"
    assert attributes["sluice-reason"].startswith("bad \ufffd value é")
    assert len(attributes["sluice-reason"].encode()) <= 2_048
    assert (attributes["sluice-table"], attributes["sluice-id"]) == ("posts", "a")
    assert (attributes["sluice-index"], attributes["sluice-origin"]) == ("posts-write", "worker")


def test_a_dead_letter_queue_that_is_not_there_makes_the_message_stay(
    elasticmq: Engine, fresh_name: str
) -> None:
    url = f"{elasticmq.url}/000000000000/{fresh_name}"
    with pytest.raises(UnavailableError):
        DeadLetterQueue(connect_sqs(elasticmq.url), url, fresh_name).send_body(
            "x", Letter("e", "r")
        )
