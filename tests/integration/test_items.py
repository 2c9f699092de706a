"""The table read as its owner's models: nothing lost, nothing twice, whatever keys and pages."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from pydantic import BaseModel

from examples.readings.tables import Reading
from tests.services.engines import Engine
from tests.workers import REGION
from worker.errors import UnavailableError
from worker.items import Items, Token, UnreadableItemError, WrongRequestError
from worker.tables import Table


class Post(BaseModel):
    id: str
    title: str


def connect(url: str) -> Any:
    return boto3.client(
        "dynamodb",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def create(client: Any, name: str, **keys: str) -> None:
    client.create_table(
        TableName=name,
        KeySchema=[
            {"AttributeName": key, "KeyType": role}
            for key, role in zip(keys, ("HASH", "RANGE"), strict=False)
        ],
        AttributeDefinitions=[
            {"AttributeName": key, "AttributeType": kind} for key, kind in keys.items()
        ],
        BillingMode="PAY_PER_REQUEST",
    )


@pytest.fixture
def client(dynamodb: Engine) -> Any:
    return connect(dynamodb.url)


@pytest.fixture
def stations(client: Any, fresh_name: str) -> Iterator[Items[Reading]]:
    """A table of 60 readings, some 40 KB each: DynamoDB ends a page at 1 MB."""
    create(client, fresh_name, s="B", t="N")
    for number in range(60):
        key = {"s": {"B": bytes([number % 7, 0, 255])}, "t": {"N": str(number - 30)}}
        rest = {"c": {"N": "1.5"}, "p": {"B": b"\x00\xff" * 20_000}}
        client.put_item(TableName=fresh_name, Item=key | rest)
    yield Items(Table(fresh_name, model=Reading), client)
    client.delete_table(TableName=fresh_name)


def test_pages_neither_lose_nor_repeat_an_item(stations: Items[Reading]) -> None:
    first = stations.scan()
    assert first.next is not None, "more than a page of 1 MB"
    found = [(one.station, one.taken) for one in stations.iterate()]
    assert len(found) == len(set(found)) == 60
    assert found[: len(first.items)] == [(one.station, one.taken) for one in first.items]
    pages, token = [], None
    while True:
        page = stations.scan(start=token, limit=1)
        assert len(page.items) <= 1
        pages += [(one.station, one.taken) for one in page.items]
        token = page.next
        if token is None:
            break
    assert pages == found
    parts = [
        {(o.station, o.taken) for o in stations.iterate(segment=n, segments=3)} for n in range(3)
    ]
    assert set().union(*parts) == set(found)
    assert sum(map(len, parts)) == 60


def test_a_scan_goes_on_from_its_token_in_another_process(
    stations: Items[Reading], client: Any
) -> None:
    page = stations.scan(limit=25)
    assert page.next is not None
    again = Items(stations.table, client)
    rest = list(again.iterate(start=Token(str(page.next))))
    assert len(page.items) + len(rest) == 60
    assert not {(o.station, o.taken) for o in page.items} & {(o.station, o.taken) for o in rest}


def test_a_token_is_good_for_its_own_segment_alone(stations: Items[Reading]) -> None:
    page = stations.scan(limit=1, segment=0, segments=2)
    with pytest.raises(WrongRequestError, match="segment"):
        stations.scan(start=page.next, segment=1, segments=2)
    with pytest.raises(WrongRequestError, match="segment"):
        stations.scan(start=page.next)
    for wrong in ("", "nonsense", "e30="):
        with pytest.raises(WrongRequestError, match="no token"):
            stations.scan(start=Token(wrong))


def test_an_item_is_read_by_its_key_as_the_model(stations: Items[Reading]) -> None:
    reading = stations.get(s=b"\x01\x00\xff", t=-29)
    assert reading is not None
    assert (reading.station, reading.taken, len(reading.packet)) == (b"\x01\x00\xff", -29, 40_000)
    assert stations.get({"s": b"\x01\x00\xff"}, t=0) is None
    for wrong in ({"s": b"a"}, {"s": b"a", "t": 1, "x": 1}, {"station": b"a", "taken": 1}):
        with pytest.raises(WrongRequestError, match="is s, t"):
            stations.get(wrong)
    for value in (True, 1.5, None):
        with pytest.raises(WrongRequestError, match="t is"):
            stations.get(s=b"a", t=value)
    with pytest.raises(WrongRequestError, match="refuses"):
        stations.get(s="text", t=1)


def test_without_a_model_items_are_dicts_and_a_refused_one_is_told(
    client: Any, fresh_name: str
) -> None:
    create(client, fresh_name, id="S")
    for name in "abc":
        client.put_item(TableName=fresh_name, Item={"id": {"S": name}, "title": {"S": "t"}})
    client.put_item(TableName=fresh_name, Item={"id": {"S": "d"}, "raw": {"BS": [b"x"]}})
    assert Items(Table(fresh_name), client).get(id="d") == {"id": "d", "raw": {b"x"}}
    table = Table(fresh_name, model=Post)
    with pytest.raises(UnreadableItemError, match=r'"d".*title: Field required'):
        list(Items(table, client).iterate())
    told: list[UnreadableItemError] = []
    kept = Items(table, client, on_unreadable=told.append)
    assert {post.id for post in kept.iterate()} == set("abc")
    assert [error.key for error in told] == [{"id": {"S": "d"}}]
    assert kept.get(id="d") is None
    client.delete_table(TableName=fresh_name)


def test_a_table_that_is_not_there_and_one_that_does_not_answer(client: Any) -> None:
    with pytest.raises(WrongRequestError, match="test-absent"):
        Items(Table("test-absent"), client).get(id="a")
    away = connect("http://127.0.0.1:9")
    away.meta.events.register("needs-retry.*", lambda **_: None)
    with pytest.raises(UnavailableError, match="cannot read"):
        Items(Table("test-absent"), away).scan()
