"""What differs is told from what is late and from what moves, by looking again past the lag."""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import pytest

from console.scan import Meter, TableReader
from console.verify.comparer import Comparer
from console.verify.model import Finding
from console.verify.run import Outcome
from console.verify.settle import ROUNDS, Patience, Settled, Settling
from console.verify.spool import Spool
from worker.cluster import Answer
from worker.identity import key_text
from worker.mappings import META
from worker.tables import Table
from worker.values import digest

TABLE: Table[Any] = Table("posts")
KEY = {"id": {"S": "a"}}
MARGIN_MS = 60_000


def item(number: int) -> dict[str, Any]:
    return {**KEY, "n": {"N": str(number)}}


@dataclass
class Sides:
    """One item and its document, as DynamoDB and Elasticsearch answer for them."""

    number: int = 0
    """What the item says."""
    applied: int | None = 0
    """What the document is of; None: there is none."""
    seq_no: int = 0
    now_ms: int = 1_000_000
    read: int = 0
    at_read: Callable[[int], None] = lambda read: None
    """Called after each read of either side, with its number from 1."""

    def write(self, number: int) -> None:
        self.number = number

    def apply(self) -> None:
        self.applied, self.seq_no = self.number, self.seq_no + 1

    def batch_get_item(self, **_: Any) -> dict[str, Any]:
        answer = {"Responses": {TABLE.name: [item(self.number)]}, "UnprocessedKeys": {}}
        self._count()
        return answer

    def request(self, *_: Any, **__: Any) -> Answer:
        doc: dict[str, Any] = {"_id": "a", "found": False}
        if self.applied is not None:
            meta = {
                "state": "live",
                "digest": digest(item(self.applied)),
                "key": key_text(KEY),
                "time": self.now_ms,
            }
            doc = {"_id": "a", "found": True, "_seq_no": self.seq_no, "_primary_term": 1}
            doc["_source"] = {META: meta}
        self._count()
        return Answer(200, {"docs": [doc]})

    def _count(self) -> None:
        self.read += 1
        self.at_read(self.read)


@dataclass
class Told:
    """What came of settling."""

    settled: Settled
    looks: int
    reported: list[Finding] = field(default_factory=list)


def settle(
    sides: Sides, between: Callable[[int], None], *, past: Callable[[int], bool] = lambda look: True
) -> Told:
    """Settle one difference. between: called before each look again, with its number from 1."""
    client: Any = sides
    reader = TableReader(client, TABLE.name, ("id",), Meter(None), lambda: sides.now_ms, Event())
    comparer = Comparer(TABLE, reader, client, "posts-v1")
    (first,) = comparer.compare_items([item(sides.number)])
    told = Told(Settled(), 0)

    def is_past(since_ms: int) -> bool:
        told.looks += 1
        between(told.looks)
        return past(told.looks)

    candidates = Spool(TABLE.name)
    candidates.add([first])
    patience = Patience(0, 0, MARGIN_MS)
    told.settled = Settling(
        comparer, TABLE.name, patience, Event(), is_past, lambda: 1_000_000, told.reported.append
    ).run(candidates)
    candidates.close()
    return told


def test_what_neither_side_has_moved_is_a_difference_at_the_first_look_again() -> None:
    told = settle(Sides(1), lambda look: None)
    assert (len(told.reported), told.looks, told.settled) == (1, 1, Settled())


def test_what_was_only_late_is_none() -> None:
    sides = Sides(1)
    told = settle(sides, lambda look: sides.apply())
    assert (told.reported, told.settled) == ([], Settled())


@pytest.mark.parametrize(("applied", "kind"), [(0, "stale"), (None, "missing")])
def test_an_item_that_changes_before_every_look_while_its_document_stands_still_is_a_difference(
    applied: int | None, kind: str
) -> None:
    """As when each of its changes is dead-lettered."""
    sides = Sides(1, applied)
    told = settle(sides, lambda look: sides.write(look + 1))
    assert ([one.kind for one in told.reported], told.looks) == ([kind], 2)
    assert told.settled == Settled()


def test_a_document_that_moved_since_the_first_sight_alone_is_looked_at_again() -> None:
    """The first sight is of the item before its document, so it is none of the two looks."""
    sides = Sides(1)

    def move(look: int) -> None:
        if look == 1:
            sides.write(2)  # the change of 1 is still on its way when the comparison is made
        else:
            sides.apply()

    told = settle(sides, move)
    assert (told.reported, told.looks) == ([], 2)


def test_a_change_between_the_two_reads_of_a_look_makes_no_difference() -> None:
    sides = Sides(1)

    def at_read(read: int) -> None:
        if read == 2:  # the first was that of the comparison
            sides.write(2)
            sides.apply()

    def move(look: int) -> None:
        if look == 2:
            sides.write(3)  # a moment before the look: on its way
        elif look == 3:
            sides.apply()

    sides.at_read = at_read
    told = settle(sides, move)
    assert (told.reported, told.looks, told.settled) == ([], 3, Settled())


def move_both(sides: Sides, step_ms: int) -> Callable[[int], None]:
    def move(_: int) -> None:
        sides.apply()
        sides.write(sides.number + 1)
        sides.now_ms += step_ms

    return move


def test_what_moves_on_both_sides_is_moving_and_proves_nothing() -> None:
    sides = Sides(1)
    told = settle(sides, move_both(sides, 1_000))
    assert (told.reported, told.looks, told.settled) == ([], ROUNDS, Settled(moving=1))
    outcome = Outcome(5, 5, {}, moving=1, undecided=0)
    assert (outcome.agrees, outcome.proves) == (True, False)
    assert Outcome(5, 5, {}, moving=0, undecided=0).proves


def test_what_moves_agrees_if_its_document_takes_in_what_came_after_the_first_look() -> None:
    """Else no table with one busy item could ever be noted as equal to its index."""
    sides = Sides(1)
    told = settle(sides, move_both(sides, MARGIN_MS // (ROUNDS - 1)))
    assert (told.reported, told.looks, told.settled) == ([], ROUNDS, Settled())


def test_without_proof_that_the_lag_is_past_it_is_undecided() -> None:
    told = settle(Sides(1), lambda look: None, past=lambda look: False)
    assert (told.reported, told.settled) == ([], Settled(undecided=1))
    sides = Sides(1)
    told = settle(sides, lambda look: sides.write(look + 1), past=lambda look: look == 1)
    assert (told.reported, told.looks, told.settled) == ([], 2, Settled(undecided=1))
