"""A table with a stream that the test writes itself, its queue, workers and cluster."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from producer.contract import Change, Chunk, Item, Kind, encode_chunk, queue_name, write_envelope
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
from worker.cluster import Cluster, connect


@dataclass
class Line:
    """Everything between a table of the key `id` and its index."""

    table: str
    queues: Queues
    workers: Workers
    cluster: Cluster
    dynamodb: Any
    environment: Mapping[str, str]
    sequence: int = 10**20

    def change(self, kind: Kind, name: str, at: int, item: Item | None) -> Change:
        """The next change of the table's stream."""
        self.sequence += 10**20 + 7
        return Change(kind, {"id": {"S": name}}, at, str(self.sequence), new=item)

    def chunk(self, *changes: Change) -> Chunk:
        """Changes of the stream, or reads, as one chunk."""
        origin = (
            f"arn:aws:dynamodb:{REGION}:000000000000:table/{self.table}"
            "/stream/2024-01-01T00:00:00.000"
        )
        return Chunk(self.table, None if changes[0].kind == "READ" else origin, changes)

    def send(self, *chunks: Chunk) -> None:
        name = queue_name(self.queues.url)
        self.queues.send([write_envelope(encode_chunk(chunk), name) for chunk in chunks])

    def settle(self) -> None:
        """Until each change is applied, obsolete or a dead letter."""
        wait_until_drained(self.queues, self.workers, 60)


@contextmanager
def running_line(
    engines: Mapping[str, Engine],
    table: str,
    directory: Path,
    environment: Mapping[str, str],
    *,
    visibility_s: int = 30,
) -> Iterator[Line]:
    """A line without workers yet; what it started is gone when the context ends."""
    url = engines["elasticmq"].url
    queues = Queues.create(connect_sqs(url), table, visibility_s=visibility_s)
    client = boto3.client(
        "dynamodb",
        endpoint_url=engines["dynamodb"].url,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    settings = {
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL_SQS": url,
        "AWS_ENDPOINT_URL_DYNAMODB": engines["dynamodb"].url,
        "SLUICE_QUEUE_URL": queues.url,
        "SLUICE_DEAD_LETTER_URL": queues.dead_url,
        "SLUICE_ELASTICSEARCH_URL": engines["search"].url,
        **environment,
    }
    cluster = connect(engines["search"].url)
    with running_workers(settings, directory) as workers:
        yield Line(table, queues, workers, cluster, client, settings)
    cluster.close()
