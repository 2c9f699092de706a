"""Which rates are tried: the figure is the highest that holds in every round."""

import pytest

from bench.climbing import Trial, climb

STEPS = (0.2, 0.4, 0.6, 0.8, 1.0)


class Machine:
    """Holds any rate up to its limit; from a certain trial on, up to another."""

    def __init__(self, limit: float, *, later: float | None = None, after: int = 0) -> None:
        self.tried: list[float] = []
        self.limit, self.later, self.after = limit, later, after

    def run(self, rate: float) -> Trial:
        self.tried.append(rate)
        tired = self.later is not None and len(self.tried) > self.after
        return Trial(rate, rate <= (self.later if tired and self.later else self.limit), [rate])


@pytest.mark.parametrize(
    ("limit", "best"), [(0.2, 0.2), (0.5, 0.4), (0.6, 0.6), (0.7, 0.6), (0.8, 0.8), (2.0, 1.0)]
)
def test_the_highest_step_that_holds_is_repeated_for_the_rounds(limit: float, best: float) -> None:
    trials = climb(STEPS, 2, Machine(limit).run, rounds=3, most=20)
    assert [trial.rate for trial in trials] == [best] * 3
    assert all(trial.held for trial in trials)


def test_a_step_that_holds_once_and_not_again_is_left_for_the_one_below() -> None:
    machine = Machine(0.8, later=0.7, after=3)
    trials = climb(STEPS, 2, machine.run, rounds=3, most=20)
    assert machine.tried[:4] == [0.6, 0.8, 1.0, 0.8]
    assert [trial.rate for trial in trials] == [0.6] * 3
    assert all(trial.held for trial in trials)


def test_where_nothing_holds_the_lowest_steps_own_trials_are_told() -> None:
    """Never a lag of 0 that nobody measured."""
    trials = climb(STEPS, 2, Machine(0.1).run, rounds=2, most=20)
    assert [(trial.rate, trial.held, trial.lags) for trial in trials] == [(0.2, False, [0.2])] * 2


@pytest.mark.parametrize("limit", [0.1, 0.5, 0.8, 2.0])
@pytest.mark.parametrize("most", [1, 2, 3, 4, 5])
def test_no_more_is_tried_than_allowed_and_something_is_told(limit: float, most: int) -> None:
    machine = Machine(limit)
    assert climb(STEPS, 2, machine.run, rounds=3, most=most)
    assert len(machine.tried) <= most
