"""What waited while a load came in and was indexed, from two series of counts. Pure.

log: how many changes had come at which time. indexed: how many were indexed at which time. Both
count from 0 and ascend in time.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

Counts: TypeAlias = Sequence[tuple[float, int]]

LATE_S = 2.0
"""A change that waits longer is late: `bench.simulation` counts a queue as drained without any."""


def find_deepest(log: Counts, indexed: Counts) -> int:
    """The most changes that had come and were not yet indexed, at any look."""
    return max((count_at(log, at) - done for at, done in indexed), default=0)


def find_waits(log: Counts, indexed: Counts) -> list[tuple[float, float]]:
    """At each look, how long the oldest change that was not indexed had waited by then."""
    counts = [count for _, count in log]

    def wait(at: float, done: int) -> float:
        place = bisect_right(counts, done)
        return max(0.0, at - log[place][0]) if place < len(log) else 0.0

    return [(at, wait(at, done)) for at, done in indexed]


def find_drained(log: Counts, indexed: Counts, end: float) -> float:
    """Seconds from `end` until no change waited longer than `LATE_S`; infinite if never."""
    waits = find_waits(log, indexed)
    late = [n for n, (at, wait) in enumerate(waits) if at >= end and wait > LATE_S]
    if not late:
        return 0.0
    after = late[-1] + 1
    return waits[after][0] - end if after < len(waits) else float("inf")


def rate_between(indexed: Counts, low: float = 0.1, high: float = 0.9) -> float:
    """Counts a second while a series went from one share of all that it counted to another: what
    a load takes to begin and to end is left out.

    Raises ValueError for a series that counted nothing, or too fast to be seen.
    """
    if len(indexed) < 2 or indexed[-1][1] <= indexed[0][1]:
        raise ValueError("nothing was counted")
    first, total = indexed[0][1], indexed[-1][1] - indexed[0][1]
    began, ended = (_time_of(indexed, first + share * total) for share in (low, high))
    if ended <= began:
        raise ValueError("counted too fast: fewer than two looks")
    return (high - low) * total / (ended - began)


def count_at(log: Counts, at: float) -> int:
    """How many there were at a time."""
    place = bisect_right(log, at, key=lambda one: one[0])
    return log[place - 1][1] if place else 0


def _time_of(indexed: Counts, count: float) -> float:
    """When a series reached a count, as if it had grown evenly between two looks."""
    place = bisect_left(indexed, count, key=lambda one: one[1])
    (before, less), (after, more) = list(pairwise(indexed))[max(0, place - 1)]
    return before + (after - before) * (count - less) / (more - less)
