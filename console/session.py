"""Wiring of the commands that read a table and its index: settings, clients, what the table is."""

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from console.aws import explain_aws
from console.clocks import check_clock, measure_ahead, read_date
from console.deadletters.queue import open_pair
from console.errors import MisuseError
from console.lateness import Lateness, bound_lateness
from console.parallel import MOST_THREADS
from console.persistence import Persistence, PersistentCluster
from console.scan import Meter, TableReader
from console.sending import Depth, Outlet, open_outlet, read_depth
from console.settings import CLUSTER, read_part
from console.status.metrics import oldest_message, read_figures, utc_now
from producer.contract import queue_name
from producer.errors import ConfigurationError as ProducerConfigurationError
from producer.settings import Settings as ProducerSettings
from worker.clock import read_clock_ms
from worker.cluster import Cluster, connect
from worker.errors import ConfigurationError
from worker.schema import find_served
from worker.settings import Settings
from worker.state import read_states
from worker.tables import Table, load_tables
from worker.view import Destination, check_declared
from worker.wire import keep_wire

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_s3 import S3Client
    from types_boto3_sqs import SQSClient

NEEDED: Final = CLUSTER | {
    "SLUICE_TABLES",
    "SLUICE_QUEUE_URL",
    "SLUICE_DEAD_LETTER_URL",
    "SLUICE_CLOCK_MARGIN_S",
    "SLUICE_HORIZON_DAYS",
}

_AWS: Final = Config(
    connect_timeout=5,
    read_timeout=30,
    # Each edge tries again itself: a scan with the time of the read taken anew, and what else may
    # be repeated by `Persistence`, which hears the signal to stop.
    retries={"mode": "standard", "total_max_attempts": 1},
    max_pool_connections=MOST_THREADS + 4,
)


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What DynamoDB says of a table."""

    arn: str
    id: str
    keys: tuple[str, ...]
    items: int
    """As DynamoDB counted them up to six hours ago."""
    created: datetime | None
    status: str
    stream_arn: str | None
    """The newest stream's, whether it is on or off."""
    stream_on: bool
    label: str | None
    view: str | None
    types: Mapping[str, str] = field(default_factory=dict)
    """Of each key attribute: S, N or B."""


def read_facts(described: Mapping[str, Any]) -> TableFacts:
    """From the answer of DescribeTable."""
    table = described["Table"]
    stream = table.get("StreamSpecification") or {}
    keys = tuple(part["AttributeName"] for part in table["KeySchema"])
    types = {a["AttributeName"]: a["AttributeType"] for a in table.get("AttributeDefinitions", ())}
    return TableFacts(
        arn=table.get("TableArn", ""),
        id=table.get("TableId", ""),
        keys=keys,
        items=int(table.get("ItemCount", 0)),
        created=table.get("CreationDateTime"),
        status=table.get("TableStatus", ""),
        stream_arn=table.get("LatestStreamArn"),
        stream_on=bool(stream.get("StreamEnabled")),
        label=table.get("LatestStreamLabel"),
        view=stream.get("StreamViewType"),
        types={name: types[name] for name in keys if name in types},
    )


@dataclass
class Session:
    """What a command may use; each part is made when it is first asked for."""

    environment: Mapping[str, str]
    stop: threading.Event = field(default_factory=threading.Event)
    needed: Collection[str] = NEEDED
    """The settings that must be there."""
    patience_s: int | None = None
    """Longest that one answer of the cluster is waited for; None: as the settings say, and what
    may be asked again is."""
    ahead_ms: int = 0
    """By how much our clock was ahead of DynamoDB's when a table was last described."""
    _no_figures: bool = False

    @cached_property
    def settings(self) -> Settings:
        """The worker's settings. Raises ConfigurationError."""
        return read_part(self.environment, self.needed)

    @cached_property
    def producer(self) -> ProducerSettings:
        """The producer's settings: reads are sent as it sends changes. Raises MisuseError."""
        try:
            return ProducerSettings.read(self.environment)
        except ProducerConfigurationError as error:
            raise ConfigurationError(f"settings: {error}") from error

    @cached_property
    def tables(self) -> Mapping[str, Table[Any]]:
        """Every declared table. Raises ConfigurationError."""
        return load_tables(self.settings.tables)

    def table(self, name: str) -> Table[Any]:
        """A declared table, by its name or alias. Raises MisuseError."""
        for table in self.tables.values():
            if name in (table.name, table.alias):
                return table
        raise MisuseError(
            f"no table {name!r:.200} is declared in SLUICE_TABLES",
            hint=f"declared: {', '.join(sorted(self.tables))}",
        )

    def describe(self, table: Table[Any]) -> TableFacts:
        """What DynamoDB says of the table. Raises MisuseError if there is none."""
        before_ms = read_clock_ms()
        try:
            answer = self.dynamodb.describe_table(TableName=table.name)
        except (BotoCoreError, ClientError) as error:
            raise explain_aws(error, f"cannot describe the table {table.name}") from error
        self.ahead_ms = measure_ahead(read_date(answer), before_ms, read_clock_ms())
        return read_facts(answer)

    def check_clock(self) -> None:
        """Raises MisuseError if this host's clock is too far from DynamoDB's for reads to be sent.

        It is compared when a table is described, and again by each read (`console.scan`).
        """
        check_clock(self.ahead_ms, self.settings.clock_margin_s)

    def index(self, table: Table[Any]) -> str:
        """The index that searches see. Raises MisuseError if there is none."""
        return self._served(table).index

    def served(self, table: Table[Any]) -> tuple[str, Table[Any]]:
        """The index that searches see, and the declaration that it is made from.

        That is an older one from the deploy of a new version until the swap, and after a rollback.
        Raises MisuseError if there is no index, ConfigurationError if its version is not declared.
        """
        served = self._served(table)
        check_declared(table, (served,))
        return served.index, table.declaration(served.version) or table

    def _served(self, table: Table[Any]) -> Destination:
        served = find_served(self.cluster, table)
        if served is None:
            raise MisuseError(
                f"the table {table.name} has no index yet",
                hint="the worker makes it when it starts",
            )
        return served

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        """DynamoDB, by the standard settings of AWS; many items are read by `wire_items`."""
        client: DynamoDBClient = self.connect("dynamodb")
        keep_wire(client)
        return client

    @cached_property
    def sqs(self) -> "SQSClient":
        """SQS, by the standard settings of AWS."""
        client: SQSClient = self.connect("sqs")
        return client

    @cached_property
    def s3(self) -> "S3Client":
        """S3, by the standard settings of AWS."""
        client: S3Client = self.connect("s3")
        return client

    @cached_property
    def cluster(self) -> Cluster:
        """The cluster of the settings."""
        s = self.settings
        most = s.elasticsearch_timeout_s
        cluster = connect(
            s.elasticsearch_url,
            api_key=s.elasticsearch_api_key or None,
            ca_certs=s.elasticsearch_ca_certs or None,
            timeout_s=most if self.patience_s is None else min(most, self.patience_s),
        )
        if self.patience_s is not None:
            return cluster
        return PersistentCluster(cluster, self.persistence)

    @cached_property
    def persistence(self) -> Persistence:
        """What asks the cluster again."""
        return self.persist()

    def persist(self) -> Persistence:
        """What asks one server again until the signal to stop."""
        return Persistence(self._wait)

    def _wait(self, seconds: float) -> bool:
        # The event of the signal is set into a session that is there already.
        return self.stop.wait(seconds)

    @cached_property
    def outlet(self) -> Outlet:
        """The way into the queue. Raises MisuseError if it is not one of the configured pair, or if
        reads would be sent with a wrong time.

        Swapped addresses would send a whole table into the dead-letter queue.
        """
        self.check_clock()
        p = self.producer
        open_pair(self.sqs, p.queue_url, p.dead_letter_url, p.batch_bytes)
        return open_outlet(self.producer, self.sqs, self.s3, self.stop)

    def depth(self) -> Depth:
        """How deep the queue is."""
        return read_depth(self.sqs, self.settings.queue_url)

    def lateness(self) -> Lateness | None:
        """How late changes are applied; None if that is not known. Raises UnavailableError."""
        queue = queue_name(self.settings.queue_url)
        states = read_states(self.cluster, queue)
        now_ms = read_clock_ms()
        late = bound_lateness(states, now_ms, self._hidden_s)
        # CloudWatch is asked only where its figure can matter.
        if late is None:
            return None
        return bound_lateness(states, now_ms, self._hidden_s, self._oldest_s(queue))

    @cached_property
    def _hidden_s(self) -> int:
        """The queue's visibility timeout."""
        name: Any = "VisibilityTimeout"
        try:
            answer = self.sqs.get_queue_attributes(
                QueueUrl=self.settings.queue_url, AttributeNames=[name]
            )
        except (BotoCoreError, ClientError) as error:
            raise explain_aws(error, "cannot ask the queue for its timeout") from error
        return int(answer["Attributes"][name])

    def _oldest_s(self, queue: str) -> float | None:
        """The age of the queue's oldest message, where CloudWatch can be asked and has a figure."""
        figure = oldest_message(queue)
        if self._no_figures:
            return None
        try:
            client = self.connect("cloudwatch")
            return read_figures(client, [figure], utc_now(read_clock_ms())).get(figure)
        except (BotoCoreError, ClientError, MisuseError):
            self._no_figures = True  # nobody waits for it a second time
            return None

    def reader(
        self, table: Table[Any], facts: TableFacts, meter: Meter, *, timed: bool = True
    ) -> TableReader:
        """A reader of the table. timed: the time of a read will matter, so the clock must be right;
        that takes the settings, which who only looks at items need not have."""
        margin_s = self.settings.clock_margin_s if timed else None
        return TableReader(
            self.dynamodb, table.name, facts.keys, meter, read_clock_ms, self.stop, margin_s
        )

    def connect(self, service: str) -> Any:
        """A client of an AWS service. Raises MisuseError if the environment does not suffice."""
        make: Any = boto3.client
        # boto3 itself reads AWS_DEFAULT_REGION and not AWS_REGION; without either, its files.
        region = self.environment.get("AWS_REGION") or None
        try:
            return make(service, config=_AWS, region_name=region)
        except BotoCoreError as error:
            raise MisuseError(f"cannot use AWS: {error}", hint="set AWS_REGION") from error
