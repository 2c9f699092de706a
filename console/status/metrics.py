"""CloudWatch's figures: how old the oldest record and the oldest message are.

Sources: AWS Lambda Developer Guide, "Types of metrics for Lambda functions" (IteratorAge in
milliseconds, DestinationDeliveryFailures a count); Amazon SQS Developer Guide, "Available
CloudWatch metrics" (ApproximateAgeOfOldestMessage in seconds; it leaves out messages received three
times or more, and begins anew in a dead-letter queue).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

WINDOW: Final = timedelta(minutes=10)
_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)
_QUERIES: Final = 400
"""Below the 500 metrics of one GetMetricData (Amazon CloudWatch API reference)."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure that is asked for."""

    namespace: str
    metric: str
    dimension: str
    value: str
    stat: str


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a figure, over the minute or hour that began at `at_ms`."""

    at_ms: int
    value: float


def iterator_age(function: str) -> Figure:
    """Milliseconds, of a Lambda function by its name."""
    return Figure("AWS/Lambda", "IteratorAge", "FunctionName", function, "Maximum")


def delivery_failures(function: str) -> Figure:
    """Batches that were given up on and could not be written to the on-failure destination."""
    name = "DestinationDeliveryFailures"
    return Figure("AWS/Lambda", name, "FunctionName", function, "Sum")


def oldest_message(queue: str) -> Figure:
    """Seconds, of a queue by its name."""
    name = "ApproximateAgeOfOldestMessage"
    return Figure("AWS/SQS", name, "QueueName", queue, "Maximum")


def function_name(arn: str) -> str:
    """The function's name within its ARN, with or without a version or alias."""
    parts = arn.split(":")
    return parts[6] if len(parts) > 6 else arn


def read_figures(client: Any, figures: Iterable[Figure], now: datetime) -> dict[Figure, float]:
    """The largest of each figure over the last ten minutes, where CloudWatch has any.

    Raises what boto3 raises.
    """
    found = _read(client, list(dict.fromkeys(figures)), now - WINDOW, now, _MINUTE)
    return {figure: max(point.value for point in points) for figure, points in found.items()}


def read_past(
    client: Any, figures: Iterable[Figure], since: datetime, now: datetime
) -> dict[Figure, list[Point]]:
    """Each figure since then, by the hour, and by the minute up to the first full hour.

    Raises what boto3 raises.
    """
    wanted = list(dict.fromkeys(figures))
    begin = since.replace(second=0, microsecond=0)
    hour = begin.replace(minute=0)
    first = min(now, hour if hour == begin else hour + _HOUR)
    found: dict[Figure, list[Point]] = {}
    for start, end, period in ((begin, first, _MINUTE), (first, now, _HOUR)):
        if start < end:
            for figure, points in _read(client, wanted, start, end, period).items():
                found[figure] = found.get(figure, []) + points
    return found


def _read(
    client: Any, figures: list[Figure], start: datetime, end: datetime, period: timedelta
) -> dict[Figure, list[Point]]:
    part = figures[:_QUERIES]
    request: dict[str, Any] = {
        "MetricDataQueries": [_query(place, one, period) for place, one in enumerate(part)],
        "StartTime": start,
        "EndTime": end,
    }
    found: dict[Figure, list[Point]] = {}
    while True:
        answer = client.get_metric_data(**request)
        for result in answer["MetricDataResults"]:
            points = [
                Point(round(at.timestamp() * 1_000), float(value))
                for at, value in zip(result["Timestamps"], result["Values"], strict=True)
            ]
            if points:
                found.setdefault(part[int(result["Id"].removeprefix("m"))], []).extend(points)
        if not answer.get("NextToken"):
            return found
        request["NextToken"] = answer["NextToken"]


def utc_now(now_ms: int) -> datetime:
    """Milliseconds since the epoch as CloudWatch's clients take a time."""
    return datetime.fromtimestamp(now_ms / 1_000, UTC)


def _query(place: int, figure: Figure, period: timedelta) -> Mapping[str, Any]:
    metric = {
        "Namespace": figure.namespace,
        "MetricName": figure.metric,
        "Dimensions": [{"Name": figure.dimension, "Value": figure.value}],
    }
    stat = {"Metric": metric, "Period": round(period.total_seconds()), "Stat": figure.stat}
    return {"Id": f"m{place}", "MetricStat": stat, "ReturnData": True}
