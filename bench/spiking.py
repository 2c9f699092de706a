"""Rows of a spike: what the cluster sees, what writers feel; and a naive Lambda under the same.

The spike is more than the cluster takes in raw bulks, so its documents are dear ones
(`bench.tables`): bench, producer and queue share the machine with it, and must not be the bound.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.backlog import find_deepest, find_drained
from bench.corpus import TABLE, make_posts
from bench.figures import Aim, Row, compare, percentile, tell
from bench.lagging import Context, build_producer, create_table, delete_table
from bench.naive import measure_naive
from bench.pooling import PROCESSES, drain_queue, make_references, run_raw, warm
from bench.size import Size
from bench.stage import Pool, Stage
from bench.surge import FACTOR, Surge, run_surge
from bench.tables import dear

ROOT: Final = Path(__file__).parents[1]
OVER: Final = 1.5
"""The spike's rate, as a multiple of what the cluster takes in raw bulks: something must wait."""
LANES: Final = 4
"""Invocations of the producer at once."""
SPARE_S: Final = 20.0
"""So much longer the writer goes on than the spike should last."""
SHARE: Final = 0.2
"""Of the other groups' documents: these cost the cluster several times as much."""


def measure_spike(stage: Stage, size: Size) -> Iterator[Row]:
    """The spike through Sluice, then the same one through a naive Lambda."""
    queues = stage.make_queues()
    make_references(stage, dear)
    count = round(SHARE * size.documents)
    with stage.pool(queues, PROCESSES) as pool:
        warm(stage, pool, size, dear.name, SHARE)
        posts = make_posts(count, prefix="alone")
        raw = run_raw(stage, posts).rate
        alone = drain_queue(pool, posts, "INSERT", tables=(dear.name,)).rate
        create_table(stage.dynamodb)
        try:
            yield from _measure_ours(stage, pool, size, alone, raw)
        finally:
            delete_table(stage.dynamodb)
    yield from measure_naive(stage, size, OVER * raw)


def _measure_ours(stage: Stage, pool: Pool, size: Size, alone: float, raw: float) -> Iterator[Row]:
    producer = build_producer(stage, pool.queues)
    writer = _start_writer(stage, size.calm_s + size.spike_s + SPARE_S)
    surge = run_surge(
        stage,
        dear.name,
        dear.alias,
        lambda event: producer.forward(event, Context()),
        OVER * raw,
        calm_s=size.calm_s,
        spike_s=size.spike_s,
        lanes=LANES,
        is_drained=lambda _: pool.queues.depth() == 0,
    )
    took = json.loads(writer.communicate(timeout=60 + SPARE_S)[0])
    yield from _tell_cluster(surge, size, alone, raw)
    yield from _tell_queue(surge)
    yield from _tell_writers(surge, took)
    row = tell("spike model", "the same, for bench/simulation", alone, unit="changes/s of the pool")
    yield row.with_data(
        base=surge.rate / FACTOR,
        factor=FACTOR,
        length_s=surge.ended - surge.began,
        process_rate=alone / PROCESSES,
        process_rate_meanwhile=surge.indexed_rate / PROCESSES,
        processes=PROCESSES,
        deepest=find_deepest(surge.log, surge.indexed),
        longest_lag_s=max(surge.lags, default=0.0),
        drained_after_s=find_drained(surge.log, surge.indexed, surge.ended),
    )


def _tell_cluster(surge: Surge, size: Size, alone: float, raw: float) -> Iterator[Row]:
    looks = sum(at >= surge.began for at, _ in surge.bulks)
    yield tell(
        "spike bulks",
        f"a spike of {FACTOR:g} times for {size.spike_s:g} s, {surge.rate:,.0f} changes/s,"
        f" {surge.rate / raw:.2f} times the cluster's raw rate: bulk requests in flight, at most",
        surge.count_most(),
        unit="",
        aim=Aim("at most", PROCESSES),
        note=f"{looks} looks; the limit is {PROCESSES}, one for each process",
        against="before the spike",
        reference=surge.count_most(calm=True),
    )
    yield compare(
        "spike load",
        "the same: documents indexed while it lasted",
        [surge.indexed_rate],
        [alone],
        unit="documents/s",
        against=f"the pool from a full queue; the cluster's raw rate: {raw:,.0f}",
        aim=Aim("at most", 1.1),
    )


def _tell_queue(surge: Surge) -> Iterator[Row]:
    deepest = find_deepest(surge.log, surge.indexed)
    drained = find_drained(surge.log, surge.indexed, surge.ended)
    lag = max(surge.lags, default=0.0)
    marked = len(surge.lags) + surge.missing
    yield tell("spike queue", "the same: changes that waited at once", deepest, unit="changes")
    yield tell(
        "spike drained", "the same: from its end until none waited more than 2 s", drained, unit="s"
    )
    yield tell("spike lag", "the same: longest lag", lag, unit="s", note=f"of {marked} marked")
    yield tell(
        "spike lost",
        "the same: changes lost",
        surge.lost,
        unit=f"of {surge.sent:,}",
        aim=Aim("at most", 0),
    )


def _tell_writers(surge: Surge, took: list[tuple[float, float]]) -> Iterator[Row]:
    calm = [s for at, s in took if at < surge.began]
    busy = [s for at, s in took if surge.began <= at <= surge.ended]
    for share, aim in ((0.5, None), (0.99, Aim("at most", 1.5))):
        yield compare(
            f"spike writer p{share * 100:.0f}",
            f"the same: time of a write to the table, p{share * 100:.0f}",
            [1000 * percentile(busy, share)],
            [1000 * percentile(calm, share)],
            unit="ms",
            against="before the spike",
            aim=aim,
            note=f"{len(busy)} and {len(calm)} writes; all services share the machine's cores",
        )


def _start_writer(stage: Stage, seconds: float) -> subprocess.Popen[str]:
    """`bench.putting` in a process of its own, from when it writes."""
    command = [sys.executable, "-m", "bench.putting", stage.dynamodb, TABLE, str(seconds)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=environment, text=True)
    if writer.stdout is None or not writer.stdout.readline():
        raise RuntimeError(f"the writer does not begin: exit {writer.wait()}")
    return writer
