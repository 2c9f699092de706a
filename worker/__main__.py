"""`python -m worker`: one worker, wholly configured by its environment.

Exit codes: 0 after a drain, 2 for a configuration that a person must change, 70 when it no longer
polled. `python -m worker health` exits 0 if the worker beside it polls, else 1.
"""

import logging
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from producer.contract import queue_name
from worker.app import BrokerSettings, build_celery, run_worker
from worker.apply import Applier
from worker.attempts import BoundedAttempts
from worker.calls import Caller, check_limits
from worker.clock import read_clock_ms
from worker.cluster import Cluster, connect
from worker.deadletters import DeadLetterQueue
from worker.errors import ConfigurationError, UnavailableError
from worker.index import Index
from worker.inquiry import Standing
from worker.logs import set_up_logging
from worker.messages import MessageHandlers
from worker.notice import Noticeboard
from worker.overflow import Bucket
from worker.probe import Lookout
from worker.schema import ensure_index
from worker.settings import Settings, read_settings
from worker.source import DynamoSource
from worker.tables import Table, load_tables
from worker.tasks import Handlers
from worker.valve import Limits
from worker.view import ClusterViews
from worker.watchdog import is_healthy, write_health
from worker.wire import keep_wire

log = logging.getLogger("worker")

HEALTH_LIMIT_S = 30.0
"""A health file older than this speaks of a worker that hangs."""

RETRY_S = 3.0
"""Pause before the cluster is asked again at start."""

PREPARE_S = 15.0
"""Longest time of a request at start. An index takes a few of them between two touches of the
health file, and a container's checks fail three times before it is ended."""

AWS_ATTEMPTS = 3
AWS_BACKOFF_S = 3.0
"""The longest pauses between these, together: botocore draws from 0 to 1 s, then from 0 to 2 s."""
AWS_SILENCE_S = 10.0
"""No service takes that long to answer a request of ours; it is gone or a part of it hangs."""


def main(environment: Mapping[str, str]) -> int:
    """Run a worker until it is told to end; its exit code."""
    try:
        settings = read_settings(environment)
        region = read_region(environment)
        set_up_logging(settings.log_level)
        # The first process of a container has no default for it; Celery sets its own later.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        tables = load_tables(settings.tables)
        check_limits(tables.values(), settings.soft_limit_s)
        prepare(settings, tables)
    except ConfigurationError as error:
        print(f"sluice worker: {error}", file=sys.stderr)  # noqa: T201 - no log is set up yet
        return 2
    app = build_celery(
        broker_settings(settings, region),
        handlers(settings, tables, region),
        probe=build_probe(settings, tables),
        board=build_board(settings),
    )
    log.info("worker starts", extra={"tables": sorted(tables), "processes": settings.concurrency})
    return run_worker(app, settings.concurrency)


def check_health(environment: Mapping[str, str]) -> int:
    """0 if the worker that shares this environment has polled of late, else 1."""
    file = environment.get("SLUICE_HEALTH_FILE", "")
    if not file:
        print("sluice worker: SLUICE_HEALTH_FILE is not set", file=sys.stderr)  # noqa: T201
        return 2
    return 0 if is_healthy(Path(file), time.time(), HEALTH_LIMIT_S) else 1


def read_region(environment: Mapping[str, str]) -> str:
    """The AWS region. Raises ConfigurationError if none is set."""
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    if not region:
        raise ConfigurationError("AWS_REGION is not set")
    return region


def prepare(settings: Settings, tables: Mapping[str, Table[Any]]) -> None:
    """Make or check every table's index, however long the cluster takes to answer.

    Raises ConfigurationError where an index does not agree with its table.
    """
    cluster = connect_cluster(settings, most_s=PREPARE_S)
    for table in tables.values():
        while True:
            _say_that_it_waits(settings, table.name)
            try:
                index = ensure_index(cluster, table)
                break
            except UnavailableError as error:
                log.warning("waiting for the cluster", extra={"why": str(error)})
                _say_that_it_waits(settings, str(error))
                time.sleep(RETRY_S)
        log.info("index ready", extra={"table": table.name, "index": index})
    cluster.close()


def _say_that_it_waits(settings: Settings, why: str) -> None:
    """Waiting is no illness: a new process would wait as well."""
    if settings.health_file:
        write_health(Path(settings.health_file), {"waiting": why})


def connect_cluster(settings: Settings, *, most_s: float = math.inf) -> Cluster:
    """The cluster that the settings name. most_s: no request takes longer than this."""
    return connect(
        settings.elasticsearch_url,
        api_key=settings.elasticsearch_api_key or None,
        ca_certs=settings.elasticsearch_ca_certs or None,
        timeout_s=min(settings.elasticsearch_timeout_s, most_s),
    )


def build_probe(settings: Settings, tables: Mapping[str, Table[Any]]) -> Callable[[], Standing]:
    """How the cluster stands; for the main process."""
    return Lookout(connect_cluster(settings), tables.values(), settings.elasticsearch_timeout_s)


def broker_settings(settings: Settings, region: str) -> BrokerSettings:
    """What of the settings concerns the taking of messages."""
    return BrokerSettings(
        queue_url=settings.queue_url,
        region=region,
        concurrency=settings.concurrency,
        soft_time_limit=settings.soft_limit_s,
        hard_time_limit=settings.task_limit_s,
        drain_seconds=settings.drain_s,
        health_file=settings.health_file or None,
        valve=Limits(
            refusals=settings.valve_refusals,
            rate=settings.valve_rate / 100,
            window_s=settings.valve_window_s,
            pause_s=settings.valve_pause_s,
        ),
        dead_letter_url=settings.dead_letter_url,
        attempts=settings.attempts,
        metrics_host=settings.metrics_host,
        metrics_port=settings.metrics_port,
    )


def build_board(settings: Settings) -> Noticeboard | None:
    """Where the main process notes the worker's state; None if it shall not."""
    if not settings.state_s:
        return None
    return Noticeboard(
        connect_cluster(settings),
        queue_name(settings.queue_url),
        settings.concurrency,
        settings.state_s,
    )


def limit_calls(soft_limit_s: float) -> Config:
    """How long a task waits for S3, DynamoDB or the dead-letter queue.

    All attempts at one request end within half of the task's time, or as near to it as a second
    for each attempt allows: then a service that hangs is an outage under its own name, and not a
    task that took too long.
    """
    share_s = (soft_limit_s / 2 - AWS_BACKOFF_S) / AWS_ATTEMPTS
    silence_s = min(AWS_SILENCE_S, max(1.0, share_s))
    return Config(
        connect_timeout=min(5.0, silence_s),
        read_timeout=silence_s,
        retries={"mode": "standard", "total_max_attempts": AWS_ATTEMPTS},
    )


def handlers(
    settings: Settings, tables: Mapping[str, Table[Any]], region: str
) -> Callable[[], Handlers]:
    """How each child process makes its own handlers: no connection survives a fork."""

    def build() -> Handlers:
        queue = queue_name(settings.queue_url)
        # boto3 itself looks at AWS_DEFAULT_REGION alone.
        session = boto3.session.Session(region_name=region)
        limits = limit_calls(settings.soft_limit_s)
        deadletters = DeadLetterQueue(
            session.client("sqs", config=limits), settings.dead_letter_url, queue
        )
        cluster = connect_cluster(settings)
        dynamodb = session.client("dynamodb", config=limits)
        keep_wire(dynamodb)
        overflow = Bucket(session.client("s3", config=limits), settings.overflow_bucket)
        applier = Applier(
            tables=tables,
            views=ClusterViews(cluster),
            documents=Index(cluster),
            overflow=overflow,
            source=DynamoSource(dynamodb),
            deadletters=deadletters,
            clock_ms=read_clock_ms,
            margin_ms=settings.clock_margin_s * 1000,
            horizon_ms=settings.horizon_days * 86_400_000,
        )
        caller = Caller(tables, overflow, deadletters)
        of_messages = MessageHandlers(
            applier, caller, deadletters, queue, read_clock_ms, settings.log_sample
        )
        return BoundedAttempts(of_messages, deadletters, queue, settings.attempts)

    return build


if __name__ == "__main__":
    sys.exit((check_health if sys.argv[1:] == ["health"] else main)(os.environ))
