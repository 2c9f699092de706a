"""Ten thousand malformed messages: each is afterwards applied, or a dead letter with a reason.

A failing run is replayed with the seed it prints, as SLUICE_TEST_SEED.
"""

import collections
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest

from producer.contract import queue_name
from tests.comparison import expected, read_live
from tests.faults.conftest import Stage
from tests.faults.mutations import LIMIT, Mutator
from tests.services.engines import Engine
from tests.workers import CREDENTIALS, REGION, Queues
from worker.incoming import Call, Undecodable, read_body
from worker.schema import ensure_index

pytestmark = [
    pytest.mark.services,
    pytest.mark.slow,
    pytest.mark.parametrize("search_engine", ["embedded"], indirect=True, scope="session"),
]

MESSAGES = int(os.environ.get("SLUICE_TEST_FUZZ_MESSAGES", "10200"))
GOOD_EVERY = 50
THREADS = 4


def batches(bodies: list[str]) -> list[list[str]]:
    """In order, each as large as SendMessageBatch takes."""
    made: list[list[str]] = [[]]
    for body in bodies:
        full = len(made[-1]) == 10
        if full or sum(len(b.encode()) for b in [*made[-1], body]) > LIMIT:
            made.append([])
        made[-1].append(body)
    return made


def send(queues: Queues, bodies: list[str]) -> dict[str, str]:
    """Send all; their bodies by message id."""

    def send_batch(batch: list[str]) -> list[tuple[str, str]]:
        entries: Any = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(batch)]
        answer = queues.client.send_message_batch(QueueUrl=queues.url, Entries=entries)
        assert not answer.get("Failed"), answer["Failed"]
        return [(one["MessageId"], batch[int(one["Id"])]) for one in answer["Successful"]]

    with ThreadPoolExecutor(THREADS) as pool:
        return dict(pair for pairs in pool.map(send_batch, batches(bodies)) for pair in pairs)


def drain(queues: Queues) -> list[tuple[str, dict[str, str]]]:
    """Every dead letter's body and attributes; they are removed."""

    def drain_some(_: int) -> list[tuple[str, dict[str, str]]]:
        return queues.drain_dead()

    with ThreadPoolExecutor(THREADS) as pool:
        return [letter for letters in pool.map(drain_some, range(THREADS)) for letter in letters]


def test_every_malformed_message_is_applied_or_a_dead_letter_with_its_reason(
    stage: Stage, dynamodb: Engine
) -> None:
    seed = int(os.environ.get("SLUICE_TEST_SEED", "20240101"))
    print(f"seed {seed}")
    create_table(dynamodb.url, stage.table.name)
    ensure_index(stage.cluster, stage.table)
    mutator = Mutator(
        random.Random(seed),
        stage.table.name,
        queue_name(stage.queues.url),
        time.time_ns() // 1_000_000,
    )
    bad = list(mutator.bodies(MESSAGES))
    bodies = [body for _, body in bad]
    for number in range(0, len(bodies), GOOD_EVERY):
        bodies.insert(number, stage.chunk(stage.change(f"good-{number}")))
    sent = send(stage.queues, bodies)
    started = time.monotonic()
    worker = stage.workers.start(
        AWS_ENDPOINT_URL_DYNAMODB=dynamodb.url,
        SLUICE_CONCURRENCY="4",
        SLUICE_VALVE_REFUSALS="0",
    )
    took = stage.wait_until_drained(600, every=1)
    print(f"{len(sent)} messages in {took:.0f} s, {len(sent) / took:.0f} a second")
    assert worker.poll() is None
    assert len(stage.lines("worker starts")) == 1
    assert time.monotonic() - started < 250

    # Each message ended once, and at its first receipt.
    failed = stage.lines("stays in the queue") + stage.lines("did not end")
    assert not failed, [(sent.get(_id(line), "")[:300], line) for line in failed[:5]]
    applied, dead = stage.lines("chunk applied"), stage.lines("message dead-lettered")
    ends = collections.Counter(_id(line) for line in applied + dead)
    assert set(ends) == set(sent)
    assert set(ends.values()) == {1}

    # What the worker says it dead-lettered is there, all of it, and says why.
    letters = drain(stage.queues)
    refused = sum(line["refused"] for line in applied)
    assert len(letters) == len(dead) + refused
    for body, attributes in letters:
        assert attributes.get("sluice-error"), body[:200]
        # A message as long as SQS takes has no room for more.
        assert attributes.get("sluice-reason") or len(body.encode()) > LIMIT - 4096, body[:200]
    whole = collections.Counter(carried(body) for body, _ in letters)
    for line in dead:
        assert whole[carried(sent[_id(line)])] > 0, sent[_id(line)][:500]

    # The messages that were well among them were not harmed.
    live = read_live(stage.cluster, stage.table)
    want = expected(stage.table, stage.items)
    assert {name: live.get(name) for name in want} == want
    why = collections.Counter(attributes["sluice-error"] for _, attributes in letters)
    print(f"{len(applied)} applied, {refused} changes in them refused, {len(dead)} dead: {why}")


def carried(body: str) -> tuple[str, str]:
    """What a message brings: its task and argument, or if it has none, all of its text."""
    match read_body(body):
        case Call(task, _, payload):
            return task, payload
        case Undecodable(text, _):
            return "", text


def _id(line: dict[str, Any]) -> str:
    return str(line["message_id"])


def create_table(url: str, name: str) -> None:
    """The table that old changes are settled by."""
    client = boto3.client(
        "dynamodb",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
