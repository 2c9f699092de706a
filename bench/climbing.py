"""The highest rate that holds: which steps to try, and how often. Pure but for what it is given."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trial:
    """One step, tried once."""

    rate: float
    """Achieved."""
    held: bool
    lags: Sequence[float]


def climb(
    steps: Sequence[float], first: int, run: Callable[[float], Trial], *, rounds: int, most: int
) -> list[Trial]:
    """The trials at the highest of the ascending steps that held each time, `rounds` of them.

    Begins at steps[first] and goes up while it holds, or down until it does; then repeats, and goes
    down again from a step that does not hold a second time. Tries `most` times at the most, so
    there may be fewer rounds, and of the lowest step, too, if none held.
    """
    trials: dict[int, list[Trial]] = {}

    def holds(place: int) -> bool:
        trials.setdefault(place, []).append(run(steps[place]))
        return all(trial.held for trial in trials[place])

    def count() -> int:
        return sum(map(len, trials.values()))

    best = first
    if holds(best):
        while best + 1 < len(steps) and count() < most and holds(best + 1):
            best += 1
    else:
        while best > 0 and count() < most:
            best -= 1
            if holds(best):
                break
    while len(trials[best]) < rounds and count() < most:
        if not holds(best) and best > 0:
            if best - 1 not in trials and count() >= most:
                break
            best -= 1
            trials.setdefault(best, [])
    return trials[best]
