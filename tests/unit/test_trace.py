"""What trace and show tell of an item, and what the valve command tells of the workers."""

import json
import threading
from dataclasses import replace
from typing import Any

import pytest

from console.deadletters.model import Received, describe
from console.deadletters.peek import Peek
from console.item import Pair, Stored
from console.sending import Depth
from console.session import TableFacts
from console.show import describe as describe_pair
from console.show import write_rows
from console.trace import Trace, describe_trace, write_trace
from console.valve import Valves, wait_for_workers, write_valves
from console.valve import describe as describe_valves
from console.verify.compare import compare, place_of
from console.verify.model import Doc
from producer.contract import (
    Change,
    Chunk,
    Overflow,
    encode_chunk,
    write_attributes,
    write_envelope,
)
from worker.identity import key_text
from worker.order import Position
from worker.state import ValveState, WorkerState
from worker.tables import Table
from worker.values import digest
from worker.view import Destination

POSTS: Table[Any] = Table("posts")
LABEL = "2026-01-01T12:00:01.500"
ARN = f"arn:aws:dynamodb:eu-west-1:123456789012:table/posts/stream/{LABEL}"
FACTS = TableFacts(
    "arn", "id", ("id",), 5, None, "ACTIVE", ARN, True, LABEL, "NEW_IMAGE", {"id": "S"}
)
KEY = {"id": {"S": "a"}}
ITEM = {**KEY, "n": {"N": "1"}}
PLACE = place_of(POSTS, KEY)
DOC = Doc(3, 1, "live", digest(ITEM), key_text(KEY), 1_767_300_000_000, None, {"id": "a", "n": 1})
INDEX = Destination(1, "posts-v1", "posts-write")
AT = Position.of(LABEL, "123")
IDLE = Depth(0, 0, 0)
NOTHING = Peek((), 0, True)


def pair(item: Any, doc: Doc | None) -> Pair:
    finding = compare(POSTS, PLACE, item, doc, content=True)
    stored = Stored(INDEX, True, doc, AT if doc else None, finding)
    return Pair(POSTS, FACTS, PLACE, KEY, item, 1_767_300_060_000, (stored,))


def text(traced: Trace) -> str:
    return "\n".join(write_trace(traced))


def test_an_item_that_agrees_is_told_with_position_and_time() -> None:
    said = text(Trace(pair(ITEM, DOC), IDLE, NOTHING))
    assert 'table: 2 attributes, read at 2026-01-01T20:41:00Z\n  {"id": "a", "n": 1}' in said
    assert 'posts-v1: a document, live\n  {"id": "a", "n": 1}' in said
    assert "not looked at: batches that Lambda gave up on" in said
    assert "posts-v1: a document, live" in said
    assert "position: 123 of the stream 2026-01-01T12:00:01.500" in said
    assert "newest change: 2026-01-01T20:40:00Z, 60 s before this look" in said
    assert "dead letters: none of this item" in said
    assert said.endswith("Table and index agree.")


@pytest.mark.parametrize(
    ("item", "doc", "word"),
    [
        (ITEM, None, "missing"),
        (None, DOC, "left over"),
        (ITEM, replace(DOC, digest="0" * 32), "stale"),
        (ITEM, replace(DOC, state="hidden"), "hidden"),
        (ITEM, replace(DOC, state="deleted"), "a tombstone"),
        (ITEM, replace(DOC, content={"id": "a", "n": 2}), "edited"),
        (ITEM, replace(DOC, state=None), "that Sluice did not write"),
    ],
)
def test_each_difference_is_named_with_what_mends_it(item: Any, doc: Doc | None, word: str) -> None:
    traced = Trace(pair(item, doc), IDLE, NOTHING)
    said = text(traced)
    assert not traced.pair.agrees
    assert word in said
    assert said.endswith("sluice repair posts")


def test_while_a_rebuild_runs_each_index_is_told_and_must_agree() -> None:
    old = pair(ITEM, DOC)
    new = replace(
        pair(ITEM, None).stored[0], destination=Destination(2, "posts-v2", "w"), served=False
    )
    both = replace(old, stored=(*old.stored, new))
    assert both.served is not None
    assert (both.agrees, both.served.destination.index) == (False, "posts-v1")
    said = text(Trace(both, IDLE, NOTHING))
    assert "posts-v1: a document, live" in said
    assert "posts-v2, which searches do not see: no document" in said


def test_without_an_index_the_item_is_told_all_the_same() -> None:
    bare = replace(pair(ITEM, None), stored=())
    said = text(Trace(bare, IDLE, NOTHING))
    assert '{"id": "a", "n": 1}' in said
    assert "There is no index of it yet" in said
    assert said.endswith("sluice backfill posts")
    assert not bare.agrees
    assert describe_trace(Trace(bare, IDLE, NOTHING))["documents"] == []
    shown = describe_pair(bare)
    assert (shown["item"], shown["index"], shown["agrees"]) == ({"id": "a", "n": 1}, None, False)
    assert replace(bare, item=None).agrees


def test_a_deleted_item_with_its_tombstone_agrees() -> None:
    assert pair(None, replace(DOC, state="deleted", digest=None)).agrees
    assert pair(None, None).agrees


def test_while_messages_wait_a_difference_may_only_be_late() -> None:
    said = text(Trace(pair(ITEM, None), Depth(3, 1, 0), NOTHING))
    assert "3 messages wait and 1 are in work: it may only be late" in said


def letter(change: Change) -> Received:
    body = write_envelope(encode_chunk(Chunk("posts", ARN, (change,))), "sluice")
    said: Any = write_attributes(error="parsing", reason="no number", table="posts")
    return Received("m-1", "receipt", body, said, 1_767_300_000_000, 1, False)


def test_a_dead_letter_of_the_item_is_told_with_its_object_and_the_redrive() -> None:
    change = Change("MODIFY", KEY, 1_767_300_000_000, "1" * 21, overflow=Overflow("posts/1", 9))
    received = letter(change)
    looked = Peek(((received, describe(received)),), 40, False)
    traced = Trace(pair(ITEM, None), IDLE, looked)
    said = text(traced)
    assert "dead letter m-1, since 2026-01-01T20:40:00Z" in said
    assert "parsing: no number" in said
    assert "its images lie in the overflow bucket: posts/1" in said
    assert said.endswith("sluice dead-letters redrive --message m-1")
    described = describe_trace(traced)
    assert described["overflow"] == ["posts/1"]
    assert described["dead_letters"]["complete"] is False
    json.dumps(described)


def test_a_look_that_saw_only_a_part_says_so() -> None:
    said = text(Trace(pair(ITEM, DOC), IDLE, Peek((), 1_000, False)))
    assert "none of this item among the 1,000 looked at" in said


def test_queues_that_do_not_answer_leave_the_rest_told() -> None:
    said = text(Trace(pair(ITEM, DOC), None, None, "SQS is away"))
    assert "dead letters: not known: SQS is away" in said
    assert "agrees with the table" in said


def test_the_json_of_a_trace_has_position_and_times() -> None:
    described = describe_trace(Trace(pair(ITEM, DOC), IDLE, NOTHING))
    (document,) = described["documents"]
    assert described["agrees"] is True
    assert (document["sequence"], document["label"], document["time"]) == (
        "123",
        LABEL,
        1_767_300_000_000,
    )
    json.dumps(described)


def test_show_sets_attributes_beside_fields() -> None:
    item = {"id": "a", "n": 1, "secret": True, "text": "x\x1b[2J"}
    document = {"id": "a", "n": 2, "added": ["b"], "empty": ""}
    assert list(write_rows(item, document)) == [
        ("id", "a", "="),
        ("n", "1", "2"),
        ("secret", "true", ""),
        ("text", "x\ufffd[2J", ""),
        ("added", "", '["b"]'),
        ("empty", "", '""'),
    ]
    assert list(write_rows(None, None)) == []


def test_the_json_of_show_holds_both_sides() -> None:
    described = describe_pair(pair(ITEM, DOC))
    assert described["item"] == described["document"] == {"id": "a", "n": 1}
    assert (described["state"], described["agrees"]) == ("live", True)


SHUT = WorkerState(
    "sluice", "host:1", 0, 0, valve=ValveState("shut", 1_767_300_000_000, None, "refused")
)
OPEN = WorkerState("sluice", "host:1", 0, 0)


def test_the_valve_is_waited_for_until_each_worker_says_it_is_open() -> None:
    answers = [Valves("sluice", 0, (SHUT, OPEN)), Valves("sluice", 0, (OPEN, OPEN))]
    stop = threading.Event()
    stop.wait = lambda timeout=None: False  # type: ignore[method-assign]
    found = wait_for_workers(lambda: answers.pop(0), 30, stop)
    assert found.are_open
    assert answers == []


def test_the_wait_for_the_valve_has_an_end_and_tells_the_last_word() -> None:
    times = iter([0.0, 10.0, 31.0])
    stop = threading.Event()
    stop.wait = lambda timeout=None: False  # type: ignore[method-assign]
    shut = Valves("sluice", 0, (SHUT,))
    found = wait_for_workers(lambda: shut, 30, stop, lambda: next(times))
    assert not found.are_open
    assert write_valves(found) == ("host:1: shut since 2026-01-01T20:40:00Z: refused",)
    assert describe_valves(found)["workers"][0]["state"] == "shut"


def test_no_worker_at_all_is_no_open_valve() -> None:
    nobody = Valves("sluice", 0, ())
    assert not nobody.are_open
    assert "No worker of sluice reports" in write_valves(nobody)[0]
