"""What a sample says of the whole. Pure."""

import math
from typing import Final

CONFIDENCE: Final = 0.95


def upper_bound(checked: int, wrong: int, confidence: float = CONFIDENCE) -> float:
    """The largest share of differences that the sample still allows (Clopper and Pearson).

    With this confidence the true share is not above it. For none wrong of n it is 1 - 0.05^(1/n),
    close to 3/n.
    """
    if not 0 <= wrong <= checked:
        raise ValueError("more differences than items")
    if wrong == checked:
        return 1.0
    low, high = wrong / checked, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _at_most(checked, wrong, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _at_most(n: int, most: int, share: float) -> float:
    """Probability of at most so many hits in n, each with probability `share`."""
    if share <= 0:
        return 1.0
    if share >= 1:
        return 0.0
    logs = [
        math.lgamma(n + 1)
        - math.lgamma(k + 1)
        - math.lgamma(n - k + 1)
        + k * math.log(share)
        + (n - k) * math.log1p(-share)
        for k in range(most + 1)
    ]
    top = max(logs)
    return min(1.0, math.exp(top) * sum(math.exp(one - top) for one in logs))


def choose_segments(items: int, wanted: int) -> int:
    """In how many segments to cut a table so that one holds about 1/50 of the sample's items."""
    each = max(1, wanted // 50)
    return max(1, min(1_000_000, items // each))
