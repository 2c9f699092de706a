"""Messages that wait alone: each meets an outage while all that others need is there.

A hot shard, documents that others keep changing, a bucket that is away, a dead-letter queue that
refuses. Given back to SQS each try would cost a receipt, and `maxReceiveCount` of them would move
the message to the dead-letter queue without a reason. So it stays here, in one of the worker's
slots, hidden by the heartbeat, and is tried again by itself; other messages use the other slots.
"""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from worker.backoff import delay_s
from worker.heartbeat import HELD_S

log = logging.getLogger(__name__)

ASIDE_BASE_S: Final = 1.0
ASIDE_CAP_S: Final = 10.0
"""Longest pause between tries, and so between the end of what it meets and its being done."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """One message aside."""

    since: float
    failures: int
    waiting: bool
    """For its time; else it is tried now."""


class Aside:
    """The requests set aside. For the main process's event loop; `waiting` for any thread."""

    def __init__(
        self,
        timer: Any,
        run: Callable[[Any], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timer = timer
        self._run = run
        self._clock = clock
        self._places: dict[Any, Place] = {}

    def __contains__(self, request: Any) -> bool:
        return request in self._places

    def __len__(self) -> int:
        return len(self._places)

    def waiting(self) -> int:
        """How many are not in work."""
        return sum(place.waiting for place in self._places.copy().values())

    def put(self, request: Any) -> None:
        """It failed, for the first time or again: it waits, longer each time."""
        before = self._places.get(request, Place(self._clock(), 0, waiting=False))
        place = Place(before.since, before.failures + 1, waiting=True)
        self._places[request] = place
        wait = delay_s(
            place.failures,
            base_s=ASIDE_BASE_S,
            cap_s=ASIDE_CAP_S,
            chance=random.random(),  # noqa: S311  # spreads load, hides nothing
        )
        self._timer.call_after(wait, partial(self._due, request, place))

    def take(self, request: Any) -> bool:
        """It ended otherwise; whether it was here."""
        return self._places.pop(request, None) is not None

    def run_all(self) -> None:
        """Try each now: what one of them waited for is there."""
        for request, place in list(self._places.items()):
            self._due(request, place)

    def _due(self, request: Any, place: Place) -> None:
        if self._places.get(request) is not place or not place.waiting:
            return
        if self._clock() - place.since > HELD_S:
            # SQS hides no message for longer, so it is about to come again, to whomever.
            log.warning("task %s[%s] goes back, held for too long", request.name, request.id)
            del self._places[request]
            request.reject(requeue=False)
            return
        self._places[request] = replace(place, waiting=False)
        self._run(request)
