"""Items that botocore did not parse are those that it would have made; all else it still makes."""

import json
import threading
import zlib
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from urllib3 import HTTPResponse

import worker.__main__ as root
from console.scan import Meter, TableReader
from console.session import Session
from producer.contract import Item
from tests.strategies import items as any_items
from worker.items import Items
from worker.settings import read_settings
from worker.source import DynamoSource
from worker.tables import Table
from worker.wire import keep_wire, to_wire, wire_items

REGION = "eu-west-1"
CAPACITY = {"TableName": "posts", "CapacityUnits": 2.5}
ITEMS: list[Item] = [
    {
        "id": {"B": "AP8="},
        "empty": {"S": ""},
        "nothing": {"B": ""},
        "text": {"S": "größer 🜂 \u2028"},
        "number": {"N": "99999999999999999999999999999999999999"},
        "small": {"N": "1E-130"},
        "sets": {"M": {"b": {"BS": ["AA==", "/w=="]}, "n": {"NS": ["1", "2.50"]}}},
        "list": {"L": [{"B": "AAE="}, {"NULL": True}, {"BOOL": False}, {"SS": ["", "ß"]}]},
        "none": {"M": {}},
    },
    {"id": {"B": "AQ=="}},
]


class Server:
    """The HTTP side of DynamoDB: bodies are answered one after the other, the last again."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.bodies: list[bytes] = []
        self.requests: list[Any] = []

    def answer(self, *bodies: object, status: int = 200, **headers: str) -> None:
        self.status, self.requests = status, []
        self.headers = {"x-amzn-RequestId": "R1", **headers}
        self.bodies = [b if isinstance(b, bytes) else json.dumps(b).encode() for b in bodies]

    def __call__(self, request: Any, **_: object) -> AWSResponse:
        self.requests.append(json.loads(request.body))
        body = self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]
        headers: Any = HTTPHeaders()
        for name, value in self.headers.items():
            headers[name] = value
        return AWSResponse(
            request.url, self.status, headers, HTTPResponse(BytesIO(body), preload_content=False)
        )


def serve(server: Server, client: Any) -> Any:
    client.meta.events.register("before-send.dynamodb", server)
    return client


def connect(server: Server, attempts: int = 1) -> Any:
    make: Any = boto3.client
    config = Config(retries={"mode": "standard", "total_max_attempts": attempts})
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    return serve(server, make("dynamodb", region_name=REGION, config=config, **keys))


SERVER = Server()
PLAIN, KEEPING = connect(SERVER), connect(SERVER)
keep_wire(KEEPING)


def scan(client: Any) -> Any:
    return client.scan(TableName="posts")


def read_batch(client: Any) -> Any:
    return client.batch_get_item(RequestItems={"posts": {"Keys": [{"id": {"B": b"1"}}]}})


def both(ask: Callable[[Any], Any], *, keep: str) -> tuple[Any, Any]:
    """What else the two clients' answers hold, and that one of them kept this part."""
    plain, kept = ask(PLAIN), ask(KEEPING)
    assert kept.keys() - plain.keys() == {"SluiceWire"}
    del kept["SluiceWire"], kept[keep], plain[keep]
    return plain, kept


@given(st.lists(any_items(), max_size=4), st.booleans())
def test_kept_items_are_those_that_botocore_would_have_made(items: list[Item], ascii: bool) -> None:
    parts = {"Items": items, "Count": len(items), "ScannedCount": len(items)}
    SERVER.answer(json.dumps(parts, ensure_ascii=ascii).encode())
    plain, kept = scan(PLAIN), scan(KEEPING)
    assert json.dumps(kept["Items"]) == json.dumps([to_wire(item) for item in plain["Items"]])
    assert wire_items(kept, kept["Items"]) is kept["Items"]
    SERVER.answer(json.dumps({"Responses": {"posts": items}}, ensure_ascii=ascii).encode())
    plain, kept = read_batch(PLAIN)["Responses"], read_batch(KEEPING)["Responses"]
    assert json.dumps(kept["posts"]) == json.dumps([to_wire(item) for item in plain["posts"]])
    assert kept["posts"] == items


def test_all_else_of_a_scan_is_as_botocore_gives_it() -> None:
    SERVER.answer(
        {
            "Items": ITEMS,
            "Count": 2,
            "ScannedCount": 3,
            "LastEvaluatedKey": {"id": {"B": "AQ=="}},
            "ConsumedCapacity": CAPACITY,
        },
        Date="Sun, 01 Nov 2026 00:00:00 GMT",
    )
    plain, kept = both(scan, keep="Items")
    assert kept == plain
    assert kept["LastEvaluatedKey"] == {"id": {"B": b"\x01"}}
    assert (kept["Count"], kept["ScannedCount"], kept["ConsumedCapacity"]) == (2, 3, CAPACITY)
    told = kept["ResponseMetadata"]
    assert (told["RequestId"], told["HTTPStatusCode"]) == ("R1", 200)
    assert told["HTTPHeaders"]["date"] == "Sun, 01 Nov 2026 00:00:00 GMT"


def test_all_else_of_a_batch_is_as_botocore_gives_it() -> None:
    left = {"posts": {"Keys": [{"id": {"B": "AQ=="}}], "ConsistentRead": True}}
    SERVER.answer(
        {"Responses": {"posts": ITEMS}, "UnprocessedKeys": left, "ConsumedCapacity": [CAPACITY]}
    )
    plain, kept = both(read_batch, keep="Responses")
    assert kept == plain
    assert kept["UnprocessedKeys"]["posts"]["Keys"] == [{"id": {"B": b"\x01"}}]
    assert kept["ConsumedCapacity"] == [CAPACITY]
    assert kept["ResponseMetadata"]["RequestId"] == "R1"


@pytest.mark.parametrize("ask", [scan, read_batch])
@pytest.mark.parametrize("status", [400, 500])
def test_an_error_is_the_clients_with_its_code_and_message(
    ask: Callable[[Any], Any], status: int
) -> None:
    fields = {"Items": [], "Responses": {}, "message": "too fast"}
    SERVER.answer({"__type": "com.amazonaws.dynamodb#ThrottlingException", **fields}, status=status)
    with pytest.raises(ClientError) as without:
        ask(PLAIN)
    with pytest.raises(ClientError) as caught:
        ask(KEEPING)
    error = caught.value.response
    assert error == without.value.response
    assert error["Error"] == {"Code": "ThrottlingException", "Message": "too fast"}
    assert error["ResponseMetadata"]["HTTPStatusCode"] == status


@pytest.mark.parametrize(
    "body",
    [
        b'{"Items": [{"id": {"S": "\\ud83d"}}], "Count": 1}',
        b'{"Items": null, "Count": 0}',
        b'{"Others": [], "Responses": {"posts": []}}',
        b'{"Count": 7}',
        b"<html>Welcome</html>",
        b"",
    ],
    ids=["half a surrogate pair", "null", "another part", "no items", "no JSON", "empty"],
)
def test_what_is_odd_is_left_to_botocore(body: bytes) -> None:
    SERVER.answer(body)
    plain, kept = scan(PLAIN), scan(KEEPING)
    assert kept == plain


@pytest.mark.parametrize("body", [b"null", b"[]", b"7", b'{"Items": {"id": 1}}', b'{"Items": 7}'])
def test_what_botocore_cannot_read_fails_as_it_does_without_us(body: bytes) -> None:
    SERVER.answer(body)
    told = []
    for client in (PLAIN, KEEPING):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - botocore has no class for it
            scan(client)
        told.append((caught.type, str(caught.value)))
    assert told[0] == told[1]


def test_a_body_that_was_damaged_is_asked_for_again() -> None:
    server = Server()
    client = connect(server, attempts=2)
    keep_wire(client)
    good = json.dumps({"Items": ITEMS, "Count": 2}).encode()
    server.answer(good.replace(b"AP8=", b"AP9="), good)
    server.headers["x-amz-crc32"] = str(zlib.crc32(good))
    assert scan(client)["Items"] == ITEMS
    assert len(server.requests) == 2


@pytest.mark.parametrize("client", [PLAIN, KEEPING], ids=["without keep_wire", "with it"])
def test_readers_give_the_contracts_form_whatever_their_client(client: Any) -> None:
    keys = [item["id"] for item in ITEMS]
    reader = TableReader(
        client, "posts", ("id",), Meter(None), lambda: 5, threading.Event(), margin_s=None
    )
    last = {"LastEvaluatedKey": {"id": keys[1]}, "ConsumedCapacity": CAPACITY}
    SERVER.answer({"Items": ITEMS, "Count": 2, "ScannedCount": 2, **last})
    page = reader.scan(0, 1, {"id": keys[0]})
    assert (page.items, page.after) == (ITEMS, {"id": keys[1]})
    assert SERVER.requests[0]["ExclusiveStartKey"] == {"id": keys[0]}
    assert reader.meter.units == CAPACITY["CapacityUnits"]

    asked = [{"id": key} for key in keys]
    left = {"posts": {"Keys": asked[1:], "ConsistentRead": True}}
    parts: list[Mapping[str, Any]] = [
        {"Responses": {"posts": ITEMS[:1]}, "UnprocessedKeys": left},
        {"Responses": {"posts": ITEMS[1:]}, "UnprocessedKeys": {}},
    ]
    SERVER.answer(*parts)
    assert reader.read(asked)[0] == ITEMS
    assert SERVER.requests[1]["RequestItems"]["posts"]["Keys"] == asked[1:]
    SERVER.answer(*parts)
    assert DynamoSource(client).read("posts", asked) == ITEMS
    assert SERVER.requests[1]["RequestItems"] == left

    SERVER.answer({"Items": ITEMS[1:], "Count": 1})
    assert Items(Table("posts"), client).scan().items == [{"id": b"\x01"}]


def test_the_commands_and_the_worker_keep_items_as_they_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    made: dict[str, Any] = {}

    class Recording(boto3.session.Session):
        def client(self, service: str, **given: Any) -> Any:  # type: ignore[override]
            make: Any = super().client
            made[service] = make(service, **given)
            return made[service]

    monkeypatch.setattr(boto3.session, "Session", Recording)
    settings = {
        "SLUICE_QUEUE_URL": "https://sqs.example.com/1/changes",
        "SLUICE_DEAD_LETTER_URL": "https://sqs.example.com/1/dead",
        "SLUICE_ELASTICSEARCH_URL": "https://search.example.com",
        "SLUICE_TABLES": "unused",
    }
    root.handlers(read_settings(settings), {}, REGION)()
    server = Server()
    for client in (made["dynamodb"], Session({"AWS_REGION": REGION}).dynamodb):
        serve(server, client)
        server.answer({"Items": ITEMS, "Count": 2})
        assert scan(client)["Items"] == ITEMS
        server.answer({"Responses": {"posts": ITEMS}})
        assert read_batch(client)["Responses"] == {"posts": ITEMS}
