"""One spike of changes, whatever takes them: what came, what the cluster did, what was found."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from bench.backlog import count_at
from bench.flow import Source, feed, watching
from bench.stage import Stage
from tests.polling import wait_for
from worker.cluster import Cluster, connect, path
from worker.errors import UnavailableError

FACTOR: Final = 100.0
LOOK_S: Final = 0.03
FOUND_S: Final = 5.0
"""How long what was marked is still searched for once nothing is left to do: what was lost is
never found."""


@dataclass
class Watch:
    """What the cluster is doing, looked at many times a second."""

    cluster: Cluster
    index: str
    bulks: list[tuple[float, int]] = field(default_factory=list)
    indexed: list[tuple[float, int]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Look until told to stop. A cluster too busy to be asked is asked again."""
        looks = 0
        while not self.stop.wait(LOOK_S):
            with contextlib.suppress(UnavailableError):
                self.bulks.append((time.monotonic(), self.count_bulks()))
                if looks % 8 == 0:
                    self.indexed.append((time.monotonic(), self.count_indexed()))
            looks += 1

    def count_bulks(self) -> int:
        """Bulk requests that the cluster has in work, those that wait for a thread included."""
        asked = {"actions": "indices:data/write/bulk", "group_by": "none"}
        tasks = self.cluster.request("GET", "/_tasks", params=asked)
        return len(tasks.body.get("tasks", ()))

    def count_indexed(self) -> int:
        """Operations that the index has carried out since it was made."""
        answer = self.cluster.request("GET", path(self.index, "_stats", "indexing"))
        return int(answer.body["_all"]["primaries"]["indexing"]["index_total"])


@contextmanager
def looking(stage: Stage, index: str) -> Iterator[Watch]:
    """A watch in a thread of its own."""
    watch = Watch(connect(stage.search), index)
    watch.indexed.append((time.monotonic(), watch.count_indexed()))
    thread = threading.Thread(target=watch.run, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.stop.set()
        thread.join()
        watch.cluster.close()


@dataclass(frozen=True, kw_only=True)
class Surge:
    """One spike, measured. Times are the monotonic clock's."""

    began: float
    ended: float
    sent: int
    """Changes in all, the calm's included."""
    lost: int
    """Of them, those that no search finds in the end."""
    lags: list[float]
    """Of the marked documents that were found, whenever they were made."""
    missing: int
    """Marked documents that were never found."""
    bulks: list[tuple[float, int]]
    indexed: list[tuple[float, int]]
    """From 0."""
    log: list[tuple[float, int]]

    @property
    def rate(self) -> float:
        """Changes a second of the spike that came in truth."""
        return (self.sent - count_at(self.log, self.began)) / (self.ended - self.began)

    @property
    def indexed_rate(self) -> float:
        """Documents a second that the cluster took while they came."""
        done = count_at(self.indexed, self.ended) - count_at(self.indexed, self.began)
        return done / (self.ended - self.began)

    def count_most(self, *, calm: bool = False) -> int:
        """Bulk requests in work at once, at the most: from the spike's begin on, or before it."""
        return max((n for at, n in self.bulks if (at < self.began) is calm), default=0)


def run_surge(
    stage: Stage,
    table: str,
    index: str,
    forward: Callable[[dict[str, Any]], object],
    top: float,
    *,
    calm_s: float,
    spike_s: float,
    lanes: int,
    is_drained: Callable[[Watch], bool],
) -> Surge:
    """A calm, then the spike, then until nothing is left to do.

    top: changes a second of the spike. lanes: events that may be forwarded at once.
    """
    source = Source(f"spike-{time.monotonic_ns()}", table)
    before = stage.count(index)

    def rate(at: float) -> float:
        return top / FACTOR if at < calm_s else top

    with watching(stage.search, index) as seen, looking(stage, index) as watch:
        began = time.monotonic() + calm_s
        feed(source, seen, forward, rate, calm_s + spike_s, lanes=lanes)
        wait_for("the spike to drain", lambda: is_drained(watch), seconds=600, every=0.1)
        deadline = time.monotonic() + FOUND_S
        while seen.made and time.monotonic() < deadline:
            time.sleep(0.05)
        watch.indexed.append((time.monotonic(), watch.count_indexed()))
    first = watch.indexed[0][1]
    return Surge(
        began=began,
        ended=source.log[-1][0],
        sent=source.made,
        lost=source.made - (stage.count(index) - before),
        lags=[lag for _, lag in seen.lags],
        missing=len(seen.made),
        bulks=watch.bulks,
        indexed=[(at, done - first) for at, done in watch.indexed],
        log=source.log,
    )


def is_idle(watch: Watch) -> bool:
    """Whether the cluster has no bulk in work, nor one that waits."""
    try:
        return watch.count_bulks() == 0
    except UnavailableError:
        return False
