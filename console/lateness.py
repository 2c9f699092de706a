"""Whether what was written before some moment has come through the pipeline by now.

An empty queue proves it, and so does time: what is older than the latest change that the workers
have applied of late, and than the oldest message, is applied, refused, or was never in the queue. A
busy queue is never empty, so the second proof is what a busy table has.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from console.errors import InterruptedByUserError
from console.sending import Depth
from console.status.lag import at_most_s, merge
from worker.errors import UnavailableError
from worker.state import STALE_MS, WorkerState

_LOOKS: Final = 3
_LOOK_EVERY_S: Final = 0.5
_ASK_EVERY_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Lateness:
    """How late changes are applied, as the pipeline itself tells."""

    at_ms: int
    """When the worker that was heard of longest ago said so."""
    most_s: float

    def is_past(self, since_ms: int, settle_s: float) -> bool:
        """Whether what was written before that moment was applied when this was said.

        settle_s: as long as a change may take into the queue.
        """
        return self.at_ms - since_ms > 1_000 * (settle_s + self.most_s)


def bound_lateness(
    states: Sequence[WorkerState], now_ms: int, hidden_s: int, oldest_s: float | None = None
) -> Lateness | None:
    """From the word of a queue's workers, and its oldest message's age where it is known. Pure.

    hidden_s: how long the queue hides what a worker has taken that died. None unless all workers
    work, and have applied changes of late: else nothing follows.
    """
    # What a worker had in work that fell silent before that has been taken by another one.
    gone_ms = STALE_MS + 2_000 * hidden_s
    heard = [one for one in states if now_ms - one.at <= gone_ms]
    if not heard or not all(_works(one, now_ms) for one in heard):
        return None
    most_s = at_most_s(merge(one.lag for one in heard), 1.0)
    if most_s is None or math.isinf(most_s):
        return None
    return Lateness(min(one.at for one in heard), max(most_s, oldest_s or 0.0))


def _works(worker: WorkerState, now_ms: int) -> bool:
    heard = now_ms - worker.at <= STALE_MS and worker.polling and not worker.held
    return heard and worker.breaker == worker.valve.state == "open"


def wait_until_past(
    depth: Callable[[], Depth],
    lateness: Callable[[], Lateness | None],
    stop: threading.Event,
    *,
    since_ms: int,
    settle_s: float,
    patience_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Until what was written before that moment has come through, by one proof or the other.

    False if neither was had within `patience_s`. Raises InterruptedByUserError.
    """
    deadline = clock() + patience_s
    empty, ask_at = 0, clock()
    while True:
        try:
            empty = empty + 1 if depth().total == 0 else 0
        except UnavailableError:
            empty = 0
        if empty >= _LOOKS:
            return True
        if not empty and clock() >= ask_at:
            ask_at = clock() + _ASK_EVERY_S
            if _is_past(lateness, since_ms, settle_s):
                return True
        if clock() > deadline:
            return False
        if stop.wait(_LOOK_EVERY_S):
            raise InterruptedByUserError("interrupted")


def _is_past(lateness: Callable[[], Lateness | None], since_ms: int, settle_s: float) -> bool:
    try:
        late = lateness()
    except UnavailableError:
        return False
    return late is not None and late.is_past(since_ms, settle_s)
