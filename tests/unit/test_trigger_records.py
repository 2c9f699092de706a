"""A record as boto3 returns it becomes the record that Lambda sends, and nothing is lost in it.

Sources: AWS Lambda Developer Guide, "Using AWS Lambda with Amazon DynamoDB", example event
(https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html); Amazon DynamoDB Developer Guide,
"DynamoDB Streams and Time to Live".
"""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from console.local.invocation import read_record

ARN = "arn:aws-cn:dynamodb:cn-north-1:123456789012:table/posts/stream/2024-01-01T00:00:00.000"


def boto_record(**dynamodb: Any) -> dict[str, Any]:
    """A record in boto3's form."""
    return {
        "eventID": "0f1e",
        "eventName": "MODIFY",
        "eventVersion": "1.0",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": datetime(2023, 11, 14, 22, 13, 20, 900_000, tzinfo=UTC),
            "Keys": {"id": {"S": "1"}, "at": {"N": "2"}},
            "SequenceNumber": "100000000000000000000007",
            "SizeBytes": 26,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        }
        | dynamodb,
    }


def convert(record: dict[str, Any]) -> dict[str, Any]:
    """The Lambda record as the function parses it."""
    parsed: dict[str, Any] = json.loads(read_record(record, ARN, "id").text)
    return parsed


def test_the_record_has_the_documented_fields() -> None:
    """Times in whole seconds, region and ARN those of the stream."""
    image = {"id": {"S": "1"}, "at": {"N": "2"}, "title": {"S": "Grüße"}}
    assert convert(boto_record(NewImage=image, OldImage=image)) == {
        "eventID": "0f1e",
        "eventName": "MODIFY",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "cn-north-1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_700_000_000,
            "Keys": {"id": {"S": "1"}, "at": {"N": "2"}},
            "NewImage": image,
            "OldImage": image,
            "SequenceNumber": "100000000000000000000007",
            "SizeBytes": 26,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        "eventSourceARN": ARN,
    }


@pytest.mark.parametrize("image", ["NewImage", "OldImage"])
def test_an_image_that_is_not_there_is_left_out(image: str) -> None:
    """An INSERT has no OldImage, a REMOVE no NewImage."""
    change = convert(boto_record(**{image: {"id": {"S": "1"}}}))["dynamodb"]
    assert {"NewImage", "OldImage"} & set(change) == {image}


def test_every_attribute_type_has_its_lambda_form() -> None:
    """Binaries are base64 text, alone, in sets and nested; numbers stay text."""
    image = {
        "s": {"S": ""},
        "n": {"N": "123456789012345678901234567890.12345678"},
        "b": {"B": b"\x00\xff"},
        "ss": {"SS": ["a", "b"]},
        "ns": {"NS": ["1", "2.50"]},
        "bs": {"BS": [b"", b"\xfe"]},
        "bool": {"BOOL": False},
        "null": {"NULL": True},
        "m": {"M": {"b": {"B": b"x"}, "empty": {"M": {}}}},
        "l": {"L": [{"B": b"y"}, {"L": []}, {"M": {"b": {"BS": [b"z"]}}}]},
    }
    assert convert(boto_record(NewImage=image))["dynamodb"]["NewImage"] == image | {
        "b": {"B": "AP8="},
        "bs": {"BS": ["", "/g=="]},
        "m": {"M": {"b": {"B": "eA=="}, "empty": {"M": {}}}},
        "l": {"L": [{"B": "eQ=="}, {"L": []}, {"M": {"b": {"BS": ["eg=="]}}}]},
    }


def test_binary_keys_are_base64_text() -> None:
    """The same rule for keys as for images."""
    found = read_record(boto_record(Keys={"id": {"B": b"\x00\x01"}}), ARN, "id")
    assert json.loads(found.text)["dynamodb"]["Keys"] == {"id": {"B": "AAE="}}
    assert found.partition == '{"B":"AAE="}'


def test_keys_are_those_of_the_image() -> None:
    """moto encodes the binaries of `Keys` twice, those of images once; in AWS they agree."""
    record = boto_record(Keys={"id": {"B": b"AAE="}}, OldImage={"id": {"B": b"\x00\x01"}})
    assert convert(record)["dynamodb"]["Keys"] == {"id": {"B": "AAE="}}


def test_a_ttl_deletion_names_its_principal() -> None:
    """ "userIdentity.type: Service, userIdentity.principalId: dynamodb.amazonaws.com"; boto3 writes
    these names with a capital.
    """
    record = boto_record() | {
        "userIdentity": {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}
    }
    assert convert(record)["userIdentity"] == {
        "type": "Service",
        "principalId": "dynamodb.amazonaws.com",
    }
    assert "userIdentity" not in convert(boto_record())


def test_bytes_are_counted_on_the_wire() -> None:
    """A character is not a byte."""
    found = read_record(boto_record(NewImage={"t": {"S": "Grüße 🎉"}}), ARN, "id")
    assert found.bytes == len(found.text.encode()) > len(found.text)
