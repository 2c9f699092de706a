"""How long changes took from the table until they were applied, as the workers counted it. Pure.

A change's time is floored to the second by DynamoDB, so each figure may be a second too long.
"""

import math
from collections.abc import Iterable

from worker.state import LagCounts


def merge(lags: Iterable[LagCounts]) -> LagCounts:
    """All of them as one.

    Workers of two releases may count in different buckets: each count keeps its upper bound, so
    that no change ever looks faster than it was.
    """
    counts: dict[float, int] = {}
    window_s = 0
    for lag in lags:
        window_s = max(window_s, lag.window_s)
        for bound, count in _buckets(lag):
            counts[bound] = counts.get(bound, 0) + count
    bounds = sorted(counts)
    return LagCounts(window_s, tuple(bounds[:-1]), tuple(counts[bound] for bound in bounds))


def at_most_s(lag: LagCounts, share: float) -> float | None:
    """The bound that this share of the changes kept, infinite if none did. None: no changes."""
    total = sum(lag.counts)
    passed = 0
    for bound, count in _buckets(lag):
        passed += count
        if count and passed >= math.ceil(share * total):
            return bound
    return None


def more_than_s(lag: LagCounts, share: float) -> float:
    """What every change took that is not among this share of the fastest."""
    bound = at_most_s(lag, share)
    return max((b for b in lag.bounds_s if bound is not None and b < bound), default=0.0)


def _buckets(lag: LagCounts) -> Iterable[tuple[float, int]]:
    return zip((*lag.bounds_s, math.inf), lag.counts, strict=False)
