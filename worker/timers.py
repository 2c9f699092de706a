"""Keeps the event loop's timer small.

Celery sets two timers for each task, the soft and the hard time limit, and cancels them as it ends.
kombu 5.7.0 only marks a cancelled entry: it stays in the heap until it would have been due, minutes
later, so a busy worker carries tens of thousands of them (`kombu.asynchronous.timer.Timer`).
"""

import heapq
from typing import Any, Final

from celery import bootsteps

PRUNE_S: Final = 30.0


def prune(timer: Any) -> int:
    """Take cancelled entries out of a timer; how many there were. On its event loop only.

    The list stays the same object: the loop's iterator holds on to it.
    """
    heap = timer._queue
    before = len(heap)
    heap[:] = [scheduled for scheduled in heap if not scheduled.entry.canceled]
    heapq.heapify(heap)
    return before - len(heap)


class RepeatedStep(bootsteps.StartStopStep):  # type: ignore[misc]  # celery ships no types
    """Does something on the event loop now and then, for as long as the worker runs."""

    requires = ("celery.worker.consumer.tasks:Tasks",)
    every_s: float

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._entry: Any = None

    def start(self, consumer: Any) -> None:
        """Called for each connection: Celery cancels what the one before has put on the timer
        (celery.worker.consumer, `_cancel_connection_timer_entries`)."""
        if self._entry is not None:
            self._entry.cancel()
        self._entry = consumer.timer.call_repeatedly(self.every_s, self.act, (consumer,))

    def stop(self, consumer: Any) -> None:
        """The next connection, if there is one, begins anew; the drain has a clock of its own."""

    def act(self, consumer: Any) -> None:
        """What is done."""
        raise NotImplementedError


class PruneStep(RepeatedStep):
    """Prunes the worker's timer."""

    name = "worker.timers.PruneStep"
    every_s = PRUNE_S

    def act(self, consumer: Any) -> None:
        prune(consumer.timer)
