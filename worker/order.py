"""The join: which of two statements about one item wins.

A *change* states what an item became at a position of its stream. A *read* states what the table
held at some moment after R. A read *with a floor* also knows a change it is certain to include,
because that change was known before the read began. The document stores what it was made from
(`Stored`); `decide` says what an arriving statement does to it. Whatever order, however often and
however late statements arrive, the last document is the same. See docs/decisions.md, "Reads beside
changes".

Assumed: within one stream, sequence numbers of one item grow along shard lineage; the times of
one item's changes grow with their positions up to the clock margin.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

SEQUENCE_DIGITS: Final = 40
"""Longest SequenceNumber (DynamoDB Streams API, `StreamRecord`)."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Place of a change in a table's history: the stream's label, then the sequence number.

    A later stream's numbers may start again, so the label, the stream's creation time, comes first.
    """

    label: str
    sequence: str
    """Zero-padded to 40 digits, so that text order is number order."""

    @classmethod
    def of(cls, label: str, sequence: str) -> "Position":
        """The position from a stream's label and a SequenceNumber as DynamoDB writes it."""
        return cls(label, sequence.zfill(SEQUENCE_DIGITS))


@dataclass(frozen=True, slots=True)
class Floor:
    """The newest change that a read is certain to include, and that change's time."""

    position: Position
    at: int


@dataclass(frozen=True, slots=True)
class Statement:
    """What an arriving change or read says of itself. Times in milliseconds."""

    position: Position | None
    """None for a read."""
    at: int
    """Time of the change; for a read, the moment R just before it."""
    floor: Floor | None = None
    """Of a read alone."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What a document was made from.

    `position` and `time` are those of the newest change it includes, if any is known; `read` is
    the R of the read that gave its content, and None as soon as a change has given it.
    """

    position: Position | None
    time: int | None
    read: int | None


class Verdict(Enum):
    """What to do with an arriving statement."""

    APPLY = "apply"
    """Write its content."""
    NOTE = "note"
    """Keep the content, which includes it already; remember its position."""
    OBSOLETE = "obsolete"
    """Nothing: what is there is as new or newer."""


def decide(stored: Stored | None, arriving: Statement, margin_ms: int) -> Verdict:
    """Compare an arriving statement with what the document was made from (None: no document)."""
    if stored is None:
        return Verdict.APPLY
    if arriving.position is not None:
        return _decide_change(stored, arriving.position, arriving.at, margin_ms)
    if arriving.floor is not None:
        return _decide_floored(stored, arriving.at, arriving.floor, margin_ms)
    return _decide_read(stored, arriving.at, margin_ms)


def _decide_read(stored: Stored, read: int, margin_ms: int) -> Verdict:
    if stored.read is not None and read <= stored.read:
        return Verdict.OBSOLETE
    if stored.time is not None and stored.time + margin_ms >= read:
        return Verdict.OBSOLETE
    return Verdict.APPLY


def _decide_floored(stored: Stored, read: int, floor: Floor, margin_ms: int) -> Verdict:
    reaches = stored.position is None or floor.position >= stored.position
    if reaches and (stored.read is None or read > stored.read):
        return Verdict.APPLY  # it includes what gave the content: no close call is left
    if _decide_read(stored, read, margin_ms) is Verdict.APPLY:
        return Verdict.APPLY
    # Else it is worth what its floor is worth, as a change.
    return _decide_change(stored, floor.position, floor.at, margin_ms)


def _decide_change(stored: Stored, position: Position, at: int, margin_ms: int) -> Verdict:
    if stored.position is not None and position <= stored.position:
        return Verdict.OBSOLETE
    if stored.read is None or at + margin_ms >= stored.read:
        return Verdict.APPLY
    # The read includes this change. An older one whose clock ran ahead, by the margin at most,
    # may still look newer than the read: only the noted position then keeps it out.
    return Verdict.NOTE if at + 2 * margin_ms >= stored.read else Verdict.OBSOLETE


def absorb(stored: Stored | None, arriving: Statement, verdict: Verdict) -> Stored:
    """What the document is made from once the verdict has been carried out."""
    before = stored or Stored(None, None, None)
    if verdict is Verdict.OBSOLETE:
        return before
    position, time = _newest(before, arriving)
    if verdict is Verdict.NOTE:
        return Stored(position, time, before.read)
    return Stored(position, time, arriving.at if arriving.position is None else None)


def _newest(stored: Stored, arriving: Statement) -> tuple[Position | None, int | None]:
    """The newest change that a document includes with what arrives. No read lowers it."""
    if arriving.position is not None:
        return arriving.position, arriving.at
    floor = arriving.floor
    if floor is None or (stored.position is not None and stored.position >= floor.position):
        return stored.position, stored.time
    return floor.position, floor.at
