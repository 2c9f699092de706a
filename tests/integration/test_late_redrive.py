"""A redrive two weeks late changes nothing that is newer: real workers on every search engine."""

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from console import cli
from producer.contract import Change, Item, Kind, queue_name
from tests.polling import wait_for
from tests.services.engines import Engine
from tests.upkeep.line import Line, running_line
from worker.cluster import path
from worker.deadletters import DeadLetterQueue, Letter
from worker.mappings import META
from worker.wire import from_wire

pytestmark = pytest.mark.services

DAY_MS = 86_400_000
NOW_MS = time.time_ns() // 1_000_000
LATE_MS = NOW_MS - 15 * DAY_MS
"""Two weeks ago, within the horizon of 30 days."""
ANCIENT_MS = NOW_MS - 45 * DAY_MS


def name_key(name: str) -> Item:
    return {"id": {"S": name}}


class LateLine(Line):
    """A line whose changes were made when the test says."""

    def change_at(self, kind: Kind, name: str, at: int, **fields: dict[str, Any]) -> Change:
        """The next change of the table's stream."""
        return self.change(
            kind, name, at, None if kind == "REMOVE" else {**name_key(name), **fields}
        )

    def deliver(self, *changes: Change) -> None:
        """Send changes one by one; return when each is applied, obsolete or a dead letter."""
        for change in changes:
            self.send(self.chunk(change))
            self.settle()

    def bury(self, change: Change) -> None:
        """Dead-letter a change exactly as the worker does."""
        edge = DeadLetterQueue(
            self.queues.client, self.queues.dead_url, queue_name(self.queues.url)
        )
        edge.send_change(self.chunk(change), change, Letter("Refused", "by a test", self.table))

    def redrive(self) -> None:
        assert cli.main(["dead-letters", "redrive"]) == 0
        self.settle()

    def live(self, name: str) -> dict[str, Any] | None:
        """The document as a search finds it, without the worker's own object."""
        self.cluster.request("POST", path(f"{self.table}-write", "_refresh"))
        body = {"query": {"ids": {"values": [name]}}}
        answer = self.cluster.request("POST", path(self.table, "_search"), body=body)
        assert answer.status == 200, answer
        hits = [hit["_source"] for hit in answer.body["hits"]["hits"]]
        return {n: v for n, v in hits[0].items() if n != META} if hits else None

    def dead(self) -> int:
        return self.queues.depth(self.queues.dead_url)


@pytest.fixture(scope="module")
def module_line(
    search_engine: Engine,
    dynamodb: Engine,
    elasticmq: Engine,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LateLine]:
    """One worker for the tests of one engine."""
    run = f"late{os.urandom(4).hex()}"
    engines = {"search": search_engine, "dynamodb": dynamodb, "elasticmq": elasticmq}
    more = {
        "SLUICE_TABLES": "tests.convergence.tables",
        "SLUICE_CONCURRENCY": "1",
        "CONVERGENCE_RUN": run,
    }
    with running_line(engines, f"{run}-live", tmp_path_factory.mktemp(run), more) as line:
        line.workers.start()
        yield LateLine(**vars(line))


@pytest.fixture
def line(module_line: LateLine, monkeypatch: pytest.MonkeyPatch) -> LateLine:
    """The line, and the environment of its command line."""
    for name, value in module_line.environment.items():
        monkeypatch.setenv(name, value)
    return module_line


def test_an_update_redriven_twice_around_the_delete_brings_nothing_back(line: LateLine) -> None:
    """The update is refused by the cluster itself, each time: its score is no number."""
    line.deliver(line.change_at("INSERT", "a", LATE_MS, score={"N": "1"}))
    line.deliver(line.change_at("MODIFY", "a", LATE_MS, score={"S": "high"}))
    assert line.dead() == 1
    line.redrive()
    assert line.live("a") == {"id": "a", "score": 1}
    assert line.dead() == 1  # the same change, dead-lettered again
    line.deliver(line.change_at("REMOVE", "a", LATE_MS + 60_000))
    assert line.live("a") is None
    line.redrive()
    assert (line.live("a"), line.dead()) == (None, 0)


def test_a_delete_redriven_after_the_reinsert_deletes_nothing(line: LateLine) -> None:
    line.deliver(line.change_at("INSERT", "b", LATE_MS, title={"S": "first"}))
    line.bury(line.change_at("REMOVE", "b", LATE_MS))
    line.deliver(line.change_at("INSERT", "b", LATE_MS, title={"S": "second"}))
    line.redrive()
    assert (line.live("b"), line.dead()) == ({"id": "b", "title": "second"}, 0)


def test_a_repair_stands_whether_the_redrive_comes_before_or_after_it(line: LateLine) -> None:
    """The last change was lost with the stream; a read of the table, days later, makes it good."""
    letters = {}
    for name in ("before", "after"):
        line.deliver(line.change_at("INSERT", name, LATE_MS, title={"S": "first"}))
        letters[name] = line.change_at("MODIFY", name, LATE_MS, title={"S": "second"})
    line.bury(letters["before"])
    line.redrive()
    assert line.live("before") == {"id": "before", "title": "second"}
    for name, letter in letters.items():
        item = {**name_key(name), "title": {"S": "third"}}
        line.deliver(Change("READ", name_key(name), LATE_MS + DAY_MS, new=item))
        line.bury(letter)
    line.redrive()
    for name in letters:
        assert line.live(name) == {"id": name, "title": "third"}
    assert line.dead() == 0


def test_a_change_older_than_the_horizon_is_settled_by_the_table(line: LateLine) -> None:
    """Its tombstone may be gone, so what the table holds now is what counts."""
    there = {**name_key("d"), "title": {"S": "now"}}
    line.dynamodb.put_item(TableName=line.table, Item=from_wire(there))
    line.bury(line.change_at("MODIFY", "d", ANCIENT_MS, title={"S": "then"}))
    line.bury(line.change_at("MODIFY", "e", ANCIENT_MS, title={"S": "then"}))
    line.redrive()
    assert line.live("d") == {"id": "d", "title": "now"}
    assert (line.live("e"), line.dead()) == (None, 0)


def test_the_cloud_consoles_own_redrive_works_with_the_destination_named(
    line: LateLine, elasticmq: Engine
) -> None:
    if elasticmq.kind != "real":
        pytest.skip("moto has no message move tasks")
    line.bury(line.change_at("INSERT", "f", LATE_MS, title={"S": "moved"}))
    line.queues.client.start_message_move_task(
        SourceArn=_arn(line, line.queues.dead_url), DestinationArn=_arn(line, line.queues.url)
    )
    wait_for("SQS to move it", lambda: line.dead() == 0, seconds=15)
    line.settle()
    assert line.live("f") == {"id": "f", "title": "moved"}


def _arn(line: LateLine, url: str) -> str:
    answer = line.queues.client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return answer["Attributes"]["QueueArn"]
