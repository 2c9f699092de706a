"""Whether a document is what its item makes it. Pure."""

from typing import Any

import orjson

from console.verify.model import Doc, Finding, Kind, Place
from producer.contract import Item
from worker.documents import make_document
from worker.errors import RefusedError
from worker.identity import document_id, key_text, read_key_text, routing_value
from worker.tables import Table
from worker.values import digest


def place_of(table: Table[Any], key: Item) -> Place:
    """Where the document of a key belongs."""
    return Place(document_id(key), routing_value(key, table.routing), key)


def place_of_doc(table: Table[Any], id: str, routing: str | None, doc: Doc) -> Place:
    """Where a document says it belongs; without a key if that is not where it lies."""
    try:
        place = place_of(table, read_key_text(doc.key or ""))
    except (RefusedError, ValueError, AttributeError, TypeError):
        return Place(id, routing, None)
    return place if (place.id, place.routing) == (id, routing) else Place(id, routing, None)


def compare(
    table: Table[Any], place: Place, item: Item | None, doc: Doc | None, *, content: bool = False
) -> Finding | None:
    """The difference between an item and its document; None if they agree.

    content: compare the documents themselves, too; `doc` then has its own.
    """
    there = None if doc is None or doc.state == "deleted" else doc
    seq_no, time = (doc.seq_no, doc.time) if doc else (None, None)
    if item is None:
        return Finding("left over", place, None, seq_no, time=time) if there else None
    try:
        mark = digest(item, checked=True)
    except RefusedError as error:
        return Finding("missing", place, None, seq_no, str(error), time)
    kind, why = _judge(table, item, mark, there, key_text(place.key or {}), content=content)
    return Finding(kind, place, mark, seq_no, why, time) if kind else None


def _judge(
    table: Table[Any], item: Item, mark: str, doc: Doc | None, key: str, *, content: bool
) -> tuple[Kind | None, str]:
    """The kind of difference, and the reason if the item itself is it."""
    plain = table.model is None and table.document is None
    same = doc is not None and doc.digest == mark and doc.key == key
    if doc is not None and same and plain and not content:
        return _misplaced(doc, "live"), ""
    try:
        document = make_document(table, item)
    except RefusedError as error:
        return ("stale" if doc else "missing"), f"refused: {error}"
    if doc is None or not same:
        return ("stale" if doc else "missing"), ""
    kind = _misplaced(doc, "hidden" if document is None else "live")
    if kind is None and content and not _is_content(doc, document or {}):
        kind = "edited"
    return kind, ""


def _misplaced(doc: Doc, expected: str) -> Kind | None:
    if doc.state == expected:
        return None
    known: dict[str | None, Kind] = {"hidden": "hidden", "live": "shown"}
    return known.get(doc.state, "stale")


def _is_content(doc: Doc, document: dict[str, Any]) -> bool:
    """Whether a document is stored as it is: compared as JSON, as both are on the wire."""
    return bool(orjson.loads(orjson.dumps(document)) == doc.content)
