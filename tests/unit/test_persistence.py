"""What may pass is asked again, for so long and no longer; what cannot pass is told at once."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.errors import InterruptedByUserError, MisuseError
from console.persistence import CAP_S, Persistence, PersistentCluster, choose_pause, may_repeat
from worker.cluster import Answer, Cluster
from worker.errors import DeniedError, UnavailableError


class Clock:
    """Time that passes only by waiting."""

    def __init__(self, stopped_after: float = 1e9) -> None:
        self.now = 0.0
        self.stopped_after = stopped_after

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return self.now > self.stopped_after


class Server:
    """Fails as it is told, then answers."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        return "answer"


def persist(clock: Clock, most_s: float = 300.0) -> Persistence:
    persistence = Persistence(clock.wait, most_s, lambda: clock.now, lambda: 1.0)
    assert persistence.ask(Server()) == "answer"
    return persistence


def test_what_passes_is_waited_out() -> None:
    clock, server = Clock(), Server(*[UnavailableError("429")] * 6)
    assert persist(clock).ask(server) == "answer"
    assert server.asked == 7
    assert clock.now == 0.5 + 1 + 2 + 4 + 8 + 16


def test_it_is_asked_for_so_long_and_no_longer() -> None:
    clock, server = Clock(), Server(*[UnavailableError("timeout")] * 1_000)
    with pytest.raises(UnavailableError, match="timeout"):
        persist(clock, most_s=100.0).ask(server)
    assert clock.now == 100.0


def test_a_server_that_never_answered_is_not_waited_for() -> None:
    clock, server = Clock(), Server(UnavailableError("a wrong address"))
    with pytest.raises(UnavailableError, match="a wrong address"):
        Persistence(clock.wait, clock=lambda: clock.now).ask(server)
    assert (server.asked, clock.now) == (1, 0.0)


@pytest.mark.parametrize("error", [DeniedError("401"), MisuseError("no such bucket")])
def test_what_asking_again_cannot_mend_is_told_at_once(error: Exception) -> None:
    clock, server = Clock(), Server(error)
    with pytest.raises(type(error)):
        persist(clock).ask(server)
    assert clock.now == 0.0


def test_a_signal_ends_the_waiting() -> None:
    clock, server = Clock(stopped_after=3), Server(*[UnavailableError("503")] * 9)
    with pytest.raises(InterruptedByUserError):
        persist(clock).ask(server)
    assert clock.now < 5


@given(st.integers(1, 10**6), st.floats(0, 299), st.floats(0, 1))
def test_pauses_are_bounded_and_end_in_time(failures: int, tried: float, chance: float) -> None:
    pause = choose_pause(failures, tried, 300.0, chance)
    assert pause is not None
    assert 0 < pause <= CAP_S
    assert tried + pause <= 300.0
    assert choose_pause(failures, 300.0, 300.0, chance) is None


@pytest.mark.parametrize(
    ("method", "path", "again"),
    [
        ("GET", "/posts", True),
        ("POST", "/posts/_search", True),
        ("POST", "/posts/_mget", True),
        ("POST", "/posts/_count", True),
        ("POST", "/posts/_refresh", True),
        ("PUT", "/posts/_mapping", False),
        ("POST", "/posts/_bulk", False),
        ("POST", "/_aliases", False),
        ("DELETE", "/posts", False),
        ("DELETE", "/posts/_doc/_search-me", False),
        ("PUT", "/posts", False),
    ],
)
def test_only_what_may_be_asked_twice_is(method: str, path: str, again: bool) -> None:
    assert may_repeat(method, path) is again


class BusyCluster(Cluster):
    """A cluster that is too busy for its first requests."""

    def __init__(self, busy: int) -> None:
        self.busy = busy

    def request(self, method: str, path: str, **_: Any) -> Answer:
        self.busy -= 1
        if self.busy >= 0:
            raise UnavailableError("429")
        return Answer(200, path)


def test_a_busy_cluster_fails_no_read() -> None:
    busy = BusyCluster(2)
    cluster = PersistentCluster(busy, persist(Clock()))
    assert cluster.request("POST", "/p/_search").status == 200
    assert busy.busy == -1


def test_a_write_is_asked_once() -> None:
    busy = BusyCluster(2)
    with pytest.raises(UnavailableError):
        PersistentCluster(busy, persist(Clock())).request("POST", "/p/_bulk")
    assert busy.busy == 1
