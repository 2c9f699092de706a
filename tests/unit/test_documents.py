"""From item to document: nothing dropped, nothing guessed, every refusal says why."""

import dataclasses
import datetime as dt
import ipaddress
import json
import uuid
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from pydantic import (
    AnyUrl,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    field_serializer,
    field_validator,
)

from producer.contract import Item
from tests import strategies
from worker.documents import digest, make_document
from worker.errors import RefusedError
from worker.tables import Table, dump
from worker.values import plain_item


class Author(BaseModel):
    name: str


class Text(BaseModel):
    type: Literal["text"]
    text: str


class Photo(BaseModel):
    type: Literal["photo"]
    url: str


class Blocks(RootModel[list[Annotated[Text | Photo, Field(discriminator="type")]]]):
    pass


class Post(BaseModel):
    id: str
    title: str = Field(alias="Title")
    rating: Decimal | None = None
    at: dt.datetime | None = None
    author: Author | None = None
    readers: dict[str, Author] = {}
    pair: tuple[Author, Author] | None = None
    tags: set[str] = set()
    raw: bytes = b""
    blocks: Blocks = Blocks([])


ITEM: Item = {
    "id": {"S": "1"},
    "Title": {"S": "One"},
    "rating": {"N": "12345678901234567890.5"},
    "at": {"S": "2024-01-02T03:04:05Z"},
    "author": {"M": {"name": {"S": "Ann"}, "age": {"N": "7"}}},
    "readers": {"M": {"x": {"M": {"name": {"S": "Ben"}, "age": {"N": "8"}}}}},
    "pair": {"L": [{"M": {"name": {"S": "C"}}}, {"M": {"name": {"S": "D"}, "n": {"N": "1"}}}]},
    "tags": {"SS": ["b", "a"]},
    "raw": {"B": "AP8="},
    "blocks": {
        "L": [
            {"M": {"type": {"S": "text"}, "text": {"S": "x"}, "bold": {"BOOL": True}}},
            {"M": {"type": {"S": "photo"}, "url": {"S": "u"}, "exif": {"M": {"f": {"N": "2"}}}}},
        ]
    },
    "undeclared": {"M": {"deep": {"NS": ["2", "1"]}}},
}

DOCUMENT = {
    "id": "1",
    "Title": "One",
    "rating": "12345678901234567890.5",
    "at": "2024-01-02T03:04:05+00:00",
    "author": {"name": "Ann", "age": 7},
    "readers": {"x": {"name": "Ben", "age": 8}},
    "pair": [{"name": "C"}, {"name": "D", "n": 1}],
    "tags": ["a", "b"],
    "raw": "AP8=",
    "blocks": [
        {"type": "text", "text": "x", "bold": True},
        {"type": "photo", "url": "u", "exif": {"f": 2}},
    ],
    "undeclared": {"deep": [1, 2]},
}


@given(strategies.items())
def test_without_model_and_function_the_document_is_the_item(item: Item) -> None:
    assert make_document(Table("posts"), item) == plain_item(item)
    assert make_document(Table("posts", document=lambda item: item), item) == plain_item(item)


def test_what_a_model_does_not_declare_is_kept_at_any_depth_under_the_tables_names() -> None:
    assert make_document(Table("posts", model=Post), ITEM) == DOCUMENT


def test_a_document_function_may_keep_everything_too() -> None:
    table = Table("posts", model=Post, document=lambda post: {**dump(post), "n": len(post.id)})
    assert make_document(table, ITEM) == DOCUMENT | {"n": 1}
    assert make_document(Table("posts", model=Post, document=lambda post: post), ITEM) == DOCUMENT


def test_a_document_is_ready_for_json() -> None:
    document = make_document(Table("posts", model=Post), ITEM)
    assert json.loads(json.dumps(document)) == document


def test_undeclared_attributes_can_be_refused_at_any_depth() -> None:
    with pytest.raises(RefusedError) as refused:
        make_document(Table("posts", model=Post, undeclared="refuse"), ITEM)
    assert refused.value.error == "ValidationError"
    for place in ("author.age", "readers.x.age", "blocks.0.text.bold", "undeclared"):
        assert f"{place}: Extra inputs are not permitted [extra_forbidden]" in refused.value.reason


def test_a_model_may_rename_an_attribute() -> None:
    class Renamed(BaseModel):
        heading: str = Field(validation_alias="Title")

    assert make_document(Table("posts", model=Renamed), {"Title": {"S": "x"}}) == {"heading": "x"}


def test_a_rename_onto_an_undeclared_attribute_is_refused() -> None:
    class Renamed(BaseModel):
        heading: str = Field(validation_alias="Title")

    item: Item = {"Title": {"S": "x"}, "heading": {"S": "y"}}
    with pytest.raises(RefusedError, match="AmbiguousAttribute: Renamed gives one of its fields"):
        make_document(Table("posts", model=Renamed), item)


def test_a_model_that_allows_extra_attributes_itself_keeps_them_once() -> None:
    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")
        id: str

    item: Item = {"id": {"S": "1"}, "more": {"M": {"a": {"N": "1"}}}}
    assert make_document(Table("posts", model=Open), item) == {"id": "1", "more": {"a": 1}}


def test_a_models_own_serializers_are_respected() -> None:
    class Priced(BaseModel):
        price: Decimal
        secret: str = Field(exclude=True)

        @field_serializer("price")
        def write(self, price: Decimal) -> str:
            return f"{price} EUR"

    item: Item = {"price": {"N": "1.5"}, "secret": {"S": "x"}, "more": {"S": "y"}}
    document = make_document(Table("posts", model=Priced), item)
    assert document == {"price": "1.5 EUR", "more": "y"}


def test_a_dataclass_inside_a_model_keeps_what_it_does_not_declare() -> None:
    @dataclasses.dataclass
    class Point:
        x: int

    class Place(BaseModel):
        at: Point

    item: Item = {"at": {"M": {"x": {"N": "1"}, "y": {"N": "2"}}}}
    document = make_document(Table("posts", model=Place), item)
    assert document == {"at": {"x": 1, "y": 2}}


def test_none_hides_the_item() -> None:
    assert make_document(Table("posts", document=lambda _: None), ITEM) is None


def test_a_model_refuses_in_pydantics_words_without_the_values() -> None:
    item: Item = {"id": {"N": "12345"}, "author": {"M": {"name": {"S": "Ann"}}}}
    with pytest.raises(RefusedError) as refused:
        make_document(Table("posts", model=Post), item)
    assert (refused.value.error, refused.value.reason) == (
        "ValidationError",
        "Post: id: Input should be a valid string [string_type]; Title: Field required [missing]",
    )


def test_a_long_list_of_errors_is_cut() -> None:
    class Numbers(BaseModel):
        all: list[int]

    item: Item = {"all": {"L": [{"S": "private"}] * 50}}
    with pytest.raises(RefusedError) as refused:
        make_document(Table("posts", model=Numbers), item)
    assert refused.value.reason.endswith("; and 40 more")
    assert "private" not in refused.value.reason


def test_a_validator_that_breaks_refuses_its_item_alone() -> None:
    class Broken(BaseModel):
        id: str

        @field_validator("id")
        @classmethod
        def check(cls, value: str) -> str:
            raise KeyError("nothing here")

    with pytest.raises(RefusedError) as refused:
        make_document(Table("posts", model=Broken), {"id": {"S": "1"}})
    assert refused.value.error == "KeyError"
    assert "model Broken at check, line" in refused.value.reason


def test_a_document_function_that_breaks_says_where() -> None:
    def document(item: dict[str, Any]) -> dict[str, Any]:
        raise LookupError("no such author")

    with pytest.raises(RefusedError) as refused:
        make_document(Table("posts", document=document), ITEM)
    assert refused.value.error == "LookupError"
    assert "document function of posts at document, line" in refused.value.reason
    assert refused.value.reason.endswith(": no such author")


def test_a_document_function_that_fails_to_build_a_model_hides_the_values_too() -> None:
    def document(item: dict[str, Any]) -> Author:
        return Author.model_validate({"name": ["private"]})

    with pytest.raises(RefusedError) as refused:
        make_document(Table("posts", document=document), ITEM)
    assert refused.value.error == "ValidationError"
    assert "name: Input should be a valid string" in refused.value.reason
    assert "private" not in refused.value.reason


@pytest.mark.parametrize("wrong", ["text", 1, ["a"], True, object()])
def test_a_document_that_is_no_mapping_is_refused(wrong: Any) -> None:
    with pytest.raises(RefusedError, match="UnsuitableValue: the document function of posts"):
        make_document(Table("posts", document=lambda _: wrong), ITEM)


def test_a_value_without_a_form_in_json_is_refused_with_its_place() -> None:
    with pytest.raises(RefusedError, match=r"UnsuitableValue: a\[0\]: a object has no form"):
        make_document(Table("posts", document=lambda _: {"a": [object()]}), ITEM)


def test_types_that_pydantic_knows_and_models_inside_a_document_are_written() -> None:
    @dataclasses.dataclass
    class Point:
        x: Decimal

    values = {
        "url": AnyUrl("https://a.example/"),
        "address": ipaddress.ip_address("127.0.0.1"),
        "span": dt.timedelta(seconds=1),
        "id": uuid.UUID(int=0),
        "point": Point(Decimal("1.5")),
        "author": Author.model_validate({"name": "Ann", "age": Decimal(7)}, extra="allow"),
    }
    assert make_document(Table("posts", document=lambda _: values), ITEM) == {
        "url": "https://a.example/",
        "address": "127.0.0.1",
        "span": "PT1S",
        "id": "00000000-0000-0000-0000-000000000000",
        "point": {"x": 1.5},
        "author": {"name": "Ann", "age": 7},
    }


@pytest.mark.parametrize(
    "table",
    [
        Table("posts"),
        Table("posts", model=Author),
        Table("posts", document=lambda item: item),
    ],
)
def test_the_name_of_our_own_object_is_reserved(table: Table[Any]) -> None:
    item: Item = {"name": {"S": "x"}, "_sluice": {"M": {}}}
    with pytest.raises(RefusedError) as refused:
        make_document(table, item)
    assert refused.value.error == "ReservedAttribute"


@pytest.mark.parametrize(
    "table",
    [Table("posts"), Table("posts", model=Author), Table("posts", document=lambda _: {})],
)
def test_a_malformed_item_is_refused_whatever_is_declared(table: Table[Any]) -> None:
    with pytest.raises(RefusedError, match="MalformedItem: name: no number"):
        make_document(table, {"name": {"N": "x"}})


def test_the_digest_is_of_the_item_not_of_its_document() -> None:
    assert digest({"a": {"N": "1.0"}}) == digest({"a": {"N": "1"}}) != digest({"a": {"S": "1"}})
