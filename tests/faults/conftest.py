"""A queue, an index behind the proxy, and workers: what every test under faults stands on."""

import json
import os
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from producer.contract import (
    Change,
    Chunk,
    Item,
    Overflow,
    encode_chunk,
    queue_name,
    write_envelope,
    write_images,
)
from tests.comparison import differences
from tests.faults.proxy import Proxy, proxying
from tests.polling import wait_for
from tests.services.engines import Engine
from tests.workers import CREDENTIALS, REGION, Queues, Workers, connect_sqs, running_workers
from worker.cluster import Cluster, connect, path
from worker.identity import document_id
from worker.schema import ensure_index
from worker.tables import Table

LABEL = "2024-01-01T00:00:00.000"
ZLIB = "1:eJ"
"""What every payload starts with: its version, and zlib's header in base64."""
CANARY = "canary-" + os.urandom(8).hex()
"""In every item, and so in every document: no log may hold it."""
VISIBILITY_S = 3
RECEIVES = 5
CONCURRENCY = 2


@dataclass
class Stage:
    """One table's pipeline from the queue on. `items` is what the index must hold at the end."""

    name: str
    queues: Queues
    proxy: Proxy
    """In front of the index."""
    bucket: Proxy
    """In front of the overflow bucket, and of DynamoDB."""
    s3: Any
    """The bucket's client, past its proxy."""
    cluster: Cluster
    """The index itself, past the proxy."""
    workers: Workers
    items: dict[str, Item] = field(default_factory=dict)
    sequence: int = 10**20

    @property
    def table(self) -> Table[Any]:
        return Table(f"{self.name}-posts")

    def change(self, key: str, **more: dict[str, Any]) -> Change:
        self.sequence += 1
        image: Item = {
            "id": {"S": key},
            "revision": {"S": str(self.sequence)},
            "canary": {"S": CANARY},
            **more,
        }
        self.items[document_id({"id": {"S": key}})] = image
        at = time.time_ns() // 1_000_000
        return Change("MODIFY", {"id": {"S": key}}, at, str(self.sequence), new=image)

    def claim(self, key: str) -> Change:
        """A change whose images lie in the overflow bucket."""
        change = self.change(key)
        content = write_images(change)
        self.s3.put_object(Bucket=self.name, Key=key, Body=zlib.compress(content))
        return replace(change, new=None, overflow=Overflow(key, len(content)))

    def chunk(self, *changes: Change) -> str:
        """The body of a message."""
        arn = f"arn:aws:dynamodb:eu-west-1:123456789012:table/{self.table.name}/stream/{LABEL}"
        payload = encode_chunk(Chunk(self.table.name, arn, changes))
        return write_envelope(payload, queue_name(self.queues.url))

    def send(self, messages: int = 12, changes: int = 4, prefix: str = "key") -> None:
        """Put messages into the queue: each change an item of its own, some written twice."""
        bodies = []
        for number in range(messages):
            keys = [f"{prefix}-{number}-{n}" for n in range(changes)]
            bodies.append(self.chunk(*(self.change(key) for key in [*keys, keys[0]])))
        self.queues.send(bodies)

    def lines(self, message: str | None = None) -> list[dict[str, Any]]:
        """The workers' logs so far, or those lines of it."""
        logs = sorted(self.workers.directory.glob("worker-*.log"))
        texts = [text for log in logs for text in log.read_text(errors="replace").splitlines()]
        lines = [json.loads(text) for text in texts if text.startswith("{") and text.endswith("}")]
        return [line for line in lines if message is None or message in line["message"]]

    def wait_for_line(self, message: str, seconds: float = 25, more_than: int = 0) -> None:
        def is_there() -> bool:
            return len(self.lines(message)) > more_than

        try:
            wait_for(f"the line {message!r}", is_there, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.workers.logs()}") from error

    def wait_until_drained(self, seconds: float, every: float = 0.1) -> float:
        """Until the queue is empty; how many seconds that took."""
        started = time.monotonic()

        def is_drained() -> bool:
            return self.queues.depth() == 0

        try:
            wait_for("the queue to drain", is_drained, seconds=seconds, every=every)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.workers.logs()}") from error
        return time.monotonic() - started

    def in_flight(self) -> int:
        """Messages that somebody holds."""
        name: Any = "ApproximateNumberOfMessagesNotVisible"
        answer = self.queues.client.get_queue_attributes(
            QueueUrl=self.queues.url, AttributeNames=[name]
        )
        return int(answer["Attributes"][name])

    def receives(self) -> list[int]:
        """How often each applied message had been handed out, as the workers say."""
        return [line["receives"] for line in self.lines("chunk applied")]

    def check_logs(self) -> None:
        """No log holds a payload, or anything of a document."""
        for log in self.workers.directory.glob("worker-*.log"):
            text = log.read_text(errors="replace")
            assert ZLIB not in text
            assert CANARY not in text

    def check(self) -> None:
        """Nothing was dead-lettered, the index equals the items, and the logs are discreet."""
        self.check_logs()
        assert [a for _, a in self.queues.drain_dead()] == []
        assert differences(self.cluster, self.table, self.items) == {}, self.workers.logs()


@pytest.fixture
def stage(search_engine: Engine, elasticmq: Engine, s3: Engine, tmp_path: Path) -> Iterator[Stage]:
    run = f"f{os.urandom(4).hex()}"
    queues = Queues.create(
        connect_sqs(elasticmq.url), run, visibility_s=VISIBILITY_S, receives=RECEIVES
    )
    cluster = connect(search_engine.url)
    client = boto3.session.Session().client(
        "s3",
        region_name=REGION,
        endpoint_url=s3.url,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket=run)
    with proxying(search_engine.url) as proxy, proxying(s3.url) as bucket:
        environment = {
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": bucket.url,
            "AWS_ENDPOINT_URL_SQS": elasticmq.url,
            "SLUICE_OVERFLOW_BUCKET": run,
            "SLUICE_QUEUE_URL": queues.url,
            "SLUICE_DEAD_LETTER_URL": queues.dead_url,
            "SLUICE_ELASTICSEARCH_URL": proxy.url,
            "SLUICE_TABLES": "tests.faults.tables",
            "SLUICE_CONCURRENCY": str(CONCURRENCY),
            "FAULTS_RUN": run,
        }
        with running_workers(environment, tmp_path) as workers:
            yield Stage(run, queues, proxy, bucket, client, cluster, workers)
    cluster.close()


@pytest.fixture
def ready(stage: Stage) -> Stage:
    """The stage with a worker that has already applied something."""
    return make_ready(stage)


def make_ready(stage: Stage) -> Stage:
    """Start a worker, and wait until it has applied something."""
    ensure_index(stage.cluster, stage.table)
    stage.workers.start()
    stage.send(1, prefix="first")
    stage.wait_for_line("chunk applied")
    return stage


def set_index(stage: Stage, **settings: Any) -> None:
    answer = stage.cluster.request(
        "PUT", path(stage.table.index_name(1), "_settings"), body={"index": settings}
    )
    assert answer.status == 200, answer
