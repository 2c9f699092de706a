"""Which indexes a table is written to: what the aliases say, and what a chunk makes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from console.rebuild.barrier import read_writes
from console.rebuild.copy import read_hit
from console.rebuild.writing import Known, make_target
from kit.memory import (
    MemoryDeadLetters,
    MemoryDocuments,
    MemoryOverflow,
    MemorySource,
    MemoryViews,
)
from producer.contract import Change, Chunk
from worker.apply import Applier
from worker.errors import ConfigurationError, MovedError, UnavailableError
from worker.index import Result, Write
from worker.mappings import META
from worker.order import Floor, Position, Stored
from worker.outcomes import Outcome
from worker.plan import Target, Version
from worker.tables import Table, load_tables
from worker.view import Destination, View, check_declared, read_view

LABEL = "2024-01-01T00:00:00.000"
STREAM = f"arn:aws:dynamodb:eu-west-1:123456789012:table/posts/stream/{LABEL}"
NOW = 1_800_000_000_000

BEFORE: Table[Any] = Table("posts")
AFTER: Table[Any] = Table(
    "posts", document=lambda item: {"new": item["id"]}, version=2, previous=BEFORE
)
ALONE: View = (Destination(1, "posts-v1", "posts-write"),)
BOTH: View = (
    Destination(1, "posts-v1", "posts-write-v1-beside-v2"),
    Destination(2, "posts-v2", "posts-write-v2-beside-v1"),
)
LATER: View = (Destination(2, "posts-v2", "posts-write-v2"),)


def aliases(*views: Destination, **more: str) -> dict[str, Any]:
    """As the cluster shows them; more: index by alias, with underscores for hyphens."""
    body: dict[str, Any] = {}
    for one in views:
        body.setdefault(one.index, {"aliases": {}})["aliases"][one.alias] = {}
    for alias, index in more.items():
        body.setdefault(index, {"aliases": {}})["aliases"][alias.replace("_", "-")] = {}
    return body


# --- reading the aliases ---------------------------------------------------------------------


@pytest.mark.parametrize("view", [(), ALONE, BOTH, LATER])
def test_a_view_is_read_from_the_aliases_alone(view: View) -> None:
    assert read_view("posts", aliases(*view)) == view


def test_aliases_of_other_tables_and_purposes_are_no_part_of_a_view() -> None:
    body = aliases(*ALONE, posts_writers_write="other-v1", posts_write_v2_old="posts-v1")
    assert read_view("posts", body) == ALONE


@pytest.mark.parametrize(
    "broken",
    [
        aliases(*BOTH[:1]),
        aliases(*ALONE, *BOTH),
        aliases(*ALONE, *LATER),
        aliases(*ALONE, Destination(1, "posts-v3", "posts-write")),
        aliases(*BOTH, Destination(2, "posts-v3", "posts-write-v2-beside-v1")),
        aliases(BOTH[0], Destination(3, "posts-v3", "posts-write-v3-beside-v1")),
        aliases(BOTH[0], LATER[0]),
    ],
)
def test_aliases_that_no_step_leaves_behind_are_an_error(broken: Mapping[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="make no view"):
        read_view("posts", broken)


def test_no_name_of_one_view_is_a_name_of_another() -> None:
    """So whoever holds an old view finds nothing there, and never the wrong index."""
    names = [one.alias for view in (ALONE, BOTH, LATER) for one in view]
    assert len(set(names)) == len(names)


def test_a_version_nobody_declares_is_an_error_that_says_what_to_deploy() -> None:
    with pytest.raises(ConfigurationError, match=r"posts-v2, version 2.*declares 1 alone.*deploy"):
        check_declared(BEFORE, BOTH)
    check_declared(AFTER, BOTH)


# --- declarations ----------------------------------------------------------------------------


def test_a_table_knows_the_declaration_of_each_of_its_versions() -> None:
    assert AFTER.declarations() == (AFTER, BEFORE)
    assert (AFTER.declaration(1), AFTER.declaration(2)) == (BEFORE, AFTER)
    assert BEFORE.declaration(2) is None
    assert (BEFORE.write_alias, AFTER.write_alias) == (ALONE[0].alias, LATER[0].alias)
    assert (BEFORE.beside(2), AFTER.beside(1)) == (BOTH[0].alias, BOTH[1].alias)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"version": 0}, "version is a number"),
        ({"version": True}, "version is a number"),
        ({"version": 1, "previous": BEFORE}, "not above"),
        ({"version": 2, "previous": Table("other")}, "another name"),
        ({"version": 2, "previous": BEFORE, "alias": "elsewhere"}, "another alias"),
        ({"version": 2, "previous": BEFORE, "routing": "id"}, "another routing"),
        ({"version": 2, "previous": "posts"}, "no Table"),
    ],
)
def test_a_version_that_cannot_follow_is_named(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        Table("posts", **options)


def test_a_module_may_name_both_declarations() -> None:
    assert load_tables(__name__)["posts"] is AFTER


# --- chunks ----------------------------------------------------------------------------------


@dataclass
class Moving(MemoryDocuments):
    """Documents behind aliases that may be gone, as of a given write."""

    gone: set[str] = field(default_factory=set)
    then: dict[int, set[str]] = field(default_factory=dict)
    """After so many bulks, these are gone."""

    def find(self, alias: str, targets: Sequence[Target]) -> Mapping[str, Version]:
        if alias in self.gone and targets:
            raise MovedError(f"no such alias {alias}")
        return super().find(alias, targets)

    def write(self, alias: str, writes: Sequence[Write]) -> list[Result]:
        self.gone |= self.then.get(self.bulks, set())
        if alias in self.gone:
            why = "index_not_found_exception"
            return [Result(w.operation.target, Outcome.UNAVAILABLE, why) for w in writes]
        return super().write(alias, writes)


@dataclass
class World:
    """An applier that knows both declarations."""

    table: Table[Any] = AFTER
    documents: Moving = field(default_factory=Moving)
    views: MemoryViews = field(default_factory=lambda: MemoryViews(BOTH))
    deadletters: MemoryDeadLetters = field(default_factory=MemoryDeadLetters)
    applier: Applier = field(init=False)

    def __post_init__(self) -> None:
        self.applier = Applier(
            tables={"posts": self.table},
            views=self.views,
            documents=self.documents,
            overflow=MemoryOverflow(),
            source=MemorySource(),
            deadletters=self.deadletters,
            clock_ms=lambda: NOW,
            margin_ms=60_000,
            horizon_ms=10**12,
        )

    def fields(self, alias: str) -> dict[str, Any]:
        return {
            name: {k: v for k, v in body.items() if k != META}
            for name, body in self.documents.live(alias).items()
        }


def chunk(*names: str, sequence: int = 1, **fields: Any) -> Chunk:
    changes = [
        Change(
            "INSERT", {"id": {"S": n}}, NOW, f"{sequence + place}", new={"id": {"S": n}, **fields}
        )
        for place, n in enumerate(names)
    ]
    return Chunk("posts", STREAM, tuple(changes))


def test_a_chunk_is_written_to_both_indexes_as_each_is_declared() -> None:
    world = World()
    tally = world.applier.apply(chunk("a", "b"))
    assert world.fields(BOTH[0].alias) == {"a": {"id": "a"}, "b": {"id": "b"}}
    assert world.fields(BOTH[1].alias) == {"a": {"new": "a"}, "b": {"new": "b"}}
    assert (tally.applied, tally.obsolete, tally.refused) == (2, 0, 0)


def test_the_view_is_asked_for_once_and_again_only_when_its_alias_is_gone() -> None:
    world = World(views=MemoryViews(ALONE))
    world.applier.apply(chunk("a"))
    world.applier.apply(chunk("b"))
    assert world.views.looks == 1
    world.documents.gone.add(ALONE[0].alias)
    world.views.view = BOTH
    tally = world.applier.apply(chunk("c"))
    assert set(world.fields(BOTH[0].alias)) == set(world.fields(BOTH[1].alias)) == {"c"}
    assert (tally.applied, world.views.looks) == (1, 2)


def test_a_chunk_whose_alias_goes_between_its_indexes_is_decided_again_by_the_new_view() -> None:
    world = World(documents=Moving(then={1: {one.alias for one in BOTH}}))
    world.applier.known["posts"] = BOTH
    world.views.view = LATER
    tally = world.applier.apply(chunk("a"))
    assert world.fields(LATER[0].alias) == {"a": {"new": "a"}}
    assert (tally.applied, tally.obsolete, tally.refused) == (1, 0, 0)


def test_an_alias_that_is_gone_without_another_sends_the_message_back() -> None:
    world = World(views=MemoryViews(ALONE))
    world.documents.gone.add(ALONE[0].alias)
    with pytest.raises(UnavailableError):
        world.applier.apply(chunk("a"))
    assert world.deadletters.changes == []


def test_what_the_new_index_alone_refuses_is_applied_and_has_a_letter_that_names_it() -> None:
    picky: Table[Any] = Table(
        "posts", document=lambda item: {"poison": 1}, version=2, previous=BEFORE
    )
    world = World(table=picky)
    tally = world.applier.apply(chunk("a"))
    assert world.fields(BOTH[0].alias) == {"a": {"id": "a"}}
    ((_, _, letter),) = world.deadletters.changes
    assert (letter.index, letter.error) == (BOTH[1].alias, "document_parsing_exception")
    assert (tally.applied, tally.refused) == (1, 0)


def test_what_both_indexes_refuse_has_one_letter() -> None:
    poisonous = lambda item: {"poison": 1}  # noqa: E731 - a declaration's own form
    before: Table[Any] = Table("posts", document=poisonous)
    world = World(table=Table("posts", document=poisonous, version=2, previous=before))
    tally = world.applier.apply(chunk("a"))
    assert len(world.deadletters.changes) == 1
    assert (tally.applied, tally.refused) == (0, 1)


def test_a_late_change_is_obsolete_in_one_index_and_applied_in_the_other() -> None:
    world = World(views=MemoryViews(ALONE))
    world.applier.apply(chunk("a", sequence=5))
    there = world.documents.aliases.pop(ALONE[0].alias)
    world.documents.aliases[BOTH[0].alias] = there
    world.documents.gone.add(ALONE[0].alias)
    world.views.view = BOTH
    tally = world.applier.apply(chunk("a", sequence=3))
    assert (tally.applied, tally.obsolete) == (1, 0)
    tally = world.applier.apply(chunk("a", sequence=3))
    assert (tally.applied, tally.obsolete) == (0, 1)


# --- the copy's statements -------------------------------------------------------------------


def test_a_copied_item_is_a_read_with_the_old_documents_position_for_its_floor() -> None:
    position = Position.of(LABEL, "7")
    known = Known({"id": {"S": "a"}}, Stored(position, 500, None))
    target = make_target(AFTER, known, None, 1_000)
    assert (target.id, target.change.kind, target.change.new) == ("a", "READ", None)
    assert target.statement.floor == Floor(position, 500)
    assert target.statement.at == 1_000


def test_a_copied_item_is_later_than_the_read_that_is_stored_whatever_the_clocks_say() -> None:
    known = Known({"id": {"S": "a"}}, Stored(None, None, 2_000))
    statement = make_target(AFTER, known, None, 1_000).statement
    assert (statement.at, statement.floor) == (2_000, None)


def test_a_document_whose_key_is_not_its_own_is_not_copied() -> None:
    meta = {"key": '{"id":{"S":"a"}}', "label": None, "sequence": None, "time": 1, "read": 2}
    assert read_hit({"_id": "a", "_source": {META: meta}}) == Known(
        {"id": {"S": "a"}}, Stored(None, 1, 2)
    )
    for wrong in ({"_id": "b", "_source": {META: meta}}, {"_id": "a", "_source": {}}):
        assert read_hit(wrong) is None
    assert read_hit({"_id": "a", "_source": {META: {**meta, "key": "no JSON"}}}) is None


def test_writes_in_work_are_listed_over_all_nodes() -> None:
    body: dict[str, Any] = {
        "nodes": {"n1": {"tasks": {"n1:1": {}, "n1:2": {}}}, "n2": {"tasks": {"n2:1": {}}}}
    }
    assert read_writes(body) == {"n1:1", "n1:2", "n2:1"}
    assert read_writes({"nodes": {}}) == frozenset()
