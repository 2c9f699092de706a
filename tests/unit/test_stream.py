"""Stream records become changes; what is no record is refused by name, and never by value."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from producer.errors import ConfigurationError, UnreadableRecordError
from producer.stream import read_record, sequence_of, stream_of
from tests import strategies
from tests.fakes import ARN, make_record

EVENTS = Path(__file__).parent.parent / "events"


def load(name: str) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = json.loads((EVENTS / f"{name}.json").read_text())["Records"]
    return records


def test_insert_modify_and_remove_are_read_with_their_images() -> None:
    read = [read_record(record, old_images=True)[1] for record in load("insert_modify_remove")]
    assert [change.kind for change in read] == ["INSERT", "MODIFY", "REMOVE"]
    assert [change.sequence for change in read] == [
        "13021600000000001596893679",
        "13021600000000001596893680",
        "13021600000000001596893681",
    ]
    assert [change.key for change in read] == [{"Id": {"N": "101"}}] * 3
    insert, modify, remove = read
    assert insert.new == {"Message": {"S": "New item!"}, "Id": {"N": "101"}}
    assert insert.old is None
    assert modify.old == insert.new
    assert modify.new == remove.old
    assert remove.new is None


def test_old_images_are_left_out_unless_asked_for() -> None:
    assert all(read_record(record)[1].old is None for record in load("insert_modify_remove"))


def test_every_attribute_type_is_taken_as_it_is() -> None:
    (record,) = load("every_type")
    _, change = read_record(record)
    assert change.new == record["dynamodb"]["NewImage"]
    assert change.key == record["dynamodb"]["Keys"]


def test_a_deletion_by_ttl_keeps_its_identity() -> None:
    (record,) = load("time_to_live")
    identity = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    assert read_record(record)[1].identity == identity


def test_unknown_kinds_of_fields_in_an_identity_are_left_out() -> None:
    record = make_record(1) | {"userIdentity": {"type": "Service", "tags": [1], "x": None}}
    assert read_record(record)[1].identity == {"type": "Service"}


def test_tables_and_partitions_are_read_from_the_arn() -> None:
    streams = [read_record(record)[0] for record in load("partitions_and_tables")]
    assert [(stream.partition, stream.table) for stream in streams] == [
        ("aws", "prod-Card"),
        ("aws-cn", "a.b.c"),
        ("aws-us-gov", "_posts_"),
        ("aws-iso-b", "posts"),
    ]


@pytest.mark.parametrize(
    ("seconds", "milliseconds"),
    [(1_479_499_740, 1_479_499_740_000), (1_479_499_740.25, 1_479_499_740_250), (0, 0)],
)
def test_times_become_whole_milliseconds(seconds: float, milliseconds: int) -> None:
    _, change = read_record(make_record(1, ApproximateCreationDateTime=seconds))
    assert change.at == milliseconds
    assert isinstance(change.at, int)


@pytest.mark.parametrize("name", ["keys_only", "old_image"])
def test_a_stream_without_new_images_is_a_configuration_error_with_the_remedy(name: str) -> None:
    (record,) = load(name)
    with pytest.raises(ConfigurationError) as caught:
        read_record(record)
    text = str(caught.value)
    for word in ("Example-Table.With_Stream", name.upper(), "UpdateTable", "backfill"):
        assert word in text
    assert "StreamViewType: NEW_IMAGE} (or NEW_AND_OLD_IMAGES)" in text


def with_image(typed: object) -> dict[str, Any]:
    return make_record(1, NewImage={"id": {"S": "1"}, "field": typed})


def nested(depth: int) -> dict[str, Any]:
    typed: dict[str, Any] = {"S": "secret"}
    for _ in range(depth):
        typed = {"L": [typed]}
    return typed


@pytest.mark.parametrize("depth", [0, 32, 64])
def test_items_as_deep_as_dynamodb_nests_them_are_read(depth: int) -> None:
    read_record(with_image(nested(depth)))


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({}, "not exactly one type"),
        ({"S": "secret", "N": "1"}, "not exactly one type"),
        ("secret", "not exactly one type"),
        (None, "not exactly one type"),
        ({"X": "secret"}, "unknown type 'X'"),
        ({"S": 5}, "an S"),
        ({"N": 5}, "an N"),
        ({"N": ""}, "an N"),
        ({"N": "secret"}, "an N"),
        ({"N": "NaN"}, "an N"),
        ({"N": "Infinity"}, "an N"),
        ({"N": "1_000"}, "an N"),
        ({"N": "٣"}, "an N"),
        ({"N": "1\n"}, "an N"),
        ({"N": "1" * 300}, "an N"),
        ({"B": 5}, "a B"),
        ({"B": "secret!"}, "a B"),
        ({"B": "AAE"}, "a B"),
        ({"B": "é"}, "a B"),
        ({"B": "AA E="}, "a B"),
        ({"B": "AAE=AAE="}, "a B"),
        ({"SS": "secret"}, "an SS"),
        ({"SS": ["a", 1]}, "an SS"),
        ({"NS": ["1", "secret"]}, "an N"),
        ({"BS": ["secret!"]}, "a B"),
        ({"L": {}}, "an L"),
        ({"L": [{"S": 1}]}, "an S"),
        ({"M": []}, "an M"),
        ({"M": {"a": {"N": "secret"}}}, "an N"),
        ({"BOOL": "true"}, "a BOOL"),
        ({"BOOL": 1}, "a BOOL"),
        ({"NULL": False}, "a NULL"),
        (nested(65), "nested deeper"),
        (nested(500), "nested deeper"),
    ],
)
def test_a_wrong_value_is_refused_by_attribute_and_type(typed: object, words: str) -> None:
    with pytest.raises(UnreadableRecordError) as caught:
        read_record(with_image(typed))
    assert "NewImage, attribute 'field'" in str(caught.value)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


def without(*path: str) -> dict[str, Any]:
    record = make_record(1)
    inner = record
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return record


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (None, "the record is no object but NoneType"),
        ([], "the record is no object but list"),
        ({}, "eventSource"),
        (make_record(1) | {"eventSource": "aws:kinesis"}, "aws:kinesis"),
        (make_record(1) | {"eventName": "UPSERT"}, "UPSERT"),
        (make_record(1) | {"eventName": ["INSERT"]}, "eventName"),
        (make_record(1) | {"eventSourceARN": "arn:aws:sqs:eu-west-1:1:q"}, "eventSourceARN"),
        (make_record(1) | {"eventSourceARN": ["a"]}, "eventSourceARN"),
        (make_record(1) | {"dynamodb": []}, "'dynamodb'"),
        (make_record(1) | {"userIdentity": "x"}, "userIdentity"),
        (without("dynamodb"), "'dynamodb'"),
        (without("dynamodb", "SequenceNumber"), "SequenceNumber"),
        (without("dynamodb", "Keys"), "Keys"),
        (without("dynamodb", "NewImage"), "NewImage"),
        (without("dynamodb", "ApproximateCreationDateTime"), "ApproximateCreationDateTime"),
        (make_record(1, SequenceNumber=5), "SequenceNumber"),
        (make_record(1, SequenceNumber="1" * 41), "SequenceNumber"),
        (make_record(1, Keys={}), "Keys has 0"),
        (make_record(1, Keys={n: {"S": n} for n in "abc"}), "Keys has 3"),
        (make_record(1, Keys={"a": {"BOOL": True}}), "Keys, attribute 'a'"),
        (make_record(1, ApproximateCreationDateTime=True), "ApproximateCreationDateTime"),
        (make_record(1, ApproximateCreationDateTime=float("nan")), "ApproximateCreationDateTime"),
        (make_record(1, ApproximateCreationDateTime=float("inf")), "ApproximateCreationDateTime"),
        (make_record(1, ApproximateCreationDateTime=-1), "ApproximateCreationDateTime"),
        (make_record(1, ApproximateCreationDateTime=10**400), "ApproximateCreationDateTime"),
        (make_record(1, ApproximateCreationDateTime=10**11), "ApproximateCreationDateTime"),
        (make_record(1, OldImage=[]), "OldImage"),
    ],
)
def test_a_record_that_cannot_be_read_says_what_is_wrong(record: object, words: str) -> None:
    with pytest.raises(UnreadableRecordError, match=words):
        read_record(record, old_images=True)


@given(strategies.stream_records())
def test_every_record_that_dynamodb_can_write_is_read(record: dict[str, Any]) -> None:
    body = record["dynamodb"]
    stream, change = read_record(record, old_images=True)
    assert stream.arn == record["eventSourceARN"]
    assert (change.new, change.old) == (body.get("NewImage"), body.get("OldImage"))
    assert (change.key, change.sequence) == (body["Keys"], body["SequenceNumber"])


@pytest.mark.parametrize(
    ("record", "number"),
    [
        (make_record(7), str(10**24 + 7)),
        (None, None),
        ({"dynamodb": None}, None),
        ({"dynamodb": {"SequenceNumber": 7}}, None),
        ({"dynamodb": {"SequenceNumber": "seven"}}, None),
    ],
)
def test_a_sequence_number_is_found_in_whatever_has_one(record: object, number: str | None) -> None:
    assert sequence_of(record) == number


def test_a_stream_is_found_in_whatever_has_one() -> None:
    stream = stream_of({"eventSourceARN": ARN})
    assert stream is not None
    assert stream.table == "posts-a.b"
    assert [stream_of(record) for record in (None, {}, {"eventSourceARN": 5})] == [None] * 3
