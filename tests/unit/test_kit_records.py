"""Built stream records are what AWS sends, and what the producer reads."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from pydantic import BaseModel

from kit.errors import UnwritableItemError
from kit.records import Records, event
from kit.typed import same
from producer.contract import Item
from producer.stream import read_record
from tests import strategies
from worker.events import is_expiry
from worker.tables import Table
from worker.values import read_item

EVENTS = Path(__file__).parents[1] / "events"


class Post(BaseModel):
    id: str
    title: str = ""


@pytest.fixture
def records() -> Records[Post]:
    return Records.of(Table("posts", model=Post), "id", clock=lambda: 1_700_000_000.9)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_record_has_the_fields_of_aws_own_example(place: int) -> None:
    example = json.loads((EVENTS / "insert_modify_remove.json").read_text())["Records"][place]
    body = example["dynamodb"]
    images = {name: body.get(name) for name in ("NewImage", "OldImage")}
    made = Records.of(Table("Example-Table.With_Stream"), "Id").record(
        example["eventName"], new=images["NewImage"], old=images["OldImage"]
    )
    assert made.keys() == example.keys()
    assert made["dynamodb"].keys() == body.keys()
    assert {n: type(v) for n, v in made["dynamodb"].items()} == {
        n: type(v) for n, v in body.items()
    }
    assert made["dynamodb"]["Keys"] == body["Keys"]
    assert made["dynamodb"]["SizeBytes"] == body["SizeBytes"]


def test_an_expired_item_is_marked_as_aws_marks_it(records: Records[Post]) -> None:
    example = json.loads((EVENTS / "time_to_live.json").read_text())["Records"][0]
    made = records.expire(Post(id="a"))
    assert made.keys() == example.keys()
    assert made["userIdentity"] == example["userIdentity"]
    assert is_expiry(read_record(made)[1].identity)
    assert "userIdentity" not in records.remove(Post(id="a"))


def test_sequence_numbers_grow_as_numbers_and_not_as_text(records: Records[Post]) -> None:
    made = [records.insert(Post(id="a"))["dynamodb"]["SequenceNumber"] for _ in range(20)]
    assert all(21 <= len(number) <= 40 for number in made)
    assert sorted(made, key=int) == made
    assert sorted(made) != made


def test_times_are_floored_to_the_second(records: Records[Post]) -> None:
    body = records.insert(Post(id="a"))["dynamodb"]
    assert body["ApproximateCreationDateTime"] == 1_700_000_000


@given(strategies.items({"id": {"S": "a"}}), strategies.items({"id": {"S": "a"}}))
def test_the_producer_reads_what_was_built(old: Item, new: Item) -> None:
    records = Records.of(Table("posts"), "id")
    stream, change = read_record(records.modify(read_item(old), read_item(new)), old_images=True)
    assert (stream.table, change.kind, change.key) == ("posts", "MODIFY", {"id": {"S": "a"}})
    assert change.new is not None
    assert change.old is not None
    assert same(change.new, new)
    assert same(change.old, old)


def test_a_stream_of_new_images_carries_no_old_ones() -> None:
    records = Records.of(Table("posts", model=Post), "id", view="NEW_IMAGE")
    body = records.modify(Post(id="a"), Post(id="a", title="x"))["dynamodb"]
    assert "NewImage" in body
    assert "OldImage" not in body
    assert records.remove(Post(id="a"))["dynamodb"].keys() & {"NewImage", "OldImage"} == set()


def test_keys_may_be_composite_and_binary() -> None:
    records = Records.of(Table("parts"), ("maker", "number"))
    made = records.insert({"maker": b"\x00", "number": 7, "size": 1})
    assert made["dynamodb"]["Keys"] == {"maker": {"B": "AA=="}, "number": {"N": "7"}}


def test_a_modification_cannot_change_the_key(records: Records[Post]) -> None:
    with pytest.raises(UnwritableItemError, match="another key"):
        records.modify(Post(id="a"), Post(id="b"))


def test_an_item_without_its_key_is_no_record(records: Records[Post]) -> None:
    item: dict[str, Any] = {"title": "x"}
    with pytest.raises(UnwritableItemError, match="no key attribute id"):
        records.insert(item)


def test_an_event_is_a_list_of_records(records: Records[Post]) -> None:
    made = records.insert(Post(id="a"))
    assert event(made) == {"Records": [made]}
