"""The services that the benchmarks run on, each started when a group first asks for it."""

import http.client
import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from bench.corpus import TABLE
from console.local.services import Service, start_moto
from tests.services.servers import start_dynamodb_local, start_elasticmq, start_elasticsearch
from tests.workers import REGION, Queues, Workers, connect_sqs, running_workers, wait_until_drained
from worker.cluster import Cluster, connect, path

HEAP: Final = "1g"
QUEUE_HEAP: Final = "3g"
"""Of ElasticMQ: two minutes of full messages, which it keeps that long though they are deleted."""


class MissingError(Exception):
    """A program that a group needs is not on this machine: the group is left out. `hint` says how
    to get it."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(f"{message} ({hint})")


@dataclass
class Stage:
    """One machine's worth of real services, with the folder that their data and logs lie in."""

    directory: Path
    stack: ExitStack
    queues_made: int = field(default=0)
    pids: dict[str, int] = field(default_factory=dict)
    """Processes of `search` and `queue`, once they run."""
    warmed: set[str] = field(default_factory=set)
    """Those of `search` and `queue` that have had their long warm-up."""

    @cached_property
    def search(self) -> str:
        """Elasticsearch 8, its JVM at full speed."""
        place = self._place("elasticsearch")
        start = start_elasticsearch(8, place, heap=HEAP, full_speed=True)
        return self._enter("search", start)

    @cached_property
    def queue(self) -> str:
        """ElasticMQ, which takes the batches of 1 MiB that SQS takes, too."""
        start = start_elasticmq(self._place("elasticmq"), strict=False, heap=QUEUE_HEAP)
        return self._enter("queue", start)

    @cached_property
    def dynamodb(self) -> str:
        """DynamoDB Local."""
        return self.stack.enter_context(start_dynamodb_local(self._place("dynamodb"))).url

    @cached_property
    def bucket(self) -> str:
        """moto, for S3."""
        return self.stack.enter_context(start_moto(self._place("moto"))).url

    @cached_property
    def cluster(self) -> Cluster:
        """A connection of the worker's kind."""
        cluster = connect(self.search)
        self.stack.callback(cluster.close)
        return cluster

    def make_queues(self) -> Queues:
        """A fresh pair of queues."""
        self.queues_made += 1
        return Queues.create(connect_sqs(self.queue), f"bench-{self.queues_made}", visibility_s=120)

    def environment(self, queues: Queues, **settings: str) -> dict[str, str]:
        """What a worker, the producer and the console are told."""
        return {
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL_SQS": self.queue,
            "SLUICE_QUEUE_URL": queues.url,
            "SLUICE_DEAD_LETTER_URL": queues.dead_url,
            "SLUICE_OVERFLOW_BUCKET": "bench",
            "SLUICE_ELASTICSEARCH_URL": self.search,
            "SLUICE_TABLES": "bench.tables",
            "SLUICE_LOG_LEVEL": "WARNING",
            **settings,
        }

    @contextmanager
    def pool(self, queues: Queues, processes: int, **settings: str) -> Iterator["Pool"]:
        """One worker of so many processes, ready to take messages."""
        told = self.environment(queues, SLUICE_CONCURRENCY=str(processes), **settings)
        with running_workers(told, self._place(f"worker-{self.queues_made}")) as workers:
            workers.start()
            pool = Pool(workers, queues)
            try:
                yield pool
            finally:
                pool.resume()

    def remove_index(self, name: str) -> None:
        """Delete an index, if it is there."""
        self.cluster.request("DELETE", path(name))

    def remove_posts(self) -> None:
        """Delete the indexes of the benchmarks' tables: the next worker begins with none."""
        answer = self.cluster.request("GET", path("_alias"))
        for name in [name for name in answer.body if name.startswith(TABLE)]:
            self.remove_index(name)

    def count(self, index: str) -> int:
        """Documents of an index or alias that a search sees, after a refresh."""
        self.cluster.request("POST", path(index, "_refresh"))
        return int(self.cluster.request("GET", path(index, "_count")).body["count"])

    def _enter(self, name: str, service: Service) -> str:
        self.pids[name] = service.pid
        return self.stack.enter_context(service).url

    def _place(self, name: str) -> Path:
        place = self.directory / name
        place.mkdir(parents=True, exist_ok=True)
        return place


@dataclass
class Pool:
    """Real worker processes that can be held, so that a queue fills before they see it."""

    workers: Workers
    queues: Queues

    def hold(self) -> None:
        """Stop every process where it is."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let them run on."""
        self._signal(signal.SIGCONT)

    def drain(self, seconds: float = 600) -> None:
        """Until no message waits or is in work. Fails with the worker's log."""
        wait_until_drained(self.queues, self.workers, seconds, every=0.1)

    def _signal(self, number: int) -> None:
        for process in self.workers.running:
            if process.poll() is None:
                os.killpg(process.pid, number)


@contextmanager
def run_stage(directory: Path) -> Iterator[Stage]:
    """A stage whose services end with the context."""
    with ExitStack() as stack:
        yield Stage(directory, stack)


# DynamoDB Local reads who asks, and checks no signature; signing would be most of the time.
_SIGNED_BY_NOBODY: Final = (
    f"AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/dynamodb/aws4_request,"
    " SignedHeaders=host, Signature=0"
)


@dataclass
class Writer:
    """One connection to DynamoDB Local that writes as cheaply as it can be done."""

    url: str
    connection: http.client.HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        place = urlsplit(self.url)
        self.connection = http.client.HTTPConnection(str(place.hostname), place.port)

    def call(self, action: str, body: dict[str, Any]) -> dict[str, Any]:
        """One call of the API. Raises RuntimeError for any answer but 200."""
        headers = {
            "X-Amz-Target": f"DynamoDB_20120810.{action}",
            "Content-Type": "application/x-amz-json-1.0",
            "Authorization": _SIGNED_BY_NOBODY,
        }
        self.connection.request("POST", "/", json.dumps(body), headers)
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"DynamoDB Local answers {answer.status}: {content[:300]!r}")
        made: dict[str, Any] = json.loads(content)
        return made

    def put_many(self, table: str, items: list[dict[str, Any]]) -> None:
        """Put items, 25 at a time."""
        for start in range(0, len(items), 25):
            entries = [{"PutRequest": {"Item": item}} for item in items[start : start + 25]]
            answer = self.call("BatchWriteItem", {"RequestItems": {table: entries}})
            if answer["UnprocessedItems"]:
                raise RuntimeError("DynamoDB Local left items out")
