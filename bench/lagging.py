"""Rows end to end: the rate at which lag stays flat, and lag from stream and table to search."""

import io
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from statistics import median
from typing import Any, Final

import boto3

from bench.climbing import Trial, climb
from bench.corpus import TABLE, make_posts, type_post
from bench.figures import Aim, Row, compare, is_flat, percentile, tell
from bench.flow import EVENT, Source, feed, watching
from bench.pooling import (
    PROCESSES,
    drain_queue,
    make_bodies,
    make_references,
    run_raw,
    send,
    take,
    warm,
)
from bench.producing import SETTINGS
from bench.size import Size
from bench.stage import Pool, Stage, Writer
from console.local.trigger import Trigger, TriggerSettings
from producer.forward import Producer
from producer.logs import log_to
from producer.sender import Sender
from tests.polling import wait_for
from tests.workers import CREDENTIALS, REGION, Queues

STEPS: Final = (0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.0)
"""Of the pool's rate from a full queue: the rates that may be tried."""
FIRST: Final = STEPS.index(0.75)
MOST: Final = 6
"""Trials in all: each lasts `Size.seconds`, and as long again as it takes to drain."""
LANES: Final = 3
"""Invocations of the producer at once."""
SLACK_S: Final = 0.3
"""Lag that may come in over a step: 1.5 % of its length, so a load 2 % too high is seen."""
REFRESH_S: Final = 1.0
"""Elasticsearch's default refresh interval, which the table keeps."""
TABLE_RATE: Final = 200.0
"""Puts a second to DynamoDB Local in the rows from table to search: what its stream keeps up with
beside everything else on two cores."""


class Context:
    """Lambda's context, with time enough."""

    aws_request_id = "bench"

    def get_remaining_time_in_millis(self) -> int:
        """A minute, always."""
        return 60_000


def build_producer(stage: Stage, queues: Queues) -> Producer:
    """The function on ElasticMQ. Nothing here is large enough for a bucket."""
    keys: Any = {**{name.lower(): value for name, value in CREDENTIALS.items()}}
    sqs = boto3.client("sqs", endpoint_url=stage.queue, region_name=REGION, **keys)
    s3 = boto3.client("s3", endpoint_url=stage.queue, region_name=REGION, **keys)
    settings = replace(SETTINGS, queue_url=queues.url, dead_letter_url=queues.dead_url)
    logger = log_to(settings.log_level, io.StringIO())
    sender = Sender(sqs, s3, "bench", settings.batch_bytes)
    return Producer(settings, sender, logger, lambda: datetime.now(UTC))


def measure_lag(stage: Stage, size: Size) -> Iterator[Row]:
    """All rows end to end."""
    queues = stage.make_queues()
    make_references(stage)
    with stage.pool(queues, PROCESSES) as pool:
        warm(stage, pool, size)
        yield from _measure_stream(stage, pool, size)
        yield from _measure_table(stage, pool, size)


def _measure_stream(stage: Stage, pool: Pool, size: Size) -> Iterator[Row]:
    producer = build_producer(stage, pool.queues)
    count = size.documents // 3
    rounds = range(size.pool_rounds)
    cluster = median(run_raw(stage, make_posts(count, prefix=f"alone-{n}")).rate for n in rounds)
    queue = _measure_queue(stage, size)
    drained = median(
        drain_queue(pool, make_posts(count, prefix=f"full-{n}"), "INSERT").rate for n in rounds
    )

    def run(step: float) -> Trial:
        return _flow(stage, pool, producer, step * drained, size.seconds)

    trials = climb(STEPS, FIRST, run, rounds=size.pool_rounds, most=MOST)
    held = [trial for trial in trials if trial.held]
    alone = f"alone: queue {queue:,.0f}/s, cluster {cluster:,.0f}/s, pool {drained:,.0f}/s"
    yield compare(
        "end to end",
        "end to end, stream to searchable: the highest rate tried at which lag stays flat",
        [trial.rate if trial.held else 0.0 for trial in trials],
        [min(queue, cluster)] * len(trials),
        unit="changes/s",
        against="the slower of queue and cluster, each alone on this machine",
        aim=Aim("at least", 0.7),
        note=f"flat in {len(held)} of {len(trials)} rounds of {size.seconds:g} s; {alone}",
    )
    rate = median(trial.rate for trial in trials)
    which = "at that rate" if held else "at the lowest rate tried, where it still grew"
    yield from _tell_lags(
        f"stream to searchable, {which} ({rate:,.0f}/s)", [trial.lags for trial in trials]
    )


def _tell_lags(what: str, rounds: Sequence[Sequence[float]]) -> Iterator[Row]:
    """Percentiles over the marked documents of all rounds; those of each round in the note."""
    lags = [lag for one in rounds for lag in one]
    for share, aim in ((0.5, None), (0.99, Aim("at most", REFRESH_S + 2))):
        each = ", ".join(f"{percentile(one, share):.2f}" for one in rounds)
        yield tell(
            f"lag p{share * 100:.0f} {what.partition(' ')[0]}",
            f"lag p{share * 100:.0f}, {what}",
            percentile(lags, share),
            unit="s",
            aim=aim,
            note=f"{len(lags)} marked documents; each round's own: {each}",
            against="the index's refresh interval",
            reference=REFRESH_S,
            rounds=len(rounds),
        )


def _flow(stage: Stage, pool: Pool, producer: Producer, rate: float, seconds: float) -> Trial:
    """A steady load; it held if it could be kept up and lag did not grow meanwhile."""
    source = Source(f"flow-{time.monotonic_ns()}")
    with watching(stage.search, TABLE) as seen:
        achieved = feed(
            source,
            seen,
            lambda event: producer.forward(event, Context()),
            lambda _: rate,
            seconds,
            lanes=LANES,
        )
        wait_for("all to be searchable", lambda: not seen.made, seconds=300, every=0.05)
    lags = [lag for _, lag in sorted(seen.lags)]
    return Trial(achieved, achieved > 0.97 * rate and is_flat(lags, SLACK_S), lags)


def _measure_queue(stage: Stage, size: Size) -> float:
    """Changes a second that ElasticMQ alone passes on: sent, received and deleted."""
    queues = stage.make_queues()
    posts = make_posts(size.documents // 3, prefix="queue")
    bodies = make_bodies(posts, queues.url, "INSERT")
    began = time.perf_counter()
    with ThreadPoolExecutor(PROCESSES) as threads:
        for done in [
            threads.submit(send, queues, bodies),
            threads.submit(take, queues, len(bodies)),
        ]:
            done.result()
    return len(posts) / (time.perf_counter() - began)


def create_table(url: str) -> str:
    """A table with a stream of new images; the stream's ARN."""
    made = Writer(url).call(
        "CreateTable",
        {
            "TableName": TABLE,
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST",
            "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        },
    )
    return str(made["TableDescription"]["LatestStreamArn"])


def delete_table(url: str) -> None:
    """Remove it, so that another group makes its own."""
    Writer(url).call("DeleteTable", {"TableName": TABLE})


def _measure_table(stage: Stage, pool: Pool, size: Size) -> Iterator[Row]:
    """From PutItem's answer to a search that finds the item."""
    arn = create_table(stage.dynamodb)
    keys: Any = {name.lower(): value for name, value in CREDENTIALS.items()}
    streams = boto3.client(
        "dynamodbstreams", endpoint_url=stage.dynamodb, region_name=REGION, **keys
    )
    producer = build_producer(stage, pool.queues)
    settings = TriggerSettings(batch_size=EVENT, report_failures=True, bisect=True)
    trigger = Trigger(arn, streams, producer.forward, settings)
    stop = threading.Event()
    reading = threading.Thread(target=trigger.run, args=(stop,), daemon=True)
    reading.start()
    items = [type_post(post) for post in make_posts(int(TABLE_RATE * size.seconds), prefix="table")]
    try:
        with watching(stage.search, TABLE) as seen:
            writer, began = Writer(stage.dynamodb), time.monotonic()
            for n, item in enumerate(items):
                time.sleep(max(0.0, began + n / TABLE_RATE - time.monotonic()))
                writer.call("PutItem", {"TableName": TABLE, "Item": item})
                if n % 10 == 0:
                    seen.made[item["id"]["S"]] = time.monotonic()
            rate = len(items) / (time.monotonic() - began)
            wait_for("all to be searchable", lambda: not seen.made, seconds=60, every=0.05)
    finally:
        stop.set()
        reading.join()
        delete_table(stage.dynamodb)
    lags = [lag for _, lag in seen.lags]
    yield from _tell_lags(f"table to searchable at {rate:,.0f} puts/s (DynamoDB Local)", [lags])
