"""One run: two tables, queue, bucket, cluster, workers, and the `sluice` command beside them."""

import importlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

from console import cli
from console.local.trigger import Trigger, TriggerSettings
from producer.contract import Item
from producer.handler import build
from producer.settings import Settings
from tests.comparison import differences
from tests.services.engines import Engine
from tests.upkeep import tables as declared
from tests.workers import (
    CREDENTIALS,
    REGION,
    ROOT,
    Queues,
    Workers,
    connect_sqs,
    running_workers,
    wait_until_drained,
)
from worker.cluster import Cluster, connect, path
from worker.identity import document_id
from worker.schema import ensure_index
from worker.tables import Table
from worker.wire import to_wire

MODULE = "tests.upkeep.tables"

HEAVY = pytest.mark.parametrize(
    "search_engine", ["embedded", "elasticsearch-8"], indirect=True, scope="session"
)
"""For what the engine has a part in."""
LIGHT = pytest.mark.parametrize("search_engine", ["embedded"], indirect=True, scope="session")
"""For what is the same on every engine."""


@dataclass
class Run:
    """Everything of one run."""

    name: str
    environment: Mapping[str, str]
    dynamodb: Any
    resource: Any
    streams: Any
    s3: Any
    queues: Queues
    workers: Workers
    cluster: Cluster
    items: Table[Any]
    shown: Table[Any]
    capsys: pytest.CaptureFixture[str]
    failures: list[object] = field(default_factory=list)

    def sluice(self, *arguments: str) -> tuple[int, str, str]:
        """Run the command in this process: exit code, output, errors."""
        self.capsys.readouterr()
        code = cli.main(list(arguments))
        shown = self.capsys.readouterr()
        return code, shown.out, shown.err

    def sluice_json(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Run it with --json; its answer."""
        ended, out, err = self.sluice(*arguments, "--json")
        assert ended == code, (ended, out, err)
        lines = [json.loads(line) for line in out.splitlines()]
        answers: list[dict[str, Any]] = [line for line in lines if "level" not in line]
        (answer,) = answers  # the rest is the log of a producer that runs beside it
        return answer

    def spawn(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Run it in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "console", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def create(self, table: Table[Any], *, stream: bool = False) -> None:
        """Create a table, with a stream or without one, and its index."""
        key = {"id": "HASH"} if table is self.items else {"owner": "HASH", "id": "RANGE"}
        more: dict[str, Any] = {}
        if stream:
            more["StreamSpecification"] = {
                "StreamEnabled": True,
                "StreamViewType": "NEW_IMAGE",
            }
        self.dynamodb.create_table(
            TableName=table.name,
            KeySchema=[{"AttributeName": n, "KeyType": role} for n, role in key.items()],
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in key],
            BillingMode="PAY_PER_REQUEST",
            **more,
        )
        ensure_index(self.cluster, table)

    def stream(self, table: Table[Any], *, on: bool) -> str:
        """Switch the stream; the newest one's ARN."""
        spec = {"StreamEnabled": on} | ({"StreamViewType": "NEW_IMAGE"} if on else {})
        self.dynamodb.update_table(TableName=table.name, StreamSpecification=spec)
        described = self.dynamodb.describe_table(TableName=table.name)["Table"]
        return str(described["LatestStreamArn"])

    def put(self, table: Table[Any], *items: dict[str, Any]) -> None:
        with self.resource.Table(table.name).batch_writer() as writer:
            for item in items:
                writer.put_item(Item=item)

    def follow(self, arn: str, *, timely: bool = False) -> Trigger:
        """The Lambda's trigger on a stream.

        timely: a change's time is floored to the second, as AWS does it; DynamoDB Local floors it
        to the minute, so that every lag looks like one.
        """
        producer = build(Settings.read(os.environ))
        settings = TriggerSettings(report_failures=True, bisect=True, retries=5)

        def forward_timely(event: Any, context: Any) -> Any:
            for record in event["Records"]:
                record["dynamodb"]["ApproximateCreationDateTime"] = int(time.time())
            return producer.forward(event, context)

        function = forward_timely if timely else producer.forward
        return Trigger(arn, self.streams, function, settings, self.failures.append)

    def drain(self, *triggers: Trigger) -> None:
        """Until the streams are read to their ends and the queue is empty."""
        for trigger in triggers:
            quiet = 0
            while quiet < 3:
                before = trigger.counters.read
                trigger.poll_once()
                idle = trigger.counters.read == before and not trigger.counters.unsettled
                quiet = quiet + 1 if idle else 0
        wait_until_drained(self.queues, self.workers)

    def read_table(self, table: Table[Any]) -> dict[str, Item]:
        """The table as it is, by document id."""
        described = self.dynamodb.describe_table(TableName=table.name)["Table"]
        keys = [part["AttributeName"] for part in described["KeySchema"]]
        pages = self.dynamodb.get_paginator("scan").paginate(
            TableName=table.name, ConsistentRead=True
        )
        items = [to_wire(item) for page in pages for item in page["Items"]]
        return {document_id({key: item[key] for key in keys}): item for item in items}

    def differences(self, table: Table[Any]) -> dict[str, list[str]]:
        return differences(self.cluster, table, self.read_table(table))

    def document(self, table: Table[Any], id: str, **params: str) -> dict[str, Any]:
        """A document as the cluster has it, whatever its state."""
        answer = self.cluster.request("GET", path(table.write_alias, "_doc", id), params=params)
        body: dict[str, Any] = answer.body
        return body

    def write(self, table: Table[Any], id: str, document: dict[str, Any], **params: str) -> None:
        """Write a document behind the pipeline's back."""
        answer = self.cluster.request(
            "PUT", path(table.write_alias, "_doc", id), params=params, body=document
        )
        assert answer.status in (200, 201), answer

    def remove(self, table: Table[Any], id: str, **params: str) -> None:
        """Delete a document behind the pipeline's back."""
        answer = self.cluster.request("DELETE", path(table.write_alias, "_doc", id), params=params)
        assert answer.status == 200, answer


@contextmanager
def polling(trigger: Trigger) -> Iterator[None]:
    """A trigger that polls in a thread, as Lambda's does."""
    stop = threading.Event()
    thread = threading.Thread(target=trigger.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def beside(work: Callable[[threading.Event], None], threads: int) -> Iterator[None]:
    """Threads that work until the context ends."""
    stop = threading.Event()
    running = [threading.Thread(target=work, args=(stop,)) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in running:
            thread.join()


@contextmanager
def running(
    engines: Mapping[str, Engine],
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Run]:
    """A run without workers yet; what it started is gone when the context ends."""
    name = f"u{os.urandom(4).hex()}"
    queues = Queues.create(connect_sqs(engines["elasticmq"].url), name, visibility_s=8)
    environment = {
        **CREDENTIALS,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": engines["s3"].url,
        "AWS_ENDPOINT_URL_SQS": engines["elasticmq"].url,
        "AWS_ENDPOINT_URL_DYNAMODB": engines["dynamodb"].url,
        "AWS_ENDPOINT_URL_DYNAMODB_STREAMS": engines["dynamodb"].url,
        "SLUICE_QUEUE_URL": queues.url,
        "SLUICE_DEAD_LETTER_URL": queues.dead_url,
        "SLUICE_OVERFLOW_BUCKET": name,
        "SLUICE_BATCH_BYTES": "262144",
        "SLUICE_ELASTICSEARCH_URL": engines["search"].url,
        "SLUICE_TABLES": MODULE,
        "SLUICE_CONCURRENCY": "2",
        "UPKEEP_RUN": name,
    }
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    # boto3 keeps the credentials of whoever asked first; DynamoDB Local has tables for each.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    importlib.reload(declared)
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=name)
    cluster = connect(engines["search"].url)
    with running_workers(environment, directory) as workers:
        yield Run(
            name,
            environment,
            boto3.client("dynamodb"),
            boto3.resource("dynamodb"),
            boto3.client("dynamodbstreams"),
            s3,
            queues,
            workers,
            cluster,
            declared.items,
            declared.shown,
            capsys,
        )
    cluster.close()
