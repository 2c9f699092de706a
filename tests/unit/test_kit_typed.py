"""Python values and models become typed items and back, exactly, within DynamoDB's limits."""

import datetime as dt
import uuid
from collections import deque
from dataclasses import dataclass
from decimal import Decimal, Rounded
from enum import Enum, StrEnum
from typing import Any

import pytest
from boto3.dynamodb.types import Binary, TypeSerializer
from hypothesis import given, reject
from pydantic import AliasChoices, AliasPath, AnyUrl, BaseModel, ConfigDict, Field, RootModel
from pydantic import field_validator as validator

from kit.errors import UnwritableItemError
from kit.typed import check_item, count_bytes, read_item, same, write_item
from producer.contract import Item
from tests import strategies
from worker.wire import to_wire


class Colour(StrEnum):
    RED = "red"


class Level(Enum):
    HIGH = 3


@dataclass
class Spot:
    x: int
    y: float


class Author(BaseModel):
    name: str = Field(alias="n")


class Tags(RootModel[list[str]]):
    pass


class Post(BaseModel):
    model_config = ConfigDict(validate_by_name=True)
    id: str
    title: str = Field(validation_alias="Title", serialization_alias="heading")
    body: str = Field(default="", validation_alias=AliasChoices("text", "body"))
    rating: float | None = None
    exact: Decimal = Decimal(0)
    at: dt.datetime | None = None
    author: Author | None = None
    tags: set[str] = set()
    words: Tags = Tags([])
    raw: bytes = b""
    level: Level = Level.HIGH


@given(strategies.items())
def test_reading_and_writing_are_inverse_for_whatever_dynamodb_holds(item: Item) -> None:
    written = write_item(read_item(item))
    assert same(written, item)
    assert read_item(written) == read_item(item)


@given(strategies.items())
def test_what_boto3_writes_is_written_the_same(item: Item) -> None:
    values = read_item(item)
    serialize = TypeSerializer().serialize
    try:
        by_boto3 = to_wire({name: serialize(value) for name, value in values.items()})
    except Rounded:  # it takes no int of more than 38 digits, be the last ones zeros
        reject()
    assert same(write_item(values), by_boto3)


@pytest.mark.parametrize(
    ("value", "typed"),
    [
        ("", {"S": ""}),
        (b"", {"B": ""}),
        (None, {"NULL": True}),
        (False, {"BOOL": False}),
        ({}, {"M": {}}),
        ([], {"L": []}),
        (0.1, {"N": "0.1"}),
        (1e21, {"N": "1000000000000000000000"}),
        (Decimal("1.50"), {"N": "1.5"}),
        (10**37 + 1, {"N": "10000000000000000000000000000000000001"}),
        (Binary(b"\x00\xff"), {"B": "AP8="}),
        (bytearray(b"a"), {"B": "YQ=="}),
        ({"b", "a"}, {"SS": ["a", "b"]}),
        (frozenset({2, Decimal("2.0"), 1.5}), {"NS": ["1.5", "2"]}),
        ({b"a"}, {"BS": ["YQ=="]}),
        ((1, deque(["x"])), {"L": [{"N": "1"}, {"L": [{"S": "x"}]}]}),
        (Colour.RED, {"S": "red"}),
        (Level.HIGH, {"N": "3"}),
        (dt.date(2024, 1, 2), {"S": "2024-01-02"}),
        (uuid.UUID(int=1), {"S": "00000000-0000-0000-0000-000000000001"}),
        (AnyUrl("https://a.example/x"), {"S": "https://a.example/x"}),
        (Spot(1, 0.5), {"M": {"x": {"N": "1"}, "y": {"N": "0.5"}}}),
        ({"deep": [Author(n="Ann")]}, {"M": {"deep": {"L": [{"M": {"n": {"S": "Ann"}}}]}}}),
    ],
)
def test_each_kind_of_value_has_one_typed_form(value: Any, typed: Any) -> None:
    assert write_item({"value": value}) == {"value": typed}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (set(), "value: a set of nothing"),
        ({"a", 1}, "value: a set of N, S"),
        ({True}, "value: a set of BOOL"),
        ({(1, 2)}, "value: a set of L"),
        (float("nan"), "value: no number"),
        (10**38 + 1, "value: a number of more than 38 digits"),
        (Decimal("1E-131"), "value: a number beyond"),
        ([{"a": object()}], r"value\[0\]\.a: a object has no form"),
        ({"a": {1: "x"}}, "value.a: a int cannot name"),
        ("\ud800", "value: text that is no valid Unicode"),
    ],
)
def test_what_dynamodb_cannot_hold_is_refused_by_its_place(value: Any, words: str) -> None:
    with pytest.raises(UnwritableItemError, match=words):
        write_item({"value": value})


def test_a_number_too_long_to_be_spelled_is_refused() -> None:
    with pytest.raises(UnwritableItemError, match="too many digits"):
        write_item({"value": 10**5000})


def test_what_is_nested_too_deep_is_refused() -> None:
    value: Any = "x"
    for _ in range(40):
        value = [value]
    with pytest.raises(UnwritableItemError, match="nested deeper than 32"):
        write_item({"value": value})


def test_a_model_is_written_under_the_names_it_is_read_by() -> None:
    post = Post(id="1", title="One", body="b", author=Author(n="Ann"), words=Tags(["w"]))
    written = write_item(post)
    assert written["Title"] == {"S": "One"}
    assert written["text"] == {"S": "b"}
    assert written["author"] == {"M": {"n": {"S": "Ann"}}}
    assert written["words"] == {"L": [{"S": "w"}]}
    assert written["level"] == {"N": "3"}
    assert written["at"] == {"NULL": True}
    assert "tags" not in written
    assert Post.model_validate(read_item(written)) == post


def test_what_a_model_took_in_undeclared_is_written_too() -> None:
    given = {"id": "1", "Title": "t", "mood": {"calm": 1}, "rating": 0.1}
    post = Post.model_validate(given, extra="allow")
    assert write_item(post)["mood"] == {"M": {"calm": {"N": "1"}}}


def test_a_model_that_reads_its_item_as_another_is_no_item() -> None:
    class Shouting(BaseModel):
        id: str

        @validator("id")
        @classmethod
        def shout(cls, value: str) -> str:
            return value + "!"

    with pytest.raises(UnwritableItemError, match="as another one, in id"):
        write_item(Shouting(id="a"))


def test_a_model_that_refuses_its_own_item_is_no_item() -> None:
    wrong = Post.model_construct(id="a")
    with pytest.raises(UnwritableItemError, match="does not read its own item"):
        write_item(wrong)


def test_a_model_that_reads_from_within_an_attribute_is_no_item() -> None:
    class Within(BaseModel):
        name: str = Field(validation_alias=AliasPath("author", "name"))

    within = Within.model_validate({"author": {"name": "x"}})
    with pytest.raises(UnwritableItemError, match="give the item as dict"):
        write_item(within)


def test_a_model_of_a_bare_value_is_no_item() -> None:
    with pytest.raises(UnwritableItemError, match="Tags is no item"):
        write_item(Tags(["a"]))


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"id": "a"}, "no key attribute n"),
        ({"id": "", "n": 1}, "id has 0 bytes"),
        ({"id": "é" * 1025, "n": 1}, "id has 2050 bytes, not 1 to 2048"),
        ({"id": "a", "n": b"x" * 1025}, "n has 1025 bytes, not 1 to 1024"),
        ({"id": "a", "n": True}, "n is a BOOL"),
        ({"id": "a", "n": 1, "text": "x" * 409_600}, "400 KB is the limit"),
    ],
)
def test_an_item_that_the_table_would_not_take_is_refused(item: dict[str, Any], words: str) -> None:
    with pytest.raises(UnwritableItemError, match=words):
        check_item(write_item(item), ("id", "n"))


def test_sizes_are_counted_as_dynamodb_counts_them() -> None:
    assert count_bytes({"ab": {"S": "é"}}) == 4
    assert count_bytes({"a": {"N": "1200.5"}}) == 1 + 3 + 1
    assert count_bytes({"a": {"B": "AP8="}}) == 3
    assert count_bytes({"a": {"L": [{"NULL": True}]}}) == 1 + 3 + 2
    assert count_bytes({"a": {"M": {"b": {"SS": ["x", "y"]}}}}) == 1 + 3 + 1 + 1 + 2
