"""The whole pipeline on real services: table, stream, Lambda, queue, workers, cluster."""

import json
import os
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.dynamodb.types import Binary

from console.local.trigger import Trigger, TriggerSettings
from examples.plain.tables import notes
from examples.readings.tables import Packet, Reading, packets, readings
from kit.pipeline import Pipeline as MemoryPipeline
from producer.contract import Item
from producer.handler import build
from producer.settings import Settings
from tests.comparison import differences, read_live
from tests.e2e.tables import for_run
from tests.polling import wait_for
from tests.services.engines import Engine
from tests.workers import (
    CREDENTIALS,
    REGION,
    Queues,
    Workers,
    connect_sqs,
    running_workers,
    wait_until_drained,
)
from worker.cluster import connect
from worker.identity import document_id
from worker.tables import Table
from worker.wire import from_wire, to_wire

pytestmark = pytest.mark.services

DIGITS = Decimal(12345678901234567890123456789012345678)


@dataclass
class Pipeline:
    """A running pipeline of two tables."""

    run: str
    dynamodb: Any
    resource: Any
    streams: Any
    queues: Queues
    workers: Workers
    function: Any
    notes: Path
    """What the handlers of the parts wrote down."""
    triggers: list[Trigger] = field(default_factory=list)
    failures: list[object] = field(default_factory=list)

    def table(self, name: str) -> Any:
        return self.resource.Table(name)

    def follow(self, arn: str) -> None:
        """Let the Lambda read one more stream."""
        settings = TriggerSettings(report_failures=True, bisect=True, retries=5)
        self.triggers.append(
            Trigger(arn, self.streams, self.function, settings, self.failures.append)
        )

    def drain(self) -> None:
        """Until the streams are read to their ends and the queue is empty."""
        for trigger in self.triggers:
            quiet = 0
            while quiet < 3:
                before = trigger.counters.read
                trigger.poll_once()
                counters = trigger.counters
                idle = counters.read == before and not counters.unsettled
                quiet = quiet + 1 if idle else 0
        wait_until_drained(self.queues, self.workers)

    def noted(self, handler: str) -> list[list[Any]]:
        """The changes that a handler was given, in any order."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        batches = [json.loads(line) for line in lines]
        return [c for batch in batches if batch["handler"] == handler for c in batch["changes"]]

    def items(self, name: str) -> dict[str, Item]:
        """The table as it is, by document id."""
        schema = self.dynamodb.describe_table(TableName=name)["Table"]["KeySchema"]
        keys = [part["AttributeName"] for part in schema]
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=name, ConsistentRead=True)
        items = [to_wire(item) for page in pages for item in page["Items"]]
        return {document_id({key: item[key] for key in keys}): item for item in items}


def create_table(dynamodb: Any, name: str, **keys: str) -> str:
    """A table with both images in its stream; answers the stream's ARN."""
    roles = ("HASH", "RANGE")
    return str(
        dynamodb.create_table(
            TableName=name,
            KeySchema=[
                {"AttributeName": key, "KeyType": role}
                for key, role in zip(keys, roles, strict=False)
            ],
            AttributeDefinitions=[
                {"AttributeName": key, "AttributeType": kind} for key, kind in keys.items()
            ],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )["TableDescription"]["LatestStreamArn"]
    )


@pytest.fixture
def pipeline(
    search_engine: Engine,
    dynamodb: Engine,
    elasticmq: Engine,
    s3: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Pipeline]:
    run = f"e{os.urandom(4).hex()}"
    queues = Queues.create(connect_sqs(elasticmq.url), run, visibility_s=20)
    environment = {
        **CREDENTIALS,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL_SQS": elasticmq.url,
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url,
        "AWS_ENDPOINT_URL_DYNAMODB_STREAMS": dynamodb.url,
        "AWS_ENDPOINT_URL_S3": s3.url,
        "SLUICE_QUEUE_URL": queues.url,
        "SLUICE_DEAD_LETTER_URL": queues.dead_url,
        "SLUICE_OVERFLOW_BUCKET": run,
        "SLUICE_BATCH_BYTES": "262144",
        "SLUICE_OLD_IMAGES": "true",
        "SLUICE_ELASTICSEARCH_URL": search_engine.url,
        "SLUICE_TABLES": "tests.e2e.tables",
        "SLUICE_CONCURRENCY": "2",
        "E2E_RUN": run,
        "E2E_NOTES": str(tmp_path / "notes"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    # boto3 keeps the credentials of whoever asked first; DynamoDB Local has tables for each.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    boto3.client("s3").create_bucket(Bucket=run)
    client, streams = boto3.client("dynamodb"), boto3.client("dynamodbstreams")
    arns = [
        create_table(client, f"{run}-Posts.v1", id="S"),
        create_table(client, f"{run}_parts", maker="B", number="N"),
        create_table(client, f"{run}-notes", id="S"),
        create_table(client, f"{run}-readings", s="B", t="N"),
        create_table(client, f"{run}-packets", s="B", d="B"),
    ]
    producer = build(Settings.read(environment))
    with running_workers(environment, tmp_path) as workers:
        workers.start()
        workers.start()
        one = Pipeline(
            run,
            client,
            boto3.resource("dynamodb"),
            streams,
            queues,
            workers,
            producer.forward,
            tmp_path / "notes",
        )
        for arn in arns:
            one.follow(arn)
        yield one
        assert one.failures == []


def write_notes(pipeline: Pipeline) -> MemoryPipeline[Any]:
    """The example without a model, its items written to its table and to the kit's."""
    kit = MemoryPipeline(notes, key="id")
    table = pipeline.table(f"{pipeline.run}-notes")
    for number in range(20):
        item = {"id": f"n-{number % 15}", "number": number, "tags": {"b", "a"}, "raw": b"\x00\xff"}
        table.put_item(Item=item)
        kit.put(item)
    table.delete_item(Key={"id": "n-3"})
    kit.delete("n-3")
    return kit


def write_readings(pipeline: Pipeline) -> MemoryPipeline[Any]:
    """The example with a composite key, its models written to its table and to the kit's."""
    kit = MemoryPipeline(readings, key=("s", "t"))
    for number in range(20):
        reading = Reading(
            station=bytes([number % 3, 0, 255]),
            taken=number % 9,
            celsius=None if number % 5 == 4 else Decimal(number) / 4,
            packet=bytes(range(number)),
        )
        pipeline.dynamodb.put_item(
            TableName=f"{pipeline.run}-readings", Item=from_wire(kit.records.write(reading))
        )
        kit.put(reading)
    key = {"s": b"\x01\x00\xff", "t": 1}
    pipeline.table(f"{pipeline.run}-readings").delete_item(Key=key)
    kit.delete(key)
    return kit


def write_packets(pipeline: Pipeline) -> MemoryPipeline[Any]:
    """The example whose key is binary in both parts, written to its table and to the kit's."""
    kit = MemoryPipeline(packets, key=("s", "d"))
    name = f"{pipeline.run}-packets"
    for number in range(20):
        digest = bytes([number % 7, 0, 124])
        packet = Packet(station=b"\xff" * (1 + number % 2), digest=digest, packet=b"", times=number)
        pipeline.dynamodb.put_item(TableName=name, Item=from_wire(kit.records.write(packet)))
        kit.put(packet)
    key = {"s": b"\xff", "d": b"\x02\x00\x7c"}
    pipeline.table(name).delete_item(Key=key)
    kit.delete(key)
    return kit


def test_every_change_becomes_its_document(pipeline: Pipeline, search_engine: Engine) -> None:
    rng = random.Random(7)
    posts = pipeline.table(f"{pipeline.run}-Posts.v1")
    parts = pipeline.table(f"{pipeline.run}_parts")
    kinds = {
        "id": "every|type~%",
        "views": 7,
        "exact": DIGITS,
        "fraction": Decimal("0.1"),
        "tiny": Decimal("1E-130"),
        "binary": Binary(b"\x00\xff"),
        "texts": {"b", "a"},
        "numbers": {Decimal(10), Decimal(9), DIGITS},
        "binaries": {Binary(b"b"), Binary(b"a")},
        "nested": {"list": [1, None, Decimal("2.5")], "empty": {}, "flag": True},
        "none": None,
        "empty": "",
    }
    large = {"many": ["", "a", "b"] * 30_000}
    with posts.batch_writer() as writer:
        writer.put_item(Item=kinds)
        for number in range(300):
            writer.put_item(Item={"id": f"post-{number}", "title": f"post {number}", "views": 0})
    posts.put_item(Item={"id": "large", **large})
    posts.put_item(Item={"id": "large", "again": True, **large})
    posts.put_item(Item={"id": "poison", "views": "no number at all"})

    def edit(share: int) -> None:
        mine = boto3.resource("dynamodb").Table(posts.name)
        for _ in range(100):
            key = {"id": f"post-{rng.randrange(75) * 4 + share}"}
            if rng.random() < 0.2:
                mine.delete_item(Key=key)
            else:
                mine.put_item(Item={**key, "title": f"edited {rng.random()}", "views": share})

    threads = [threading.Thread(target=edit, args=(share,)) for share in range(4)]
    for thread in threads:
        thread.start()
    for number in range(40):
        parts.put_item(Item={"maker": bytes([number % 7, 124]), "number": number, "size": number})
    for number in range(0, 40, 3):
        parts.delete_item(Key={"maker": bytes([number % 7, 124]), "number": number})
    for thread in threads:
        thread.join()
    kits = [write_notes(pipeline), write_readings(pipeline), write_packets(pipeline)]
    pipeline.drain()

    cluster = connect(search_engine.url)
    for kit in kits:
        example = for_run(kit.table, pipeline.run)
        assert differences(cluster, example, pipeline.items(example.name)) == {}
        assert read_live(cluster, example) == kit.documents(), "the kit says what happens"
        kit.close()
    posts_table = Table(
        posts.name, mappings={"properties": {"views": {"type": "long"}, "title": {"type": "text"}}}
    )
    want = pipeline.items(posts.name)
    del want["poison"]
    dead = pipeline.queues.drain_dead()
    stock = [body for body, attributes in dead if attributes["sluice-error"] == "OSError"]
    letters = [attributes for _, attributes in dead if attributes["sluice-error"] != "OSError"]
    assert differences(cluster, posts_table, want) == {}, letters
    assert differences(cluster, Table(parts.name), pipeline.items(parts.name)) == {}
    document = read_live(cluster, posts_table)["every%7Ctype~%25"]
    assert document["exact"] == str(DIGITS)
    assert document["numbers"] == ["9", "10", str(DIGITS)]
    assert (document["fraction"], document["binary"]) == (0.1, "AP8=")
    (letter,) = letters
    assert letter["sluice-id"] == "poison"
    assert letter["sluice-table"] == posts.name
    assert "views" in letter["sluice-reason"]
    cluster.close()

    removed = set(range(0, 40, 3))
    shipped = [(kind, number, old) for kind, number, old, _ in pipeline.noted("ship")]
    assert set(shipped) == {("Insert", number, False) for number in range(40)} | {
        ("Remove", number, True) for number in removed
    }
    assert pipeline.noted("stock") == []
    pipeline.notes.with_name("notes.mended").touch()
    pipeline.queues.send(stock)
    pipeline.drain()
    assert {(n, index) for _, n, _, index in pipeline.noted("stock")} == {
        (number, "unknown") for number in removed
    }
    assert len(pipeline.noted("ship")) == len(shipped), "a redrive for one handler runs it alone"


def test_a_stream_switched_off_and_on_starts_no_old_news(
    pipeline: Pipeline, search_engine: Engine
) -> None:
    name = f"{pipeline.run}-Posts.v1"
    posts = pipeline.table(name)
    posts.put_item(Item={"id": "a", "title": "before"})
    posts.put_item(Item={"id": "b", "title": "before"})
    pipeline.drain()
    pipeline.dynamodb.update_table(TableName=name, StreamSpecification={"StreamEnabled": False})
    wait_for(
        "the stream to end",
        lambda: (
            "StreamSpecification" not in pipeline.dynamodb.describe_table(TableName=name)["Table"]
        ),
    )
    time.sleep(1.1)  # a stream's label is its time of creation: not the same second again
    pipeline.dynamodb.update_table(
        TableName=name,
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )
    arn = pipeline.dynamodb.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    pipeline.follow(arn)
    posts.put_item(Item={"id": "a", "title": "after"})
    posts.delete_item(Key={"id": "b"})
    pipeline.drain()
    cluster = connect(search_engine.url)
    assert differences(cluster, Table(name), pipeline.items(name)) == {}
    cluster.close()
