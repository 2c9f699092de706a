"""What the table holds, into one index, as reads with a floor: straight, not through the queue."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from console.errors import MisuseError
from console.scan import TableReader
from producer.contract import Change, Item
from worker.carry import Carrier
from worker.errors import MovedError, UnavailableError
from worker.identity import document_id, routing_value
from worker.order import Floor, Statement, Stored
from worker.plan import Target
from worker.tables import Table

TRIES: Final = 8
"""For a cluster that cannot take a page now, with growing pauses: two minutes in sum."""


@dataclass(frozen=True, slots=True)
class Known:
    """An item's key, and what is known of it before it is read."""

    key: Item
    stored: Stored | None
    """What some document of it was made from, read before the table is."""


@dataclass
class Written:
    """What became of items. Each is counted once."""

    counts: Counter[str] = field(default_factory=Counter)
    """applied, obsolete, refused."""
    refusals: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Error class and reason, by document id."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Reads items of a table and writes them into one index. Safe in several threads."""

    table: Table[Any]
    """The declaration of that index."""
    carrier: Carrier
    reader: TableReader
    sleep: Callable[[float], object] = time.sleep

    def write(self, known: Sequence[Known], *, is_new: bool) -> Written:
        """Write what the table holds under these keys now; a tombstone where it holds nothing.

        is_new: whether the index has hardly any of them. Raises UnavailableError when table or
        cluster stay away, MovedError when the rebuild is over, InterruptedByUserError.
        """
        items, read_ms = self.reader.read([one.key for one in known])
        targets = [
            make_target(self.table, one, item, read_ms)
            for one, item in zip(known, items, strict=True)
        ]
        for attempt in range(TRIES):
            try:
                done = self.carrier.carry(targets, lambda _: is_new)
                break
            except MovedError as error:
                raise MisuseError(
                    f"{self.carrier.destination.index} is no longer being rebuilt",
                    hint=f"sluice rebuild {self.table.name} status",
                ) from error
            except UnavailableError:
                if attempt == TRIES - 1:
                    raise
                self.sleep(min(30.0, 0.5 * 2**attempt))
        counts = Counter(
            applied=len(done.applied), obsolete=len(done.obsolete), refused=len(done.refused)
        )
        return Written(counts, done.refused)

    def locate(self, key: Item) -> Target:
        """Where an item's document is."""
        return make_target(self.table, Known(key, None), None, 0)


def make_target(table: Table[Any], known: Known, item: Item | None, read_ms: int) -> Target:
    """The statement about one item that was read after `known`. Pure."""
    stored = known.stored or Stored(None, None, None)
    floor = None
    if stored.position is not None and stored.time is not None:
        floor = Floor(stored.position, stored.time)
    # It came after the read that is stored, too, whatever the two clocks say.
    at = max(read_ms, stored.read or 0)
    return Target(
        document_id(known.key),
        routing_value(known.key, table.routing),
        Change("READ", known.key, at, new=item),
        Statement(None, at, floor),
    )
