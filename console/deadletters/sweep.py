"""One scan of the dead-letter queue, carried out: what decides its steps lies in `scan`."""

import random
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Final, Protocol

from console.deadletters.model import Received
from console.deadletters.queue import Letters
from console.deadletters.scan import PAGE, Scan, Step, hold_seconds

PATIENCE_S: Final = 15.0
"""How long a scan waits for messages that another reader holds: the shortest hold, and a margin."""

PAUSE_S: Final = 1.0
"""Between giving everything back and looking again, on average."""


class Work(Protocol):
    """What is done with the messages of a scan."""

    def room(self) -> int:
        """How many messages it takes next, after whatever wait its pace asks for; 0: no more."""

    def take(self, page: Sequence[Received]) -> Collection[str]:
        """Handle messages never handled before; the ids of those that it has removed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a scan ended."""

    seen: int
    """Distinct messages that were in the queue when it began."""
    missed: int = 0
    """Messages that the queue reports and the scan has not seen: hidden with another reader."""
    interrupted: bool = False
    hidden: int = 0
    """Messages that could not be given back; they come back after `hold_s` seconds."""
    hold_s: int = 0


@dataclass(slots=True)
class Sweep:
    """A scan over a queue. Whatever ends it, what it holds is given back."""

    letters: Letters
    work: Work
    stop: threading.Event
    began_ms: int
    """Messages sent later, by the queue's clock, are left alone."""
    patience_s: float = PATIENCE_S
    clock: Callable[[], float] = time.monotonic
    pause_s: float = PAUSE_S
    handled: int = 0
    hidden: int = 0
    held: dict[str, str] = field(default_factory=dict)
    """Receipts of messages in our hands, by message id."""

    def run(self) -> Outcome:
        """Scan until all is seen, the work wants no more, or `stop` is set.

        Raises UnavailableError, and what the work raises.
        """
        hold_s = hold_seconds(self.letters.count())
        scan = Scan(self.began_ms, self.patience_s, hold_s, self.clock())
        missed = 0
        try:
            while not self.stop.is_set():
                room = self.work.room()
                if room == 0 or self.stop.is_set():
                    break
                if self._poll(scan, min(room, PAGE), hold_s):
                    if not scan.is_stale(self.clock()):
                        continue
                    missed = scan.unseen(self.letters.count())
                    break
                step = scan.decide_step(self.letters.count(), self.clock())
                if step is Step.GIVE_BACK:
                    self._release(list(self.held))
                    # Two scans that hold what the other lacks must not do so in step for ever.
                    self.stop.wait(self.pause_s * (0.5 + random.random()))
                elif step is Step.PARTIAL:
                    missed = scan.unseen(self.letters.count())
                    break
                elif step is Step.COMPLETE:
                    break
        finally:
            self._release(list(self.held))
        return Outcome(self.handled, missed, self.stop.is_set(), self.hidden, hold_s)

    def _poll(self, scan: Scan, most: int, hold_s: int) -> bool:
        """Receive once and have it handled; whether anything came."""
        asked = self.clock()
        page = self.letters.receive(most, hold_s)
        if not page:
            return False
        self.held |= {message.id: message.receipt for message in page}
        unique = {message.id: message for message in page}
        now = self.clock()
        seen = scan.sort(((m.id, m.sent_ms) for m in unique.values()), now)
        if now - asked > hold_s / 2:
            # They may be visible to others again before we are done: leave them to the next time.
            scan.forget(seen.fresh)
        elif seen.fresh:
            removed = self.work.take([unique[one] for one in seen.fresh])
            scan.remove(removed)
            self.handled += len(seen.fresh)
            for one in removed:
                self.held.pop(one, None)
        self._release(seen.fresh)
        return True

    def _release(self, ids: Collection[str]) -> None:
        receipts = [self.held[one] for one in ids if one in self.held]
        if receipts:
            self.hidden += self.letters.release(receipts)
        for one in ids:
            self.held.pop(one, None)


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that the step in work ends in order.

    A second signal ends the command at once, as it would without us.
    """
    stop = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        stop.set()
        for one, handler in before.items():
            signal.signal(one, handler)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
