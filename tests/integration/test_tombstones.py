"""Tombstones go once nothing can need them; what comes after that brings nothing back."""

import json
import os
import subprocess
import sys
import time
from typing import Any

import pytest

from console.tombstones import cutoff_ms, old_tombstones
from producer.contract import Change, Chunk, encode_chunk, queue_name, write_envelope
from tests.polling import wait_for
from tests.upkeep.pipeline import HEAVY, LIGHT, Run
from tests.workers import ROOT
from worker.cluster import path
from worker.deadletters import DeadLetterQueue, Letter
from worker.mappings import META

pytestmark = pytest.mark.services

DAY_MS = 86_400_000
LABEL = "2020-01-01T00:00:00.000"


def make_chunk(run: Run, *changes: Change) -> Chunk:
    arn = f"arn:aws:dynamodb:us-east-1:000000000000:table/{run.shown.name}/stream/{LABEL}"
    return Chunk(run.shown.name, None if changes[0].kind == "READ" else arn, changes)


def send(run: Run, *changes: Change) -> None:
    chunk = make_chunk(run, *changes)
    run.queues.send([write_envelope(encode_chunk(chunk), queue_name(run.queues.url))])
    run.drain()


def bury(run: Run, *changes: Change) -> None:
    """Dead-letter changes as the worker does."""
    queue = queue_name(run.queues.url)
    edge = DeadLetterQueue(run.queues.client, run.queues.dead_url, queue)
    for change in changes:
        letter = Letter("Refused", "by a test", run.shown.name)
        edge.send_change(make_chunk(run, change), change, letter)


def key(name: str) -> dict[str, Any]:
    return {"owner": {"S": "ann"}, "id": {"S": name}}


def write(name: str, at: int, number: int) -> Change:
    return Change("INSERT", key(name), at, str(10**20 + number), new=key(name))


def delete(name: str, at: int, number: int) -> Change:
    return Change("REMOVE", key(name), at, str(10**20 + number))


def states(run: Run) -> dict[str, str]:
    run.cluster.request("POST", path(run.shown.write_alias, "_refresh"))
    answer = run.cluster.request("POST", path(run.shown.write_alias, "_search"), body={"size": 100})
    hits = answer.body["hits"]["hits"]
    return {hit["_id"].partition("|")[0]: hit["_source"][META]["state"] for hit in hits}


@HEAVY
def test_old_tombstones_go_and_a_message_redriven_after_that_brings_nothing_back(
    run: Run,
) -> None:
    run.create(run.shown)
    now = time.time_ns() // 1_000_000
    old, young = now - 40 * DAY_MS, now - 20 * DAY_MS
    # Written by workers whose horizon was long, so that old changes were taken as they stood.
    run.workers.start(SLUICE_HORIZON_DAYS="3650")
    send(run, write("gone", old, 1), delete("gone", old + 1, 2), write("there", old, 3))
    send(run, delete("young", young, 4), delete("read since", old, 5))
    send(run, Change("READ", key("read since"), young), Change("READ", key("read old"), old))
    secret = {**key("hidden"), "secret": {"BOOL": True}}
    send(run, Change("INSERT", key("hidden"), old, "9" * 21, new=secret))
    run.put(run.shown, {"owner": "ann", "id": "there"})
    before = states(run)
    assert before == {
        "gone": "deleted", "there": "live", "young": "deleted", "read since": "deleted",
        "read old": "deleted", "hidden": "hidden",
    }  # fmt: skip

    count = run.sluice_json("tombstones", "purge", "--dry-run")["tables"]
    assert {one["table"]: one["old"] for one in count if one["table"] == run.shown.name} == {
        run.shown.name: 2
    }
    purged = run.sluice_json("tombstones", "purge", run.shown.name)["tables"]
    index = run.shown.index_name(1)
    assert purged == [{"table": run.shown.name, "index": index, "removed": 2, "kept": 0}]
    assert states(run) == {n: s for n, s in before.items() if n not in ("gone", "read old")}
    again = run.sluice_json("tombstones", "purge", run.shown.name)["tables"]
    assert again == [{"table": run.shown.name, "index": index, "removed": 0, "kept": 0}]

    run.workers.kill(run.workers.running[0])
    run.workers.start(SLUICE_HORIZON_DAYS="30")
    for _ in range(2):
        bury(run, write("gone", old, 1), write("read old", old, 0))
        assert run.sluice("dead-letters", "redrive")[0] == 0
        run.drain()
        assert run.queues.depth(run.queues.dead_url) == 0
        found = states(run)
        assert {n for n, state in found.items() if state == "live"} == {"there"}
    assert run.sluice_json("tombstones", "purge", run.shown.name)["tables"][0]["removed"] == 0


@HEAVY
def test_with_the_clock_moved_past_the_horizon_a_letter_of_before_brings_nothing_back(
    run: Run,
) -> None:
    """Nothing is written with an old time here: workers and command live 32 days later."""
    name = run.shown.name
    run.create(run.shown)
    run.put(run.shown, {"owner": "ann", "id": "there"})
    now = time.time_ns() // 1_000_000
    run.workers.start()
    inserted, updated = write("gone", now - 2_000, 1), write("gone", now - 1_000, 2)
    send(run, inserted, write("there", now, 3), delete("gone", now, 4))
    assert states(run) == {"gone": "deleted", "there": "live"}
    assert run.sluice_json("tombstones", "purge", name)["tables"][0]["removed"] == 0

    run.workers.kill(run.workers.running[0])
    run.workers.start(UPKEEP_AHEAD_DAYS="32")
    # The tables, and the clock with them, come first: the command looks at it before them.
    main = "import sys, tests.upkeep.tables; from console.cli import main; sys.exit(main())"
    purge = [sys.executable, "-c", main, "tombstones", "purge", name, "--json"]
    later = {**os.environ, "PYTHONPATH": str(ROOT), "UPKEEP_AHEAD_DAYS": "32"}
    out = subprocess.run(purge, cwd=ROOT, env=later, check=True, capture_output=True).stdout
    assert json.loads(out)["tables"][0]["removed"] == 1
    for _ in range(2):
        bury(run, inserted, updated)
        assert run.sluice("dead-letters", "redrive")[0] == 0
        run.drain()
        assert run.queues.depth(run.queues.dead_url) == 0
        live = {one for one, state in states(run).items() if state == "live"}
        assert live == {"there"}


@HEAVY
def test_a_tombstone_that_changes_while_it_is_purged_stays(run: Run) -> None:
    from console import tombstones

    run.create(run.shown)
    now = time.time_ns() // 1_000_000
    old = now - 40 * DAY_MS
    run.workers.start(SLUICE_HORIZON_DAYS="3650")
    send(run, delete("a", old, 1), delete("b", old, 2))
    hits = tombstones._find(run.cluster, run.shown.write_alias, cutoff_ms(now, 30))
    assert len(hits) == 2
    send(run, write("a", now, 3))
    assert tombstones._delete(run.cluster, hits) == 1
    assert states(run) == {"a": "live"}


@LIGHT
def test_without_an_index_purging_is_a_clear_error(run: Run) -> None:
    code, _, err = run.sluice("tombstones", "purge", run.shown.name)
    assert (code, "has no index yet" in err) == (2, True)
    assert old_tombstones(5)["bool"]["must_not"]


@HEAVY
def test_status_tells_a_gap_until_a_repair_has_closed_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = run.items.name
    # A repair waits until a change is older than the margin: a minute would be long.
    monkeypatch.setenv("SLUICE_CLOCK_MARGIN_S", "1")
    run.create(run.items, stream=True)
    run.workers.start(SLUICE_CLOCK_MARGIN_S="1")
    trigger = run.follow(run.dynamodb.describe_table(TableName=name)["Table"]["LatestStreamArn"])
    run.put(run.items, {"id": "a"}, {"id": "b"})
    run.drain(trigger)
    run.cluster.request("POST", path(run.items.write_alias, "_refresh"))

    def signs(code: int) -> list[str]:
        (table,) = run.sluice_json("status", name, code=code)["tables"]
        return [s["what"] for s in table["signs"] if s["level"] == "red" and "Lambda" not in
                s["what"]]  # fmt: skip

    assert signs(code=1) == []  # red is the trigger alone: moto knows of no mapping
    run.stream(run.items, on=False)
    wait_for(
        "the stream to end",
        lambda: "StreamSpecification" not in run.dynamodb.describe_table(TableName=name)["Table"],
    )
    assert signs(code=1) == ["the table has no stream: changes are not indexed"]
    run.put(run.items, {"id": "c"})
    run.resource.Table(name).delete_item(Key={"id": "a"})
    time.sleep(1.1)  # a stream's label is its time of creation: not the same second again
    run.stream(run.items, on=True)
    (gap,) = signs(code=1)
    assert gap.startswith("repair needed since 20")

    answer = run.sluice_json("repair", name, "--settle", "0.5", "--patience", "20")
    assert (answer["found"], answer["mended"]) == (2, 2)
    assert signs(code=1) == []
    assert run.differences(run.items) == {}
    code, out, _ = run.sluice("status", name)
    assert code == 1
    assert "proven equal to the table: 20" in out
