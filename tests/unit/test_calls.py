"""Which handler sees which change of a chunk, and what becomes of one that fails."""

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import BaseModel

from kit.memory import (
    MemoryDeadLetters,
    MemoryDocuments,
    MemoryOverflow,
    MemorySource,
    MemoryViews,
)
from producer.contract import Change, Chunk, Kind, Overflow
from worker.apply import Applier, Tally
from worker.calls import Caller, check_limits
from worker.errors import ConfigurationError, RejectedError
from worker.events import Event, Insert, Modify, Remove, is_expiry
from worker.handlers import ChangesFailed, Events, Handler, longest_s
from worker.tables import Table

LABEL = "2024-01-01T00:00:00.000"
STREAM = f"arn:aws-cn:dynamodb:cn-north-1:123456789012:table/posts/stream/{LABEL}"
NOW = 1_800_000_000_123


class Post(BaseModel):
    id: str
    title: str = ""


@dataclass
class Notebook:
    """A handler that writes down what it is given."""

    batches: list[list[Event[Any]]] = field(default_factory=list)
    failing: list[Exception] = field(default_factory=list)
    """What the next calls raise."""

    def write(self, changes: Sequence[Event[Any]]) -> None:
        self.batches.append(list(changes))
        if self.failing:
            raise self.failing.pop(0)

    async def write_async(self, changes: Sequence[Event[Any]]) -> None:
        self.write(changes)

    @property
    def seen(self) -> list[tuple[str, str]]:
        return [
            (type(event).__name__, str(event.meta.key["id"]))
            for batch in self.batches
            for event in batch
        ]


@dataclass
class World:
    """An applier and a caller as a worker has them, on edges in memory."""

    table: Table[Any]
    documents: MemoryDocuments = field(default_factory=MemoryDocuments)
    deadletters: MemoryDeadLetters = field(default_factory=MemoryDeadLetters)
    overflow: MemoryOverflow = field(default_factory=MemoryOverflow)
    pauses: list[float] = field(default_factory=list)
    caller: Caller = field(init=False)

    def __post_init__(self) -> None:
        tables = {"posts": self.table}
        self.caller = Caller(tables, self.overflow, self.deadletters, sleep=self.pauses.append)
        self.applier = Applier(
            tables=tables,
            views=MemoryViews(),
            documents=self.documents,
            overflow=self.overflow,
            source=MemorySource(),
            deadletters=self.deadletters,
            clock_ms=lambda: NOW,
            margin_ms=60_000,
            horizon_ms=10**12,
        )

    def take(self, *changes: Change, stream: str | None = STREAM) -> dict[str, Any]:
        chunk = Chunk("posts", stream, changes)
        return self.caller.call(chunk, self.applier.apply(chunk))

    def letters(self) -> list[tuple[str | None, str, str]]:
        """Of each dead letter: its handler, its item, its error."""
        return [(c.handler, one.key["id"]["S"], w.error) for c, one, w in self.deadletters.changes]


def change(kind: Kind, id: str, sequence: int, **more: Any) -> Change:
    new = None if kind == "REMOVE" else {"id": {"S": id}, "title": {"S": f"title {sequence}"}}
    return Change(kind, {"id": {"S": id}}, NOW, str(sequence), **{"new": new, **more})


ALL_KINDS = (change("INSERT", "a", 1), change("MODIFY", "b", 2), change("REMOVE", "c", 3))


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        ("INSERT", ["Insert"]),
        ("MODIFY", ["Modify"]),
        ("REMOVE", ["Remove"]),
        ("INSERT, MODIFY", ["Insert", "Modify"]),
        ("MODIFY, REMOVE", ["Modify", "Remove"]),
        ("INSERT, REMOVE", ["Insert", "Remove"]),
        ("ALL", ["Insert", "Modify", "Remove"]),
    ],
)
@pytest.mark.parametrize("strategy", ["series", "concurrent"])
def test_a_handler_gets_the_changes_of_its_kinds_in_one_batch(
    events: Events, wanted: list[str], strategy: Any
) -> None:
    plain, other = Notebook(), Notebook()
    handlers = [
        Handler[Any](events, plain.write, name="plain"),
        Handler[Any](events, other.write_async, name="async"),
    ]
    World(Table("posts", handlers=handlers, strategy=strategy)).take(*ALL_KINDS)
    for notebook in (plain, other):
        assert [[type(event).__name__ for event in batch] for batch in notebook.batches] == [wanted]


def test_a_handler_is_not_called_for_nothing() -> None:
    notebook = Notebook()
    world = World(Table("posts", handlers=[Handler("REMOVE", notebook.write)]))
    assert world.take(change("INSERT", "a", 1)) == {}
    assert notebook.batches == []


def test_a_handler_sees_models_and_where_the_change_comes_from() -> None:
    notebook = Notebook()
    world = World(Table("posts", model=Post, handlers=[Handler("ALL", notebook.write)]))
    expiry = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    before = {"id": {"S": "b"}, "title": {"S": "before"}}
    world.take(
        change("INSERT", "a", 1),
        change("MODIFY", "b", 2, old=before),
        change("REMOVE", "b", 3, old=before, identity=expiry),
    )
    ((one, two, three),) = notebook.batches
    assert isinstance(one, Insert)
    assert one.new == Post(id="a", title="title 1")
    assert isinstance(two, Modify)
    assert (two.old, two.new.title) == (Post(id="b", title="before"), "title 2")
    assert isinstance(three, Remove)
    assert three.old == Post(id="b", title="before")
    meta = three.meta
    assert (meta.table, meta.key, meta.sequence, meta.stream) == ("posts", {"id": "b"}, "3", LABEL)
    assert (meta.region, meta.account, meta.expired) == ("cn-north-1", "123456789012", True)
    assert int(meta.time.timestamp() * 1000) == NOW
    assert not two.meta.expired


def test_a_change_says_whether_the_index_took_it() -> None:
    notebook = Notebook()
    world = World(Table("posts", handlers=[Handler("ALL", notebook.write)]))
    world.take(change("INSERT", "a", 1), change("MODIFY", "a", 5))
    world.take(change("MODIFY", "a", 4))
    told = [(event.meta.sequence, event.meta.index) for b in notebook.batches for event in b]
    assert told == [("1", "obsolete"), ("5", "applied"), ("4", "obsolete")]


def test_nothing_is_said_of_the_index_where_a_later_change_in_the_chunk_was_refused() -> None:
    notebook = Notebook()
    world = World(Table("posts", model=Post, handlers=[Handler("ALL", notebook.write)]))
    malformed = {"id": {"S": "a"}, "title": {"BOOL": True}}
    world.take(
        change("INSERT", "a", 1),
        change("INSERT", "b", 2),
        change("MODIFY", "b", 3),
        change("MODIFY", "a", 4, new=malformed),
    )
    told = [(event.meta.sequence, event.meta.index) for b in notebook.batches for event in b]
    assert told == [("1", "unknown"), ("2", "obsolete"), ("3", "applied")]
    assert world.documents.live("posts-write").keys() == {"b"}


def test_a_read_of_the_table_is_no_change() -> None:
    notebook = Notebook()
    world = World(Table("posts", handlers=[Handler("ALL", notebook.write)]))
    world.take(Change("READ", {"id": {"S": "a"}}, NOW, new={"id": {"S": "a"}}), stream=None)
    assert world.documents.live("posts-write").keys() == {"a"}
    assert notebook.batches == []


def test_a_change_that_the_index_refuses_waits_for_its_redrive() -> None:
    notebook = Notebook()
    world = World(Table("posts", model=Post, handlers=[Handler("ALL", notebook.write)]))
    malformed = {"id": {"S": "b"}, "title": {"BOOL": True}}
    world.take(change("INSERT", "a", 1), change("INSERT", "b", 2, new=malformed))
    assert notebook.seen == [("Insert", "a")]
    assert world.letters() == [(None, "b", "ValidationError")]


@pytest.mark.parametrize("strategy", ["series", "concurrent"])
def test_a_handler_that_fails_stops_neither_the_index_nor_its_siblings(strategy: Any) -> None:
    bad, good = Notebook(failing=[ValueError("no")] * 3), Notebook()
    handlers = [Handler("ALL", bad.write, name="bad"), Handler("ALL", good.write, name="good")]
    world = World(Table("posts", handlers=handlers, strategy=strategy))
    report = world.take(*ALL_KINDS)
    assert world.documents.live("posts-write").keys() == {"a", "b"}
    assert len(good.batches) == 1
    assert [len(batch) for batch in bad.batches] == [3, 3, 3]
    assert world.pauses == [1.0, 2.0]
    assert world.letters() == [("bad", name, "ValueError") for name in "abc"]
    assert report["bad"] == {"changes": 3, "attempts": 3, "failed": 3, "error": "ValueError"}
    assert report["good"] == {"changes": 3, "attempts": 1, "failed": 0}
    (letter, *_) = [letter for _, _, letter in world.deadletters.changes]
    assert letter.reason == "handler bad: no"


def test_concurrent_handlers_run_at_the_same_time() -> None:
    meeting = threading.Barrier(2)

    def one(_: Sequence[Event[Any]]) -> None:
        meeting.wait(10)

    async def two(_: Sequence[Event[Any]]) -> None:
        await asyncio.to_thread(meeting.wait, 10)

    handlers = [Handler("ALL", one, attempts=1), Handler("ALL", two, attempts=1)]
    world = World(Table("posts", handlers=handlers, strategy="concurrent"))
    world.take(*ALL_KINDS)
    assert world.letters() == []


def test_an_async_handler_that_blocks_starves_no_sibling() -> None:
    async def block(_: Sequence[Event[Any]]) -> None:
        time.sleep(2)  # noqa: ASYNC251 - an owner's mistake

    notebook = Notebook()
    handlers = [
        Handler("ALL", block, attempts=1, time_limit_s=0.2),
        Handler("ALL", notebook.write_async, attempts=1, time_limit_s=0.2),
    ]
    world = World(Table("posts", handlers=handlers, strategy="concurrent"))
    world.take(change("INSERT", "a", 1))
    assert world.letters() == [("block", "a", "TimeLimitExceeded")]
    assert len(notebook.batches) == 1


def test_the_error_hook_runs_where_its_handler_does() -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def fail(_: Sequence[Event[Any]]) -> None:
        loops.append(asyncio.get_running_loop())
        raise ValueError("no")

    async def tell(_: Exception, __: Sequence[Event[Any]]) -> None:
        loops.append(asyncio.get_running_loop())

    World(Table("posts", handlers=[Handler("ALL", fail, attempts=1, on_error=tell)])).take(
        change("INSERT", "a", 1)
    )
    assert len(loops) == 2
    assert loops[0] is loops[1]


@pytest.mark.parametrize(
    ("identity", "expired"),
    [
        ({"type": "Service", "principalId": "dynamodb.amazonaws.com"}, True),
        ({"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}, True),
        ({"type": "Service", "principalId": "replication.dynamodb.amazonaws.com"}, False),
        (None, False),
    ],
)
def test_a_deletion_by_time_to_live_is_told_from_others(
    identity: dict[str, Any] | None, expired: bool
) -> None:
    assert is_expiry(identity) is expired


def test_a_handler_that_succeeds_at_last_leaves_no_dead_letter() -> None:
    notebook = Notebook(failing=[OSError("away"), OSError("away")])
    world = World(Table("posts", handlers=[Handler("ALL", notebook.write)]))
    world.take(*ALL_KINDS)
    assert (len(notebook.batches), world.letters()) == (3, [])


def test_a_handler_may_name_the_changes_that_failed() -> None:
    seen: list[int] = []

    def half(changes: Sequence[Event[Any]]) -> None:
        seen.append(len(changes))
        raise ChangesFailed([c for c in changes if c.meta.key["id"] == "b"], "b again")

    world = World(Table("posts", handlers=[Handler("ALL", half)]))
    world.take(*ALL_KINDS)
    assert seen == [3, 1, 1]
    assert world.letters() == [("half", "b", "ChangesFailed")]


@pytest.mark.parametrize("hook", ["tell", "tell_async"])
def test_the_error_hook_hears_of_its_own_changes_before_they_are_dead_letters(hook: str) -> None:
    told: list[tuple[str, list[str], int]] = []

    def tell(error: Exception, changes: Sequence[Event[Any]]) -> None:
        ids = [str(c.meta.key["id"]) for c in changes]
        told.append((str(error), ids, len(world.letters())))
        raise RuntimeError("the hook fails, too")

    async def tell_async(error: Exception, changes: Sequence[Event[Any]]) -> None:
        tell(error, changes)

    bad = Notebook(failing=[ValueError("no")])
    on_error = {"tell": tell, "tell_async": tell_async}[hook]
    handler = Handler("REMOVE", bad.write, attempts=1, on_error=on_error)
    world = World(Table("posts", handlers=[handler]))
    world.take(*ALL_KINDS)
    assert told == [("no", ["c"], 0)]
    assert world.letters() == [("write", "c", "ValueError")]


def test_an_old_image_that_the_model_no_longer_takes_is_none_with_its_reason() -> None:
    notebook = Notebook()
    world = World(Table("posts", model=Post, handlers=[Handler("ALL", notebook.write)]))
    old = {"id": {"S": "b"}, "title": {"L": []}}
    world.take(
        change("MODIFY", "a", 1, old={"id": {"S": "a"}}),
        change("MODIFY", "b", 2, old=old),
        change("REMOVE", "c", 3, old=old),
        change("REMOVE", "d", 4),
    )
    ((fits, modify, remove, bare),) = notebook.batches
    assert isinstance(fits, Modify)
    assert isinstance(modify, Modify)
    assert isinstance(remove, Remove)
    assert (fits.old, fits.meta.old_error) == (Post(id="a"), "")
    assert (modify.old, modify.new.title, remove.old) == (None, "title 2", None)
    assert modify.meta.old_error == remove.meta.old_error
    assert "ValidationError: Post: title" in modify.meta.old_error
    assert bare.meta.old_error == ""
    assert world.letters() == []


def test_a_change_that_a_handler_cannot_be_shown_is_dead_lettered_for_it_alone() -> None:
    notebook = Notebook()
    world = World(Table("posts", model=Post, handlers=[Handler("MODIFY", notebook.write)]))
    new = {"id": {"S": "b"}, "title": {"L": []}}
    changes = (change("MODIFY", "a", 1), change("MODIFY", "b", 2, new=new))
    world.caller.call_alone(Chunk("posts", STREAM, changes, "write"), Tally())
    assert notebook.seen == [("Modify", "a")]
    assert world.letters() == [("write", "b", "ValidationError")]


def test_images_in_the_overflow_bucket_are_fetched() -> None:
    notebook = Notebook()
    world = World(Table("posts", handlers=[Handler("ALL", notebook.write)]))
    whole = change("INSERT", "a", 1)
    world.overflow.objects["k"] = whole
    claim = change("INSERT", "a", 1, new=None, overflow=Overflow("k", 9))
    lost = change("INSERT", "b", 2, new=None, overflow=Overflow("gone", 9))
    world.take(claim)
    assert notebook.batches[0][0].new["title"] == "title 1"  # type: ignore[union-attr]  # an Insert
    world.caller.call_alone(Chunk("posts", STREAM, (lost,), "write"), Tally())
    assert world.letters() == [("write", "b", "OverflowMissing")]


def test_a_redrive_for_one_handler_runs_it_alone() -> None:
    first, second = Notebook(), Notebook()
    handlers = [Handler("ALL", first.write, name="first"), Handler("ALL", second.write, name="two")]
    world = World(Table("posts", handlers=handlers))
    world.caller.call_alone(Chunk("posts", STREAM, ALL_KINDS, "two"), Tally())
    assert (len(first.batches), len(second.batches)) == (0, 1)
    assert {event.meta.index for event in second.batches[0]} == {"unknown"}
    assert world.documents.live("posts-write") == {}


def test_a_redriven_change_that_its_handler_takes_no_more_is_dead_lettered_again() -> None:
    notebook = Notebook()
    handlers = [Handler("INSERT, REMOVE", notebook.write, name="it"), Handler("MODIFY", run)]
    world = World(Table("posts", handlers=handlers))
    report = world.caller.call_alone(Chunk("posts", STREAM, ALL_KINDS, "it"), Tally())
    assert notebook.seen == [("Insert", "a"), ("Remove", "c")]
    assert world.letters() == [("it", "b", "UnwantedChange")]
    assert report == {"it": {"changes": 3, "attempts": 1, "failed": 1}}
    ((_, _, letter),) = world.deadletters.changes
    assert letter.reason == "handler it: it takes INSERT, REMOVE, and this is a MODIFY"


@pytest.mark.parametrize("table", ["posts", "others"])
def test_a_chunk_for_a_handler_or_table_nobody_has_is_rejected(table: str) -> None:
    with pytest.raises(RejectedError):
        World(Table("posts")).caller.call_alone(Chunk(table, STREAM, ALL_KINDS, "gone"), Tally())


def test_a_handler_that_keeps_failing_is_tried_once_a_chunk_until_it_succeeds() -> None:
    notebook = Notebook(failing=[ValueError("no")] * 11)
    world = World(Table("posts", handlers=[Handler("ALL", notebook.write)]))
    tries = []
    for number in range(6):
        before = len(notebook.batches)
        world.take(change("INSERT", f"k{number}", number + 1))
        tries.append(len(notebook.batches) - before)
    assert tries == [3, 3, 3, 1, 1, 1]
    notebook.failing = [ValueError("no")]
    world.take(change("INSERT", "again", 9))
    assert (len(notebook.batches) - sum(tries), notebook.failing) == (2, [])


def test_handlers_share_no_object() -> None:
    def spoil(changes: Sequence[Event[dict[str, Any]]]) -> None:
        for event in changes:
            assert isinstance(event, Insert)
            event.new.clear()

    notebook = Notebook()
    handlers = [Handler("ALL", spoil), Handler("ALL", notebook.write)]
    World(Table("posts", handlers=handlers)).take(change("INSERT", "a", 1))
    assert notebook.batches[0][0].new["id"] == "a"  # type: ignore[union-attr]  # an Insert


def run(changes: Sequence[Event[Any]]) -> None: ...


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"name": "no name"}, "name"),
        ({"attempts": 0}, "attempts"),
        ({"time_limit_s": 0}, "time_limit_s"),
        ({"time_limit_s": True}, "time_limit_s"),
        ({"on_error": 1}, "on_error"),
        ({"events": "INSERTS"}, "INSERTS"),
        ({"run": 1}, "run"),
        ({"run": lambda _: None}, "name"),
    ],
)
def test_a_handler_that_cannot_work_is_refused(options: Mapping[str, Any], word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        Handler(**{"events": "ALL", "run": run, **options})


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"handlers": [Handler("ALL", run), Handler("INSERT", run)]}, "two handlers"),
        ({"handlers": [run]}, "no Handler"),
        ({"strategy": "map"}, "strategy"),
    ],
)
def test_a_table_whose_handlers_cannot_work_is_refused(
    options: Mapping[str, Any], word: str
) -> None:
    with pytest.raises(ConfigurationError, match=word):
        Table("posts", **options)


def test_handlers_that_could_outlast_their_task_are_refused() -> None:
    slow = [Handler[Any]("ALL", run, name=f"h{n}", time_limit_s=30) for n in range(3)]
    assert longest_s(slow, "series") == 3 * (3 * 30 + 3)
    assert longest_s(slow, "concurrent") == 3 * 30 + 3
    with pytest.raises(ConfigurationError, match="SLUICE_TASK_LIMIT_S"):
        check_limits([Table("posts", handlers=slow)], 270)
    check_limits([Table("posts", handlers=slow, strategy="concurrent"), Table("others")], 270)
    check_limits([Table("others")], 10)
