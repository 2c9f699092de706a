"""Status, trace, show and valve on real services: what they say is what is there."""

import base64
import importlib
import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from producer.contract import Change, Chunk, encode_chunk, write_attributes, write_envelope
from tests.integration import trace_tables
from tests.polling import wait_for
from tests.services.engines import Engine
from tests.upkeep.pipeline import Run, running
from worker.schema import ensure_index
from worker.state import (
    LagCounts,
    ValveState,
    WorkerState,
    ensure_state_index,
    put_state,
    read_states,
    read_word,
)

pytestmark = pytest.mark.services

LIGHT = pytest.mark.parametrize("search_engine", ["embedded"], indirect=True, scope="session")
ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/{}/stream/2026-01-01T00:00:00.000"


@pytest.fixture
def run(
    search_engine: Engine,
    dynamodb: Engine,
    elasticmq: Engine,
    s3: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Run]:
    engines = {"search": search_engine, "dynamodb": dynamodb, "elasticmq": elasticmq, "s3": s3}
    with running(engines, tmp_path, monkeypatch, capsys) as one:
        yield one


def bury(run: Run, table: str, id: str, error: str = "mapper_parsing_exception") -> None:
    """Dead-letter a change of an item."""
    key = {"id": {"S": id}}
    change = Change("INSERT", key, 1_767_225_600_000, "1" * 21, new=key)
    body = write_envelope(encode_chunk(Chunk(table, ARN.format(table), (change,))), run.name)
    said: Any = write_attributes(error=error, reason="no number", table=table, origin="worker")
    run.queues.client.send_message(
        QueueUrl=run.queues.dead_url, MessageBody=body, MessageAttributes=said
    )


@LIGHT
def test_trace_and_show_tell_what_is_there(run: Run) -> None:
    name = run.items.name
    run.create(run.items, stream=True)
    run.create(run.shown)
    run.workers.start()
    trigger = run.follow(run.dynamodb.describe_table(TableName=name)["Table"]["LatestStreamArn"])
    run.put(run.items, {"id": "a", "n": 1, "lamp": "copper"}, {"id": "gone"})
    run.resource.Table(name).delete_item(Key={"id": "gone"})
    run.put(run.shown, {"owner": "ann", "id": "1|2", "secret": True})
    assert run.sluice("backfill", run.shown.name)[0] == 0
    run.drain(trigger)

    traced = run.sluice_json("trace", name, "a")
    (document,) = traced["documents"]
    assert (traced["agrees"], document["state"], document["served"]) == (True, "live", True)
    assert document["label"] == traced["stream"]
    assert document["sequence"].isdigit()
    assert 0 <= traced["read_ms"] - document["time"] < 300_000
    assert traced["dead_letters"] == {"looked_at": 0, "complete": True, "found": []}
    (tombstone,) = run.sluice_json("trace", name, '{"id": "gone"}')["documents"]
    assert tombstone["state"] == "deleted"

    key = '{"owner": {"S": "ann"}, "id": {"S": "1|2"}}'
    hidden = run.sluice_json("trace", run.shown.name, key)
    assert (hidden["routing"], hidden["documents"][0]["state"]) == ("ann", "hidden")
    assert run.sluice_json("trace", run.shown.name, hidden["id"])["key"] == json.loads(key)

    body = run.document(run.items, "a")["_source"]
    run.write(run.items, "a", {**body, "n": 2})
    edited = run.sluice_json("trace", name, "a", code=1)
    assert edited["documents"][0]["difference"] == "edited"
    run.remove(run.items, "a")
    bury(run, name, "a")
    bury(run, name, "b")
    lost = run.sluice_json("trace", name, "a", code=1)
    assert lost["documents"][0]["difference"] == "missing"
    (letter,) = lost["dead_letters"]["found"]
    assert (letter["error"], lost["dead_letters"]["looked_at"]) == ("mapper_parsing_exception", 2)
    assert run.queues.depth(run.queues.dead_url) == 2
    code, out, _ = run.sluice("trace", name, "a")
    assert code == 1
    assert f"redrive --message {letter['message']}" in out

    code, out, _ = run.sluice("show", name, "a")
    assert (code, "copper" in out, "holds no document" in out, "\x1b" in out) == (
        0,
        True,
        True,
        False,
    )
    assert run.sluice("show", name, "never")[0] == 1
    code, _, err = run.sluice("trace", run.shown.name, "ann")
    assert (code, '{"owner": "text", "id": "text"}' in err) == (2, True)
    code, _, err = run.sluice("trace", "nothing", "a")
    assert (code, f"declared: {run.shown.name}" in err) == (2, True)


@LIGHT
def test_a_key_of_binaries_leads_to_its_item(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.reload(trace_tables)
    table = trace_tables.blobs
    monkeypatch.setenv("SLUICE_TABLES", "tests.integration.trace_tables")
    run.dynamodb.create_table(
        TableName=table.name,
        KeySchema=[
            {"AttributeName": "blob", "KeyType": "HASH"},
            {"AttributeName": "at", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "blob", "AttributeType": "B"},
            {"AttributeName": "at", "AttributeType": "N"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    content = bytes(range(250, 256))
    run.put(table, {"blob": content, "at": 7})
    text = base64.b64encode(content).decode()
    asked = json.dumps({"blob": text, "at": "7.0"})
    bare = run.sluice_json("trace", table.name, asked, code=1)
    assert (bare["image"]["blob"], bare["documents"]) == ({"B": text}, [])
    assert "There is no index of it yet" in run.sluice("show", table.name, asked)[1]
    ensure_index(run.cluster, table)
    found = run.sluice_json("trace", table.name, asked, code=1)
    assert found["image"] == {"blob": {"B": text}, "at": {"N": "7"}}
    assert found["documents"][0]["difference"] == "missing"
    assert run.sluice_json("show", table.name, found["id"])["image"] == found["image"]


def write_worker(run: Run, valve: ValveState) -> None:
    now = time.time_ns() // 1_000_000
    lag = LagCounts(300, (1.0, 5.0, 60.0), (98, 1, 1, 0))
    ensure_state_index(run.cluster)
    state = WorkerState(run.name, "hand:1", now, now, 4, True, valve=valve, lag=lag)
    put_state(run.cluster, state)
    wait_for(
        "the worker's word to be found",
        lambda: [s.valve for s in read_states(run.cluster, run.name)] == [valve],
        seconds=10,
    )


@LIGHT
def test_status_tells_reasons_lag_valve_and_what_lambda_gave_up_on(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = run.items.name
    run.create(run.items, stream=True)
    for one in ("a", "b"):
        bury(run, name, one)
    bury(run, name, "c", error="ValidationError")
    write_worker(run, ValveState("shut", 1_767_225_600_000, None, "too much refused"))
    monkeypatch.setenv("SLUICE_ON_FAILURE_BUCKET", run.name)
    event = {"Records": [{"eventID": "1"}]}
    failure = {
        "timestamp": "2026-01-02T03:04:05Z",
        "requestContext": {"condition": "RetryAttemptsExhausted"},
        "DDBStreamBatchInfo": {"streamArn": ARN.format(name), "shardId": "s"},
        "payload": json.dumps(event),
    }
    run.s3.put_object(Bucket=run.name, Key="aws/lambda/1", Body=json.dumps(failure).encode())

    def look() -> tuple[dict[str, Any], list[str]]:
        pipeline = run.sluice_json("status", name, code=1)["pipeline"]
        return pipeline, [s["what"] for s in pipeline["signs"] if s["level"] == "red"]

    pipeline, signs = look()
    groups = {g["error"]: g["count"] for g in pipeline["letters"]["groups"]}
    assert groups == {"mapper_parsing_exception": 2, "ValidationError": 1}
    assert pipeline["letters"]["complete"] is True
    assert pipeline["lag"] == {
        "applied_p50_s": 1.0,
        "applied_p99_s": 5.0,
        "window_s": 300,
        "changes": 100,
    }
    assert [worker["worker"] for worker in pipeline["workers"]] == ["hand:1"]
    assert [sign.partition(" ")[0] for sign in signs] == ["the", "dead", "repair"]
    assert "too much refused" in signs[0]
    assert signs[2].startswith("repair needed since 2026-01-02T03:04:05Z: Lambda gave up on 1")
    # Nothing is hidden by the look: another reader gets all three at once.
    assert len(run.queues.drain_dead()) == 3

    run.s3.delete_object(Bucket=run.name, Key="aws/lambda/1")
    write_worker(run, ValveState())
    assert look()[1] == []
    code, out, _ = run.sluice("status", name, "--no-peek")
    assert code == 1  # the trigger alone: moto knows of no mapping
    assert "worker  hand:1: polls, 0 in work, 4 processes, valve open" in out


@LIGHT
def test_watching_prints_each_look_on_a_line_of_its_own_until_it_is_interrupted(run: Run) -> None:
    run.create(run.items, stream=True)
    process = run.spawn("status", run.items.name, "--watch", "--every", "0.2", "--json")
    assert process.stdout is not None
    looks: list[dict[str, Any]] = []
    try:
        for line in process.stdout:
            looks.append(json.loads(line))
            if len(looks) == 1:
                bury(run, run.items.name, "a")
            if looks[-1]["pipeline"]["dead"]["waiting"] or len(looks) > 100:
                break
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 1  # no worker reports, and moto knows of no trigger
    finally:
        process.kill()
        process.communicate(timeout=20)
    first, last = looks[0], looks[-1]
    assert [look["pipeline"]["dead"]["waiting"] for look in (first, last)] == [0, 1]
    assert first["pipeline"]["now_ms"] < last["pipeline"]["now_ms"]
    (table,) = last["tables"]
    index = run.items.index_name(1)
    said = table["index"]
    assert (said["name"], said["version"], said["refresh"]) == (index, 1, "1s")
    (group,) = last["pipeline"]["letters"]["groups"]
    assert group["error"] == "mapper_parsing_exception"


@LIGHT
def test_the_valve_opens_by_an_operators_word(run: Run) -> None:
    code, out, _ = run.sluice("valve", "show")
    assert (code, "No worker of" in out) == (1, True)
    write_worker(run, ValveState("shut", 1_767_225_600_000, None, "too much refused"))
    assert run.sluice_json("valve", "show", code=1)["workers"][0]["why"] == "too much refused"
    code, out, _ = run.sluice("valve", "open", "--wait", "0.2")
    assert (code, "hand:1: shut since 2026-01-01T00:00:00Z" in out) == (1, True)

    def obey() -> None:
        wait_for("the operator's word", lambda: read_word(run.cluster, run.name))
        write_worker(run, ValveState())

    worker = threading.Thread(target=obey)
    worker.start()
    answer = run.sluice_json("valve", "open", "--queue", run.name)
    worker.join()
    assert answer["open"] is True
