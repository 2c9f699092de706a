"""When the gate shuts, tries and opens."""

from hypothesis import given
from hypothesis import strategies as st

from worker.breaker import TRIAL_CAP_S, Breaker


def test_one_outage_shuts_it_until_a_trial() -> None:
    shut = Breaker().failed(now=100, chance=1)
    assert (shut.state, shut.trial_at) == ("shut", 100.5)


def test_those_that_fail_beside_the_first_do_not_put_the_trial_off() -> None:
    shut = Breaker().failed(now=100, chance=1)
    assert shut.failed(now=100.2, chance=1) is shut


def test_a_failed_trial_waits_longer_and_an_answer_opens_it() -> None:
    again = Breaker().failed(100, 1).tried().failed(101, 1)
    assert (again.state, again.trial_at) == ("shut", 102)
    assert again.tried().answered() == Breaker()


@given(st.integers(1, 200), st.floats(0, 1))
def test_however_long_the_outage_the_next_trial_is_near(trials: int, chance: float) -> None:
    breaker = Breaker()
    for _ in range(trials):
        breaker = breaker.tried().failed(0, chance)
    assert 0 < breaker.trial_at <= TRIAL_CAP_S
