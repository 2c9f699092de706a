"""One item and its documents, side by side: what `sluice trace` and `sluice show` look at."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from console.aws import explain_aws
from console.keys import read_key
from console.session import Session, TableFacts
from console.verify.compare import compare, place_of
from console.verify.documents import read_doc
from console.verify.model import Doc, Finding, Place
from producer.contract import Item
from worker.clock import read_clock_ms
from worker.cluster import Cluster, path
from worker.errors import RefusedError, UnavailableError
from worker.mappings import META
from worker.order import Position
from worker.plan import read_meta
from worker.schema import find_index
from worker.tables import Table
from worker.values import plain_item
from worker.view import Destination, check_declared, find_view
from worker.wire import from_wire, to_wire


@dataclass(frozen=True, slots=True)
class Stored:
    """The document in one index, compared with the item."""

    destination: Destination
    served: bool
    """Whether searches see this index."""
    doc: Doc | None
    """As found, its content with it; None: there is none."""
    position: Position | None
    """Of the change that it holds."""
    finding: Finding | None
    """How it differs from the item; None: it agrees."""


NO_INDEX: Final = "There is no index of it yet: the worker makes it when it starts."


@dataclass(frozen=True, slots=True)
class Pair:
    """An item, read consistently, and its documents."""

    table: Table[Any]
    facts: TableFacts
    place: Place
    key: Item
    item: Item | None
    read_ms: int
    stored: tuple[Stored, ...]
    """A document, or its absence, for each index of the table; none if there is no index yet."""

    @property
    def agrees(self) -> bool:
        """Whether each index holds what the table holds."""
        told = bool(self.stored) or self.item is None
        return told and all(one.finding is None for one in self.stored)

    @property
    def served(self) -> Stored | None:
        """The document that searches would see; None if there is no index yet."""
        first = self.stored[0] if self.stored else None
        return next((one for one in self.stored if one.served), first)


def look_up(session: Session, name: str, text: str) -> Pair:
    """Read one item and its documents.

    name: a declared table's. text: the key, as `console.keys` says. Raises MisuseError,
    ConfigurationError, UnavailableError.
    """
    table = session.table(name)
    facts = session.describe(table)
    key = read_key(text, facts.types)
    place = place_of(table, key)
    view = find_view(session.cluster, table)
    check_declared(table, view)
    served = find_index(session.cluster, table) if view else None
    read_ms = read_clock_ms()
    item = _read_item(session, table, key)
    if item is not None:
        # A number may have been spelled in another way; documents carry the table's own.
        key = {name: item[name] for name in facts.keys}
        place = place_of(table, key)
    stored = tuple(
        _read_stored(session.cluster, table, one, place, item, served=one.index == served)
        for one in view
    )
    return Pair(table, facts, place, key, item, read_ms, stored)


def read_plain(pair: Pair) -> Mapping[str, Any] | None:
    """The item as plain values; as DynamoDB wrote it if it cannot be read so."""
    if pair.item is None:
        return None
    try:
        return plain_item(pair.item)
    except RefusedError:
        return pair.item


def _read_item(session: Session, table: Table[Any], key: Item) -> Item | None:
    try:
        answer = session.dynamodb.get_item(
            TableName=table.name, Key=from_wire(key), ConsistentRead=True
        )
    except (BotoCoreError, ClientError) as error:
        raise explain_aws(error, f"cannot read the table {table.name}") from error
    return to_wire(answer["Item"]) if "Item" in answer else None


def _read_stored(
    cluster: Cluster,
    table: Table[Any],
    destination: Destination,
    place: Place,
    item: Item | None,
    *,
    served: bool,
) -> Stored:
    hit = _get(cluster, destination.index, place)
    doc = None if hit is None else read_doc(hit, content=True)
    declared = table.declaration(destination.version) or table
    finding = compare(declared, place, item, doc, content=True)
    return Stored(destination, served, doc, _position(hit), finding)


def _get(cluster: Cluster, index: str, place: Place) -> Mapping[str, Any] | None:
    params = {} if place.routing is None else {"routing": place.routing}
    answer = cluster.request("GET", path(index, "_doc", place.id), params=params)
    if answer.status == 200:
        hit: Mapping[str, Any] = answer.body
        return hit
    if answer.status == 404 and not answer.error:
        return None
    raise UnavailableError(f"cannot read {index}: {answer.error} {answer.reason:.300}")


def _position(hit: Mapping[str, Any] | None) -> Position | None:
    meta = ((hit or {}).get("_source") or {}).get(META)
    try:
        return read_meta(meta).position if isinstance(meta, dict) else None
    except (KeyError, TypeError, ValueError):
        return None
