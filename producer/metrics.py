"""What the producer measures, and how a log line carries it.

The line of each invocation is a log line and a metric at once (Amazon CloudWatch User Guide,
"Specification: Embedded metric format"). The worker's are in `worker/metrics.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

NAMESPACE: Final = "Sluice"
DIMENSION: Final = "Queue"
"""Name of the queue that the chunks are sent to."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One of `METRICS`: a sum over an invocation."""

    name: str
    unit: str
    meaning: str


RECORDS: Final = Metric("RecordsReceived", "Count", "Stream records in an event.")
CHUNKS: Final = Metric("ChunksSent", "Count", "Messages sent to the queue.")
BYTES: Final = Metric(
    "BytesSent", "Bytes", "Those messages and the dead letters, as SQS counts them."
)
OBJECTS: Final = Metric(
    "OverflowObjects", "Count", "Objects put into the overflow bucket, for too large changes."
)
LETTERS: Final = Metric(
    "RecordsDeadLettered", "Count", "Records that cannot be read, sent to the dead-letter queue."
)
RETRIES: Final = Metric("SendRetries", "Count", "Messages whose sending was tried again.")
FAILURES: Final = Metric(
    "BatchFailures", "Count", "Events of which Lambda was told to deliver a part again."
)

METRICS: Final = (RECORDS, CHUNKS, BYTES, OBJECTS, LETTERS, RETRIES, FAILURES)


def embed(queue: str, at_ms: int, values: Mapping[Metric, int]) -> dict[str, Any]:
    """Fields for a log line that make these values metrics."""
    told = [{"Name": metric.name, "Unit": metric.unit} for metric in values]
    directive = {"Namespace": NAMESPACE, "Dimensions": [[DIMENSION]], "Metrics": told}
    return {
        "_aws": {"Timestamp": at_ms, "CloudWatchMetrics": [directive]},
        DIMENSION: queue,
        **{metric.name: value for metric, value in values.items()},
    }
