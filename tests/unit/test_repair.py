"""A repair counts what it mends and what is left, in memory that does not grow with either."""

import threading
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import pytest

from console.lateness import Lateness
from console.repair import Repair, Repaired
from console.scan import Meter, TableReader
from console.sending import Depth, Outlet, open_outlet
from console.verify.compare import place_of
from console.verify.comparer import Comparer
from console.verify.model import Finding, Place
from producer.settings import Settings
from worker.clock import read_clock_ms
from worker.cluster import Answer
from worker.mappings import META
from worker.tables import Table

TABLE: Table[Any] = Table("posts")
SETTINGS = Settings("http://sqs/1/queue", "http://sqs/1/dead", "bucket")


class FullTable:
    """DynamoDB's `batch_get_item`: whatever is asked for is there."""

    def batch_get_item(self, **request: Any) -> dict[str, Any]:
        keys = request["RequestItems"][TABLE.name]["Keys"]
        items = [{**key, "text": {"S": "x" * 100}} for key in keys]
        return {"Responses": {TABLE.name: items}, "UnprocessedKeys": {}}


class Queue:
    """SQS that counts, and S3 that is not needed."""

    messages = 0

    def send_message_batch(self, *, QueueUrl: str, Entries: Any) -> Any:  # noqa: N803
        self.messages += len(Entries)
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}


@dataclass
class Cluster:
    """An index that takes nothing in: some documents are there, and stay as they are."""

    metas: dict[str, dict[str, Any]] = field(default_factory=dict)

    def request(self, method: str, path: str, *, body: Any = None, **_: Any) -> Answer:
        if method == "DELETE":
            self.metas.pop(unquote(path.rpartition("/")[2]))
            return Answer(200, {})
        return Answer(200, {"docs": [self._find(doc["_id"]) for doc in body["docs"]]})

    def _find(self, name: str) -> dict[str, Any]:
        if name not in self.metas:
            return {"_id": name, "found": False}
        source = {META: self.metas[name]}
        return {"_id": name, "found": True, "_seq_no": 1, "_primary_term": 1, "_source": source}


@dataclass
class Wiring:
    """What a repair asks of its session."""

    cluster: Cluster
    outlet: Outlet
    stop: threading.Event

    waiting: int = 0

    def depth(self) -> Depth:
        return Depth(self.waiting, 0, 0)

    def lateness(self) -> Lateness | None:
        return None


class Hasty(threading.Event):
    """Waits for nothing."""

    waited_s = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        self.waited_s += timeout or 0.0
        return self.is_set()


def repair(
    findings: Iterator[Finding],
    cluster: Cluster,
    margin_ms: int = 0,
    stop: Hasty | None = None,
    waiting: int = 0,
) -> Repaired:
    stop = stop or Hasty()
    client: Any = FullTable()
    reader = TableReader(client, TABLE.name, ("id",), Meter(None), read_clock_ms, stop)
    queue = Queue()
    session: Any = Wiring(cluster, open_outlet(SETTINGS, queue, queue, stop), stop, waiting)
    index: Any = cluster
    comparer = Comparer(TABLE, reader, index, "posts-v1")
    return Repair(session, comparer, margin_ms, 0.05 if waiting else 5).run(findings)


def missing(count: int) -> Iterator[Finding]:
    for number in range(count):
        key = {"id": {"S": f"{number:09}"}}
        yield Finding("missing", place_of(TABLE, key), "0" * 32, None)


def foreign(name: str) -> Finding:
    return Finding("left over", Place(name, None, None), None, 1)


def test_what_is_found_is_agreed_or_mended_or_left() -> None:
    cluster = Cluster({"by hand": {}, "gone by itself": {}})
    findings = [*missing(250), foreign("by hand"), foreign("there no more")]
    done = repair(iter(findings), cluster)
    assert (done.found, done.agreed, done.mended, done.left) == (252, 1, 1, 250)
    assert (done.sent, done.removed) == (250, 1)
    assert [one.place.id for one in done.examples] == [f"{n:09}" for n in range(20)]
    assert set(cluster.metas) == {"gone by itself"}


def test_a_queue_that_is_never_empty_keeps_no_repair_from_its_end() -> None:
    cluster = Cluster({"by hand": {}})
    done = repair(iter([*missing(2), foreign("by hand")]), cluster, waiting=1)
    assert (done.removed, done.mended, done.left, done.late) == (1, 1, 2, True)
    assert not repair(missing(1), Cluster()).late


def test_an_item_that_changed_a_moment_ago_is_read_again_once_it_is_ripe() -> None:
    cluster = Cluster({"000000000": {"state": "live", "time": read_clock_ms()}})
    stop = Hasty()
    done = repair(missing(2), cluster, margin_ms=60_000, stop=stop)
    assert (done.found, done.sent) == (2, 2)
    assert 59 < stop.waited_s < 62


@pytest.mark.parametrize("margin_ms", [0, 60_000], ids=["ripe", "not yet ripe"])
def test_memory_does_not_grow_with_the_differences(margin_ms: int) -> None:
    def measure(count: int) -> int:
        changed = {"time": read_clock_ms() - 1, "state": "live"}
        cluster = Cluster({f"{n:09}": changed for n in range(count)})
        tracemalloc.start()
        done = repair(missing(count), cluster, margin_ms)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (done.found, done.left) == (count, count)
        return most

    measure(300)
    assert measure(3_000) - measure(300) < 300_000
