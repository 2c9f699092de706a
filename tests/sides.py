"""A table and its index of any size, whose items and documents nobody has to store."""

from collections.abc import Iterable, Mapping
from threading import Event
from typing import Any

from console.checkpoint import Journal, Share
from console.scan import Meter, TableReader
from console.verify.comparer import Comparer
from console.verify.model import Finding
from console.verify.walk import Step, Walk
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
    """A table and its index of any size, whose documents nobody has to store."""

    def __init__(self, items: int, left_over: int = 0) -> None:
        """left_over: documents more, without items."""
        self.items = items
        self.asked = 0
        """Keys that were read from the table."""
        numbers = range(items + left_over)
        self.digests = dict(sorted((digest(make_item(number)), number) for number in numbers))
        """Of each document, and its item's number."""

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
        self.asked += len(keys)
        there = [key for key in keys if int(key["id"]["S"]) < self.items]
        return {"Responses": {TABLE.name: there}, "UnprocessedKeys": {}}

    def request(self, method: str, path: str, *, body: Any = None, **_: Any) -> Answer:
        match path.rpartition("/")[2]:
            case "_mget":
                docs = (make_item(int(doc["_id"])) for doc in body["docs"])
                return Answer(200, {"docs": [self._hit(item, digest(item)) for item in docs]})
            case "_search":
                found = select_digests(body, self.digests)
                whole = body["_source"]
                hits = [
                    self._hit(make_item(self.digests[mark]), mark) if whole else {"sort": [mark]}
                    for mark in found
                ]
                return Answer(200, {"hits": {"hits": hits}})
            case "_count":
                return Answer(200, {"count": len(self.digests)})
        return Answer(200, {})

    def _hit(self, item: Item, mark: str) -> dict[str, Any]:
        key = {"id": item["id"]}
        meta = {"digest": mark, "state": "live", "key": key_text(key)}
        there = {"_id": document_id(key), "_seq_no": 1, "_primary_term": 1, "sort": [mark]}
        return {"found": True, **there, "_source": {META: meta}}


def select_digests(body: Mapping[str, Any], digests: Iterable[str]) -> list[str]:
    """What a search of a comparison finds of these digests, which are in order."""
    if "filter" not in body["query"]["bool"]:
        return []  # those without a digest are asked for, and all have one
    (wanted,) = body["query"]["bool"]["filter"]
    named = wanted.get("terms", {}).get(f"{META}.digest")
    if named is not None:
        return [mark for mark in digests if mark in set(named)]
    bounds = wanted.get("range", {}).get(f"{META}.digest", {})
    after, until = bounds.get("gt"), bounds.get("lte")
    found = [
        mark
        for mark in digests
        if (after is None or mark > after) and (until is None or mark <= until)
    ]
    return found[: body["size"]]


def walk_sides(sides: Any, journal: Journal, share: Share = Share()) -> list[Finding]:  # noqa: B008 - frozen
    """Compare both sides to the end; what differs."""
    reader = TableReader(sides, TABLE.name, ("id",), Meter(None), lambda: 5)
    findings: list[Finding] = []

    def take(step: Step) -> None:
        findings.extend(step.findings)
        step.note(journal, found=len(step.findings))

    comparer = Comparer(TABLE, reader, sides, "posts-v1")
    walk = Walk(comparer, journal, SEGMENTS, Event(), take, share=share)
    walk.open()
    walk.run()
    return findings
