"""The whole pipeline under random faults, then every item against every document."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

import boto3

from console.local.trigger import Trigger, TriggerSettings
from producer.handler import build
from producer.logs import log_to
from producer.settings import Settings
from tests.chaos.mischief import Mischief
from tests.chaos.traffic import Writer
from tests.comparison import differences
from tests.faults.proxy import proxying
from tests.polling import wait_for
from tests.workers import CREDENTIALS, REGION, Queues, Workers, connect_sqs, running_workers
from worker.cluster import connect
from worker.identity import document_id
from worker.schema import ensure_index
from worker.tables import Table
from worker.wire import to_wire

WRITERS = 2
WORKERS = 2
BEHIND_S = 90
"""The stream may be so far behind its writers; they wait then. DynamoDB Local tells the minute of a
change, rounded down."""
SETTLE_S = 240
"""Within this something must move, once all is healed."""


@dataclass(frozen=True)
class Places:
    """Where the services are."""

    dynamodb: str
    queue: str
    bucket: str
    search: str


@dataclass
class Report:
    """What happened, and what came of it."""

    seed: int
    seconds: float
    faults: dict[str, int] = field(default_factory=dict)
    writes: int = 0
    deletes: int = 0
    large: int = 0
    poison: int = 0
    messages: int = 0
    records: int = 0
    refused: int = 0
    """Dead letters that a person would have found, each of an item that the cluster refuses."""
    given_up: int = 0
    """Messages that SQS itself moved to the dead-letter queue, without a reason: none may be."""
    valve_shut: int = 0
    """How often a worker's valve shut: because of a bad deploy, never of poison alone."""
    exits: int = 0
    """Workers that ended by themselves, or with a code of failure when told to: none may."""
    malformed: int = 0
    malformed_lost: int = 0
    """Malformed messages that are not among the dead letters in the end: none may be."""
    items: int = 0
    settled_s: float = 0.0
    differences: dict[str, list[str]] = field(default_factory=dict)
    left: int = 0
    """Dead letters left after the poison was mended and all was redriven: none may be."""

    @property
    def passed(self) -> bool:
        wrong = (self.differences, self.given_up, self.left, self.exits, self.malformed_lost)
        return not any(wrong)

    def lines(self) -> list[str]:
        rows = {k: v for k, v in asdict(self).items() if k != "faults"}
        return [f"  {name:28} {count}" for name, count in sorted(self.faults.items())] + [
            f"  {name:28} {value}" for name, value in rows.items()
        ]


@dataclass
class Run:
    """One run. Use `run_chaos`."""

    places: Places
    directory: Path
    seed: int
    minutes: float
    log: Callable[[str], None]
    bodies: list[str] = field(default_factory=list)
    behind_s: float = 0.0
    """Age of the first record that the Lambda was last given."""

    def play(self) -> Report:
        report = Report(self.seed, self.minutes * 60)
        name = f"x{os.urandom(4).hex()}"
        table: Table[Any] = Table(f"{name}-posts", mappings=_MAPPINGS)
        with ExitStack() as stack:
            cluster_proxy = stack.enter_context(proxying(self.places.search))
            queue_proxy = stack.enter_context(proxying(self.places.queue))
            bucket_proxy = stack.enter_context(proxying(self.places.bucket))
            cluster = connect(self.places.search)
            stack.callback(cluster.close)
            ensure_index(cluster, table)
            queues = Queues.create(connect_sqs(self.places.queue), name, visibility_s=15)
            environment = self._environment(
                name, queues, self.places.queue, self.places.search, self.places.bucket
            )
            told = self._environment(
                name, queues, queue_proxy.url, cluster_proxy.url, bucket_proxy.url
            )
            dynamodb, streams = self._connect("dynamodb"), self._connect("dynamodbstreams")
            self._connect("s3").create_bucket(Bucket=name)
            arn = _create_table(dynamodb, table.name)
            workers = stack.enter_context(running_workers(told, self.directory))
            for _ in range(WORKERS):
                workers.start()
            log = stack.enter_context((self.directory / "producer.log").open("w"))
            producer = stack.enter_context(_wired(told, self.bodies, log))
            settings = TriggerSettings(report_failures=True, bisect=True, retries=-1, poll_s=0.1)
            trigger = Trigger(arn, streams, self._timed(producer), settings)
            mischief = Mischief(
                self.seed,
                cluster_proxy,
                queue_proxy,
                bucket_proxy,
                cluster,
                table,
                queues,
                workers,
                environment,
                self.bodies,
                threading.Event(),
                log=self.log,
            )
            writers = self._play(table.name, trigger, mischief)
            started = time.monotonic()
            self._settle(trigger, queues, workers)
            report.settled_s = round(time.monotonic() - started, 1)
            self._judge(report, queues, mischief)
            items = _items(dynamodb, table.name)
            report.items = len(items)
            report.differences = differences(cluster, table, items)
            wait_for("workers to be ready", workers.are_ready)
            workers.stop()
            mischief.exits += sum(code != 0 for code in workers.codes)
            report.exits, report.given_up = mischief.exits, mischief.given_up
            logs = [log.read_text() for log in workers.log_of.values()]
            report.valve_shut = sum(text.count("the valve is shut") for text in logs)
        report.faults = dict(mischief.done)
        report.messages, report.records = len(self.bodies), trigger.counters.read
        for writer in writers:
            report.writes += writer.writes
            report.deletes += writer.deletes
            report.large += writer.large
            report.poison += writer.poison
        return report

    def _play(self, table: str, trigger: Trigger, mischief: Mischief) -> list[Writer]:
        """Traffic, stream and mischief at once, for the time of the run."""
        resource = boto3.resource(
            "dynamodb", endpoint_url=self.places.dynamodb, region_name=REGION, **_KEYS
        )

        def is_behind() -> bool:
            return self.behind_s > BEHIND_S

        table_of = resource.Table(table)
        writers = [Writer(n, table_of, self.seed, is_behind) for n in range(WRITERS)]
        over = mischief.stop
        polling = threading.Event()
        threads = [threading.Thread(target=writer.run, args=(over,)) for writer in writers]
        reader = threading.Thread(target=trigger.run, args=(polling,))
        for thread in (*threads, reader):
            thread.start()
        timer = threading.Timer(self.minutes * 60, over.set)
        timer.start()
        try:
            wait_for("the first messages", lambda: self.bodies, seconds=60)
            mischief.run()
        finally:
            timer.cancel()
            over.set()
            for thread in threads:
                thread.join()
            for writer in writers:
                writer.mend()
            polling.set()
            reader.join()
        return writers

    def _timed(self, forward: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def run(event: Any, context: Any) -> Any:
            began = event["Records"][0]["dynamodb"]["ApproximateCreationDateTime"]
            self.behind_s = time.time() - began
            return forward(event, context)

        return run

    def _settle(self, trigger: Trigger, queues: Queues, workers: Workers) -> None:
        """Everything works again: until the stream is read and the queue is empty.

        However much there is: what may not be is that it no longer gets less.
        """
        self.log("all is healed; draining")
        seen: object = None
        deadline = 0.0
        while True:
            idle = trigger.poll_once().idle and not trigger.counters.unsettled
            depth = queues.depth()
            if idle and depth == 0:
                return
            if (now := (trigger.counters.read, depth)) != seen:
                seen, deadline = now, time.monotonic() + SETTLE_S
            if time.monotonic() > deadline:
                raise AssertionError(f"nothing moves for {SETTLE_S} s: {now}\n{workers.logs()}")
            time.sleep(0.05 if idle else 0)

    def _judge(self, report: Report, queues: Queues, mischief: Mischief) -> None:
        """Look at the dead letters, put them all back, and see which return."""
        mischief.count_exits()
        report.refused = mischief.look()
        mischief.redrive()
        wait_for("the redriven to drain", lambda: queues.depth() == 0, seconds=SETTLE_S)
        bodies = [body for body, _ in queues.drain_dead()]
        found = {mark for mark in mischief.marks if any(mark in body for body in bodies)}
        report.malformed = len(mischief.marks)
        report.malformed_lost = report.malformed - len(found)
        report.left = sum(not any(mark in body for mark in found) for body in bodies)

    def _environment(
        self, name: str, queues: Queues, queue: str, search: str, bucket: str
    ) -> dict[str, str]:
        return {
            **CREDENTIALS,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL_SQS": queue,
            "AWS_ENDPOINT_URL_DYNAMODB": self.places.dynamodb,
            "AWS_ENDPOINT_URL_S3": bucket,
            "SLUICE_QUEUE_URL": queues.url,
            "SLUICE_DEAD_LETTER_URL": queues.dead_url,
            "SLUICE_OVERFLOW_BUCKET": name,
            "SLUICE_MESSAGE_BYTES": "32768",
            "SLUICE_BATCH_BYTES": "262144",
            "SLUICE_CHUNK_BYTES": "32768",
            "SLUICE_ELASTICSEARCH_URL": search,
            "SLUICE_ELASTICSEARCH_TIMEOUT_S": "5",
            "SLUICE_TABLES": "tests.chaos.tables",
            "SLUICE_CONCURRENCY": "2",
            "SLUICE_TASK_LIMIT_S": "20",
            # So small that a bad deploy of a few seconds shuts it.
            "SLUICE_VALVE_REFUSALS": "30",
            "SLUICE_VALVE_WINDOW_S": "5",
            "SLUICE_VALVE_PAUSE_S": "2",
            "CHAOS_RUN": name,
        }

    def _connect(self, service: Any) -> Any:
        url = self.places.bucket if service == "s3" else self.places.dynamodb
        return boto3.client(service, endpoint_url=url, region_name=REGION, **_KEYS)


_MAPPINGS = {"properties": {"views": {"type": "long"}, "title": {"type": "text"}}}
_KEYS: Any = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}


@contextmanager
def _wired(
    environment: dict[str, str], bodies: list[str], log: TextIO
) -> Iterator[Callable[[Any, Any], Any]]:
    """The Lambda, with every message it sends remembered."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        producer = build(Settings.read(environment))
        log_to("INFO", log)
        queues = producer.sender.queues
        events: Any = queues.meta.events  # type: ignore[attr-defined]

        def remember(params: dict[str, Any], **_: object) -> None:
            if params["QueueUrl"] == environment["SLUICE_QUEUE_URL"]:
                bodies.extend(entry["MessageBody"] for entry in params["Entries"])

        events.register("provide-client-params.sqs.SendMessageBatch", remember)
        yield producer.forward
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _create_table(dynamodb: Any, name: str) -> str:
    return str(
        dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )["TableDescription"]["LatestStreamArn"]
    )


def _items(dynamodb: Any, name: str) -> dict[str, Any]:
    pages = dynamodb.get_paginator("scan").paginate(TableName=name, ConsistentRead=True)
    items = [to_wire(item) for page in pages for item in page["Items"]]
    return {document_id({"id": item["id"]}): item for item in items}


def run_chaos(
    places: Places, directory: Path, *, seed: int, minutes: float, log: Callable[[str], None]
) -> Report:
    """Run the pipeline under faults for so long, drain it, and compare."""
    return Run(places, directory, seed, minutes, log).play()
