"""How an outage is gone through, and what must hold once it is over."""

import time

from tests.faults.conftest import CONCURRENCY, VISIBILITY_S, Stage

BACK_S = 15.0
"""From the cluster's return to an empty queue: the longest pause between trials, and the work."""

AWAY_S = 1.5 * VISIBILITY_S


def go_through(stage: Stage, seconds: float = AWAY_S) -> None:
    """Send messages into an outage, and see that it costs none of them a receipt."""
    stage.send(12, prefix="during")
    stage.wait_for_line("taking no messages")
    waiting, held = stage.queues.depth(), stage.in_flight()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.3)  # an outage is nothing but time
        assert stage.in_flight() <= 2 * CONCURRENCY, stage.workers.logs()
    assert stage.queues.depth() == waiting >= 12
    assert stage.in_flight() >= held


def come_back(stage: Stage, seconds: float = BACK_S) -> None:
    """All is done within seconds, each message at its first receipt, and the index is right."""
    stage.wait_until_drained(seconds)
    assert set(stage.receives()) == {1}, stage.workers.logs()
    stage.check()
