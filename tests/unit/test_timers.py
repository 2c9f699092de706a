"""The event loop's timer stays small, however many messages a worker takes."""

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from celery.worker.loops import _cancel_timer_entries, _timer_entries
from kombu.asynchronous.timer import Timer

from worker.timers import PruneStep, prune

# kombu calls itself typed, but most of it is not.
StockTimer: Any = Timer

MESSAGES = 20_000


def nothing() -> None:
    """What a time limit would do."""


def work(timer: Any, messages: int) -> None:
    """What Celery does for each task: two time limits, cancelled as it ends (asynpool)."""
    for _ in range(messages):
        limits = [timer.call_after(seconds, nothing) for seconds in (270, 300)]
        for limit in limits:
            limit.cancel()


def test_the_stock_timer_keeps_what_was_cancelled() -> None:
    timer = StockTimer()
    work(timer, 100)
    next(iter(timer))
    assert len(timer) == 200


def test_pruned_now_and_then_it_stays_small_over_many_messages() -> None:
    timer = StockTimer()
    largest = 0
    for _ in range(MESSAGES // 500):
        work(timer, 500)
        largest = max(largest, len(timer))
        prune(timer)
    assert largest == 1_000
    assert len(timer) == 0


def test_what_is_not_cancelled_still_comes_in_its_order_to_the_same_iterator() -> None:
    timer = StockTimer()
    ran: list[int] = []
    loop = iter(timer)
    assert next(loop) == (None, None)
    for number in (3, 1, 2):
        timer.call_after(-10 + number, ran.append, (number,))
        work(timer, 50)
    assert prune(timer) == 300
    for _ in range(3):
        _, entry = next(loop)
        timer.apply_entry(entry)
    assert ran == [1, 2, 3]


def next_entry(loop: Iterator[tuple[float | None, Any]]) -> Any:
    """What is due next. Fails if nothing ever is."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        wait_s, entry = next(loop)
        if entry is not None:
            return entry
        assert wait_s is not None, "the timer is empty"
    raise AssertionError("nothing came due")


def test_the_step_prunes_again_and_again_though_celery_cancels_it_at_each_reconnect() -> None:
    timer = StockTimer()
    consumer = SimpleNamespace(timer=timer)
    step = PruneStep(consumer)
    step.every_s = 0.001
    loop = iter(timer)
    for _ in range(2):
        before = _timer_entries(timer)
        step.start(consumer)
        for _ in range(3):
            work(timer, 100)
            timer.apply_entry(next_entry(loop))
            assert len(timer) == 1
        _cancel_timer_entries(timer, _timer_entries(timer) - before)


def test_two_connections_in_a_row_leave_one_that_prunes() -> None:
    timer = StockTimer()
    consumer = SimpleNamespace(timer=timer)
    step = PruneStep(consumer)
    step.start(consumer)
    step.start(consumer)
    prune(timer)
    assert len(timer) == 1
