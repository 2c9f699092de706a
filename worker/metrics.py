"""What is measured: names, units, meaning, and how a log line carries it. The one list of them.

A line in CloudWatch's embedded metric format is a log line and a metric at once: nothing else has
to be called, and nothing can fail. (Amazon CloudWatch User Guide, "Specification: Embedded metric
format"; at most 100 values for one metric of one line.) The same metrics are served as Prometheus
text by `worker.exposition`. The producer's are in `producer/metrics.py`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

NAMESPACE: Final = "Sluice"
DIMENSION: Final = "Queue"
"""Name of the queue that the worker drains."""
ERROR_DIMENSION: Final = "Error"
"""Class of a refusal: the cluster's error type, or the name of an exception."""

VALUES: Final = 100

Unit: TypeAlias = Literal["Seconds", "Bytes", "Count", "None"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One of `METRICS`."""

    name: str
    """In CloudWatch."""
    unit: Unit
    meaning: str
    kind: Literal["sum", "gauge", "histogram"] = "sum"
    """A sum of what happened, what is at the moment, or the distribution of many values."""
    bounds: tuple[float, ...] = ()
    """Of a histogram's buckets, ascending, in its unit."""

    @property
    def prometheus(self) -> str:
        """Its name in Prometheus."""
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", self.name).lower()
        return f"sluice_{words}{'_total' if self.kind == 'sum' else ''}"


LAG: Final = Metric(
    "LagSeconds",
    "Seconds",
    "From the time of a live change to the end of its chunk's bulk requests, unless it is refused."
    " DynamoDB floors that time to the second.",
    "histogram",
    (
        *(0.5, 1, 1.5, 2, 3, 4, 5, 7.5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300),
        *(600, 1_200, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400),
    ),
)
RECEIVED: Final = Metric("ChangesReceived", "Count", "Changes in chunks that ended.")
APPLIED: Final = Metric("ChangesApplied", "Count", "Changes that became, or removed, a document.")
OBSOLETE: Final = Metric("ChangesObsolete", "Count", "Changes that came after a newer one.")
FOLDED: Final = Metric(
    "ChangesFolded", "Count", "Changes that a newer one of their chunk spoke for."
)
REFUSED: Final = Metric(
    "ChangesRefused",
    "Count",
    "Changes that became dead letters. Also by error class, with a second dimension, `Error`.",
)
CONFLICTS: Final = Metric("Conflicts", "Count", "Writes decided again.")
RETRIES: Final = Metric(
    "MessagesRetried", "Count", "Messages whose task failed, and that are tried again."
)
WIRE_BYTES: Final = Metric("WireBytes", "Bytes", "Payloads of chunks, as SQS carried them.")
JSON_BYTES: Final = Metric("JsonBytes", "Bytes", "The same, inflated.")
CHUNK_SIZE: Final = Metric(
    "ChunkChanges",
    "Count",
    "Changes of a chunk.",
    "histogram",
    (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000),
)
BULK_TIME: Final = Metric(
    "BulkSeconds",
    "Seconds",
    "Of a chunk: from sending its bulk requests to their answers.",
    "histogram",
    (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300),
)
CHUNK_TIME: Final = Metric(
    "ChunkSeconds",
    "Seconds",
    "From a chunk's decoding to its end, its table's handlers included.",
    "histogram",
    (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300),
)
POLLING: Final = Metric("Polling", "None", "1 for a worker that polls or could.", "gauge")
PAUSED: Final = Metric(
    "Paused", "None", "1 while the cluster is away and no message is taken.", "gauge"
)
VALVE: Final = Metric(
    "ValveShut", "None", "1 while too many refusals keep the valve shut.", "gauge"
)
IN_WORK: Final = Metric("InWork", "Count", "Messages with the worker's processes.", "gauge")
HELD: Final = Metric("Held", "Count", "Messages kept until an outage is over.", "gauge")

METRICS: Final = (
    LAG,
    RECEIVED,
    APPLIED,
    OBSOLETE,
    FOLDED,
    REFUSED,
    CONFLICTS,
    RETRIES,
    WIRE_BYTES,
    JSON_BYTES,
    CHUNK_SIZE,
    BULK_TIME,
    CHUNK_TIME,
    POLLING,
    PAUSED,
    VALVE,
    IN_WORK,
    HELD,
)


def embed(
    queue: str,
    at_ms: int,
    values: Mapping[Metric, float | Sequence[float]],
    *,
    error: str | None = None,
) -> dict[str, Any]:
    """Fields for a log line that make these values metrics. At most 100 of one metric are kept.

    error: a class of refusals, of which alone these values speak.
    """
    fields = {
        metric.name: value if isinstance(value, int | float) else spread(value)
        for metric, value in values.items()
        if isinstance(value, int | float) or value
    }
    told = [{"Name": m.name, "Unit": m.unit} for m in values if m.name in fields]
    dimensions = {DIMENSION: queue} | ({} if error is None else {ERROR_DIMENSION: error})
    directive = {"Namespace": NAMESPACE, "Dimensions": [list(dimensions)], "Metrics": told}
    return {
        "_aws": {"Timestamp": at_ms, "CloudWatchMetrics": [directive]},
        **dimensions,
        **fields,
    }


def spread(values: Sequence[float], most: int = VALUES) -> list[float]:
    """Of many values so many, evenly spread over their order, smallest and largest among them."""
    ordered = sorted(values)
    if len(ordered) <= most:
        return ordered
    return [ordered[place * (len(ordered) - 1) // (most - 1)] for place in range(most)]
