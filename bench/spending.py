"""What a round takes: its time, and who spends the machine's processor time meanwhile. On one
machine all share it, so that whatever is spent beside the cluster is taken from it."""

import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, field
from types import TracebackType

import psutil

from bench.stage import Pool, Stage


@dataclass(frozen=True, slots=True)
class Spent:
    """Processor time, in seconds."""

    worker: float = 0.0
    queue: float = 0.0
    cluster: float = 0.0
    client: float = 0.0
    """This process: a reference's client."""

    def since(self, before: "Spent", documents: int) -> "Spent":
        """What was spent since an earlier look, in microseconds a document."""
        pairs = zip(astuple(self), astuple(before), strict=True)
        return Spent(*((now - then) / documents * 1e6 for now, then in pairs))


@dataclass(slots=True)
class Meter:
    """What so many documents take, from entering the context to leaving it.

    Looking at what was spent is left out of the time.
    """

    documents: int
    look: Callable[[], Spent] = Spent
    """What each has spent so far."""
    rate: float = field(init=False, default=0.0)
    """Documents a second."""
    cost: Spent = field(init=False, default_factory=Spent)
    """Microseconds of processor time a document."""
    _before: Spent = field(init=False, default_factory=Spent)
    _began: float = field(init=False, default=0.0)

    @property
    def cores(self) -> float:
        """Cores that were busy, on average."""
        cost = self.cost
        return self.rate * (cost.worker + cost.queue + cost.cluster + cost.client) / 1e6

    def __enter__(self) -> None:
        self._before = self.look()
        self._began = time.perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.rate = self.documents / (time.perf_counter() - self._began)
        if error is None:
            self.cost = self.look().since(self._before, self.documents)


def read_spent(stage: Stage, pool: Pool) -> Spent:
    """What each has spent so far."""
    workers = [process.pid for process in pool.workers.running if process.poll() is None]
    return Spent(
        worker=sum(_read(pid, children=True) for pid in workers),
        queue=_read(stage.pids["queue"]),
        cluster=_read(stage.pids["search"]),
        # Finer than other processes' ticks: a client's part of a short round is less than one.
        client=time.process_time(),
    )


def _read(pid: int, *, children: bool = False) -> float:
    process = psutil.Process(pid)
    family = [process, *(process.children(recursive=True) if children else [])]
    return sum(sum(one.cpu_times()[:2]) for one in family)
