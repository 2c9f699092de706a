"""What waited under a load, from counts of what came and of what was indexed."""

import math

import pytest

from bench.backlog import find_deepest, find_drained, find_waits, rate_between

LOG = [(float(second), 100 * (second + 1)) for second in range(10)]
"""A hundred changes at the begin of each of ten seconds."""


def index_at(rate: int, until: int) -> list[tuple[float, int]]:
    """Looks, each half second, at a pool that takes so many a second."""
    return [(half / 2, min(1000, half * rate // 2)) for half in range(2 * until + 1)]


def test_the_deepest_queue_is_the_most_that_had_come_and_was_not_indexed() -> None:
    assert find_deepest(LOG, index_at(50, 20)) == 1000 - 9 * 50


def test_a_change_waits_from_when_it_came_until_it_is_indexed() -> None:
    waits = dict(find_waits(LOG, index_at(50, 20)))
    assert waits[19.0] == pytest.approx(19.0 - 9.0)
    assert waits[20.0] == 0


def test_a_queue_is_drained_when_nothing_waits_longer_than_two_seconds() -> None:
    """As in bench/simulation, and not when the last message is gone."""
    fast = [(at, min(done, 1000)) for at, done in index_at(90, 15)]
    emptied = next(at for at, done in fast if done == 1000)
    assert find_drained(LOG, fast, 9.0) < emptied - 9.0
    assert find_drained(LOG, index_at(50, 20), 9.0) == pytest.approx(11.0)
    assert math.isinf(find_drained(LOG, index_at(50, 15), 9.0))


def test_a_rate_leaves_out_how_a_load_begins_and_ends() -> None:
    even = [(float(second), 100 * second) for second in range(11)]
    late = [(0.0, 0), *((at + 5, count) for at, count in even), (99.0, 1000)]
    assert rate_between(even) == pytest.approx(100)
    assert rate_between(late) == pytest.approx(100)


@pytest.mark.parametrize("series", [[], [(0.0, 5)], [(0.0, 5), (1.0, 5)]])
def test_a_series_that_counted_nothing_has_no_rate(series: list[tuple[float, int]]) -> None:
    with pytest.raises(ValueError, match="nothing was counted"):
        rate_between(series)
