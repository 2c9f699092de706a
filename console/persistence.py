"""Asking again: what may pass is waited out, with growing pauses, for so long and no longer.

A verify of a billion items makes millions of requests; one of them will meet a busy or restarting
server. Only what may be asked twice goes this way.
"""

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from console.errors import InterruptedByUserError
from worker.backoff import delay_s
from worker.cluster import Answer, Cluster
from worker.errors import DeniedError, UnavailableError

MOST_S: Final = 300.0
"""Longer than a node takes to restart or a master to be elected; then a person should know."""

BASE_S: Final = 0.5
CAP_S: Final = 30.0

_REPEATABLE: Final = frozenset({"_count", "_mget", "_refresh", "_search"})
"""Last parts of paths. Not `_mapping`: a second, equal one is acknowledged at once, though not
every node may have taken the first, and the barrier of a rebuild stands on that answer.
"""

T = TypeVar("T")


def choose_pause(failures: int, tried_s: float, most_s: float, chance: float) -> float | None:
    """Seconds until the next try after so many failures; None: it has been tried long enough.

    Pure. tried_s: since the first try. chance: a random number from 0 to 1.
    """
    left = most_s - tried_s
    if left <= 0:
        return None
    return min(left, delay_s(failures, base_s=BASE_S, cap_s=CAP_S, chance=chance))


def may_repeat(method: str, path: str) -> bool:
    """Whether a request to the cluster may be made again when its answer is lost. Pure."""
    return method in ("GET", "HEAD") or path.rpartition("/")[2] in _REPEATABLE


@dataclass
class Persistence:
    """Asks one server again. Shared by threads."""

    wait: Callable[[float], bool] = field(default_factory=lambda: threading.Event().wait)
    """Waits so many seconds; True if it was told to stop meanwhile."""
    most_s: float = MOST_S
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random
    _answered: bool = False

    def ask(self, request: Callable[[], T]) -> T:
        """The answer of a request that may be repeated.

        Raises UnavailableError once it has been tried long enough, and at once from a server that
        never answered: then the address is more likely wrong than the server busy; and whatever
        else the request raises. Raises InterruptedByUserError.
        """
        began = self.clock()
        failures = 0
        while True:
            try:
                answer = request()
            except UnavailableError as error:
                failures += 1
                tried = self.clock() - began
                pause = choose_pause(failures, tried, self.most_s, self.chance())
                if pause is None or not self._answered or isinstance(error, DeniedError):
                    raise
            else:
                self._answered = True
                return answer
            if self.wait(pause):
                raise InterruptedByUserError("interrupted")


class PersistentCluster(Cluster):
    """A cluster whose reads are asked again; everything else is asked once."""

    def __init__(self, cluster: Cluster, persistence: Persistence) -> None:
        self._cluster = cluster
        self._persistence = persistence

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
        lines: bytes | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """Ask; again where that can do no harm. Raises as `Cluster.request` does."""

        def ask() -> Answer:
            return self._cluster.request(
                method, path, params=params, body=body, lines=lines, timeout_s=timeout_s
            )

        return self._persistence.ask(ask) if may_repeat(method, path) else ask()

    def close(self) -> None:
        """Close the connections."""
        self._cluster.close()
