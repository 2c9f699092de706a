"""The steps of a backfill: read, send, note how far it is."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from console.backfill.source import Source
from console.checkpoint import Journal, Share
from console.parallel import run_units
from console.progress import Advance, ignore
from console.sending import Gate, Outlet


@dataclass(frozen=True, slots=True)
class Summary:
    """What a backfill did, the part before a kill included. read = sent + unsendable."""

    table: str
    read: int
    sent: int
    unsendable: int
    """Items that no message can carry: no legal item is."""
    messages: int
    objects: int
    """Images that went through the overflow bucket."""
    bytes: int
    began_ms: int
    ended_ms: int
    seconds: float
    """Of this run alone."""
    read_here: int
    """Items that this run read; the others were read before it was interrupted."""
    units: float
    """Read units consumed by this run."""
    throttled: int
    yielded_s: float
    """Seconds that this run waited for the queue to become shallow."""
    resumed: bool


@dataclass
class Backfill:
    """One host's share of a backfill."""

    table: str
    source: Source
    outlet: Outlet
    gate: Gate
    journal: Journal
    share: Share
    stop: threading.Event
    clock_ms: Callable[[], int]
    advance: Advance = ignore
    """Told how many items were sent, for a progress bar."""
    read_here: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, cost: Callable[[], tuple[float, int]] = lambda: (0.0, 0)) -> Summary:
        """Send every item of this share; go on where the checkpoint stands.

        The checkpoint stays: whoever waits for what was sent closes the journal after it. cost:
        units consumed and calls throttled so far. Raises CheckpointError, MisuseError,
        UnavailableError, InterruptedByUserError; the checkpoint is then saved.
        """
        self.journal.open(self.share.take(self.source.units()))
        self.advance(self.journal.count("read"), earlier=True)
        began = time.monotonic()
        with self.journal.kept():
            run_units(self.journal.remaining(), self._work, self.stop)
        units, throttled = cost()
        return Summary(
            table=self.table,
            read=self.journal.count("read"),
            sent=self.journal.count("sent"),
            unsendable=self.journal.count("unsendable"),
            messages=self.journal.count("messages"),
            objects=self.journal.count("objects"),
            bytes=self.journal.count("bytes"),
            began_ms=self.journal.began_ms,
            ended_ms=self.clock_ms(),
            seconds=time.monotonic() - began,
            read_here=self.read_here,
            units=units,
            throttled=throttled,
            yielded_s=self.gate.yielded_s,
            resumed=self.journal.resumed,
        )

    def _work(self, unit: str) -> None:
        place: Any = self.journal.progress(unit).place
        steps = self.source.steps(unit, place)
        while True:
            self.gate.wait()
            step = next(steps, None)
            if step is None:
                return
            sent = self.outlet.send(self.table, step.changes)
            # After they are sent: a kill before this line sends them again, and loses none.
            self.journal.advance(
                unit,
                step.place,
                step.done,
                read=len(step.changes),
                sent=sent.changes,
                unsendable=sent.unsendable,
                messages=sent.messages,
                objects=sent.objects,
                bytes=sent.bytes,
            )
            with self._lock:
                self.read_here += len(step.changes)
            self.advance(len(step.changes))
