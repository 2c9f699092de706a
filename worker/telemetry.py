"""How a worker is at this moment, and the log lines that carry its metrics.

The lines come from the main process, every half minute, and hold the sums of all its messages: no
sampling of other lines touches them, and they are written whatever SLUICE_LOG_LEVEL is, for an
alarm rings when they stay away.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from worker import metrics
from worker.clock import read_clock_ms
from worker.ledger import Figures
from worker.metrics import Metric
from worker.state import Stand

log = logging.getLogger(__name__)

POLLED_S: Final = 30.0
"""A poll loop that has not come round for so long hangs. A long poll takes 20 s at most."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Whether a worker takes messages, why not, and how many it has."""

    polling: bool = True
    """Whether the poll loop comes round; it does during a pause too."""
    breaker: Stand = "open"
    failed_trials: int = 0
    valve: Stand = "open"
    valve_since: int = 0
    valve_trial_at: int | None = None
    valve_why: str = ""
    in_work: int = 0
    held: int = 0


def read_channel(channel: Any) -> Reading:
    """What the channel and its gate say now. For any thread."""
    status = channel.gate.status()
    return Reading(
        polling=time.monotonic() - channel.polled_at < POLLED_S,
        in_work=max(len(channel.qos.held()) - status.get("held", 0), 0),
        **{name: status[name] for name in Reading.__slots__ if name in status},
    )


def measure(reading: Reading) -> dict[Metric, int]:
    """The gauges of a reading."""
    return {
        metrics.POLLING: int(reading.polling),
        metrics.PAUSED: int(reading.breaker != "open"),
        metrics.VALVE: int(reading.valve != "open"),
        metrics.IN_WORK: reading.in_work,
        metrics.HELD: reading.held,
    }


def tell(queue: str, reading: Reading, fresh: Figures) -> None:
    """Log a worker's state with its metrics, and a line for each class of what was refused.

    fresh: what has happened since this was last told.
    """
    now_ms = read_clock_ms()
    for message, fields in write_lines(queue, now_ms, reading, fresh):
        log.info(message, extra=fields)


def write_lines(
    queue: str, at_ms: int, reading: Reading, fresh: Figures
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The lines, each with its fields. Pure."""
    values: dict[Metric, float | Sequence[float]] = {**measure(reading), **fresh.sums}
    values |= {metric: one.values() for metric, one in fresh.histograms.items()}
    state = {
        "breaker": reading.breaker,
        "failed_trials": reading.failed_trials,
        "valve": reading.valve,
        "why": reading.valve_why,
    }
    yield "worker state", {**state, **metrics.embed(queue, at_ms, values)}
    for name, count in fresh.refused.items():
        yield "changes refused", metrics.embed(queue, at_ms, {metrics.REFUSED: count}, error=name)
