"""What a worker has done: sums and histograms, kept in its main process.

Child processes report by the return values of their tasks (`worker.fate`), the event loop writes
them here, and threads read: the state document, the log line with the metrics, the scraper.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from worker import metrics
from worker.fate import Fate, place_of
from worker.metrics import Metric

WINDOW_S: Final = 300.0
SLOT_S: Final = 10.0
"""The window of lags moves in steps of so much."""

CLASSES: Final = 50
"""Error classes that are told apart over a worker's life; later ones are counted as OTHER."""

OTHER: Final = "other"

_SUMS: Final[Mapping[Metric, Callable[[Fate], int]]] = {
    metrics.RECEIVED: lambda fate: fate.done + fate.refused,
    metrics.APPLIED: lambda fate: fate.applied,
    metrics.OBSOLETE: lambda fate: fate.obsolete,
    metrics.FOLDED: lambda fate: fate.folded,
    metrics.REFUSED: lambda fate: fate.refused,
    metrics.CONFLICTS: lambda fate: fate.conflicts,
    metrics.WIRE_BYTES: lambda fate: fate.wire_bytes,
    metrics.JSON_BYTES: lambda fate: fate.json_bytes,
}


@dataclass(slots=True)
class Histogram:
    """Counts of values by bucket, with their sum and the largest."""

    bounds: tuple[float, ...]
    counts: list[int]
    sum: float = 0.0
    largest: float = 0.0

    @classmethod
    def of(cls, metric: Metric) -> "Histogram":
        """An empty one."""
        return cls(metric.bounds, [0] * (len(metric.bounds) + 1))

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[place_of(value, self.bounds)] += 1
        self.sum += value
        self.largest = max(self.largest, value)

    def merge(self, counts: Sequence[int], total: float, largest: float) -> None:
        """Count many, of which only the buckets are known; counts of other bounds are left out."""
        if len(counts) == len(self.counts):
            self.counts = [mine + more for mine, more in zip(self.counts, counts, strict=True)]
            self.sum += total
            self.largest = max(self.largest, largest)

    def values(self, most: int = metrics.VALUES) -> list[float]:
        """At most so many values with about this distribution, ascending.

        Each is the upper bound of its bucket, or the largest value if that is less.
        """
        tops = [min(bound, self.largest) for bound in self.bounds] + [self.largest]
        total = sum(self.counts)
        ranks: Sequence[int] = range(total)
        if total > most:
            ranks = [n * (total - 1) // (most - 1) for n in range(most)]
        found: list[float] = []
        place = seen = 0
        for rank in ranks:
            while rank >= seen + self.counts[place]:
                seen += self.counts[place]
                place += 1
            found.append(tops[place])
        return found


@dataclass(slots=True)
class Figures:
    """Sums and histograms of some span of time."""

    sums: dict[Metric, int] = field(
        default_factory=lambda: dict.fromkeys((*_SUMS, metrics.RETRIES), 0)
    )
    histograms: dict[Metric, Histogram] = field(
        default_factory=lambda: {
            metric: Histogram.of(metric) for metric in metrics.METRICS if metric.kind == "histogram"
        }
    )
    refused: Counter[str] = field(default_factory=Counter)
    """Changes by error class."""

    def add(self, fate: Fate) -> None:
        """Count what became of one message."""
        for metric, of in _SUMS.items():
            self.sums[metric] += of(fate)
        for name, count in fate.classes.items():
            known = name in self.refused or len(self.refused) < CLASSES
            self.refused[name if known else OTHER] += count
        if fate.took_ms is None:
            return
        self.histograms[metrics.CHUNK_TIME].add(fate.took_ms / 1000)
        self.histograms[metrics.BULK_TIME].add(fate.bulk_ms / 1000)
        self.histograms[metrics.CHUNK_SIZE].add(fate.done + fate.refused)
        self.histograms[metrics.LAG].merge(
            fate.lags, fate.lag_sum_ms / 1000, fate.lag_max_ms / 1000
        )

    def copy(self) -> "Figures":
        """The same, and nothing of it shared."""
        histograms = {
            metric: Histogram(one.bounds, list(one.counts), one.sum, one.largest)
            for metric, one in self.histograms.items()
        }
        return Figures(dict(self.sums), histograms, Counter(self.refused))


class Ledger:
    """The figures of one worker. For any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._all = Figures()
        self._fresh = Figures()
        self._slots: deque[tuple[float, Histogram]] = deque()

    def ended(self, fate: Fate) -> None:
        """A message has ended."""
        with self._lock:
            self._all.add(fate)
            self._fresh.add(fate)
            if fate.lags:
                self._slot().merge(fate.lags, fate.lag_sum_ms / 1000, fate.lag_max_ms / 1000)

    def failed(self) -> None:
        """A task failed; its message is tried again."""
        with self._lock:
            self._all.sums[metrics.RETRIES] += 1
            self._fresh.sums[metrics.RETRIES] += 1

    def since_start(self) -> Figures:
        """A copy of all figures."""
        with self._lock:
            return self._all.copy()

    def take(self) -> Figures:
        """The figures since this was last called. One caller gets each figure, and once."""
        with self._lock:
            fresh, self._fresh = self._fresh, Figures()
        return fresh

    def recent_lags(self) -> Histogram:
        """Lags of the last WINDOW_S seconds."""
        recent = Histogram.of(metrics.LAG)
        with self._lock:
            self._forget()
            for _, slot in self._slots:
                recent.merge(slot.counts, slot.sum, slot.largest)
        return recent

    def _slot(self) -> Histogram:
        self._forget()
        now = self._clock()
        if not self._slots or now - self._slots[-1][0] >= SLOT_S:
            self._slots.append((now, Histogram.of(metrics.LAG)))
        return self._slots[-1][1]

    def _forget(self) -> None:
        while self._slots and self._clock() - self._slots[0][0] >= WINDOW_S:
            self._slots.popleft()
