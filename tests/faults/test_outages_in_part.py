"""What only some messages meet holds up no other and costs no receipt, however long it lasts."""

import time

import pytest

from tests.faults.conftest import CONCURRENCY, RECEIVES, VISIBILITY_S, Stage
from tests.faults.outages import come_back
from tests.faults.proxy import Fault, proxying
from tests.polling import wait_for
from tests.services.engines import Engine
from worker.app import PREFETCH

pytestmark = [
    pytest.mark.services,
    pytest.mark.slow,
    pytest.mark.parametrize("search_engine", ["embedded"], indirect=True, scope="session"),
]

SLOTS = CONCURRENCY * PREFETCH
SECONDS = 1.2 * RECEIVES * VISIBILITY_S
ASIDE = "is set aside"
FULL = "all that this worker may have in work are set aside"


def test_a_part_of_the_index_that_takes_no_writes_holds_up_no_other_message(ready: Stage) -> None:
    """As a hot shard does: the probe's own write passes all the time."""
    with ready.proxy.broken(Fault("partial", 429, ids="^stuck-")):
        ready.send(1, prefix="stuck-0")
        ready.wait_for_line(ASIDE)
        end = time.monotonic() + SECONDS
        number = 0
        while time.monotonic() < end:
            number += 1
            ready.send(2, prefix=f"other-{number}")
            wait_for("the others", lambda: ready.queues.depth() == 1, seconds=15)
        # More than there are slots: an outage like any other, so nothing more is taken.
        ready.send(2 * SLOTS, prefix="stuck-1")
        ready.wait_for_line(FULL)
        ready.send(2, prefix="behind")
        assert ready.in_flight() == SLOTS
        assert ready.queues.depth() == 1 + 2 * SLOTS + 2
    come_back(ready)
    assert len(ready.receives()) == 2 + 2 * number + 2 * SLOTS + 2


def test_while_the_overflow_bucket_is_away_what_lies_in_it_waits_and_the_rest_goes_on(
    ready: Stage,
) -> None:
    claims = [ready.chunk(ready.claim(f"large-{number}")) for number in range(SLOTS + 1)]
    with ready.bucket.broken(Fault("status", 503)):
        ready.queues.send(claims[:1])
        ready.wait_for_line(ASIDE, seconds=60)
        ready.send(6, prefix="other")
        wait_for("the others", lambda: ready.queues.depth() == 1, seconds=25)
        ready.queues.send(claims[1:])
        ready.wait_for_line(FULL, seconds=60)
        assert ready.queues.depth(ready.queues.dead_url) == 0, ready.workers.logs()
    come_back(ready, 40)


def test_what_the_dead_letter_queue_does_not_take_waits_and_the_rest_goes_on(
    stage: Stage, elasticmq: Engine
) -> None:
    with proxying(elasticmq.url) as queue:
        stage.workers.start(AWS_ENDPOINT_URL_SQS=queue.url)
        with queue.broken(Fault("status", 403, path="SendMessage")):
            stage.queues.send(["nobody can read this"])
            stage.wait_for_line(ASIDE, seconds=40)
            end = time.monotonic() + SECONDS
            number = 0
            while time.monotonic() < end:
                number += 1
                stage.send(2, prefix=f"other-{number}")
                wait_for("the others", lambda: stage.queues.depth() == 1, seconds=15)
        stage.wait_until_drained(25)
        ((body, attributes),) = stage.queues.drain_dead()
        assert (body, attributes["sluice-error"]) == ("nobody can read this", "UndecodableMessage")
        (line,) = stage.lines("message dead-lettered")
        assert line["receives"] == 1
    come_back(stage)
