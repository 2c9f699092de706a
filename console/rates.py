"""How fast the table may be read: a bucket of read units, filled at a steady rate. Pure.

What a read costs is known only afterwards (`ConsumedCapacity`), so an estimate is taken out of the
bucket before each call and corrected when the bill is there. The clock is an argument, in seconds.
"""

from dataclasses import dataclass
from typing import Final

PAGE_ITEMS: Final = 1_000
"""Most items asked for in one page under a limit; one megabyte ends a page in any case."""

LIKELY_ITEM: Final = 1.0
"""Read units to reserve for an item while nothing is known: if it was more, the next one waits."""

COSTLIEST_ITEM: Final = 100.0
"""Read units of the largest item, 400 KB, read consistently (4 KB a unit)."""


@dataclass(slots=True)
class Budget:
    """Read units that may be spent: `rate` a second, of which one second's worth is saved up."""

    rate: float
    balance: float
    at: float
    """Time of the last refill."""

    @classmethod
    def open(cls, rate: float, now: float) -> "Budget":
        """A full bucket."""
        return cls(rate, rate, now)

    def reserve(self, units: float, now: float) -> float:
        """Take units out; answer how many seconds to wait before they may be spent."""
        self._refill(now)
        self.balance -= units
        return max(0.0, -self.balance / self.rate)

    def settle(self, reserved: float, spent: float, now: float) -> None:
        """Correct a reservation by what was spent; more than reserved makes the next one wait."""
        self._refill(now)
        self.balance = min(self.rate, self.balance + reserved - spent)

    def _refill(self, now: float) -> None:
        self.balance = min(self.rate, self.balance + self.rate * max(0.0, now - self.at))
        self.at = max(self.at, now)


@dataclass(slots=True)
class Costs:
    """What items have cost so far, to guess what the next ones will."""

    items: int = 0
    units: float = 0.0

    def add(self, items: int, units: float) -> None:
        """Take one more page into account."""
        self.items += items
        self.units += units

    @property
    def each(self) -> float | None:
        """Read units of one item, on average; None before any is known."""
        return self.units / self.items if self.items else None


def page_items(rate: float, readers: int, each: float | None) -> int:
    """How many items one page may ask for, so that all readers' pages cost about one second's rate.

    rate: units a second. readers: how many read at once. each: units of one item; while it is not
    known, a page is as small as if items were the largest there are.
    """
    share = rate / max(1, readers)
    cost = COSTLIEST_ITEM if each is None else max(each, 1e-9)
    return max(1, min(PAGE_ITEMS, int(share / cost)))
