"""What a message's body may say, and that nothing it says can harm the worker."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.contract import CHANGES_TASK, RECORD_TASK, write_attributes, write_envelope
from worker.incoming import UNDECODABLE_TASK, Call, Undecodable, read_body
from worker.tasks import read_message
from worker.transport import build_payload

GOLDEN = write_envelope("1:eJwDAAAAAAE=", "main", CHANGES_TASK, "some-id")
CALL = Call(CHANGES_TASK, "some-id", "1:eJwDAAAAAAE=")


def altered(**fields: Any) -> str:
    """The golden message with other fields; one set to `...` is left out."""
    envelope = json.loads(GOLDEN) | fields
    return json.dumps({k: v for k, v in envelope.items() if v is not ...})


def headed(**headers: Any) -> str:
    """The golden message with other headers."""
    return altered(headers={"lang": "py", "task": CHANGES_TASK, "id": "some-id"} | headers)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def inner(*call: Any) -> str:
    return altered(body=json.dumps(call))


@pytest.mark.parametrize("task", [CHANGES_TASK, RECORD_TASK])
def test_what_the_producer_writes_is_read(task: str) -> None:
    assert read_body(write_envelope("text", "main", task, "i")) == Call(task, "i", "text")


@pytest.mark.parametrize(
    "body",
    [
        encoded(GOLDEN),
        altered(body=encoded(json.loads(GOLDEN)["body"])),
        encoded(altered(body=encoded(json.loads(GOLDEN)["body"]))),
        f"\n {GOLDEN} ",
        altered(**{"content-encoding": ...}),
    ],
)
def test_base64_at_either_layer_is_read_as_celery_itself_writes_it(body: str) -> None:
    assert read_body(body) == CALL


def test_a_message_of_stock_celery_is_read() -> None:
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    assert read_body(inner([CALL.payload], {}, embed)) == CALL


@pytest.mark.parametrize(
    "body",
    [
        headed(eta="2099-01-01T00:00:00+00:00", expires="2000-01-01T00:00:00"),
        headed(compression="application/x-gzip"),
        headed(timelimit=[1, 1], retries=99, shadow="celery.ping", group="g"),
        altered(properties=None),
        altered(properties=...),
        altered(properties={"body_encoding": "base64", "delivery_info": {"routing_key": "other"}}),
        altered(properties={"delivery_tag": "x", "reply_to": "y", "priority": 9}),
    ],
)
def test_headers_and_properties_of_the_sender_have_no_effect(body: str) -> None:
    assert read_body(body) == CALL
    payload = build_payload({"MessageId": "m", "ReceiptHandle": "r", "Body": body}, "main", "url")
    assert payload["headers"] == {"lang": "py", "task": CHANGES_TASK, "id": "some-id"}
    assert payload["properties"] == {
        "delivery_tag": "r",
        "delivery_info": {
            "exchange": "",
            "routing_key": "main",
            "sqs_message": {"MessageId": "m", "ReceiptHandle": "r", "Attributes": {}},
            "sqs_queue": "url",
        },
    }


@pytest.mark.parametrize(
    ("said", "first_ms"),
    [({"first": "2026-01-02T03:04:05Z"}, 1_767_323_045_000), ({"first": "soon"}, 7), ({}, 7)],
)
def test_of_what_a_redrive_leaves_the_first_time_alone_is_read(
    said: dict[str, str], first_ms: int
) -> None:
    message: dict[str, Any] = {"MessageId": "m", "ReceiptHandle": "r", "Body": GOLDEN}
    attributes = write_attributes(error="E", reason="why", **said)
    message |= {"Attributes": {"SentTimestamp": "7"}, "MessageAttributes": attributes}
    sqs = build_payload(message, "main", "url")["properties"]["delivery_info"]["sqs_message"]
    assert read_message(sqs, "t").first_ms == first_ms
    assert "why" not in str(sqs)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "empty"),
        ("   ", "empty"),
        (None, "empty"),
        ("hello", "neither JSON nor base64"),
        ("[1, 2]", "neither JSON nor base64"),
        ("{", "not JSON"),
        ('{"a": ' * 3_000 + "1" + "}" * 3_000, "nested too deeply"),
        ('{"a": ' + "1" * 5_000 + "}", "not JSON"),
        (encoded("hello"), "neither JSON nor base64"),
        (base64.b64encode(b"\xff\xfe").decode(), "neither JSON nor base64"),
        ("\ud800", "neither JSON nor base64"),
        ("{}", "content type"),
        (altered(**{"content-type": ...}), "content type"),
        (altered(**{"content-type": "application/x-python-serialize"}), "content type"),
        (altered(**{"content-type": ["application/json"]}), "content type"),
        (altered(**{"content-encoding": "utf-16"}), "content encoding"),
        (altered(**{"content-encoding": None}), "content encoding"),
        (altered(headers=...), "headers"),
        (altered(headers=[]), "headers"),
        (headed(task="celery.backend_cleanup"), "unknown task"),
        (headed(task=UNDECODABLE_TASK), "unknown task"),
        (headed(task=["sluice.changes"]), "unknown task"),
        (headed(task={"__type__": "x", "__value__": "y"}), "unknown task"),
        (headed(id=None), "id"),
        (headed(id=""), "id"),
        (headed(id="two\nlines"), "id"),
        (headed(id="x" * 256), "id"),
        (altered(body=...), "inner body"),
        (altered(body=["x"]), "inner body"),
        (altered(body=""), "inner body"),
        (altered(body="!"), "inner body"),
        (altered(body="[1,"), "inner body"),
        (altered(body="[" * 3_000), "nested too deeply"),
        (inner([CALL.payload], {}), "args, kwargs and embed"),
        (inner([CALL.payload], {}, {}, {}), "args, kwargs and embed"),
        (inner([], {}, {}), "exactly one"),
        (inner(["a", "b"], {}, {}), "exactly one"),
        (inner([{"__type__": "datetime", "__value__": "x"}], {}, {}), "exactly one"),
        (inner("a", {}, {}), "exactly one"),
        (inner(["\ud800"], {}, {}), "surrogate"),
        (inner(["a"], {"b": 1}, {}), "keyword"),
        (inner(["a"], None, {}), "keyword"),
        (inner(["a"], {}, {"chain": [{"task": "x"}]}), "chains"),
        (inner(["a"], {}, None), "chains"),
    ],
)
def test_what_is_no_call_is_kept_with_its_reason(body: Any, reason: str) -> None:
    result = read_body(body)
    assert isinstance(result, Undecodable)
    assert reason in result.reason
    assert result.body == (body or "").replace("\ud800", "\ufffd")


def test_an_unreadable_body_becomes_a_call_of_the_internal_task() -> None:
    payload = build_payload({"MessageId": "m", "ReceiptHandle": "r", "Body": "hello"}, "q", "url")
    assert payload["headers"]["task"] == UNDECODABLE_TASK
    assert json.loads(payload["body"])[0] == ["hello", "the body is neither JSON nor base64 of it"]


@given(st.text(alphabet=st.characters(exclude_categories=[])))
def test_no_text_at_all_makes_the_reader_raise(body: str) -> None:
    assert isinstance(read_body(body), Undecodable)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)


@given(
    st.dictionaries(
        st.sampled_from(["body", "content-type", "content-encoding", "headers", "properties", "x"]),
        json_values | st.just(...),
    )
)
def test_no_envelope_at_all_makes_the_reader_raise(fields: dict[str, Any]) -> None:
    result = read_body(altered(**fields))
    assert isinstance(result, Call | Undecodable)
    if isinstance(result, Call):
        assert result == CALL


@given(st.integers(0, len(GOLDEN) - 1), st.text(max_size=3), st.integers(0, 5))
def test_a_golden_message_with_any_slip_in_it_names_a_known_task_or_none(
    place: int, slip: str, cut: int
) -> None:
    result = read_body(GOLDEN[:place] + slip + GOLDEN[place + cut :])
    if isinstance(result, Call):
        assert result.task in (CHANGES_TASK, RECORD_TASK)
        assert isinstance(result.payload, str)


@given(st.text(), st.text(), st.text(min_size=1))
def test_the_payload_handed_to_kombu_is_json_whatever_was_received(
    body: str, id_: str, receipt: str
) -> None:
    payload = build_payload({"MessageId": id_, "ReceiptHandle": receipt, "Body": body}, "q", "u")
    args, kwargs, embed = json.loads(payload["body"].encode())
    assert all(isinstance(arg, str) for arg in args)
    assert (kwargs, embed) == ({}, {})
