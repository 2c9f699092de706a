"""Whether the world outside is there, judged by how tasks end: pure, the clock an argument."""

from dataclasses import dataclass
from typing import Final, Literal

from worker.backoff import delay_s

TRIAL_BASE_S: Final = 0.5
TRIAL_CAP_S: Final = 5.0
"""Longest pause between trials, and so between the end of an outage and its being noticed."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """`open`: all tasks run. `shut`: none. `trial`: one runs, to find out."""

    state: Literal["open", "shut", "trial"] = "open"
    failures: int = 0
    """Trials that failed since it was last open, and the failure that shut it."""
    trial_at: float = 0.0
    """Next trial, on the caller's clock, in seconds."""

    def failed(self, now: float, chance: float) -> "Breaker":
        """A task found the world away. Those that run beside it and say the same change nothing."""
        if self.state == "shut":
            return self
        wait = delay_s(self.failures + 1, base_s=TRIAL_BASE_S, cap_s=TRIAL_CAP_S, chance=chance)
        return Breaker("shut", self.failures + 1, now + wait)

    def tried(self) -> "Breaker":
        """The trial begins."""
        return Breaker("trial", self.failures, self.trial_at)

    def answered(self) -> "Breaker":
        """A task ended in another way: the world is there."""
        return Breaker()
