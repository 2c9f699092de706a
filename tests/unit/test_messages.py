"""What each kind of message sets off, and that nothing of it is left behind."""

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kit.memory import (
    MemoryDeadLetters,
    MemoryDocuments,
    MemoryOverflow,
    MemorySource,
    MemoryViews,
)
from producer.contract import (
    RECORD_TASK,
    Change,
    Chunk,
    encode_chunk,
    encode_record,
)
from worker.__main__ import check_health
from worker.apply import Applier
from worker.calls import Caller
from worker.errors import UnavailableError
from worker.fate import count_lags
from worker.index import Result, Write
from worker.logs import JsonFormatter
from worker.messages import MessageHandlers, is_sampled
from worker.metrics import spread
from worker.tables import Handler, Table
from worker.tasks import MessageInfo
from worker.valve import Limits, Valve
from worker.watchdog import write_health

INFO = MessageInfo("m-1", 2, None, "t-1")
NOW = 1_800_000_000_000


def handlers(deadletters: MemoryDeadLetters, posts: Table[Any] | None = None) -> MessageHandlers:
    applier = Applier(
        tables={"posts": posts or Table("posts")},
        views=MemoryViews(),
        documents=MemoryDocuments(),
        overflow=MemoryOverflow(),
        source=MemorySource(),
        deadletters=deadletters,
        clock_ms=lambda: NOW,
        margin_ms=60_000,
        horizon_ms=10**12,
    )
    caller = Caller(applier.tables, applier.overflow, deadletters)
    return MessageHandlers(applier, caller, deadletters, "changes", lambda: NOW)


def test_a_chunk_for_a_handler_nobody_has_is_dead_lettered_whole_and_not_indexed() -> None:
    letters = MemoryDeadLetters()
    whole = handlers(letters)
    stream = "arn:aws:dynamodb:eu-west-1:123456789012:table/posts/stream/2024-01-01T00:00:00.000"
    change = Change("INSERT", {"id": {"S": "a"}}, NOW, "1", new={"id": {"S": "a"}})
    whole.changes(encode_chunk(Chunk("posts", stream, (change,), "mailer")), INFO)
    assert [letter.error for _, letter in letters.bodies] == ["UnknownHandler"]
    documents = whole.applier.documents
    assert isinstance(documents, MemoryDocuments)
    assert documents.live("posts-write") == {}


def fail(_: object) -> None:
    raise KeyError("a bad deploy")


@pytest.mark.parametrize("addressed", [None, "mailer"])
@pytest.mark.parametrize(("valve", "state"), [(True, "shut"), (False, "open")])
def test_a_handler_that_fails_at_everything_shuts_the_valve_if_its_owner_wants_that(
    valve: bool, state: str, addressed: str | None
) -> None:
    mailer = Handler[Any]("ALL", fail, name="mailer", attempts=1, valve=valve)
    other = Handler[Any]("ALL", fail, name="other", attempts=1, valve=valve)
    letters = MemoryDeadLetters()
    whole = handlers(letters, Table("posts", handlers=[mailer, other]))
    stream = "arn:aws:dynamodb:eu-west-1:123456789012:table/posts/stream/2024-01-01T00:00:00.000"
    guard = Valve(Limits(refusals=3))
    for n in range(3):
        image = {"id": {"S": str(n)}}
        change = Change("INSERT", image, NOW, str(n), new=image)
        fate = whole.changes(encode_chunk(Chunk("posts", stream, (change,), addressed)), INFO)
        assert fate.done + fate.refused == 1
        guard = guard.counted(n, fate.done, fate.refused, fate.classes)
    assert guard.state == state
    assert ("mailer:KeyError" in guard.why or "other:KeyError" in guard.why) == valve
    # In any case the index has it, and each handler its letters.
    documents = whole.applier.documents
    assert isinstance(documents, MemoryDocuments)
    assert len(documents.live("posts-write")) == (0 if addressed else 3)
    assert len(letters.changes) == (3 if addressed else 6)


def read(table: str = "posts") -> Chunk:
    change = Change("READ", {"id": {"S": "a"}}, NOW - 5_000, new={"id": {"S": "secret-word"}})
    return Chunk(table, None, (change,))


def test_an_applied_chunk_is_one_line_that_names_it_and_holds_no_content(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        handlers(MemoryDeadLetters()).changes(encode_chunk(read()), INFO)
    (record,) = caplog.records
    line = json.loads(JsonFormatter().format(record))
    assert (line["message_id"], line["task_id"], line["table"]) == ("m-1", "t-1", "posts")
    assert (line["changes"], line["applied"], line["lag_ms"]) == (1, 1, 5_000)
    assert "secret-word" not in json.dumps(line)


STREAM = "arn:aws:dynamodb:eu-west-1:123456789012:table/posts/stream/2024-01-01T00:00:00.000"


def live(*ages_ms: int) -> Chunk:
    changes = [
        Change("INSERT", {"id": {"S": f"a-{n}"}}, NOW - age, f"{n + 1}", new={"id": {"S": "x"}})
        for n, age in enumerate(ages_ms)
    ]
    return Chunk("posts", STREAM, tuple(changes))


def test_a_chunk_reports_what_became_of_it_for_the_metrics() -> None:
    payload = encode_chunk(live(2_000, 0, 70_000))
    fate = handlers(MemoryDeadLetters()).changes(payload, INFO)
    assert (fate.done, fate.refused, fate.applied) == (3, 0, 3)
    assert fate.wire_bytes == len(payload) < fate.json_bytes
    assert fate.lags == count_lags([2, 0, 70])
    assert (fate.lag_sum_ms, fate.lag_max_ms) == (72_000, 70_000)
    assert fate.took_ms is not None


def test_a_lag_ends_with_the_index_and_not_with_the_tables_handlers() -> None:
    now = [NOW]

    def take_an_hour(changes: Sequence[object]) -> None:
        now[0] += 3_600_000

    whole = handlers(MemoryDeadLetters())
    table = Table("posts", handlers=[Handler("ALL", take_an_hour)])
    applier = replace(whole.applier, tables={"posts": table}, clock_ms=lambda: now[0])
    caller = replace(whole.caller, tables=applier.tables)
    whole = replace(whole, applier=applier, caller=caller, clock_ms=lambda: now[0])
    fate = whole.changes(encode_chunk(live(2_000)), INFO)
    assert now == [NOW + 3_600_000]
    assert (fate.lag_max_ms, fate.lags) == (2_000, count_lags([2]))


def test_the_time_of_the_bulks_is_told_apart_from_the_chunks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [NOW]

    class Slow(MemoryDocuments):
        def write(self, alias: str, writes: Sequence[Write]) -> list[Result]:
            now[0] += 250
            return super().write(alias, writes)

    whole = handlers(MemoryDeadLetters())
    applier = replace(whole.applier, documents=Slow(), clock_ms=lambda: now[0])
    with caplog.at_level(logging.INFO):
        fate = replace(whole, applier=applier).changes(encode_chunk(live(0)), INFO)
    assert fate.bulk_ms == 250
    assert caplog.records[0].__dict__["bulk_ms"] == 250


def test_the_line_of_a_refused_change_leads_to_its_record_and_document(
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = handlers(MemoryDeadLetters())
    poison = Change("INSERT", {"id": {"S": "p"}}, NOW, "9", new={"poison": {"S": "secret-word"}})
    chunk = live(70_000)
    with caplog.at_level(logging.INFO):
        fate = whole.changes(encode_chunk(replace(chunk, changes=(*chunk.changes, poison))), INFO)
    line = json.loads(JsonFormatter().format(caplog.records[0]))
    refused = {"error": "document_parsing_exception", "id": "p", "sequence": "9"}
    assert line["refusals"] == [refused]
    assert "secret-word" not in json.dumps(line)
    assert (fate.refused, fate.lags) == (1, count_lags([70]))


def test_a_read_is_no_lag_of_the_stream_and_no_time_is_negative() -> None:
    assert handlers(MemoryDeadLetters()).changes(encode_chunk(read()), INFO).lags == ()
    fate = handlers(MemoryDeadLetters()).changes(encode_chunk(live(-5_000)), INFO)
    assert (fate.lags, fate.lag_sum_ms) == (count_lags([0]), 0)


def test_what_is_refused_is_reported_by_its_class() -> None:
    letters = MemoryDeadLetters()
    assert handlers(letters).changes("no payload", INFO).classes == {"UndecodableMessage": 1}
    fate = handlers(letters).changes(encode_chunk(read("users")), INFO)
    assert (fate.refused, fate.classes) == (1, {"UnknownTable": 1})


def test_lines_are_sampled_by_message_and_the_report_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sampled = replace(handlers(MemoryDeadLetters()), sample=25)
    ids = [f"m-{n}" for n in range(1_000)]
    with caplog.at_level(logging.INFO):
        for name in ids:
            info = MessageInfo(name, 1, None, "t")
            assert sampled.changes(encode_chunk(live(0)), info).done == 1
    told = {record.__dict__["message_id"] for record in caplog.records}
    assert 200 < len(told) < 300
    assert told == {name for name in ids if is_sampled(name, 25)}
    assert [is_sampled(name, 0) for name in ids] == [False] * 1_000
    assert [is_sampled(name, 100) for name in ids] == [True] * 1_000


def test_at_debug_a_line_names_the_documents_and_no_content(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG):
        handlers(MemoryDeadLetters()).changes(encode_chunk(read()), INFO)
    line = json.loads(JsonFormatter().format(caplog.records[0]))
    assert (line["documents"], line["message_id"], line["task_id"]) == (["a"], "m-1", "t-1")
    assert "secret-word" not in caplog.text


def test_many_lags_are_spread_over_a_hundred_values() -> None:
    values = spread([float(n) for n in range(1_000, 0, -1)])
    assert (len(values), values[0], values[-1]) == (100, 1.0, 1_000.0)
    assert spread([3.0, 1.0]) == [1.0, 3.0]


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ("no payload", "UndecodableMessage"),
        ("9:AAAA", "UndecodableMessage"),
        (encode_chunk(read("users")), "UnknownTable"),
    ],
)
def test_a_chunk_nobody_can_place_is_dead_lettered_whole(payload: str, error: str) -> None:
    letters = MemoryDeadLetters()
    handlers(letters).changes(payload, INFO)
    ((body, letter),) = letters.bodies
    assert letter.error == error
    assert letter.reason
    envelope = json.loads(body)
    assert json.loads(envelope["body"]) == [[payload], {}, {}]
    assert envelope["properties"]["delivery_info"]["routing_key"] == "changes"


def test_a_record_nobody_could_read_returns_to_the_dead_letters_as_it_is() -> None:
    letters = MemoryDeadLetters()
    payload = encode_record({"eventName": "???"})
    handlers(letters).record(payload, INFO)
    ((body, letter),) = letters.bodies
    assert letter.error == "UnreadableRecord"
    assert json.loads(body)["headers"]["task"] == RECORD_TASK
    assert json.loads(json.loads(body)["body"])[0] == [payload]


def test_a_body_that_is_no_message_is_kept_to_the_letter() -> None:
    letters = MemoryDeadLetters()
    handlers(letters).undecodable("{ broken", "not JSON", INFO)
    assert letters.bodies[0][0] == "{ broken"


def test_when_the_dead_letters_are_away_the_message_stays() -> None:
    class Away(MemoryDeadLetters):
        def send_body(self, body: str, letter: object) -> None:
            raise UnavailableError("the dead-letter queue is away")

    with pytest.raises(UnavailableError):
        handlers(Away()).changes("no payload", INFO)


def test_health_tells_a_worker_that_polls_from_one_that_hangs(tmp_path: Path) -> None:
    file = tmp_path / "health"
    environment = {"SLUICE_HEALTH_FILE": str(file)}
    assert check_health({}) == 2
    assert check_health(environment) == 1
    write_health(file, {"valve": "open"})
    assert check_health(environment) == 0
    os.utime(file, (0, 0))
    assert check_health(environment) == 1
