"""Differences are looked at again, past the lag of the pipeline, until each one is told apart.

A look reads the documents first and their items after them. So a document that is still the same
at the next look, the pipeline emptied in between, has not taken in what its item was at the first:
that is a difference, however often the item has changed since. The comparison itself reads the
other way round, items before documents, so its first sight of a difference proves that only where
neither side has moved.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol, TypeVar

from console.errors import InterruptedByUserError
from console.verify.model import Finding
from console.verify.spool import Spool

ROUNDS: Final = 5
"""How often a difference between two moving sides is looked at again."""

_LOOK: Final = 100

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """When a difference is no longer the lag of the pipeline."""

    settle_s: float
    """Time that a change takes at most from the table into the queue."""
    past_s: float
    """How long to wait for the proof that the lag is past."""
    margin_ms: int = 60_000
    """How far the clocks of the table and of this host may be apart."""


class Looker(Protocol):
    """Looks at places again (`console.verify.comparer.Comparer`)."""

    def look(self, findings: list[Finding]) -> list[Finding | None]: ...


@dataclass(frozen=True, slots=True)
class Settled:
    """What is neither a difference nor agrees."""

    moving: int = 0
    """Both sides moved before every look, and the document was never proven to follow."""
    undecided: int = 0
    """They differ, and may only be late."""


@dataclass
class Settling:
    """Tells differences from what is only late."""

    looker: Looker
    table: str
    patience: Patience
    stop: threading.Event
    is_past: Callable[[int], bool]
    """Waits until what was written before that moment is applied or refused; False if that is not
    proven."""
    clock_ms: Callable[[], int]
    report: Callable[[Finding], None]
    """Takes each difference, when it is proven."""

    def run(self, candidates: Spool) -> Settled:
        """Look again until each difference is gone, proven or moving.

        Raises what the edges raise, and InterruptedByUserError.
        """
        with ExitStack() as spools:
            # Documents that no key leads to come last: the finding of some key may explain them.
            keyless = self._spool(spools)
            settled = self._settle(candidates, keyless, spools)
            for finding in keyless.read():
                self.report(finding)
        return settled

    def _settle(self, current: Spool, keyless: Spool, spools: ExitStack) -> Settled:
        began_ms = looked_ms = self.clock_ms()
        for turn in range(ROUNDS):
            if not current.count:
                break
            if self.stop.wait(self.patience.settle_s):
                raise InterruptedByUserError("interrupted")
            past = self.is_past(looked_ms)
            following = self._spool(spools)
            for old in batches(current.read(), _LOOK):
                for before, now in zip(old, self.looker.look(old), strict=True):
                    if now is None:
                        continue
                    same = now.is_same(before) if turn == 0 else now.is_unmoved(before)
                    if not (past and same):
                        following.add([now])
                    elif now.place.key is None:
                        keyless.add([now])
                    else:
                        self.report(now)
            current, looked_ms = following, self.clock_ms()
            if not past:
                return Settled(undecided=current.count)
        since_ms = began_ms + self.patience.margin_ms
        return Settled(moving=sum(not one.is_after(since_ms) for one in current.read()))

    def _spool(self, spools: ExitStack) -> Spool:
        spool = Spool(self.table)
        spools.callback(spool.close)
        return spool


def batches(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Values in lists of at most `size`."""
    rest = iter(values)
    while batch := list(islice(rest, size)):
        yield batch
