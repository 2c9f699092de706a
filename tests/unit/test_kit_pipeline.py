"""A table's whole way in memory: what the kit promises to tests that stand on it."""

import logging
import socket
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from kit.errors import UnansweredLetterError, UnwritableItemError
from kit.pipeline import Pipeline, Pipelines
from tests.fakes import noise
from worker.events import Insert, Modify, Remove
from worker.handlers import Handler
from worker.tables import Table, dump


class Post(BaseModel):
    id: str
    title: str = ""
    views: int = 0


def document(post: Post) -> dict[str, Any] | None:
    return None if post.title == "secret" else dump(post)


posts = Table("posts", model=Post, document=document, mappings={"views": {"type": "long"}})


@pytest.fixture
def pipeline(sluice_pipeline: Pipelines) -> Pipeline[Post]:
    return sluice_pipeline(posts, key="id")


def test_a_round_trip_needs_no_network_and_takes_milliseconds(
    pipeline: Pipeline[Post], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    took = []
    for number in range(20):
        started = time.perf_counter()
        pipeline.put(Post(id="a", title=str(number)))
        assert pipeline.document("a") == {"id": "a", "title": str(number), "views": 0}
        took.append(time.perf_counter() - started)
    assert min(took) < 0.1


@given(
    writes=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3) | st.none()), max_size=12),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_whatever_is_written_the_index_equals_the_table(
    writes: list[tuple[str, int | None]], seed: int
) -> None:
    """Also after everything came shuffled, twice, and once more."""
    pipeline = Pipeline(posts, key="id")
    for name, views in writes:
        if views is None:
            pipeline.delete(name)
        else:
            pipeline.put(Post(id=name, title="t", views=views))
    pipeline.deliver(shuffled=True, twice=True, seed=seed)
    pipeline.replay(seed=seed)
    assert pipeline.documents() == {
        name: item for name in "abc" if (item := pipeline.item(name)) is not None
    }
    pipeline.close()


def test_shuffled_messages_come_in_every_order() -> None:
    firsts = set()
    for seed in range(10):
        taken: list[str] = []

        def take(changes: Sequence[Insert[Post]], taken: list[str] = taken) -> None:
            taken.extend(change.new.id for change in changes)

        table = Table("posts", model=Post, handlers=[Handler("INSERT", take)])
        pipeline = Pipeline(table, key="id")
        for name in "abc":
            pipeline.put(Post(id=name))
        pipeline.deliver(shuffled=True, seed=seed)
        firsts.add(taken[0])
        assert sorted(taken) == ["a", "b", "c"]
    assert firsts == set("abc")


def test_twice_gives_each_change_to_a_handler_twice(sluice_pipeline: Pipelines) -> None:
    taken: list[str] = []

    def take(changes: Sequence[Insert[Post]]) -> None:
        taken.extend(change.new.id for change in changes)

    table = Table("posts", model=Post, handlers=[Handler("INSERT", take)])
    pipeline = sluice_pipeline(table, key="id")
    pipeline.put(Post(id="a"))
    pipeline.deliver(twice=True)
    assert taken == ["a", "a"]
    pipeline.replay()
    assert taken == ["a", "a", "a"]


def test_put_knows_insert_from_modify_and_no_change(sluice_pipeline: Pipelines) -> None:
    seen: list[tuple[str, str | None]] = []

    def watch(changes: Sequence[Insert[Post] | Modify[Post] | Remove[Post]]) -> None:
        for change in changes:
            old = None if isinstance(change, Insert) else change.old
            seen.append((type(change).__name__, old.title if old else None))
            assert change.meta.expired == (change.meta.key == {"id": "b"} and old is not None)

    table = Table("posts", model=Post, handlers=[Handler("ALL", watch)])
    pipeline = sluice_pipeline(table, key="id")
    pipeline.put(Post(id="a", title="one"))
    pipeline.put(Post(id="a", title="one"))
    pipeline.put(Post(id="a", title="two"))
    pipeline.delete(Post(id="a"))
    pipeline.delete("a")
    pipeline.put(Post(id="b"))
    pipeline.expire("b")
    pipeline.deliver()
    assert seen == [
        ("Insert", None),
        ("Modify", "one"),
        ("Remove", "two"),
        ("Insert", None),
        ("Remove", ""),
    ]


def test_without_old_images_handlers_see_none(sluice_pipeline: Pipelines) -> None:
    seen: list[Post | None] = []

    def watch(changes: Sequence[Modify[Post]]) -> None:
        seen.extend(change.old for change in changes)

    table = Table("posts", model=Post, handlers=[Handler("MODIFY", watch)])
    pipeline = sluice_pipeline(table, key="id", old_images=False)
    pipeline.put(Post(id="a"))
    pipeline.put(Post(id="a", title="x"))
    pipeline.deliver()
    assert seen == [None]


def test_a_failing_handler_is_a_letter_for_it_alone_and_a_redrive_runs_it() -> None:
    broken = True
    mailed: list[str] = []

    def mail(changes: Sequence[Insert[Post]]) -> None:
        if broken:
            raise RuntimeError("no post office")
        mailed.extend(change.new.id for change in changes)

    table = Table("posts", model=Post, handlers=[Handler("INSERT", mail)])
    pipeline = Pipeline(table, key="id")
    started = time.perf_counter()
    pipeline.put(Post(id="a"))
    (letter,) = pipeline.dead_letters()
    assert time.perf_counter() - started < 1, "pauses between attempts are not waited for"
    assert (letter.error, letter.handler, letter.key) == ("RuntimeError", "mail", {"id": "a"})
    assert "no post office" in letter.reason
    assert set(pipeline.documents()) == {"a"}
    broken = False
    pipeline.redrive()
    assert mailed == ["a"]
    assert pipeline.dead_letters() == []


def test_what_the_cluster_would_refuse_is_a_dead_letter(pipeline: Pipeline[Post]) -> None:
    pipeline.put({"id": "a", "views": 2**63})
    pipeline.put({"id": "b", "views": "many"})
    errors = {letter.id: letter.error for letter in pipeline.dead_letters()}
    assert errors == {"a": "document_parsing_exception", "b": "ValidationError"}


def test_a_record_nobody_can_read_is_a_dead_letter(pipeline: Pipeline[Post]) -> None:
    pipeline.send({"eventSource": "aws:dynamodb", "eventName": "???"})
    pipeline.put(Post(id="a"))
    (letter,) = pipeline.dead_letters()
    assert (letter.error, letter.kind) == ("UnreadableRecord", "")
    assert set(pipeline.documents()) == {"a"}


def test_an_item_too_large_for_a_message_comes_through(sluice_pipeline: Pipelines) -> None:
    pipeline = sluice_pipeline(Table("posts"), key="id")
    text = noise(1, 290_000)
    pipeline.put({"id": "a", "noise": text})
    pipeline.put({"id": "a", "noise": text, "again": True})
    document = pipeline.document("a")
    assert document is not None
    assert document["noise"] == text


def test_a_hidden_document_is_no_search_result(pipeline: Pipeline[Post]) -> None:
    pipeline.put(Post(id="a", title="secret"))
    assert pipeline.documents() == {}
    assert [pipeline.state(name) for name in ("a", "b")] == ["hidden", None]
    pipeline.delete("a")
    assert pipeline.state("a") == "deleted"


def test_a_change_older_than_the_horizon_is_settled_by_the_table(
    sluice_pipeline: Pipelines,
) -> None:
    now = [1_700_000_000.0]
    pipeline = sluice_pipeline(posts, key="id", clock=lambda: now[0])
    pipeline.put(Post(id="a", title="old"))
    record = pipeline.records.insert(Post(id="a", title="never written"))
    now[0] += 40 * 86_400
    pipeline.send(record)
    assert pipeline.documents()["a"]["title"] == "old"


def test_keys_are_given_as_value_tuple_mapping_or_item(sluice_pipeline: Pipelines) -> None:
    pipeline = sluice_pipeline(Table("parts"), key=("maker", "number"))
    item = {"maker": b"\x00", "number": 1, "size": 2}
    pipeline.put(item)
    found = [
        pipeline.document(key) for key in [(b"\x00", 1), {"maker": b"\x00", "number": 1}, item]
    ]
    assert found == [{"maker": "AA==", "number": 1, "size": 2}] * 3
    for wrong in ["a", (b"\x00",), (b"\x00", 1, 2)]:
        with pytest.raises(UnwritableItemError, match="no key of maker, number"):
            pipeline.document(wrong)
    with pytest.raises(UnwritableItemError, match="number is a BOOL"):
        pipeline.delete((b"\x00", True))


def test_letters_that_nobody_looked_at_fail_the_test() -> None:
    pipelines = Pipelines()
    pipeline = pipelines(posts, key="id")
    pipeline.put({"id": "a", "views": "many"})
    with pytest.raises(UnansweredLetterError, match=r"INSERT a: ValidationError(.|\n)*views"):
        pipelines.close()
    assert len(pipeline.dead_letters()) == 1
    pipelines.close()
    pipeline.put({"id": "b", "views": "many"})
    with pytest.raises(UnansweredLetterError, match="1 dead letters"):
        pipelines.close()


def test_tables_do_not_share_anything(sluice_pipeline: Pipelines) -> None:
    one, other = sluice_pipeline(posts, key="id"), sluice_pipeline(posts, key="id")
    one.put(Post(id="a"))
    assert other.documents() == {}


def test_logging_is_left_as_it_was(sluice_pipeline: Pipelines) -> None:
    before = logging.getLogger("sluice.producer").handlers[:]
    sluice_pipeline(posts, key="id").put(Post(id="a"))
    assert logging.getLogger("sluice.producer").handlers == before
