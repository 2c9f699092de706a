"""One suite for every queue the tests stand on: ElasticMQ, or moto, and the kit's in memory."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from kit.aws import MemorySqs
from tests.services.engines import Engine
from tests.workers import connect_sqs

TOO_MUCH = "x" * 1_048_577
TEXT = {"DataType": "String", "StringValue": "why"}


class Queue:
    """A client, and the URL of one queue."""

    def __init__(self, client: Any, url: str) -> None:
        self.client, self.url = client, url

    def send(self, *bodies: str) -> dict[str, Any]:
        entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies)]
        answer: dict[str, Any] = self.client.send_message_batch(QueueUrl=self.url, Entries=entries)
        return answer

    def receive(self, most: int = 10, **options: Any) -> list[dict[str, Any]]:
        answer = self.client.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=most,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
            **options,
        )
        return list(answer.get("Messages", []))

    def delete(self, message: dict[str, Any]) -> None:
        self.client.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])

    def show(self, message: dict[str, Any]) -> None:
        self.client.change_message_visibility(
            QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
        )


@pytest.fixture(params=["memory", "service"])
def queue(request: pytest.FixtureRequest, elasticmq: Engine, fresh_name: str) -> Queue:
    if request.param == "memory":
        return Queue(MemorySqs(), "https://sqs/changes")
    client = connect_sqs(elasticmq.url)
    return Queue(client, client.create_queue(QueueName=fresh_name)["QueueUrl"])


@pytest.fixture
def strict_queue(queue: Queue, elasticmq: Engine) -> Queue:
    """One that counts and checks as SQS does: moto does not."""
    if elasticmq.kind == "embedded" and not isinstance(queue.client, MemorySqs):
        return Queue(MemorySqs(), "https://sqs/changes")
    return queue


def test_what_is_sent_is_received_once_and_gone_once_deleted(queue: Queue) -> None:
    answer = queue.send("a", "é\t\U0001f600")
    assert [entry["Id"] for entry in answer["Successful"]] == ["0", "1"]
    hidden = queue.receive()
    assert {message["Body"] for message in hidden} == {"a", "é\t\U0001f600"}
    assert queue.receive() == []
    for message in hidden:
        queue.show(message)
    visible = queue.receive(VisibilityTimeout=0)
    assert len(visible) == 2
    for message in visible:
        queue.delete(message)
    assert queue.receive() == []


def test_a_message_shown_again_comes_with_its_count_and_a_new_receipt(queue: Queue) -> None:
    queue.send("a")
    (first,) = queue.receive()
    queue.show(first)
    (second,) = queue.receive()
    assert second["MessageId"] == first["MessageId"]
    assert second["ReceiptHandle"] != first["ReceiptHandle"]
    counts = [int(m["Attributes"]["ApproximateReceiveCount"]) for m in (first, second)]
    assert counts == [1, 2]
    assert int(first["Attributes"]["SentTimestamp"]) > 1_700_000_000_000
    queue.delete(second)


def test_a_message_received_for_no_time_is_visible_at_once(queue: Queue) -> None:
    queue.send("a")
    assert len(queue.receive(VisibilityTimeout=0)) == 1
    assert len(queue.receive()) == 1


def test_one_call_takes_as_many_as_are_asked_for(queue: Queue) -> None:
    queue.send(*map(str, range(10)))
    taken = queue.receive(most=1) + queue.receive(most=9)
    assert {message["Body"] for message in taken} == set(map(str, range(10)))


def test_attributes_come_back_as_they_were_sent(queue: Queue) -> None:
    queue.client.send_message(
        QueueUrl=queue.url, MessageBody="a", MessageAttributes={"sluice-reason": TEXT}
    )
    queue.send("b")
    taken = {message["Body"]: message for message in queue.receive()}
    attribute = taken["a"]["MessageAttributes"]["sluice-reason"]
    assert {name: attribute[name] for name in TEXT} == TEXT
    assert not taken["b"].get("MessageAttributes")


@pytest.mark.parametrize(
    "bodies", [["a"] * 11, ["x" * 600_000, "é" * 300_000], [TOO_MUCH]], ids=len
)
def test_a_batch_that_is_too_large_is_refused_whole(strict_queue: Queue, bodies: list[str]) -> None:
    with pytest.raises(ClientError) as refused:
        strict_queue.send(*bodies)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert strict_queue.receive() == []


def test_a_batch_of_one_id_twice_is_refused_whole(strict_queue: Queue) -> None:
    entries = [{"Id": "0", "MessageBody": "a"}] * 2
    with pytest.raises(ClientError):
        strict_queue.client.send_message_batch(QueueUrl=strict_queue.url, Entries=entries)
    assert strict_queue.receive() == []


@pytest.mark.parametrize("body", ["", TOO_MUCH, "\x00", "\ufffe"], ids=["no", "long", "0", "fffe"])
def test_a_message_that_sqs_never_takes_is_refused(strict_queue: Queue, body: str) -> None:
    with pytest.raises(ClientError) as refused:
        strict_queue.client.send_message(QueueUrl=strict_queue.url, MessageBody=body)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert strict_queue.receive() == []


def test_attributes_count_against_the_limit(strict_queue: Queue) -> None:
    with pytest.raises(ClientError):
        strict_queue.client.send_message(
            QueueUrl=strict_queue.url,
            MessageBody="x" * 1_048_570,
            MessageAttributes={"reason": TEXT},
        )
