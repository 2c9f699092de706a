"""One change is followed by its ids: from the stream's record to the message, task and document."""

import json
import logging

import pytest

from kit.memory import (
    MemoryDeadLetters,
    MemoryDocuments,
    MemoryOverflow,
    MemorySource,
    MemoryViews,
)
from producer.contract import Item
from tests.fakes import ARN, make_record, sequence
from tests.unit.test_handler import Bench
from worker.apply import Applier
from worker.calls import Caller
from worker.incoming import Call, read_body
from worker.logs import JsonFormatter
from worker.mappings import META
from worker.messages import MessageHandlers
from worker.tables import Table
from worker.tasks import MessageInfo

NOW = 1_800_000_000_000
TABLE = "posts-a.b"


def test_a_record_leads_to_its_message_its_task_its_line_and_its_document(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    bench.run(*(make_record(n) for n in (1, 2, 3)))
    (sent,) = bench.lines[0]["sent"]
    assert int(sent["first"]) <= int(sequence(2)) <= int(sent["last"])

    (message,) = bench.sqs.sent
    call = read_body(message.body)
    assert isinstance(call, Call)
    assert call.id == sent["task_id"]

    documents = MemoryDocuments()
    tables = {TABLE: Table(TABLE, alias="posts")}
    overflow, letters = MemoryOverflow(), MemoryDeadLetters()
    applier = Applier(
        tables=tables,
        views=MemoryViews(),
        documents=documents,
        overflow=overflow,
        source=MemorySource(),
        deadletters=letters,
        clock_ms=lambda: NOW,
        margin_ms=60_000,
        horizon_ms=10**13,
    )
    worker = MessageHandlers(
        applier, Caller(tables, overflow, letters), letters, "changes", lambda: NOW
    )
    with caplog.at_level(logging.INFO):
        worker.changes(call.payload, MessageInfo(sent["message_id"], 1, None, call.id))
    line = json.loads(JsonFormatter().format(caplog.records[-1]))
    assert {name: line[name] for name in ("message_id", "task_id", "first", "last")} == sent
    assert line["stream"] == ARN

    made = [body[META] for body in documents.live("posts-write").values()]
    (meta,) = [one for one in made if int(one["sequence"]) == int(sequence(2))]
    key: Item = json.loads(meta["key"])
    assert key == make_record(2)["dynamodb"]["Keys"]
    assert (meta["label"], meta["indexed"]) == (ARN.rpartition("/")[2], NOW)
