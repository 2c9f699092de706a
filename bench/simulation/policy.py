"""The scaling of `infra/worker.tf`, as Application Auto Scaling carries it out. Pure.

Numbers of ours are the Terraform's defaults; `tests/bench/test_simulation.py` compares them. That
target tracking goes out after three minutes above its target is what AWS's documentation says
(*Target tracking scaling policies*).
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

OUT_MINUTES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """`worker` of infra/variables.tf, and the constants of infra/worker.tf."""

    concurrency: int = 4
    min_tasks: int = 1
    max_tasks: int = 4
    backlog_per_task: int = 40
    burst_factor: int = 5
    out_cooldown_s: int = 60
    in_cooldown_s: int = 900
    in_period_s: int = 300
    in_periods: int = 3
    idle_share: float = 0.7
    """A task goes when those that stay would have no more of their processes busy than this."""
    burst_cooldown_s: int = 60
    burst_percent: int = 100
    flood_percent: int = 400
    flood_factor: int = 4
    """The second step begins this many burst thresholds above the first."""


@dataclass(frozen=True, slots=True)
class Minute:
    """What CloudWatch knows of one minute."""

    most: float
    """Messages waiting and in work, at their most."""
    mean: float
    """The same, on average."""
    tasks: int
    """Tasks that ran."""


@dataclass(slots=True)
class Scaling:
    """Decides once a minute, from the minutes before."""

    policy: Policy
    desired: int
    recent: deque[Minute] = field(init=False)
    scaled_out_at: float = -math.inf
    scaled_in_at: float = -math.inf
    burst_at: float = -math.inf

    def __post_init__(self) -> None:
        length = self.policy.in_periods * self.policy.in_period_s // 60
        self.recent = deque(maxlen=max(length, OUT_MINUTES))

    def decide(self, now: float, minute: Minute) -> int:
        """How many tasks there should be."""
        self.recent.append(minute)
        wanted = max(self._track_out(now), self._burst(now))
        if wanted > self.desired:
            self._set(wanted)
            self.scaled_out_at = now
        elif self._may_scale_in(now):
            self._set(self.desired - 1)
            self.scaled_in_at = now
        return self.desired

    def _track_out(self, now: float) -> int:
        target = self.policy.backlog_per_task
        backlogs = [_share_out(minute) for minute in self.recent][-OUT_MINUTES:]
        if len(backlogs) < OUT_MINUTES or min(backlogs) <= target:
            return self.desired
        if now - self.scaled_out_at < self.policy.out_cooldown_s:
            return self.desired
        return math.ceil(self.desired * backlogs[-1] / target)

    def _burst(self, now: float) -> int:
        threshold = self.policy.burst_factor * self.policy.backlog_per_task
        backlog = _share_out(self.recent[-1])
        if backlog <= threshold or now - self.burst_at < self.policy.burst_cooldown_s:
            return self.desired
        self.burst_at = now
        flood = backlog - threshold >= self.policy.flood_factor * threshold
        percent = self.policy.flood_percent if flood else self.policy.burst_percent
        return self.desired + max(1, self.desired * percent // 100)

    def _may_scale_in(self, now: float) -> bool:
        if len(self.recent) < (self.recent.maxlen or 0):
            return False
        if now - self.scaled_in_at < self.policy.in_cooldown_s:
            return False
        busy = self.policy.idle_share * self.policy.concurrency
        return all(left <= busy for left in self._count_left())

    def _count_left(self) -> Iterator[float]:
        """For each period: messages of each task if there were one task less."""
        minutes, size = list(self.recent), self.policy.in_period_s // 60
        for begin in range(0, len(minutes), size):
            period = minutes[begin : begin + size]
            tasks = _average([minute.tasks for minute in period])
            messages = _average([minute.mean for minute in period])
            spare = tasks > self.policy.min_tasks
            yield messages / max(tasks - 1, 1) if spare else math.inf

    def _set(self, tasks: int) -> None:
        self.desired = min(max(tasks, self.policy.min_tasks), self.policy.max_tasks)


def _share_out(minute: Minute) -> float:
    return minute.most / max(minute.tasks, 1)


def _average(values: Sequence[float]) -> float:
    return sum(values) / len(values)
