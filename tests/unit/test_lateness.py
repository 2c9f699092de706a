"""Past the lag: proven by an empty queue, or by workers that tell how late they are at most."""

from collections.abc import Callable
from dataclasses import replace
from threading import Event
from typing import Any

import pytest

from console.lateness import Lateness, bound_lateness, wait_until_past
from console.sending import Depth
from worker.errors import UnavailableError
from worker.state import LagCounts, ValveState, WorkerState

NOW = 1_767_300_000_000
BOUNDS = (1.0, 5.0, 60.0)
WORKER = WorkerState(
    "sluice", "host:1", NOW - 5_000, NOW, 4, True, lag=LagCounts(300, BOUNDS, (90, 1, 0, 0))
)
OTHER = replace(WORKER, worker="host:2", at=NOW - 9_000, lag=LagCounts(300, BOUNDS, (0, 0, 2, 0)))


def test_the_latest_change_of_any_worker_bounds_the_lag_as_of_the_oldest_word() -> None:
    assert bound_lateness([WORKER], NOW, 360) == Lateness(NOW - 5_000, 5.0)
    assert bound_lateness([WORKER, OTHER], NOW, 360) == Lateness(NOW - 9_000, 60.0)


def test_the_oldest_message_bounds_it_where_it_is_older() -> None:
    assert bound_lateness([WORKER], NOW, 360, 700.0) == Lateness(NOW - 5_000, 700.0)
    assert bound_lateness([WORKER], NOW, 360, 2.0) == Lateness(NOW - 5_000, 5.0)


@pytest.mark.parametrize(
    "change",
    [
        {"at": NOW - 61_000},
        {"polling": False},
        {"held": 1},
        {"breaker": "shut"},
        {"valve": ValveState("shut")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_nothing_follows_while_a_worker_does_not_work(change: dict[str, Any]) -> None:
    assert bound_lateness([WORKER, replace(OTHER, **change)], NOW, 360) is None


def test_nothing_follows_from_no_worker_no_change_or_one_later_than_is_counted() -> None:
    assert bound_lateness([], NOW, 360) is None
    assert (
        bound_lateness([replace(WORKER, lag=LagCounts(300, BOUNDS, (0, 0, 0, 0)))], NOW, 360)
        is None
    )
    assert (
        bound_lateness([replace(WORKER, lag=LagCounts(300, BOUNDS, (9, 0, 0, 1)))], NOW, 360)
        is None
    )


def test_a_worker_that_died_long_ago_holds_nothing_up() -> None:
    assert bound_lateness([WORKER, replace(OTHER, at=NOW - 780_000)], NOW, 360) is None
    gone = replace(OTHER, at=NOW - 780_001)
    assert bound_lateness([WORKER, gone], NOW, 360) == Lateness(NOW - 5_000, 5.0)


def test_what_is_older_than_the_way_into_the_queue_and_the_lag_is_past() -> None:
    late = Lateness(NOW, 5.0)
    assert late.is_past(NOW - 65_001, 60)
    assert not late.is_past(NOW - 65_000, 60)


class Hasty(Event):
    """Waits for nothing, and lets the clock move."""

    now_s = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        self.now_s += timeout or 0.0
        return self.is_set()


def wait(depth: Callable[[], Depth], lateness: Callable[[], Lateness | None], stop: Hasty) -> bool:
    return wait_until_past(
        depth, lateness, stop, since_ms=NOW, settle_s=2, patience_s=30, clock=lambda: stop.now_s
    )


def test_a_busy_queue_is_past_once_its_workers_say_so() -> None:
    stop = Hasty()

    def lateness() -> Lateness:
        return Lateness(NOW + round(1_000 * stop.now_s), 5.0)

    assert wait(lambda: Depth(9, 1, 0), lateness, stop)
    assert 7 < stop.now_s < 10


def test_a_busy_queue_of_which_nothing_is_known_is_never_past() -> None:
    def away() -> Lateness:
        raise UnavailableError("the cluster is away")

    for lateness in (lambda: None, away, lambda: Lateness(NOW - 1, 5.0)):
        stop = Hasty()
        assert not wait(lambda: Depth(9, 1, 0), lateness, stop)
        assert stop.now_s > 30


def test_an_empty_queue_is_past_whatever_the_workers_say() -> None:
    assert wait(lambda: Depth(0, 0, 0), lambda: None, Hasty())
