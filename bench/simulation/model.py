"""Load in, tasks, queue and lag out: a fluid model in steps of one second. Pure.

A change waits behind all that came before it. The pool takes as many a second as its processes can,
and never more than the cluster's limit. Messages hold what came within the batching window, up to
a full chunk.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise

from bench.simulation.policy import Minute, Policy, Scaling


@dataclass(frozen=True, slots=True, kw_only=True)
class Spike:
    """Changes a second over time."""

    base: float
    factor: float = 1.0
    start_s: float = 300.0
    length_s: float = 60.0

    def rate(self, second: float) -> float:
        """Changes in this second."""
        inside = self.start_s <= second < self.start_s + self.length_s
        return self.base * (self.factor if inside else 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """What carries the load."""

    process_rate: float
    """Changes a second that one process of a worker applies when it has work."""
    cluster_rate: float = math.inf
    """Documents a second that the cluster takes."""
    chunk: int = 375
    """Changes of a message under full load: an event of so many records of 1.1 KB makes one."""
    window_s: float = 1.0
    """The event source mapping's batching window."""
    shards: int = 1
    start_s: float = 60.0
    """From the decision to add a task until it takes its first message."""
    metric_s: float = 60.0
    """From a minute's end until its metric is there."""


@dataclass(slots=True)
class _Waiting:
    came: float
    changes: float
    messages: float


@dataclass(frozen=True, slots=True)
class Second:
    """The state at the end of one second."""

    at: float
    came: float
    done: float
    waiting: float
    """Changes not yet applied."""
    messages: float
    """Messages that hold them."""
    tasks: int
    desired: int
    lag_s: float
    """Age of the oldest change not yet applied; 0 where there is none."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a capacity plan asks for."""

    seconds: tuple[Second, ...]
    spike: Spike

    @property
    def most_tasks(self) -> int:
        """Tasks at the most."""
        return max(second.tasks for second in self.seconds)

    @property
    def deepest(self) -> tuple[float, float]:
        """The queue at its longest: changes, messages."""
        return (
            max(second.waiting for second in self.seconds),
            max(second.messages for second in self.seconds),
        )

    @property
    def longest_lag_s(self) -> float:
        """The oldest that a waiting change ever was."""
        return max(second.lag_s for second in self.seconds)

    @property
    def drained_after_s(self) -> float:
        """From the spike's end until nothing waits longer than two seconds; infinite if never."""
        end = self.spike.start_s + self.spike.length_s
        after = [second for second in self.seconds if second.at >= end]
        late = [second.at for second in after if second.lag_s > 2]
        if not late:
            return 0.0
        return math.inf if late[-1] == after[-1].at else late[-1] + 1 - end

    @property
    def turns(self) -> list[float]:
        """When the number of tasks wanted began to move the other way."""
        moves = [
            (now.at, math.copysign(1, now.desired - before.desired))
            for before, now in pairwise(self.seconds)
            if now.desired != before.desired
        ]
        pairs = pairwise(moves)
        return [at for (_, before), (at, now) in pairs if now != before]


def simulate(
    spike: Spike, pool: Pool, policy: Policy, *, length_s: int, tasks: int | None = None
) -> Outcome:
    """Run the model for so many seconds. tasks: a fixed number of them, without any scaling."""
    run = _Run(spike, pool, policy, tasks)
    return Outcome(tuple(run.step(second) for second in range(length_s)), spike)


@dataclass(slots=True)
class _Run:
    spike: Spike
    pool: Pool
    policy: Policy
    fixed: int | None
    queue: deque[_Waiting] = field(default_factory=deque)
    scaling: Scaling = field(init=False)
    running: int = field(init=False)
    starting: list[float] = field(default_factory=list)
    minute: list[float] = field(default_factory=list)
    """Messages waiting and in work, of each second since the minute began."""
    known: deque[tuple[float, Minute]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.running = self.fixed or self.policy.min_tasks
        self.scaling = Scaling(self.policy, self.running)

    def step(self, second: int) -> Second:
        came = self.spike.rate(second)
        if came:
            self.queue.append(_Waiting(second, came, self._count_messages(came)))
        self._start_tasks(second)
        done, busy = self._drain()
        waiting = sum(one.changes for one in self.queue)
        messages = sum(one.messages for one in self.queue)
        self.minute.append(max(messages, busy))
        if self.fixed is None and second % 60 == 59:
            self._scale(second)
        lag = second - self.queue[0].came + 1 if self.queue else 0.0
        return Second(
            second, came, done, waiting, messages, self.running, self.scaling.desired, lag
        )

    def _count_messages(self, came: float) -> float:
        """A shard's batch is sent when its window ends, or when it is full."""
        least = self.pool.shards / max(self.pool.window_s, 1.0)
        return max(came / self.pool.chunk, min(least, came))

    def _drain(self) -> tuple[float, float]:
        """Apply what a second allows, oldest first: changes, and processes that were busy."""
        rate = self.running * self.policy.concurrency * self.pool.process_rate
        left = capacity = min(rate, self.pool.cluster_rate)
        while self.queue and left > 0:
            oldest = self.queue[0]
            if oldest.changes <= left:
                left -= oldest.changes
                self.queue.popleft()
                continue
            oldest.messages *= 1 - left / oldest.changes
            oldest.changes -= left
            left = 0
        done = capacity - left
        return done, self.running * self.policy.concurrency * done / capacity

    def _start_tasks(self, now: float) -> None:
        ready = [at for at in self.starting if at <= now]
        self.running += len(ready)
        self.starting = [at for at in self.starting if at > now]

    def _scale(self, now: float) -> None:
        minute = Minute(max(self.minute), sum(self.minute) / len(self.minute), self.running)
        self.minute.clear()
        self.known.append((now + self.pool.metric_s, minute))
        if self.known[0][0] > now:
            return
        wanted = self.scaling.decide(now, self.known.popleft()[1])
        more = wanted - self.running - len(self.starting)
        self.starting += [now + self.pool.start_s] * more
        if more < 0:  # those that have not started yet are the first to go
            kept = max(0, wanted - self.running)
            self.starting = self.starting[:kept]
            self.running = min(self.running, wanted)


def size_pool(
    spike: Spike, pool: Pool, policy: Policy, *, drained_s: float, most: int = 64
) -> int | None:
    """The least number of tasks, all running, that drains a spike within `drained_s` of its end;
    None if no number does, because the cluster's limit is the bound."""

    def drains(tasks: int) -> bool:
        length = int(spike.start_s + spike.length_s + drained_s) + 5
        outcome = simulate(spike, pool, policy, length_s=length, tasks=tasks)
        return outcome.drained_after_s <= drained_s

    return next(filter(drains, range(1, most + 1)), None)
