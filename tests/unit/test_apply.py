"""One chunk through the worker's steps, on edges in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.memory import (
    MemoryDeadLetters,
    MemoryDocuments,
    MemoryOverflow,
    MemorySource,
    MemoryViews,
    stored_of,
)
from producer.contract import Change, Chunk, Item, Kind, Overflow
from worker.apply import Applier
from worker.errors import ContentionError, RejectedError, UnavailableError
from worker.identity import key_text
from worker.index import Result, Write
from worker.mappings import META
from worker.order import Position
from worker.outcomes import Outcome
from worker.tables import Table

LABEL = "2024-01-01T00:00:00.000"
STREAM = f"arn:aws:dynamodb:eu-west-1:123456789012:table/posts/stream/{LABEL}"
NOW = 1_800_000_000_000
DAY = 86_400_000


@dataclass
class World:
    """An applier and the edges it stands on."""

    documents: MemoryDocuments = field(default_factory=MemoryDocuments)
    deadletters: MemoryDeadLetters = field(default_factory=MemoryDeadLetters)
    overflow: MemoryOverflow = field(default_factory=MemoryOverflow)
    source: MemorySource = field(default_factory=MemorySource)
    table: Table[Any] = field(default_factory=lambda: Table("posts"))
    views: MemoryViews = field(default_factory=MemoryViews)

    def applier(self) -> Applier:
        return Applier(
            tables={"posts": self.table},
            views=self.views,
            documents=self.documents,
            overflow=self.overflow,
            source=self.source,
            deadletters=self.deadletters,
            clock_ms=lambda: NOW,
            margin_ms=60_000,
            horizon_ms=30 * DAY,
        )

    def live(self) -> dict[str, Any]:
        return {
            name: {k: v for k, v in body.items() if k != META}
            for name, body in self.documents.live("posts-write").items()
        }


def change(
    kind: Kind, key: str, sequence: int, at: int = NOW, new: Mapping[str, Any] | None = None
) -> Change:
    image: Item | None = None
    if kind != "REMOVE":
        image = {"id": {"S": key}, "n": {"N": str(sequence)}, **(new or {})}
    return Change(kind, {"id": {"S": key}}, at, str(sequence), new=image)


def chunk(*changes: Change, stream: str | None = STREAM) -> Chunk:
    return Chunk("posts", stream, changes)


def test_an_insert_becomes_a_document_with_what_it_was_made_from() -> None:
    world = World()
    tally = world.applier().apply(chunk(change("INSERT", "a", 1)))
    assert world.live() == {"a": {"id": "a", "n": 1}}
    meta = world.documents.documents("posts-write")["a"][META]
    assert meta.pop("digest")
    assert meta == {
        "id": "a",
        "state": "live",
        "label": LABEL,
        "sequence": "1".zfill(40),
        "time": NOW,
        "read": None,
        "key": '{"id":{"S":"a"}}',
        "indexed": NOW,
    }
    assert tally.applied == 1


def test_an_insert_is_tried_before_anything_is_read() -> None:
    world = World()
    world.applier().apply(chunk(change("INSERT", "a", 1), change("INSERT", "b", 2)))
    assert (world.documents.finds, world.documents.bulks) == (0, 1)


def test_a_removal_leaves_a_tombstone_that_keeps_a_late_update_out() -> None:
    world = World()
    applier = world.applier()
    applier.apply(chunk(change("REMOVE", "a", 9)))
    tally = applier.apply(chunk(change("MODIFY", "a", 8)))
    assert world.live() == {}
    assert world.documents.documents("posts-write")["a"][META]["state"] == "deleted"
    assert tally.obsolete == 1


def test_a_late_insert_does_not_replace_a_newer_document() -> None:
    world = World()
    applier = world.applier()
    applier.apply(chunk(change("MODIFY", "a", 5)))
    tally = applier.apply(chunk(change("INSERT", "a", 1)))
    assert world.live()["a"]["n"] == 5
    assert (tally.obsolete, tally.conflicts) == (1, 1)


def test_changes_of_one_item_in_a_chunk_become_one_write() -> None:
    world = World()
    tally = world.applier().apply(
        chunk(change("INSERT", "a", 1), change("MODIFY", "a", 10), change("MODIFY", "a", 9))
    )
    assert world.live()["a"]["n"] == 10
    assert (tally.applied, tally.folded) == (1, 2)


def test_one_refused_change_goes_alone_to_the_dead_letters() -> None:
    world = World()
    poison = change("INSERT", "b", 2, new={"poison": {"BOOL": True}})
    tally = world.applier().apply(chunk(change("INSERT", "a", 1), poison, change("INSERT", "c", 3)))
    assert set(world.live()) == {"a", "c"}
    ((_, dead, letter),) = world.deadletters.changes
    assert dead == poison
    assert (letter.error, letter.reason) == ("document_parsing_exception", "poison")
    assert (letter.table, letter.index, letter.id) == ("posts", "posts-write", "b")
    assert (tally.applied, tally.refused) == (2, 1)


def test_a_refused_change_that_is_obsolete_is_no_dead_letter() -> None:
    """A cluster judges a document before its position; so does whoever makes the document."""
    world = World()
    applier = world.applier()
    applier.apply(chunk(change("MODIFY", "a", 5), change("MODIFY", "b", 5)))
    poison = change("INSERT", "a", 1, new={"poison": {"BOOL": True}})
    bad = change("INSERT", "b", 1, new={"x": {"N": "no number"}})
    tally = applier.apply(chunk(poison, bad))
    assert (tally.obsolete, tally.refused) == (2, 0)
    assert world.deadletters.changes == []


def test_a_change_whose_document_cannot_be_made_goes_alone_to_the_dead_letters() -> None:
    world = World()
    bad = change("INSERT", "b", 2, new={"x": {"N": "no number"}})
    world.applier().apply(chunk(change("INSERT", "a", 1), bad))
    assert set(world.live()) == {"a"}
    assert world.deadletters.changes[0][2].error == "MalformedItem"


def test_a_document_function_that_answers_none_hides_the_item() -> None:
    world = World(table=Table("posts", document=lambda item: None))
    world.applier().apply(chunk(change("INSERT", "a", 1)))
    assert world.live() == {}
    document = world.documents.documents("posts-write")["a"]
    assert document[META]["state"] == "hidden"
    assert set(document) == {META}


def test_a_claim_check_is_redeemed_only_where_it_is_needed() -> None:
    world = World()
    whole = change("MODIFY", "a", 5)
    checked = replace(whole, new=None, overflow=Overflow("posts/5", 10))
    world.overflow.objects["posts/5"] = whole
    applier = world.applier()
    applier.apply(chunk(checked))
    assert world.live()["a"]["n"] == 5
    world.overflow.objects.clear()
    applier.apply(chunk(change("MODIFY", "a", 6)))
    assert applier.apply(chunk(checked)).obsolete == 1
    assert world.deadletters.changes == []


def test_a_missing_claim_check_is_a_dead_letter() -> None:
    world = World()
    world.applier().apply(
        chunk(Change("MODIFY", {"id": {"S": "a"}}, NOW, "1", overflow=Overflow("k", 9)))
    )
    assert world.deadletters.changes[0][2].error == "OverflowMissing"


def test_a_change_beyond_the_horizon_is_settled_by_the_table() -> None:
    """Its tombstone may be gone, so its position proves nothing any more."""
    world = World()
    world.source.items["posts", '{"id":{"S":"b"}}'] = {"id": {"S": "b"}, "n": {"N": "77"}}
    old = NOW - 31 * DAY
    tally = world.applier().apply(
        chunk(
            change("MODIFY", "a", 1, old), change("MODIFY", "b", 2, old), change("INSERT", "c", 3)
        )
    )
    assert {name: body["n"] for name, body in world.live().items()} == {"b": 77, "c": 3}
    assert stored_of(world.documents.documents("posts-write")["b"]).position is None
    assert world.source.reads == 1
    assert tally.applied == 3


def test_a_read_of_the_table_wins_over_older_changes_and_keeps_their_position() -> None:
    world = World()
    applier = world.applier()
    applier.apply(chunk(change("INSERT", "a", 5, NOW - 200_000)))
    read = Change("READ", {"id": {"S": "a"}}, NOW, new={"id": {"S": "a"}, "n": {"N": "6"}})
    applier.apply(chunk(read, stream=None))
    assert world.live()["a"]["n"] == 6
    stored = stored_of(world.documents.documents("posts-write")["a"])
    assert stored.position == Position.of(LABEL, "5")
    assert stored.read == NOW
    assert applier.apply(chunk(change("MODIFY", "a", 7, NOW - 190_000))).obsolete == 1


def test_a_read_that_found_nothing_leaves_a_tombstone() -> None:
    world = World()
    applier = world.applier()
    applier.apply(chunk(change("INSERT", "a", 5, NOW - 200_000)))
    applier.apply(chunk(Change("READ", {"id": {"S": "a"}}, NOW), stream=None))
    assert world.live() == {}


def test_a_position_noted_under_a_read_changes_no_content() -> None:
    world = World()
    applier = world.applier()
    read = Change("READ", {"id": {"S": "a"}}, NOW, new={"id": {"S": "a"}, "n": {"N": "9"}})
    applier.apply(chunk(read, stream=None))
    assert applier.apply(chunk(change("MODIFY", "a", 8, NOW - 61_000))).applied == 1
    assert world.live()["a"]["n"] == 9
    stored = stored_of(world.documents.documents("posts-write")["a"])
    assert (stored.position, stored.read) == (Position.of(LABEL, "8"), NOW)


def test_an_unknown_table_rejects_the_whole_message() -> None:
    with pytest.raises(RejectedError, match="SLUICE_TABLES"):
        World().applier().apply(Chunk("users", None, (Change("READ", {"id": {"S": "a"}}, NOW),)))


@dataclass
class Busy(MemoryDocuments):
    """Documents that somebody else changes just before each of the first writes."""

    conflicts: int = 0

    def write(self, alias: str, writes: Sequence[Write]) -> list[Result]:
        if self.conflicts and writes:
            self.conflicts -= 1
            return [Result(w.operation.target, Outcome.CONFLICT) for w in writes]
        return super().write(alias, writes)


def test_a_conflict_is_read_and_decided_again() -> None:
    world = World(documents=Busy(conflicts=3))
    tally = world.applier().apply(chunk(change("MODIFY", "a", 1)))
    assert (tally.applied, tally.conflicts) == (1, 3)


def test_endless_conflicts_send_the_message_back() -> None:
    world = World(documents=Busy(conflicts=10**6))
    with pytest.raises(ContentionError):
        world.applier().apply(chunk(change("MODIFY", "a", 1)))


@dataclass
class Full(MemoryDocuments):
    """A cluster whose write queue is full for every second document."""

    def write(self, alias: str, writes: Sequence[Write]) -> list[Result]:
        taken = super().write(alias, writes[::2])
        return taken + [
            Result(w.operation.target, Outcome.UNAVAILABLE, "es_rejected_execution_exception")
            for w in writes[1::2]
        ]


def test_a_cluster_that_takes_a_part_sends_the_message_back_and_no_dead_letter() -> None:
    world = World(documents=Full())
    with pytest.raises(UnavailableError, match="es_rejected"):
        world.applier().apply(chunk(change("INSERT", "a", 1), change("INSERT", "b", 2)))
    assert world.deadletters.changes == []


@given(st.data())
def test_any_delivery_of_any_history_ends_at_the_table(data: st.DataObject) -> None:
    steps = data.draw(
        st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1, max_size=20)
    )
    table: dict[str, int] = {}
    changes: list[Change] = []
    for sequence, (key, removes) in enumerate(steps, start=95):
        if removes and key not in table:
            continue
        kind: Kind = "REMOVE" if removes else "MODIFY" if key in table else "INSERT"
        changes.append(change(kind, key, sequence))
        if removes:
            del table[key]
        else:
            table[key] = sequence
    repeats = data.draw(st.lists(st.sampled_from(changes or [change("REMOVE", "z", 1)])))
    delivery = data.draw(st.permutations(changes + repeats))
    world = World()
    applier = world.applier()
    while delivery:
        size = data.draw(st.integers(1, len(delivery)))
        tally = applier.apply(chunk(*delivery[:size]))
        assert tally.applied + tally.obsolete + tally.folded + tally.refused == size
        delivery = delivery[size:]
    assert {name: body["n"] for name, body in world.live().items()} == table
    keys = {key_text(c.key) for c in changes + repeats}
    stored = world.documents.documents("posts-write").values()
    assert {body[META]["key"] for body in stored} == keys
