"""Who spends the machine's processor time while documents are indexed: on one machine all share it,
so that whatever is spent beside the cluster is taken from it."""

from dataclasses import astuple, dataclass

import psutil

from bench.stage import Pool, Stage


@dataclass(frozen=True, slots=True)
class Spent:
    """Processor time, in seconds."""

    worker: float
    queue: float
    cluster: float
    client: float
    """This process: a reference's client."""

    def since(self, before: "Spent", documents: int) -> "Spent":
        """What was spent since an earlier look, in microseconds a document."""
        pairs = zip(astuple(self), astuple(before), strict=True)
        return Spent(*((now - then) / documents * 1e6 for now, then in pairs))


def read_spent(stage: Stage, pool: Pool) -> Spent:
    """What each has spent so far."""
    workers = [process.pid for process in pool.workers.running if process.poll() is None]
    return Spent(
        worker=sum(_read(pid, children=True) for pid in workers),
        queue=_read(stage.pids["queue"]),
        cluster=_read(stage.pids["search"]),
        client=_read(psutil.Process().pid),
    )


def _read(pid: int, *, children: bool = False) -> float:
    process = psutil.Process(pid)
    family = [process, *(process.children(recursive=True) if children else [])]
    return sum(sum(one.cpu_times()[:2]) for one in family)
