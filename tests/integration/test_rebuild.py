"""A rebuild under live traffic: no search misses anything, and both indexes equal the table."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

from producer.contract import Change, Chunk, Item, Kind
from tests.integration.rebuild_tables import declare
from tests.polling import wait_for
from tests.services.engines import Engine
from tests.upkeep.line import Line, running_line
from tests.workers import CREDENTIALS, ROOT
from worker.cluster import connect, path
from worker.documents import make_document
from worker.mappings import META
from worker.tables import Table
from worker.wire import from_wire

pytestmark = pytest.mark.services

STABLE = 120
"""Items that nobody changes: every search must find all of them."""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class RebuildLine(Line):
    """A line whose declarations change from deploy to deploy."""

    items: dict[str, Item] = field(default_factory=dict)

    @property
    def tables(self) -> dict[int, Table[Any]]:
        return declare(self.table)

    def put(self, name: str, title: str, group: str = "moving") -> Change:
        """Change the table, and answer what its stream says of it."""
        item: Item = {"id": {"S": name}, "title": {"S": title}, "group": {"S": group}}
        self.dynamodb.put_item(TableName=self.table, Item=from_wire(item))
        kind: Kind = "MODIFY" if name in self.items else "INSERT"
        self.items[name] = item
        return self._change(kind, name, item)

    def remove(self, name: str) -> Change:
        self.dynamodb.delete_item(TableName=self.table, Key={"id": {"S": name}})
        del self.items[name]
        return self._change("REMOVE", name, None)

    def _change(self, kind: Kind, name: str, item: Item | None) -> Change:
        return self.change(kind, name, now_ms() // 1000 * 1000, item)

    def deploy(self, version: int, count: int = 1) -> None:
        """Replace every worker by ones that know this deploy's declarations."""
        before = list(self.workers.running)
        for _ in range(count):
            self.workers.start(REBUILD_DEPLOYED=str(version))
        for process in before:
            self.workers.kill(process)

    def command(self, deployed: int, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "console", "rebuild", self.table, *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                **CREDENTIALS,
                **self.environment,
                "REBUILD_DEPLOYED": str(deployed),
                "PYTHONPATH": str(ROOT),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def rebuild(self, *arguments: str, deployed: int = 2, code: int = 0) -> dict[str, Any]:
        """Run the command to its end."""
        process = self.command(deployed, *arguments, "--json")
        out, err = process.communicate(timeout=90)
        assert process.returncode == code, f"exit {process.returncode}\n{out}\n{err}"
        said: dict[str, Any] = json.loads(out) if out.strip() else {"error": err}
        return said

    def indexes(self) -> set[str]:
        return {
            f"{self.table}-v{n}"
            for n in (1, 2)
            if self.cluster.request("GET", path(f"{self.table}-v{n}")).status == 200
        }

    def served(self) -> str:
        answer = self.cluster.request("GET", path("_alias", self.table))
        (name,) = answer.body
        return str(name)

    def differences(self, version: int, deploy: int | None = None) -> dict[str, Any]:
        """Where an index is not the table, as this declaration makes it."""
        table = self.tables[deploy or version]
        index = table.index_name(version)
        self.cluster.request("POST", path(index, "_refresh"))
        query = {"term": {f"{META}.state": "live"}}
        answer = self.cluster.request(
            "POST", path(index, "_search"), body={"size": 10_000, "query": query}
        )
        assert answer.status == 200, answer
        have = {
            hit["_id"]: {k: v for k, v in hit["_source"].items() if k != META}
            for hit in answer.body["hits"]["hits"]
        }
        want = {name: make_document(table, item) for name, item in self.items.items()}
        wanted = {name: fields for name, fields in want.items() if fields is not None}
        return {
            name: (wanted.get(name), have.get(name))
            for name in wanted.keys() | have.keys()
            if wanted.get(name) != have.get(name)
        }

    def fill(self) -> None:
        """Something in the table, and all of it in the index of version 1."""
        self.deploy(1)
        changes = [self.put(f"stable-{n}", f"title {n}", "stable") for n in range(STABLE)]
        changes += [self.put(f"moving-{n}", "first") for n in range(20)]
        self.send(*(self.chunk(*changes[n : n + 10]) for n in range(0, len(changes), 10)))
        self.settle()


@pytest.fixture
def line(
    search_engine: Engine,
    dynamodb: Engine,
    elasticmq: Engine,
    fresh_name: str,
    tmp_path: Path,
) -> Iterator[RebuildLine]:
    engines = {"search": search_engine, "dynamodb": dynamodb, "elasticmq": elasticmq}
    more = {
        "SLUICE_TABLES": "tests.integration.rebuild_tables",
        "SLUICE_CONCURRENCY": "2",
        "REBUILD_TABLE": fresh_name,
    }
    with running_line(engines, fresh_name, tmp_path, more, visibility_s=8) as one:
        yield RebuildLine(**vars(one))
        for index in (f"{fresh_name}-v1", f"{fresh_name}-v2"):
            one.cluster.request("DELETE", path(index))


class Traffic(threading.Thread):
    """Writes to the table and delivers its stream badly: in disorder, some of it twice."""

    def __init__(self, line: RebuildLine, seed: int) -> None:
        super().__init__(daemon=True)
        self.line, self.rng = line, random.Random(seed)
        self.over = threading.Event()
        self.changes = 0

    def run(self) -> None:
        late: list[Chunk] = []
        while not self.over.wait(0.02):
            late.append(self.line.chunk(*self._change()))
            if len(late) >= 6:
                self.rng.shuffle(late)
                again = self.rng.choices(late, k=2)
                self.line.send(*late[3:], *again)
                late = late[:3]
        self.line.send(*late)

    def _change(self) -> list[Change]:
        self.changes += 1
        name = f"moving-{self.rng.randrange(60)}"
        if name in self.line.items and self.rng.random() < 0.3:
            return [self.line.remove(name)]
        title = self.rng.choice(["quiet", f"title {self.changes}"])
        return [self.line.put(name, title)]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join(30)


class Searcher(threading.Thread):
    """Asks for the items that never change, all the time, and notes each answer that lacks one."""

    def __init__(self, url: str, alias: str) -> None:
        super().__init__(daemon=True)
        self.url, self.alias = url, alias
        self.over = threading.Event()
        self.searches = 0
        self.wrong: list[Any] = []

    def run(self) -> None:
        cluster = connect(self.url)
        body = {"size": 0, "query": {"term": {"group": "stable"}}, "track_total_hits": True}
        while not self.over.is_set():
            answer = cluster.request("POST", path(self.alias, "_search"), body=body)
            found = answer.body["hits"]["total"]["value"] if answer.status == 200 else answer
            self.searches += 1
            if found != STABLE:
                self.wrong.append(found)
        cluster.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join(30)


def test_a_rebuild_under_traffic_killed_at_random_ends_with_two_true_indexes(
    line: RebuildLine, search_engine: Engine
) -> None:
    seed = int(os.environ.get("SLUICE_SEED", "0")) or random.randrange(10**6)
    print(f"seed {seed}")
    rng = random.Random(seed)
    line.fill()
    line.deploy(2)
    searcher = Searcher(search_engine.url, line.table)
    traffic = Traffic(line, seed)
    line.cluster.request("POST", path(line.table, "_refresh"))
    with searcher, traffic:
        for _ in range(5):
            process = line.command(2, "--page", "7", "--concurrency", "2")
            try:
                process.wait(rng.uniform(0.6, 2.5))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
            process.communicate()
        said = line.rebuild("all", "--page", "20")
        assert (said["phase"], said["served"]) == ("swapped", f"{line.table}-v2")
        before = searcher.searches
        wait_for("searches of the new index", lambda: searcher.searches > before + 20)
        line.rebuild("rollback")
        assert line.served() == f"{line.table}-v1"
        line.rebuild("swap")
        assert line.served() == f"{line.table}-v2"
    line.settle()
    assert searcher.wrong == []
    assert traffic.changes > 50
    assert line.differences(2) == {}
    assert line.differences(1) == {}

    with Searcher(search_engine.url, line.table) as searcher:
        wait_for("a search before the end", lambda: searcher.searches)
        line.rebuild("finish")
        before = searcher.searches
        wait_for("a search after it", lambda: searcher.searches > before + 1)
    assert searcher.wrong == []
    assert line.indexes() == {f"{line.table}-v2"}
    line.send(line.chunk(line.put("after", "the end"), line.remove("stable-1")))
    line.settle()
    assert line.differences(2) == {}
    assert line.queues.drain_dead() == []


def test_a_worker_that_does_not_know_the_new_version_holds_its_messages(line: RebuildLine) -> None:
    line.fill()
    line.rebuild("start")
    line.send(line.chunk(line.put("moving-1", "held")))
    wait_for("the worker to say why", lambda: "declares 1 alone" in line.workers.logs())
    assert line.queues.depth() == 1
    line.deploy(2)
    line.settle()
    line.rebuild()
    assert line.differences(2) == {}
    assert line.differences(1) == {}
    assert line.queues.drain_dead() == []


def test_an_aborted_rebuild_leaves_the_old_index_as_if_nothing_had_been(line: RebuildLine) -> None:
    line.fill()
    line.deploy(2)
    line.rebuild("start")
    line.send(line.chunk(line.put("moving-1", "between")))
    line.settle()
    line.rebuild("run")
    assert line.rebuild("abort")["phase"] == "due"
    assert line.indexes() == {f"{line.table}-v1"}
    line.send(line.chunk(line.put("moving-2", "after"), line.remove("moving-3")))
    line.settle()
    assert line.differences(1) == {}
    line.rebuild()
    assert line.differences(2) == {}


def test_late_duplicates_and_deletes_across_the_barrier_change_nothing(line: RebuildLine) -> None:
    """Each item's older change reaches the new index before the copy does."""
    line.fill()
    line.deploy(2)
    older = [line.put(f"late-{n}", "older") for n in range(5)]
    newer = [line.put(f"late-{n}", "newer") for n in range(3)] + [line.remove("late-3")]
    line.send(line.chunk(*older), line.chunk(*newer))
    line.settle()
    line.rebuild("start")
    gone = line.remove("late-4")
    line.send(line.chunk(gone))
    line.settle()
    line.send(*(line.chunk(change) for change in older))
    line.settle()
    said = line.rebuild("run")
    assert (said["phase"], said["differences"]) == ("verified", 0)
    assert line.differences(2) == {}
    line.send(*(line.chunk(change) for change in [*older, *newer]))
    line.settle()
    assert line.differences(2) == {}
    assert line.differences(1) == {}


def test_an_index_that_refuses_documents_is_not_swapped_in(line: RebuildLine) -> None:
    line.fill()
    line.deploy(3)
    said = line.rebuild("all", deployed=3, code=1)
    assert said["phase"] == "copied"
    assert said["differences"] == len(line.items)
    assert "parsing_exception" in said["first"][0]["why"]
    assert line.rebuild("swap", deployed=3, code=2)["error"].startswith("sluice:")
    line.send(line.chunk(line.put("moving-1", "no number")))
    line.settle()
    ((_, attributes),) = line.queues.drain_dead()
    assert attributes["sluice-index"] == f"{line.table}-write-v2-beside-v1"
    assert line.served() == f"{line.table}-v1"
    assert line.differences(1) == {}
    line.rebuild("abort", deployed=3)
    assert line.indexes() == {f"{line.table}-v1"}
