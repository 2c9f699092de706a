"""One suite for every place documents can lie: Elasticsearch 8 and 9, the embedded engine, memory.

It keeps the in-memory documents of the unit tests, and of the kit, honest.
"""

import os
from collections.abc import Iterator
from typing import Any, Protocol

import pytest

from kit.mapped import Mapped
from kit.memory import MemoryDocuments
from producer.contract import Change
from tests.services.engines import Engine, name_search_engines
from worker.cluster import Cluster, connect, path
from worker.errors import ConfigurationError, UnavailableError
from worker.index import Documents, Index, Write
from worker.mappings import META
from worker.order import Position, Statement, Stored, Verdict
from worker.outcomes import Outcome
from worker.plan import Content, Operation, Target, Version
from worker.schema import ensure_index
from worker.tables import Table, index_body

MAPPINGS = {"properties": {"poison": {"type": "long"}}}
LABEL = "2024-01-01T00:00:00.000"


class Place(Protocol):
    """Documents, and a way to see what a search sees."""

    @property
    def documents(self) -> Documents: ...

    @property
    def alias(self) -> str: ...

    def live(self) -> dict[str, dict[str, Any]]: ...


class InMemory:
    def __init__(self) -> None:
        table = Table("posts", mappings=MAPPINGS)
        self.alias = table.write_alias
        mapped = {self.alias: Mapped.of(index_body(table))}
        self.documents = MemoryDocuments(mapped, poison=None)

    def live(self) -> dict[str, dict[str, Any]]:
        return self.documents.live(self.alias)


class InCluster:
    def __init__(self, cluster: Cluster, table: Table[Any]) -> None:
        ensure_index(cluster, table)
        self.cluster, self.table = cluster, table
        self.documents = Index(cluster)
        self.alias = table.write_alias

    def live(self) -> dict[str, dict[str, Any]]:
        self.cluster.request("POST", path(self.alias, "_refresh"))
        answer = self.cluster.request(
            "POST", path(self.table.alias, "_search"), body={"size": 1000}
        )
        return {hit["_id"]: hit["_source"] for hit in answer.body["hits"]["hits"]}


@pytest.fixture
def cluster(search_engine: Engine) -> Iterator[Cluster]:
    connection = connect(search_engine.url, timeout_s=30)
    yield connection
    connection.close()


@pytest.fixture(params=["memory", "cluster"])
def place(
    request: pytest.FixtureRequest, search_engine: Engine, fresh_name: str
) -> Iterator[Place]:
    if request.param == "memory":
        yield InMemory()
        return
    connection = connect(search_engine.url, timeout_s=30)
    yield InCluster(connection, Table(fresh_name, mappings=MAPPINGS))
    connection.close()


def target(name: str, sequence: int = 1, routing: str | None = None) -> Target:
    statement = Statement(Position.of(LABEL, str(sequence)), 1_000)
    change = Change("MODIFY", {"id": {"S": name}}, 1_000, str(sequence), new={"id": {"S": name}})
    return Target(name, routing, change, statement)


def write(
    name: str,
    fields: dict[str, Any] | None = None,
    *,
    found: Version | None = None,
    sequence: int = 1,
    state: Any = "live",
    routing: str | None = None,
) -> Write:
    one = target(name, sequence, routing)
    stored = Stored(one.statement.position, 1_000, None)
    content = Content(state, fields or {}, "digest", '{"id":{"S":"x"}}')
    return Write(Operation(one, Verdict.APPLY, stored, found), content)


def outcomes(place: Place, *writes: Write) -> list[Outcome]:
    return [result.outcome for result in place.documents.write(place.alias, writes)]


def test_a_created_document_is_found_with_what_it_was_made_from(place: Place) -> None:
    assert outcomes(place, write("a", {"n": 1}, sequence=7)) == [Outcome.DONE]
    found = place.documents.find(place.alias, [target("a"), target("b")])
    assert set(found) == {"a"}
    assert found["a"].stored == Stored(Position.of(LABEL, "7"), 1_000, None)
    assert place.live()["a"]["n"] == 1


def test_creating_what_is_there_is_a_conflict(place: Place) -> None:
    outcomes(place, write("a", {"n": 1}))
    assert outcomes(place, write("a", {"n": 2}), write("b")) == [Outcome.CONFLICT, Outcome.DONE]
    assert place.live()["a"]["n"] == 1


def test_a_write_on_an_outdated_version_is_a_conflict(place: Place) -> None:
    outcomes(place, write("a", {"n": 1}))
    found = place.documents.find(place.alias, [target("a")])["a"]
    assert outcomes(place, write("a", {"n": 2}, found=found)) == [Outcome.DONE]
    assert outcomes(place, write("a", {"n": 3}, found=found)) == [Outcome.CONFLICT]
    assert place.live()["a"]["n"] == 2


@pytest.mark.parametrize("state", ["deleted", "hidden"])
def test_a_tombstone_is_found_but_no_search_sees_it(place: Place, state: str) -> None:
    outcomes(place, write("a", {"n": 1}))
    found = place.documents.find(place.alias, [target("a")])["a"]
    assert outcomes(place, write("a", found=found, state=state)) == [Outcome.DONE]
    assert place.live() == {}
    assert set(place.documents.find(place.alias, [target("a")])) == {"a"}


def test_a_note_moves_the_position_and_keeps_the_content(place: Place) -> None:
    outcomes(place, write("a", {"n": 1}))
    found = place.documents.find(place.alias, [target("a")])["a"]
    noted = Stored(Position.of(LABEL, "9"), 2_000, None)
    note = Write(Operation(target("a", 9), Verdict.NOTE, noted, found), None)
    assert outcomes(place, note) == [Outcome.DONE]
    assert place.documents.find(place.alias, [target("a")])["a"].stored == noted
    assert place.live()["a"]["n"] == 1
    assert place.live()["a"][META]["digest"] == "digest"


def test_a_note_on_an_outdated_version_is_a_conflict(place: Place) -> None:
    outcomes(place, write("a", {"n": 1}))
    found = place.documents.find(place.alias, [target("a")])["a"]
    outcomes(place, write("a", {"n": 2}, found=found))
    note = Write(Operation(target("a", 9), Verdict.NOTE, found.stored, found), None)
    assert outcomes(place, note) == [Outcome.CONFLICT]


def test_a_refused_document_leaves_the_others_alone(place: Place) -> None:
    results = place.documents.write(
        place.alias, [write("a"), write("b", {"poison": "no number"}), write("c")]
    )
    assert [r.outcome for r in results] == [Outcome.DONE, Outcome.REFUSED, Outcome.DONE]
    assert results[1].error in ("document_parsing_exception", "mapper_parsing_exception")
    assert results[1].reason
    assert set(place.live()) == {"a", "c"}


def nest(levels: int) -> dict[str, Any]:
    return {"a": nest(levels - 1)} if levels else {}


@pytest.mark.parametrize("fields", [{"\ud800": 1}, {"a": object()}, nest(300)])
def test_a_document_that_json_cannot_carry_leaves_the_others_alone(
    place: Place, fields: dict[str, Any]
) -> None:
    """`worker.documents` makes no such document; whatever else would is not the others' fault."""
    good, bad = write("a", {"n": 1}), write("b", fields)
    results = place.documents.write(place.alias, [bad, good, write("c", {"n": 2})])
    assert [result.target.id for result in results] == ["b", "a", "c"]
    assert [result.outcome for result in results] == [
        Outcome.REFUSED,
        Outcome.DONE,
        Outcome.DONE,
    ]
    assert results[0].error == "UnserializableDocument"
    assert set(place.live()) == {"a", "c"}


def test_routing_is_kept_from_write_to_find(place: Place) -> None:
    outcomes(place, write("a", {"n": 1}, routing="tenant"))
    assert set(place.documents.find(place.alias, [target("a", routing="tenant")])) == {"a"}


def test_writing_nothing_asks_for_nothing(place: Place) -> None:
    assert place.documents.write(place.alias, []) == []
    assert place.documents.find(place.alias, []) == {}


def test_a_bulk_larger_than_the_limit_is_sent_in_parts(cluster: Cluster, fresh_name: str) -> None:
    table = Table(fresh_name)
    place = InCluster(cluster, table)
    small = Index(cluster, bulk_bytes=2_000)
    writes = [write(f"{n}", {"text": "x" * 900}) for n in range(20)]
    assert {r.outcome for r in small.write(place.alias, writes)} == {Outcome.DONE}
    assert len(place.live()) == 20


@pytest.mark.parametrize(
    "search_engine", name_search_engines(os.environ)[1:], indirect=True, scope="session"
)
def test_a_document_that_fails_the_whole_bulk_is_found_and_refused_alone(
    cluster: Cluster, fresh_name: str
) -> None:
    """An id too long does; the embedded engine takes ids of any length."""
    place = InCluster(cluster, Table(fresh_name))
    good, bad = [write(f"{n}") for n in range(5)], write("x" * 600)
    assert outcomes(place, *good[:3], bad, *good[3:]) == [
        *[Outcome.DONE] * 3,
        Outcome.REFUSED,
        *[Outcome.DONE] * 2,
    ]
    assert set(place.live()) == {"0", "1", "2", "3", "4"}


def test_without_the_alias_nothing_is_created_and_the_message_stays(
    cluster: Cluster, fresh_name: str
) -> None:
    index = Index(cluster)
    alias = f"{fresh_name}-write"
    with pytest.raises(UnavailableError):
        index.find(alias, [target("a")])
    try:
        judged = [result.outcome for result in index.write(alias, [write("a")])]
    except UnavailableError:
        judged = [Outcome.UNAVAILABLE]
    assert judged == [Outcome.UNAVAILABLE]
    assert cluster.request("GET", path(alias)).status == 404


def test_a_cluster_that_is_not_there_makes_the_message_stay() -> None:
    absent = connect("http://127.0.0.1:9", timeout_s=2)
    with pytest.raises(UnavailableError, match="does not answer"):
        Index(absent).find("posts-write", [target("a")])


def test_an_index_is_made_once_and_found_again(cluster: Cluster, fresh_name: str) -> None:
    table = Table(fresh_name, mappings={"properties": {"title": {"type": "text"}}})
    assert ensure_index(cluster, table) == f"{fresh_name}-v1"
    assert ensure_index(cluster, table) == f"{fresh_name}-v1"


def test_an_index_of_another_declaration_is_an_error_and_stays_as_it_is(
    cluster: Cluster, fresh_name: str
) -> None:
    ensure_index(cluster, Table(fresh_name, mappings={"properties": {"title": {"type": "text"}}}))
    other = Table(fresh_name, mappings={"properties": {"title": {"type": "keyword"}}})
    with pytest.raises(ConfigurationError, match="title"):
        ensure_index(cluster, other)
    answer = cluster.request("GET", path(f"{fresh_name}-v1", "_mapping"))
    live = answer.body[f"{fresh_name}-v1"]["mappings"]["properties"]["title"]
    assert live["type"] == "text"


def test_fields_that_documents_brought_along_are_no_disagreement(
    cluster: Cluster, fresh_name: str
) -> None:
    table = Table(fresh_name, mappings={"properties": {"title": {"type": "text"}}})
    place = InCluster(cluster, table)
    assert outcomes(place, write("a", {"extra": 1, "title": "t", "deep": {"x": ["y"]}})) == [
        Outcome.DONE
    ]
    ensure_index(cluster, table)


def test_an_index_under_the_alias_name_is_a_clear_error(cluster: Cluster, fresh_name: str) -> None:
    cluster.request("PUT", path(fresh_name), body={})
    with pytest.raises(ConfigurationError, match="another alias"):
        ensure_index(cluster, Table(fresh_name))


def test_a_mapping_the_cluster_refuses_is_a_clear_error(
    cluster: Cluster, fresh_name: str, search_engine: Engine
) -> None:
    table = Table(fresh_name, mappings={"properties": {"title": {"type": "no such type"}}})
    with pytest.raises(ConfigurationError, match="mappings"):
        ensure_index(cluster, table)
