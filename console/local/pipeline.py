"""The whole pipeline on this machine: table, stream, function, queue, workers, search.

Started in that order, stopped in the reverse one. Whatever ends the owner, SIGKILL included, no
process is left behind (`console.local.tether`).
"""

import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config

from console.local.environment import FAKES, build_private_environment, environment_of
from console.local.process import Service
from console.local.services import start_moto, start_osmem
from console.local.trigger import Trigger, TriggerSettings
from console.local.workers import Workers
from producer import handler
from producer.logs import log_to
from producer.settings import Settings
from worker.cluster import Cluster, connect
from worker.errors import SluiceError
from worker.tables import Table, load_tables

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_dynamodbstreams import DynamoDBStreamsClient
    from types_boto3_s3 import S3Client
    from types_boto3_sqs import SQSClient

QUEUE: Final = "sluice"
DEAD_LETTERS: Final = "sluice-dead-letters"
BUCKET: Final = "sluice-overflow"

_AWS = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "max_attempts": 3})


class PipelineError(SluiceError):
    """A part of the local pipeline ended by itself: nothing more can be shown."""


@dataclass(frozen=True, slots=True)
class KeyAttribute:
    """An attribute of a table's key; type S, N or B."""

    name: str
    type: str = "S"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run."""

    directory: Path
    """Where logs go."""
    modules: str
    """As SLUICE_TABLES: the modules that declare the tables."""
    key: tuple[KeyAttribute, ...] = (KeyAttribute("id"),)
    """The key of each table: partition key, then sort key if there is one."""
    workers: int = 2
    concurrency: int = 2
    """Processes of each worker."""
    visibility_s: int = 60
    """How long a received message stays hidden: so long it takes until a killed worker's comes
    again."""
    receives: int = 5
    """maxReceiveCount."""
    batch_size: int = 100
    """Records of one invocation; Lambda's default."""


@dataclass(frozen=True, slots=True)
class Clients:
    """Clients of the embedded services."""

    dynamodb: "DynamoDBClient"
    streams: "DynamoDBStreamsClient"
    sqs: "SQSClient"
    s3: "S3Client"


@dataclass(slots=True)
class Feed:
    """A trigger on one table's stream, in a thread of its own."""

    table: str
    trigger: Trigger
    stop: threading.Event = field(default_factory=threading.Event)
    failure: BaseException | None = None
    thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to poll the stream."""
        self.thread = threading.Thread(target=self._run, name=f"feed-{self.table}", daemon=True)
        self.thread.start()

    def end(self) -> None:
        """Finish the invocation under way, then end. Doing it twice does no harm."""
        self.stop.set()
        if self.thread is not None:
            self.thread.join(timeout=10)

    def _run(self) -> None:
        try:
            self.trigger.run(self.stop)
        except BaseException as error:  # noqa: BLE001 - `Pipeline.check` raises it where it is seen
            self.failure = error


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A running pipeline."""

    plan: Plan
    services: tuple[Service, ...]
    tables: Mapping[str, Table[Any]]
    streams: Mapping[str, str]
    """The ARN of each table's stream."""
    settings: Mapping[str, str]
    """The environment that producer and worker share; for other programs too."""
    clients: Clients
    cluster: Cluster
    workers: Workers
    feeds: tuple[Feed, ...]

    @property
    def queue_url(self) -> str:
        """The queue between producer and worker."""
        return self.settings["SLUICE_QUEUE_URL"]

    @property
    def dead_letter_url(self) -> str:
        """Where refused changes wait."""
        return self.settings["SLUICE_DEAD_LETTER_URL"]

    def check(self, *, idle: bool = False) -> None:
        """Raise PipelineError if a service, a feed or every worker has ended by itself.

        idle: there may be no worker just now.
        """
        for service in self.services:
            if not service.is_running():
                raise PipelineError(f"{service.name} has ended", hint=f"its log: {service.log}")
        for feed in self.feeds:
            if feed.failure is not None:
                raise PipelineError(
                    f"the trigger of {feed.table} has failed: {feed.failure!r}"
                ) from feed.failure
        if not idle and not self.workers.running:
            last = self.workers.all[-1]
            raise PipelineError(f"the last worker, {last.name}, has ended", hint=f"log: {last.log}")


@contextmanager
def run_pipeline(plan: Plan) -> Iterator[Pipeline]:
    """Run the pipeline for as long as the context lasts; end what still runs afterwards.

    At a normal end the workers drain first; after an exception they are killed. Raises
    ServiceError when a service does not come up, ConfigurationError for the modules.
    """
    tables = load_tables(plan.modules)
    plan.directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(_logs_into(plan.directory / "trigger.log"))
        search = stack.enter_context(start_osmem(plan.directory))
        cloud = stack.enter_context(start_moto(plan.directory))
        fakes = {**FAKES, "AWS_ENDPOINT_URL": cloud.url}
        clients = _connect(fakes)
        streams = {name: _create_table(clients, name, plan.key) for name in tables}
        settings = {**_create_queues(clients, plan), **_describe(plan, search), **fakes}
        environment = build_private_environment(os.environ, settings)
        cluster = connect(search.url)
        stack.callback(cluster.close)
        workers = Workers(environment, plan.directory)
        stack.push(lambda kind, _error, _trace: workers.stop() if kind is None else workers.kill())
        for _ in range(plan.workers):
            workers.start()
        producer = _build_producer(environment, plan.directory, stack)
        feeds = tuple(
            _make_feed(clients, plan, name, arn, producer) for name, arn in streams.items()
        )
        for feed in feeds:
            stack.callback(feed.end)
            feed.start()
        yield Pipeline(
            plan=plan,
            services=(search, cloud),
            tables=tables,
            streams=streams,
            settings=settings,
            clients=clients,
            cluster=cluster,
            workers=workers,
            feeds=feeds,
        )


def _connect(fakes: Mapping[str, str]) -> Clients:
    with environment_of(build_private_environment(os.environ, fakes)):
        session = boto3.session.Session()
        return Clients(
            session.client("dynamodb", config=_AWS),
            session.client("dynamodbstreams", config=_AWS),
            session.client("sqs", config=_AWS),
            session.client("s3", config=_AWS),
        )


def _create_table(clients: Clients, name: str, key: tuple[KeyAttribute, ...]) -> str:
    """Create a table with its stream; the stream's ARN."""
    roles: tuple[Any, Any] = ("HASH", "RANGE")
    types: list[Any] = [{"AttributeName": k.name, "AttributeType": k.type} for k in key]
    answer = clients.dynamodb.create_table(
        TableName=name,
        KeySchema=[
            {"AttributeName": k.name, "KeyType": role} for k, role in zip(key, roles, strict=False)
        ],
        AttributeDefinitions=types,
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )
    return answer["TableDescription"]["LatestStreamArn"]


def _create_queues(clients: Clients, plan: Plan) -> dict[str, str]:
    """Create the queue, its dead-letter queue and the bucket; the settings that name them."""
    dead = clients.sqs.create_queue(QueueName=DEAD_LETTERS)["QueueUrl"]
    arn = clients.sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])
    redrive = {
        "deadLetterTargetArn": arn["Attributes"]["QueueArn"],
        "maxReceiveCount": plan.receives,
    }
    url = clients.sqs.create_queue(
        QueueName=QUEUE,
        Attributes={
            "VisibilityTimeout": str(plan.visibility_s),
            "RedrivePolicy": json.dumps(redrive),
        },
    )["QueueUrl"]
    clients.s3.create_bucket(Bucket=BUCKET)
    return {
        "SLUICE_QUEUE_URL": url,
        "SLUICE_DEAD_LETTER_URL": dead,
        "SLUICE_OVERFLOW_BUCKET": BUCKET,
    }


def _describe(plan: Plan, search: Service) -> dict[str, str]:
    return {
        "SLUICE_ELASTICSEARCH_URL": search.url,
        "SLUICE_TABLES": plan.modules,
        "SLUICE_CONCURRENCY": str(plan.concurrency),
        # Shorter than the visibility timeout, so that no chunk is worked on twice at once.
        "SLUICE_TASK_LIMIT_S": str(max(10, plan.visibility_s - 5)),
    }


def _build_producer(environment: Mapping[str, str], directory: Path, stack: ExitStack) -> Any:
    """The Lambda function, wired as Lambda would; its log in a file."""
    with environment_of(environment):
        producer = handler.build(Settings.read(environment))
    log = stack.enter_context((directory / "producer.log").open("a"))
    log_to("INFO", log)
    return producer.forward


def _make_feed(clients: Clients, plan: Plan, table: str, arn: str, function: Any) -> Feed:
    def keep(record: dict[str, Any]) -> None:
        name = f"given-up/{record['requestContext']['requestId']}.json"
        clients.s3.put_object(Bucket=BUCKET, Key=name, Body=json.dumps(record).encode())

    settings = TriggerSettings(batch_size=plan.batch_size, bisect=True, report_failures=True)
    return Feed(table, Trigger(arn, clients.streams, function, settings, keep))


@contextmanager
def _logs_into(file: Path) -> Iterator[None]:
    """Write what the local parts log into a file, and not across somebody's display."""
    logger = logging.getLogger("console.local")
    writer = logging.FileHandler(file)
    writer.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logger.addHandler(writer)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(writer)
        logger.propagate = True
        writer.close()
