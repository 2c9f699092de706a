"""Ends a child process that does not begin the task it was handed.

Celery's time limits run from the moment a child says that it has begun. One that is stopped or
stuck between two tasks says nothing, so no limit would ever end the wait, and the heartbeat would
keep the message hidden for as long. Once the child is killed, the pool hands the task to another.
"""

import logging
import os
import signal
import time
from contextlib import suppress
from typing import Any, Final

from worker.timers import RepeatedStep

log = logging.getLogger(__name__)

LOOKS: Final = 4
"""Looks within the limit: a child is found out a quarter of it late at most."""


class Waits:
    """Since when each task waits for the child that has it."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._since: dict[int, float] = {}

    def over(self, unbegun: dict[int, int], now: float) -> set[int]:
        """Process ids of the children that have kept a task waiting for longer than the limit.

        unbegun: by task, the process that has it and has not begun it. now: seconds, on any scale.
        Each is told once in so long a time: until the pool has seen it gone, its task is its own.
        """
        self._since = {task: self._since.get(task, now) for task in unbegun}
        late = [task for task, since in self._since.items() if now - since > self._limit_s]
        self._since |= dict.fromkeys(late, now)
        return {unbegun[task] for task in late}


class UnbegunStep(RepeatedStep):
    """Looks for such children."""

    name = "worker.unbegun.UnbegunStep"
    limit_s = 300.0

    @classmethod
    def within(cls, limit_s: float) -> type["UnbegunStep"]:
        """The step with this limit: that of a task, which it is handed to take."""
        return type("UnbegunStep", (cls,), {"limit_s": limit_s, "every_s": limit_s / LOOKS})

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._waits = Waits(self.limit_s)

    def act(self, consumer: Any) -> None:
        for process in self._waits.over(find_unbegun(consumer.pool._pool), time.monotonic()):
            log.error(
                "process %d has not begun the task it was handed %g s ago: it is killed, and"
                " another takes the task",
                process,
                self.limit_s,
            )
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def find_unbegun(pool: Any) -> dict[int, int]:
    """By job, the child that Celery's pool has written it to, where it has not been accepted
    (`celery.concurrency.asynpool`)."""
    return {
        number: job._scheduled_for.pid
        for number, job in list(pool._cache.items())
        if getattr(job, "_scheduled_for", None) is not None and not job._accepted
    }
