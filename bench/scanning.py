"""Rows of backfill and verify, beside the rate at which the table alone can be scanned."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from bench.corpus import TABLE, make_posts, type_post
from bench.figures import Aim, Row, compare
from bench.lagging import create_table, delete_table
from bench.pooling import PROCESSES, warm_queue
from bench.size import Size
from bench.stage import Stage, Writer
from tests.workers import CREDENTIALS, REGION, Queues

ROOT: Final = Path(__file__).parents[1]
SEGMENTS: Final = 4


def measure_table(stage: Stage, size: Size) -> Iterator[Row]:
    """Backfill into the queue, workers drain it, verify; each round after a scan of the table."""
    stage.remove_posts()
    warm_queue(stage, size)
    queues = stage.make_queues()
    create_table(stage.dynamodb)
    try:
        items = [type_post(post) for post in make_posts(size.items, prefix="item")]
        Writer(stage.dynamodb).put_many(TABLE, items)
        yield from _measure(stage, queues, size)
    finally:
        delete_table(stage.dynamodb)


def _measure(stage: Stage, queues: Queues, size: Size) -> Iterator[Row]:
    told = {
        **os.environ,
        **CREDENTIALS,
        **stage.environment(queues),
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL_DYNAMODB": stage.dynamodb,
        "AWS_ENDPOINT_URL_S3": stage.bucket,
        "PYTHONPATH": str(ROOT),
    }
    segments = ("--segments", str(SEGMENTS))
    scans: list[float] = []
    backfills: list[float] = []
    verifies: list[float] = []
    with stage.pool(queues, PROCESSES) as pool:
        for turn in range(size.pool_rounds + 1):
            pool.hold()
            try:
                scan = _scan(stage.dynamodb, size.items)
                rate = _run(told, "backfill", *segments, "--max-queue", "1000000")
            finally:
                pool.resume()
            pool.drain()
            again = _scan(stage.dynamodb, size.items)
            verified = _run(told, "verify", *segments, "--settle", "0")
            if turn:  # the first round warms table, cluster and workers
                scans += [scan, again]
                backfills.append(rate)
                verifies.append(verified)
    note = f"{size.items} items of 1.1 KB, {SEGMENTS} segments, DynamoDB Local"
    against = "a scan alone: as many segments, consistent, answers parsed as JSON"
    for name, rates, alone in (
        ("backfill, table to queue", backfills, scans[0::2]),
        ("verify, both directions", verifies, scans[1::2]),
    ):
        yield compare(
            name.partition(",")[0],
            name,
            rates,
            alone,
            unit="items/s",
            against=against,
            aim=Aim("at least", 0.8),
            note=note,
        )


def _run(told: dict[str, str], command: str, *arguments: str) -> float:
    """Items a second of a command of the console, by its own clock: Python's start not counted."""
    done = subprocess.run(
        [sys.executable, "-m", "console", command, TABLE, *arguments, "--json"],
        cwd=ROOT,
        env=told,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    items = answer.get("read_here", answer.get("items"))
    return float(items or 0) / float(answer["seconds"])


def _scan(url: str, items: int) -> float:
    """Items a second that the table gives, with no client library in between."""

    def scan(segment: int) -> int:
        writer, count, start = Writer(url), 0, None
        while True:
            asked: dict[str, Any] = {
                "TableName": TABLE,
                "ConsistentRead": True,
                "Segment": segment,
                "TotalSegments": SEGMENTS,
            }
            page = writer.call("Scan", asked | ({"ExclusiveStartKey": start} if start else {}))
            count += len(page["Items"])
            start = page.get("LastEvaluatedKey")
            if start is None:
                return count

    began = time.perf_counter()
    with ThreadPoolExecutor(SEGMENTS) as threads:
        found = sum(threads.map(scan, range(SEGMENTS)))
    if found != items:
        raise RuntimeError(f"the scan found {found} items of {items}")
    return found / (time.perf_counter() - began)
