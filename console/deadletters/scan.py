"""When a scan of a queue has seen all of it, and how fast a redrive may go. Pure.

SQS has no browse: to see a message is to receive it, which hides it, and what is given back comes
again. A scan therefore keeps to these rules:

- It covers what was in the queue when it began. What is sent later is not handled, so that a
  letter that is refused again cannot keep a redrive going round for ever.
- A message is handled the first time its MessageId is seen, then given back at once. If it comes
  a second time it stands in the way of others: it is kept hidden until nothing else comes.
- The queue is seen to its end when a long poll, which asks every server of SQS, brings nothing, and
  the queue reports no more messages than the scan knows of (seen and not removed): neither alone
  would do, since a hidden message is not brought and the count is approximate.
- If it reports more, another reader holds them (or the count, which is approximate, lags behind).
  Everything is given back, and the scan looks again, until nothing new has come for `patience_s`;
  then it ends as partial and says how many it may have missed.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

PAGE: Final = 10
"""Most messages of one ReceiveMessage (Amazon SQS API reference)."""

HOLD_S: Final = 10
HOLD_MOST_S: Final = 900
_PER_SECOND: Final = 100


class Step(Enum):
    """What a scan does after a poll that brought nothing."""

    GIVE_BACK = "give back"
    """Release what is held, pause, and look again."""
    COMPLETE = "complete"
    PARTIAL = "partial"


@dataclass(frozen=True, slots=True)
class Seen:
    """A page of messages, by id, sorted by what is to be done with them."""

    fresh: tuple[str, ...]
    """To be handled, then given back."""
    again: tuple[str, ...]
    """In the way: to be kept hidden for now."""


@dataclass(slots=True)
class Scan:
    """What a scan knows. Times in seconds of any one clock."""

    began_ms: int
    """What was sent after this, by the queue's clock, is not handled."""
    patience_s: float
    """How long it waits for messages that another reader holds."""
    hold_s: float
    fresh_at: float
    """When something new came last; at first, now."""
    seen: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)

    def sort(self, page: Iterable[tuple[str, int]], now: float) -> Seen:
        """Note a page of ids, each with the time it was sent in milliseconds."""
        fresh: list[str] = []
        again: list[str] = []
        for message, sent_ms in page:
            new = message not in self.seen and sent_ms <= self.began_ms
            self.seen.add(message)
            self.removed.discard(message)  # a removal that did not hold
            (fresh if new else again).append(message)
        if fresh:
            self.fresh_at = now
        return Seen(tuple(fresh), tuple(again))

    def remove(self, ids: Collection[str]) -> None:
        """Note that these are gone."""
        self.removed.update(ids)

    def forget(self, ids: Collection[str]) -> None:
        """Note that these came too late to be handled: they count as new when they come again."""
        self.seen.difference_update(ids)

    def unseen(self, reported: int) -> int:
        """How many of the reported messages the scan does not know of."""
        return max(0, reported - len(self.seen - self.removed))

    def is_stale(self, now: float) -> bool:
        """Whether messages keep coming, and for long enough none of them was new."""
        return now - self.fresh_at > self.patience_s + self.hold_s

    def decide_step(self, reported: int, now: float) -> Step:
        """What to do after a poll that brought nothing.

        reported: messages the queue says it has, hidden and delayed ones included.
        """
        if self.unseen(reported) == 0:
            return Step.COMPLETE
        if now - self.fresh_at > self.patience_s:
            return Step.PARTIAL
        return Step.GIVE_BACK


def hold_seconds(reported: int) -> int:
    """How long a received message stays hidden if we die, from the number of messages.

    As short as lets a scan see the whole queue: one hundred messages a second are slow for it.
    """
    return min(HOLD_MOST_S, max(HOLD_S, reported // _PER_SECOND))


@dataclass(frozen=True, slots=True)
class Pace:
    """At most `rate` messages a second; None: as fast as it goes."""

    rate: float | None = None

    def page(self) -> int:
        """How many messages to take at once."""
        return PAGE if self.rate is None else max(1, min(PAGE, int(self.rate)))

    def wait_s(self, moved: int, elapsed_s: float) -> float:
        """How long to wait before the next page."""
        return 0.0 if self.rate is None else max(0.0, moved / self.rate - elapsed_s)
