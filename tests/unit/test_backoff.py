"""How waits grow."""

from hypothesis import given
from hypothesis import strategies as st

from worker.backoff import delay_s


def test_the_wait_doubles_up_to_its_cap() -> None:
    waits = [delay_s(n, base_s=2, cap_s=20, chance=1) for n in range(1, 7)]
    assert waits == [2, 4, 8, 16, 20, 20]


def test_chance_takes_at_most_half_of_it() -> None:
    assert delay_s(3, base_s=1, cap_s=20, chance=0) == 2


@given(st.integers(-5, 10**9), st.floats(0, 1))
def test_it_is_always_positive_and_bounded(failures: int, chance: float) -> None:
    assert 0.5 <= delay_s(failures, base_s=1, cap_s=20, chance=chance) <= 20
