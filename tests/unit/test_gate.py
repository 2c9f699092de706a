"""What the gate does with requests that met an outage."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pytest

from worker import aside
from worker.errors import ContentionError, UnavailableError
from worker.gate import BreakerGate
from worker.heartbeat import HELD_S
from worker.inquiry import Probe, Standing

AWAY = UnavailableError("away")
SLOTS = 3


@dataclass(eq=False)
class FakeRequest:
    id: str
    name: str = "sluice.changes"
    rejected: bool = False

    def reject(self, requeue: bool) -> None:
        assert not requeue
        self.rejected = True


@dataclass
class FakeConsumer:
    """Runs nothing: it notes what it is given."""

    started: list[str] = field(default_factory=list)
    timers: list[Callable[[], None]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    initial_prefetch_count: int = SLOTS

    @property
    def timer(self) -> "FakeConsumer":
        return self

    def call_after(self, seconds: float, call: Callable[[], None]) -> None:
        assert seconds >= 0
        self.waits.append(seconds)
        self.timers.append(call)

    def on_task_request(self, request: Any) -> None:
        self.started.append(request.id)

    def pass_time(self) -> None:
        for call in [self.timers.pop(0) for _ in range(len(self.timers))]:
            call()

    def take_started(self) -> list[str]:
        started, self.started = self.started, []
        return started


@dataclass
class Cluster:
    """What the probe says. While `slow` it says nothing until `tell`."""

    standing: Standing = "well"
    slow: bool = False
    asked: int = 0
    futures: list["Future[Standing]"] = field(default_factory=list)

    def begin(self, probe: Probe) -> "Future[Standing]":
        self.asked += 1
        future: Future[Standing] = Future()
        self.futures.append(future)
        if not self.slow:
            self.tell()
        return future

    def tell(self) -> None:
        while self.futures:
            self.futures.pop().set_result(self.standing)

    def probe(self) -> Standing:
        raise AssertionError("the test's own `begin` answers")


@pytest.fixture
def consumer() -> FakeConsumer:
    return FakeConsumer()


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def gate(consumer: FakeConsumer, cluster: Cluster) -> BreakerGate:
    return BreakerGate(consumer, cluster.probe, begin=cluster.begin)


def put_aside(gate: BreakerGate, consumer: FakeConsumer, request: FakeRequest) -> None:
    """Let one message fail, and its trial too, while all is well."""
    assert gate.keep(request, AWAY)
    consumer.pass_time()
    assert consumer.take_started() == [request.id]
    assert gate.keep(request, AWAY)


# An outage


def test_an_outage_pauses_and_one_kept_request_is_the_trial(consumer: FakeConsumer) -> None:
    gate = BreakerGate(consumer)
    assert gate.limit() is None
    assert gate.keep(FakeRequest("a"), AWAY)
    assert gate.keep(FakeRequest("b"), AWAY)
    assert gate.limit() == 0
    assert gate.waiting() == 2
    assert consumer.started == []
    consumer.pass_time()
    assert consumer.started == ["a"]
    assert gate.limit() == 0
    assert gate.waiting() == 1


def test_kept_requests_take_turns_and_all_run_once_one_is_answered(consumer: FakeConsumer) -> None:
    gate = BreakerGate(consumer)
    a, b, c = (FakeRequest(name) for name in "abc")
    for request in (a, b, c):
        gate.keep(request, AWAY)
    consumer.pass_time()
    gate.keep(a, AWAY)
    consumer.pass_time()
    assert consumer.started == ["a", "b"]
    gate.answered(b)
    assert consumer.started == ["a", "b", "c", "a"]
    assert gate.limit() is None


def test_another_failure_is_given_back_and_ends_the_pause(consumer: FakeConsumer) -> None:
    gate = BreakerGate(consumer)
    a = FakeRequest("a")
    gate.keep(a, AWAY)
    consumer.pass_time()
    assert not gate.keep(a, ValueError("a defect"))
    assert gate.limit() is None


def test_one_that_ran_beside_the_trial_does_not_end_it(consumer: FakeConsumer) -> None:
    gate = BreakerGate(consumer)
    a, late = FakeRequest("a"), FakeRequest("late")
    gate.keep(a, AWAY)
    consumer.pass_time()
    gate.keep(late, AWAY)
    assert gate.breaker.state == "trial"
    assert consumer.timers == []


@pytest.mark.parametrize("standing", ["refusing", "silent", None])
def test_an_outage_may_last_and_nothing_is_given_back_or_set_aside(
    standing: Standing | None, consumer: FakeConsumer, cluster: Cluster
) -> None:
    gate = BreakerGate(consumer, cluster.probe if standing else None, begin=cluster.begin)
    cluster.standing = standing or "well"
    a = FakeRequest("a")
    assert gate.keep(a, AWAY)
    for _ in range(100):
        consumer.pass_time()
        if consumer.take_started():
            assert gate.keep(a, AWAY)
        assert gate.limit() == 0
    assert gate.status()["aside"] == 0


def test_no_trial_runs_into_a_cluster_that_does_not_answer(
    consumer: FakeConsumer, cluster: Cluster, gate: BreakerGate
) -> None:
    cluster.standing = "silent"
    gate.keep(FakeRequest("a"), AWAY)
    for _ in range(20):
        consumer.pass_time()
    assert consumer.started == []
    assert cluster.asked == 20
    cluster.standing = "well"
    consumer.pass_time()
    assert consumer.started == ["a"]


def test_the_answer_is_awaited_without_holding_up_the_loop(
    consumer: FakeConsumer, cluster: Cluster, gate: BreakerGate
) -> None:
    cluster.slow = True
    a = FakeRequest("a")
    gate.keep(a, AWAY)
    for _ in range(5):
        consumer.pass_time()
    assert (cluster.asked, consumer.started) == (1, [])
    # Another task, in work all the time, ends well before the probe has said anything.
    gate.answered(FakeRequest("b"))
    assert consumer.take_started() == ["a"]
    cluster.tell()
    consumer.pass_time()
    assert consumer.started == []


# One message alone


def test_a_message_that_fails_while_all_is_well_is_set_aside_and_others_go_on(
    consumer: FakeConsumer, gate: BreakerGate
) -> None:
    a = FakeRequest("a")
    put_aside(gate, consumer, a)
    assert gate.limit() is None
    assert (gate.waiting(), gate.status()["aside"]) == (1, 1)
    for _ in range(50):
        consumer.pass_time()
        assert consumer.take_started() == ["a"]
        assert gate.waiting() == 0
        assert gate.keep(a, AWAY)
        assert gate.limit() is None
    assert aside.ASIDE_CAP_S / 2 <= consumer.waits[-1] <= aside.ASIDE_CAP_S
    assert consumer.waits[-1] > consumer.waits[0]
    consumer.pass_time()
    gate.answered(a)
    assert (gate.waiting(), gate.status()["aside"]) == (0, 0)


def test_a_cluster_that_went_away_in_the_trial_blames_no_message(
    consumer: FakeConsumer, cluster: Cluster, gate: BreakerGate
) -> None:
    a = FakeRequest("a")
    gate.keep(a, AWAY)
    consumer.pass_time()
    cluster.standing = "refusing"
    assert gate.keep(a, AWAY)
    assert gate.limit() == 0
    assert gate.status()["aside"] == 0


def test_a_message_in_doubt_runs_with_the_others_if_one_ends_well_meanwhile(
    consumer: FakeConsumer, cluster: Cluster, gate: BreakerGate
) -> None:
    a = FakeRequest("a")
    gate.keep(a, AWAY)
    consumer.pass_time()
    cluster.slow = True
    gate.keep(a, AWAY)
    gate.answered(FakeRequest("b"))
    assert consumer.take_started() == ["a", "a"]
    cluster.tell()
    consumer.pass_time()
    assert consumer.started == []
    assert gate.status()["aside"] == 0


def test_when_one_aside_ends_well_the_others_are_tried_at_once(
    consumer: FakeConsumer, gate: BreakerGate
) -> None:
    a, b = FakeRequest("a"), FakeRequest("b")
    put_aside(gate, consumer, a)
    consumer.timers.clear()
    put_aside(gate, consumer, b)
    consumer.pass_time()
    assert consumer.take_started() == ["b"]
    gate.answered(FakeRequest("c"))
    assert consumer.take_started() == []
    gate.answered(b)
    assert consumer.take_started() == ["a"]


def test_those_aside_wait_while_the_breaker_is_shut_or_the_cluster_silent(
    consumer: FakeConsumer, cluster: Cluster, gate: BreakerGate
) -> None:
    put_aside(gate, consumer, FakeRequest("a"))
    cluster.standing = "silent"
    consumer.pass_time()
    assert consumer.started == []
    gate.keep(FakeRequest("b"), AWAY)
    cluster.standing = "refusing"
    consumer.pass_time()
    consumer.pass_time()
    assert consumer.started == ["b"]
    assert gate.status()["aside"] == 1


def test_with_every_slot_aside_it_says_that_nothing_is_taken(
    consumer: FakeConsumer, gate: BreakerGate
) -> None:
    requests = [FakeRequest(str(number)) for number in range(SLOTS)]
    for request in requests:
        assert gate.status()["breaker"] == "open"
        put_aside(gate, consumer, request)
        consumer.timers.clear()
    assert gate.status()["breaker"] == "shut"
    gate.answered(requests[0])
    assert gate.status()["breaker"] == "open"


def test_documents_that_others_keep_changing_cost_no_receipt_and_no_pause(
    consumer: FakeConsumer, gate: BreakerGate
) -> None:
    assert gate.keep(FakeRequest("a"), ContentionError("kept changing"))
    assert gate.limit() is None
    consumer.pass_time()
    assert consumer.started == ["a"]


def test_a_message_goes_back_before_sqs_takes_it_from_us(
    consumer: FakeConsumer, gate: BreakerGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = FakeRequest("a")
    put_aside(gate, consumer, a)
    monkeypatch.setattr(aside, "HELD_S", -1)
    assert HELD_S < 12 * 3600
    consumer.pass_time()
    assert a.rejected
    assert consumer.started == []
    assert gate.status()["aside"] == 0
