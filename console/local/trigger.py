"""Sluice's stand-in for Lambda's event source mapping on a DynamoDB stream, for demo and tests.

It follows what AWS documents (`console.local.batches` decides and names the sources), in process
and in memory: a plain callable instead of a function, a callable instead of a destination.
Throttling, filters and tumbling windows are left out. Not for production.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from console.local.batches import (
    Batch,
    Discard,
    Outcome,
    Succeeded,
    TriggerSettings,
    decide,
    expire,
)
from console.local.invocation import (
    Clock,
    Function,
    LambdaContext,
    invoke,
    read_record,
    write_invocation_record,
)
from console.local.reader import (
    IteratorExpiredError,
    ListedShard,
    Listing,
    Position,
    ReadLaterError,
    RecordsTrimmedError,
    ShardMissingError,
    StreamReader,
    StreamsClient,
)
from console.local.shards import Lane, Shard

__all__ = [
    "Counters",
    "Destination",
    "Gap",
    "LambdaContext",
    "Position",
    "Round",
    "Trigger",
    "TriggerSettings",
]

LISTING_S: Final = 1.0
"""Seconds between two listings of the shards; sooner when a shard was read to its end."""

CONCURRENT_INVOCATIONS: Final = 32

Destination: TypeAlias = Callable[[dict[str, Any]], object]
"""Takes an invocation record. While it raises, the batch is not given up: it comes again."""

_TALLIED: Final = (
    "read",
    "delivered",
    "invocations",
    "failures",
    "discarded",
    "read_errors",
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gap:
    """Records that left the stream before they were read. Only the table can make up for them."""

    shard_id: str
    after: str | None
    """Sequence number of the last record read before the gap."""


@dataclass(frozen=True, slots=True)
class Counters:
    """What a display shows, since this trigger was made."""

    read: int = 0
    """Records read from the stream."""
    delivered: int = 0
    """Records that the function has done."""
    invocations: int = 0
    failures: int = 0
    """Invocations that failed, wholly or in part."""
    discarded: int = 0
    """Records given up to the on-failure destination."""
    read_errors: int = 0
    """Calls to the stream that failed and were or will be tried again."""
    unsettled: int = 0
    """Records read, but neither done nor given up."""
    iterator_age_s: float = 0.0
    """Age of the oldest unsettled record; 0 where there is none."""
    gaps: tuple[Gap, ...] = ()
    last_error: str = ""
    """Latest failure of a read, the function or the destination, in words."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one poll did. An idle round is followed by a pause."""

    read: int
    invoked: int
    settled: int
    split: bool

    @property
    def idle(self) -> bool:
        """Whether nothing moved on. A batch that only failed again counts as idle."""
        return not (self.read or self.settled or self.split)


@dataclass(frozen=True, slots=True)
class _Turn:
    shard: Shard
    lane: Lane
    batch: Batch


class Trigger:
    """Reads a stream and gives its records to a function, at least once, in order per shard.

    `run` serves a thread; `poll_once` does one round, for tests. Only one of them at a time.
    `snapshot` and `counters` may be read from any thread; they change after each round.

    resume: a `snapshot` of an earlier trigger on the same stream.
    """

    def __init__(
        self,
        stream_arn: str,
        client: StreamsClient,
        function: Function,
        settings: TriggerSettings,
        on_failure: Destination | None = None,
        *,
        clock: Clock = time.time,
        resume: Mapping[str, Position] | None = None,
    ) -> None:
        self._arn = stream_arn
        self._reader = StreamReader(client, stream_arn)
        self._function = function
        self._settings = settings
        self._on_failure = on_failure
        self._clock = clock
        self._listing: Listing | None = None
        self._listed_at = 0.0
        self._fresh = resume is None
        self._shards: dict[str, Shard] = {
            shard_id: Shard(shard_id, None, position, settings, clock())
            for shard_id, position in (resume or {}).items()
        }
        self._tally = dict.fromkeys(_TALLIED, 0)
        self._gaps: list[Gap] = []
        self._last_error = ""
        self._counters = Counters()
        self._snapshot: dict[str, Position] = dict(resume or {})

    @property
    def counters(self) -> Counters:
        """As of the latest round."""
        return self._counters

    def snapshot(self) -> dict[str, Position]:
        """Each shard's position as of the latest round, for `resume`. A copy."""
        return dict(self._snapshot)

    def run(self, stop_event: threading.Event) -> None:
        """Poll until `stop_event` is set; an invocation under way is finished first."""
        while not stop_event.is_set():
            if self.poll_once().idle:
                stop_event.wait(self._settings.poll_s)

    def poll_once(self) -> Round:
        """One round: list shards if due, read a page of each, give each lane one batch."""
        self._list_shards()
        shards = [shard for shard in self._shards.values() if self._may_start(shard)]
        read = sum(self._read(shard) for shard in shards if shard.has_room)
        before = self._tally["delivered"] + self._tally["discarded"]
        turns = [
            _Turn(shard, lane, batch)
            for shard in shards
            for lane in shard.lanes
            if (batch := self._take_batch(shard, lane)) is not None
        ]
        split = False
        for turn, (batch, outcome) in zip(turns, self._invoke(turns), strict=True):
            split |= self._conclude(turn, batch, outcome)
        self._publish()
        settled = self._tally["delivered"] + self._tally["discarded"] - before
        return Round(read, len(turns), settled, split)

    def _list_shards(self) -> None:
        now = self._clock()
        if self._listing is not None and now - self._listed_at < LISTING_S:
            return
        try:
            self._listing = self._reader.list_shards()
        except ReadLaterError as error:
            self._note_read_error(error)
            return
        self._listed_at = now
        listed = self._listing.shards
        for gone in [s.id for s in self._shards.values() if s.finished and s.id not in listed]:
            del self._shards[gone]
        for found in listed.values():
            if known := self._shards.get(found.id):
                known.parent = found.parent
            else:
                position = self._start_of(found)
                self._shards[found.id] = Shard(
                    found.id, found.parent, position, self._settings, now
                )
        self._fresh = False

    def _start_of(self, shard: ListedShard) -> Position:
        """LATEST is for the shards there are at the start; one that appears later is read whole."""
        if not self._fresh or self._settings.starting_position == "TRIM_HORIZON":
            return Position()
        return Position("LATEST", finished=shard.closed)

    def _may_start(self, shard: Shard) -> bool:
        """A parent goes before its child; one that the stream has forgotten holds nobody up."""
        parent = self._shards.get(shard.parent) if shard.parent else None
        return not shard.finished and (parent is None or parent.finished)

    def _read(self, shard: Shard) -> int:
        """Read a page into the shard; the number of its records."""
        if self._listing is None:
            return 0
        try:
            if shard.iterator is None:
                shard.iterator = self._reader.open(shard.id, shard.reading)
            page = self._reader.read(shard.iterator)
        except ReadLaterError as error:
            self._recover(shard, error)
            return 0
        key = self._listing.partition_key
        count = shard.add(read_record(record, self._arn, key) for record in page.records)
        shard.iterator = page.iterator
        if page.iterator is None:
            shard.ended = True
            self._listed_at = 0.0
        self._tally["read"] += count
        return count

    def _recover(self, shard: Shard, error: ReadLaterError) -> None:
        if isinstance(error, RecordsTrimmedError):
            self._report_gap(shard)
            shard.restart()
        elif isinstance(error, ShardMissingError) and not self._is_listed(shard):
            self._report_gap(shard)
            shard.ended = True
        else:
            shard.drop_iterator(expired=isinstance(error, IteratorExpiredError))
        self._note_read_error(error)

    def _is_listed(self, shard: Shard) -> bool:
        return self._listing is None or shard.id in self._listing.shards

    def _report_gap(self, shard: Shard) -> None:
        gap = Gap(shard.id, shard.reading.after)
        self._gaps.append(gap)
        _log.error(
            "records of shard %s after %s left the stream unread: compare the table with the index",
            gap.shard_id,
            gap.after or "its start",
        )

    def _note_read_error(self, error: ReadLaterError) -> None:
        self._tally["read_errors"] += 1
        self._last_error = str(error)
        _log.warning("reading the stream failed and is tried again: %s", error)

    def _take_batch(self, shard: Shard, lane: Lane) -> Batch | None:
        """The lane's next batch, once the records in front that are too old are given up."""
        while batch := lane.take(self._settings, self._clock()):
            decision = expire(batch, self._settings, self._clock())
            if decision.discard is None:
                return batch
            lane.put_back(decision.again)
            if not self._hand_over(shard, decision.discard):
                lane.put_back([decision.discard.batch])
                return None
        return None

    def _invoke(self, turns: list[_Turn]) -> list[tuple[Batch, Outcome]]:
        """Give every batch to the function, at the same time where there are several."""

        def call(turn: _Turn) -> tuple[Batch, Outcome]:
            return invoke(self._function, turn.batch, self._settings, self._arn, self._clock)

        if len(turns) < 2:
            return [call(turn) for turn in turns]
        with ThreadPoolExecutor(min(len(turns), CONCURRENT_INVOCATIONS)) as pool:
            return list(pool.map(call, turns))

    def _conclude(self, turn: _Turn, batch: Batch, outcome: Outcome) -> bool:
        """Carry out what follows from an invocation; whether the batch was split in two."""
        decision = decide(batch, outcome, self._settings)
        turn.lane.free_since = self._clock()
        turn.lane.put_back(decision.again)
        turn.shard.ledger.settle(decision.settled)
        self._tally["invocations"] += 1
        self._tally["delivered"] += len(decision.settled)
        if not isinstance(outcome, Succeeded):
            self._tally["failures"] += 1
            self._last_error = getattr(outcome, "reason", "the function reported failures")
        if decision.discard and not self._hand_over(turn.shard, decision.discard):
            turn.lane.put_back([decision.discard.batch])
        return len(decision.again) > 1

    def _hand_over(self, shard: Shard, discard: Discard) -> bool:
        """Give a batch up. False if the destination would not have it: then nothing is settled.

        Lambda would lose the batch there, and count it in DestinationDeliveryFailures.
        """
        try:
            if self._on_failure is not None:
                self._on_failure(
                    write_invocation_record(
                        discard,
                        shard_id=shard.id,
                        arn=self._arn,
                        settings=self._settings,
                        now=self._clock(),
                    )
                )
        except Exception as error:  # noqa: BLE001 - the destination is not our code
            self._last_error = f"on-failure destination: {error}"
            _log.exception("the on-failure destination failed; the batch comes again")
            return False
        records = discard.batch.records
        shard.ledger.settle(records)
        self._tally["discarded"] += len(records)
        _log.error(
            "gave up %d records of shard %s from %s to %s: %s",
            len(records),
            shard.id,
            records[0].sequence,
            records[-1].sequence,
            discard.condition,
        )
        return True

    def _publish(self) -> None:
        shards = self._shards.values()
        oldest = [record.at for s in shards if (record := s.ledger.oldest) is not None]
        self._snapshot = {shard.id: shard.position for shard in shards}
        self._counters = Counters(
            **self._tally,
            unsettled=sum(len(shard.ledger) for shard in shards),
            iterator_age_s=max(0.0, self._clock() - min(oldest)) if oldest else 0.0,
            gaps=tuple(self._gaps),
            last_error=self._last_error,
        )
