"""A comparison, be it of verify or of a rebuild, holds a few pages and not the table."""

import tracemalloc
from collections.abc import Iterator
from threading import Event
from typing import Any

from console.checkpoint import Journal
from console.scan import Meter, TableReader
from console.verify.comparer import Comparer
from console.verify.walk import Walk
from producer.contract import Item
from worker.cluster import Answer
from worker.identity import document_id, key_text
from worker.mappings import META
from worker.tables import Table
from worker.values import digest

TABLE: Table[Any] = Table("posts")
PAGE = 100
SEGMENTS = 4


def make_item(number: int) -> Item:
    return {"id": {"S": f"{number:09}"}, "text": {"S": "x" * 200}}


class Sides:
    """A table and its index of any size, which nobody has to store."""

    def __init__(self, items: int) -> None:
        self.items = items

    def scan(self, **request: Any) -> dict[str, Any]:
        segment = request["Segment"]
        first, end = (self.items * n // SEGMENTS for n in (segment, segment + 1))
        if "ExclusiveStartKey" in request:
            first = int(request["ExclusiveStartKey"]["id"]["S"]) + 1
        items = [make_item(number) for number in range(first, min(end, first + PAGE))]
        more = {"LastEvaluatedKey": {"id": items[-1]["id"]}} if first + PAGE < end else {}
        return {"Items": items, "ScannedCount": len(items), **more}

    def batch_get_item(self, *, RequestItems: Any, **_: Any) -> dict[str, Any]:  # noqa: N803
        keys = RequestItems[TABLE.name]["Keys"]
        return {"Responses": {TABLE.name: keys}, "UnprocessedKeys": {}}

    def request(self, method: str, path: str, *, body: Any = None, **_: Any) -> Answer:
        match path.rpartition("/")[2]:
            case "_mget":
                docs = (make_item(int(doc["_id"])) for doc in body["docs"])
                return Answer(200, {"docs": [self._hit(item, digest(item)) for item in docs]})
            case "_search":
                return Answer(200, {"hits": {"hits": list(self._walk(body))}})
        return Answer(200, {})

    def _walk(self, body: Any) -> Iterator[dict[str, Any]]:
        """Documents in the order of digests, which are their numbers here, spread out evenly."""
        if "sort" not in body:
            return  # no document is without a digest
        step = 2**32 // self.items
        after = body.get("search_after", [None])[0]
        first = 0 if after is None else -(-(int(after[:8], 16) + (len(after) > 8)) // step)
        for number in range(first, min(self.items, first + body["size"])):
            yield self._hit(make_item(number), f"{number * step:08x}0")

    def _hit(self, item: Item, mark: str) -> dict[str, Any]:
        key = {"id": item["id"]}
        meta = {"digest": mark, "state": "live", "key": key_text(key)}
        there = {"_id": document_id(key), "_seq_no": 1, "_primary_term": 1, "sort": [mark]}
        return {"found": True, **there, "_source": {META: meta}}


def compare(items: int) -> int:
    """Compare so many; the most bytes that were held meanwhile."""
    sides: Any = Sides(items)
    reader = TableReader(sides, TABLE.name, ("id",), Meter(None), lambda: 5)
    journal = Journal({}, None, lambda: 5)
    walk = Walk(
        Comparer(TABLE, reader, sides, "posts-v1"),
        journal,
        SEGMENTS,
        Event(),
        lambda step: step.note(journal, found=len(step.findings)),
    )
    tracemalloc.start()
    walk.open()
    walk.run()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    counted = {name: journal.count(name) for name in ("items", "documents", "found")}
    assert counted == {"items": items, "documents": items, "found": 0}
    return most


def test_memory_does_not_grow_with_the_table() -> None:
    compare(4_000)
    # How many pages are held at once is up to the threads. The 32,000 items more, or what was
    # made of them, would be 20 MB and above.
    assert compare(40_000) - compare(8_000) < 5_000_000
