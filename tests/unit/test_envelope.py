"""The real kombu and Celery read our hand-written envelope, and find our argument in it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.worker.request import Request
from hypothesis import given
from hypothesis import strategies as st
from kombu.connection import Connection

from producer.contract import (
    CHANGES_TASK,
    RECORD_TASK,
    Chunk,
    decode_chunk,
    encode_chunk,
    envelope_bytes,
    payload_bytes,
    write_envelope,
    write_payload,
)
from tests import strategies

QUEUE = "posts-changes"
URL = f"https://sqs.eu-west-1.amazonaws.com/123456789012/{QUEUE}"
_CONNECTION: Any = Connection  # kombu says it is typed, but half of it is not


@pytest.fixture(scope="module")
def channel() -> Iterator[Any]:
    """A channel of stock kombu. It calls nobody: its one queue is named in its options."""
    options = {"region": "eu-west-1", "predefined_queues": {QUEUE: {"url": URL}}}
    url = "sqs://test:test@127.0.0.1:1"
    with _CONNECTION(url, transport_options=options) as connection, connection.channel() as channel:
        yield channel


def receive(channel: Any, body: str) -> Any:
    """The message as kombu makes it of what SQS delivers."""
    raw = {"MessageId": "1", "ReceiptHandle": "receipt", "Body": body, "Attributes": {}}
    return channel.Message(channel._message_to_python(raw, QUEUE, URL), channel=channel)


def run(message: Any) -> dict[str, Any]:
    """What a Celery task of protocol 2 is called with."""
    app = Celery(set_as_current=False)
    seen: dict[str, Any] = {}

    @app.task(name=message.headers["task"], bind=True)  # type: ignore[untyped-decorator]
    def task(self: Any, *args: object, **kwargs: object) -> None:
        seen.update(args=args, kwargs=kwargs, id=self.request.id)

    args, kwargs, _ = message.decode()
    request = Request(message, app=app, hostname="host", task=task)
    assert request.name == message.headers["task"]
    task.apply(args=args, kwargs=kwargs, task_id=request.id)
    return seen


def test_kombu_and_celery_call_the_task_with_the_payload(channel: Any) -> None:
    message = receive(channel, write_envelope("1:AAAA", QUEUE, id="the-id"))
    assert message.content_type == "application/json"
    assert message.delivery_info["routing_key"] == QUEUE
    assert message.decode() == [["1:AAAA"], {}, {}]
    assert run(message) == {"args": ("1:AAAA",), "kwargs": {}, "id": "the-id"}


@pytest.mark.parametrize("task", [CHANGES_TASK, RECORD_TASK])
def test_the_task_is_the_one_named_and_each_message_has_its_own_id(channel: Any, task: str) -> None:
    first, second = (receive(channel, write_envelope("1:", QUEUE, task)) for _ in range(2))
    assert first.headers["task"] == task
    assert first.headers["id"] != second.headers["id"]


@given(strategies.chunks())
def test_every_chunk_survives_kombu(channel: Any, chunk: Chunk) -> None:
    ((payload,), _, _) = receive(channel, write_envelope(encode_chunk(chunk), QUEUE)).decode()
    assert decode_chunk(payload) == chunk


@given(st.integers(min_value=0, max_value=10_000))
def test_the_bytes_of_a_message_are_known_before_it_is_written(compressed: int) -> None:
    payload = write_payload(b"x" * compressed)
    assert len(payload) == payload_bytes(compressed)
    assert len(write_envelope(payload, QUEUE).encode()) == envelope_bytes(QUEUE, compressed)


@given(st.text() | st.text('019aAzZ+/=:"\\\x7f\u00e9'))
def test_any_text_arrives_as_it_was(payload: str) -> None:
    arguments, _, _ = json.loads(json.loads(write_envelope(payload, QUEUE))["body"])
    assert arguments == [payload]


def test_the_envelope_is_text_that_sqs_takes_and_escapes_the_payload_nowhere() -> None:
    payload = write_payload(bytes(range(256)))
    body = write_envelope(payload, QUEUE)
    assert body.isascii()
    assert body.isprintable()
    assert payload in body
    assert json.loads(json.loads(body)["body"])[0] == [payload]
