"""Five times as long as all receipts of a message last: nothing is spent, lost or sent away."""

import threading

import pytest

from tests.faults.conftest import RECEIVES, Stage, make_ready
from tests.faults.outages import come_back, go_through
from tests.faults.proxy import Fault

pytestmark = [
    pytest.mark.services,
    pytest.mark.slow,
    pytest.mark.parametrize("search_engine", ["embedded"], indirect=True, scope="session"),
]

VISIBILITY_S = 2
SECONDS = 5.0 * RECEIVES * VISIBILITY_S
FLAPPING_S = 60.0


@pytest.fixture
def hasty(stage: Stage) -> Stage:
    """The stage with a shorter visibility timeout, and a worker that has applied something."""
    stage.queues.client.set_queue_attributes(
        QueueUrl=stage.queues.url, Attributes={"VisibilityTimeout": str(VISIBILITY_S)}
    )
    return make_ready(stage)


def test_flapping_for_longer_than_all_receipts_last_sends_nothing_away(hasty: Stage) -> None:
    assert FLAPPING_S >= SECONDS
    flapping = threading.Thread(target=hasty.proxy.flap, args=(FLAPPING_S, 2), daemon=True)
    flapping.start()
    number = 0
    while flapping.is_alive():
        number += 1
        hasty.send(3, prefix=f"flap-{number}")
        flapping.join(0.5)
    come_back(hasty, 20)


def test_an_outage_longer_than_all_receipts_last_sends_nothing_away(hasty: Stage) -> None:
    # Reads are well all the time: what decides is that no write goes through.
    with hasty.proxy.broken(Fault("status", 429, path="_bulk")):
        go_through(hasty, SECONDS)
    come_back(hasty)
