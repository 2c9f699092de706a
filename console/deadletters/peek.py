"""A look at some of the dead letters: bounded in number and time, nothing kept hidden.

It receives as every subcommand does (SQS knows no other way), gives each message back as soon as it
is read, and waits for nobody who holds others.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from console.deadletters.filters import Filter
from console.deadletters.model import Letter, Received
from console.deadletters.queue import Pair
from console.deadletters.redrive import Choice, Look
from console.deadletters.sweep import Sweep

MOST: Final = 200
SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Peek:
    """What a look has found."""

    found: tuple[tuple[Received, Letter], ...]
    seen: int
    """Messages looked at, meant or not."""
    complete: bool
    """Whether those were all there are."""

    @property
    def letters(self) -> list[Letter]:
        """What is said of each that is meant."""
        return [letter for _, letter in self.found]


@dataclass(slots=True)
class _Bound:
    """When a look has seen enough."""

    most: int
    until: float
    clock: Callable[[], float]
    seen: int = 0
    cut: bool = False

    def add(self, count: int) -> None:
        self.seen += count

    def is_reached(self) -> bool:
        self.cut = self.cut or self.seen >= self.most or self.clock() >= self.until
        return self.cut


def peek(
    pair: Pair,
    filter: Filter | None = None,
    *,
    most: int = MOST,
    seconds: float = SECONDS,
    stop: threading.Event | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Peek:
    """Look at up to `most` messages (a page more, at the most), for up to `seconds` and a poll.

    filter: which are meant; default: all. Raises UnavailableError.
    """
    if most < 1 or pair.count() == 0:
        return Peek((), 0, most >= 1)
    found: list[tuple[Received, Letter]] = []
    bound = _Bound(most, clock() + seconds, clock)
    work = Look(
        Choice(filter or Filter(), pair.now_ms),
        lambda received, letter: found.append((received, letter)),
        enough=bound.is_reached,
        advance=bound.add,
    )
    sweep = Sweep(pair, work, stop or threading.Event(), pair.now_ms, patience_s=0.0, clock=clock)
    outcome = sweep.run()
    complete = not (outcome.missed or outcome.interrupted or bound.cut)
    return Peek(tuple(found), outcome.seen, complete)
