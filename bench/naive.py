"""The Lambda that many write first, under the same spike: what it loses, and how late it is."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from boto3.dynamodb.types import TypeDeserializer
from elasticsearch import ApiError, Elasticsearch, TransportError

from bench.figures import Row, tell
from bench.pooling import REFERENCE
from bench.size import Size
from bench.stage import Stage
from bench.surge import is_idle, run_surge
from bench.tables import dear

LANES: Final = 40
"""Invocations at once: the four shards of a new on-demand table, and ParallelizationFactor 10."""
TIMEOUT_S: Final = 3.0
"""A Lambda's timeout unless it is told otherwise."""
TRIES: Final = 3


@dataclass
class Naive:
    """Typed values to Python, one bulk, its items unread; again while it fails, then given up."""

    client: Elasticsearch
    errors: int = 0
    given_up: int = 0
    """Records of events that failed each time, as after Lambda's retries."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def invoke(self, event: dict[str, Any]) -> None:
        """One event, as the trigger does."""
        for _ in range(TRIES):
            try:
                self._index(event)
            except (ApiError, TransportError):
                with self.lock:
                    self.errors += 1
            else:
                return
        with self.lock:
            self.given_up += len(event["Records"])

    def _index(self, event: dict[str, Any]) -> None:
        deserialize = TypeDeserializer().deserialize
        operations: list[dict[str, Any]] = []
        for record in event["Records"]:
            image = {k: deserialize(v) for k, v in record["dynamodb"]["NewImage"].items()}
            image["tags"] = sorted(image["tags"])
            operations += [{"index": {"_id": image["id"]}}, image]
        self.client.options(request_timeout=TIMEOUT_S).bulk(index=REFERENCE, operations=operations)


def measure_naive(stage: Stage, size: Size, top: float) -> Iterator[Row]:
    """Its bulks in flight, errors, losses and lag. top: changes a second of the spike."""
    with Elasticsearch(
        stage.search, max_retries=0, retry_on_timeout=False, connections_per_node=LANES
    ) as client:
        naive = Naive(client)
        surge = run_surge(
            stage,
            dear.name,
            REFERENCE,
            naive.invoke,
            top,
            calm_s=size.calm_s / 3,
            spike_s=size.spike_s,
            lanes=LANES,
            is_drained=is_idle,
        )
    what = f"naive Lambda, the same spike ({surge.rate:,.0f} changes/s), {LANES} at once"
    yield tell(
        "naive bulks",
        f"{what}: bulk requests in flight, at most",
        surge.count_most(),
        unit="",
        against="before the spike",
        reference=surge.count_most(calm=True),
    )
    yield tell("naive errors", f"{what}: invocations that failed", naive.errors, unit="")
    yield tell(
        "naive lost",
        f"{what}: changes lost",
        surge.lost,
        unit=f"of {surge.sent:,}",
        note=f"{naive.given_up} given up after {TRIES} tries; a bulk whose caller has gone is still"
        " carried out, unless the cluster refused it",
    )
    marked = len(surge.lags) + surge.missing
    yield tell(
        "naive lag",
        f"{what}: longest lag of what was found",
        max(surge.lags, default=0.0),
        unit="s",
        note=f"{surge.missing} of {marked} marked documents were never found",
    )
