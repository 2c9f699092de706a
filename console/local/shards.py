"""One shard while it is processed: lanes of batches in order, and the checkpoint behind them."""

import zlib
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from console.local.batches import Batch, Record, TriggerSettings, cut_batch
from console.local.reader import Position


@dataclass(slots=True)
class Lane:
    """Records that must keep their order: one batch of a lane is under way at a time.

    "When ParallelizationFactor is above 1, Lambda still ensures in-order processing" of an item:
    all records of a partition key share a lane.
    """

    free_since: float
    """When the latest invocation ended: "the next batching window begins as soon as the previous
    function invocation completes" (invocation-eventsourcemapping.html)."""
    again: deque[Batch] = field(default_factory=deque)
    waiting: deque[Record] = field(default_factory=deque)

    def take(self, settings: TriggerSettings, now: float) -> Batch | None:
        """The batch whose turn it is: first what comes again, else a new one once it is due."""
        if self.again:
            return self.again.popleft()
        cut = cut_batch(self.waiting, settings)
        due = cut.full or now - self.free_since >= settings.window_s
        if not cut.count or not due:
            return None
        return Batch(tuple(self.waiting.popleft() for _ in range(cut.count)))

    def put_back(self, batches: Sequence[Batch]) -> None:
        """These come again before anything else of the lane, in this order."""
        self.again.extendleft(reversed(batches))


@dataclass(slots=True)
class Ledger:
    """Which records of a shard are settled. The checkpoint never passes one that is not."""

    checkpoint: str | None = None
    """Sequence number up to which every record is settled."""
    _open: deque[Record] = field(default_factory=deque)
    _settled: set[int] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self._open) - len(self._settled)

    @property
    def oldest(self) -> Record | None:
        """The first record that is not settled."""
        return self._open[0] if self._open else None

    def add(self, record: Record) -> None:
        """A record was read. Records are added in the order of their arrival."""
        self._open.append(record)

    def settle(self, records: Iterable[Record]) -> None:
        """These are done, or in the destination's hands."""
        self._settled.update(record.arrival for record in records)
        while self._open and self._open[0].arrival in self._settled:
            record = self._open.popleft()
            self._settled.discard(record.arrival)
            # One emulator repeats a sequence number: the checkpoint must not fall back for it.
            if self.checkpoint is None or int(record.sequence) > int(self.checkpoint):
                self.checkpoint = record.sequence


class Shard:
    """A shard's place in the stream and its work in progress."""

    def __init__(
        self, id: str, parent: str | None, position: Position, settings: TriggerSettings, now: float
    ) -> None:
        self.id = id
        self.parent = parent
        self.iterator: str | None = None
        self.reading = replace(position, finished=False)
        """Where the next iterator is taken, if it has to be."""
        self.ended = position.finished
        """Whether the shard is closed and read to its end."""
        self.lanes = [Lane(now) for _ in range(settings.parallelization)]
        self.ledger = Ledger(position.after)
        self._settings = settings
        self._arrivals = 0

    @property
    def finished(self) -> bool:
        """Whether its child shards may start."""
        return self.ended and not len(self.ledger)

    @property
    def position(self) -> Position:
        """What a trigger that is started later must know.

        A shard opened at LATEST of which nothing is settled yet resumes at its oldest record:
        LATEST would lose what is written in between.
        """
        return Position("TRIM_HORIZON", self.ledger.checkpoint, self.finished)

    @property
    def has_room(self) -> bool:
        """Whether to read on. What waits is bounded, so a lane that is stuck stops the reading."""
        waiting = [record for lane in self.lanes for record in lane.waiting]
        return not self.ended and (
            len(waiting) < self._settings.batch_size * len(self.lanes)
            and sum(r.bytes for r in waiting) < self._settings.payload_bytes * len(self.lanes)
        )

    def add(self, records: Iterable[Record]) -> int:
        """Take in records that were read, in order; the number of them."""
        before = self._arrivals
        for found in records:
            self._arrivals += 1
            record = replace(found, arrival=self._arrivals)
            self.ledger.add(record)
            self._lane_of(record).waiting.append(record)
            self.reading = Position(after=record.sequence)
        return self._arrivals - before

    def _lane_of(self, record: Record) -> Lane:
        return self.lanes[zlib.crc32(record.partition.encode()) % len(self.lanes)]

    def drop_iterator(self, *, expired: bool) -> None:
        """Take a new iterator before the next read, where reading stopped.

        An iterator from LATEST that has returned no record yet marks a place which no other call
        can name. It is kept while it lives; afterwards reading starts at the oldest record, since
        delivering too much is allowed and losing is not.
        """
        unnamed = self.reading.after is None and self.reading.start == "LATEST"
        if unnamed and not expired and self.iterator is not None:
            return
        if unnamed and expired:
            self.reading = Position()
        self.iterator = None

    def restart(self) -> None:
        """Read on at the oldest record there is."""
        self.reading = Position()
        self.iterator = None
