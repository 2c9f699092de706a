"""How long a task may wait for the child that was handed it."""

from hypothesis import given
from hypothesis import strategies as st

from worker.unbegun import Waits


def test_only_a_wait_that_is_longer_than_the_limit_is_over() -> None:
    waits = Waits(10)
    assert waits.over({1: 100, 2: 200}, 0) == set()
    assert waits.over({1: 100}, 10) == set()
    assert waits.over({1: 100, 2: 200}, 10.1) == {100}
    assert waits.over({1: 100, 2: 200}, 12) == set()
    assert waits.over({2: 200}, 20.2) == {200}


def test_a_task_that_was_begun_meanwhile_waits_anew() -> None:
    waits = Waits(10)
    waits.over({1: 100}, 0)
    waits.over({}, 5)
    assert waits.over({1: 100}, 14) == set()


@given(st.lists(st.dictionaries(st.integers(0, 5), st.integers(1, 9)), max_size=20))
def test_within_the_limit_nobody_is_killed(looks: list[dict[int, int]]) -> None:
    waits = Waits(len(looks))
    assert all(waits.over(unbegun, now) == set() for now, unbegun in enumerate(looks))
