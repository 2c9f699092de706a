"""Items on their way to documents: what would be refused, hidden, indexed. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from console.check.undeclared import find_lost
from producer.contract import Change, Item
from worker.documents import make_document, read_subject
from worker.errors import RefusedError
from worker.identity import document_id, key_text, routing_value
from worker.index import Write, serialize
from worker.mappings import META
from worker.order import Position, Statement, Stored, Verdict
from worker.plan import Content, Operation, Target, write_meta
from worker.tables import Table
from worker.values import digest

_POSITION: Final = Position.of("2024-01-01T00:00:00.000", "1000000000000000000000001")
_AT_MS: Final = 1_704_067_200_000
_SAID: Final = Statement(_POSITION, _AT_MS)

_QUOTED = re.compile(r"(?<![A-Za-z])'[^']*'|\"[^\"]*\"")
_DATE_VALUE = re.compile(r"(date field )\[[^\]]*\]")
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Refusal:
    """One item that would be a dead letter."""

    error: str
    reason: str
    key: str


@dataclass(frozen=True, slots=True)
class Group:
    """Refusals for one reason."""

    error: str
    reason: str
    """Of the first of them, in the words of whoever refused it."""
    count: int
    key: str
    """Of the first of them."""


@dataclass
class Trial:
    """What became of the items."""

    writes: list[Write] = field(default_factory=list)
    """What would be indexed."""
    sizes: list[int] = field(default_factory=list)
    """Bytes of those documents as JSON, with Sluice's own object."""
    refusals: list[Refusal] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    """Keys of items that the document function hides."""
    keyed: list[tuple[Item, Item]] = field(default_factory=list)
    """Each item whose key is known, and the key."""
    repeated: int = 0
    """Items whose key another one had before; they are left out."""
    lossy: int = 0
    """Items with attributes that neither their model declares nor their document has."""
    lost: set[str] = field(default_factory=set)
    """Those attributes, by their paths."""
    hashed: int = 0
    """Items whose key is too long for an id of Elasticsearch: their ids are hashes."""


def try_items(table: Table[Any], items: Iterable[Item], keys: Sequence[str]) -> Trial:
    """Take items as far as the bulk. keys: the table's key attributes; empty if nobody knows."""
    trial = Trial()
    seen: set[str] = set()
    for number, item in enumerate(items):
        name = f"item {number + 1}"
        try:
            key = _read_key(item, keys)
            name = key_text(key) if keys else name
            place = document_id(key) if keys else f"{number}"
            if place in seen:
                trial.repeated += 1
                continue
            seen.add(place)
            if keys:
                trial.keyed.append((key, item))
                # Only a hash starts so: a text of this start is escaped (worker.identity).
                trial.hashed += place.startswith("~h")
            fields = make_document(table, item)
            if fields is None:
                trial.hidden.append(name)
            else:
                _note_lost(trial, table, item, fields)
                target = Target(place, _route(table, key), _change(key, item), _SAID)
                _add_write(trial, target, fields)
        except RefusedError as error:
            trial.refusals.append(Refusal(error.error, error.reason, name))
    return trial


def group_refusals(refusals: Iterable[Refusal]) -> list[Group]:
    """Refusals by error and reason, values in it set aside; the most frequent first."""
    groups: dict[tuple[str, str], list[Refusal]] = {}
    for one in refusals:
        groups.setdefault((one.error, shape_reason(one.reason)), []).append(one)
    found = [Group(of[0].error, of[0].reason, len(of), of[0].key) for of in groups.values()]
    return sorted(found, key=lambda group: -group.count)


def shape_reason(reason: str) -> str:
    """A reason without what differs from item to item: quoted values, numbers, dates."""
    return _NUMBER.sub("#", _DATE_VALUE.sub(r"\1[…]", _QUOTED.sub("…", reason)))


def _read_key(item: Item, keys: Sequence[str]) -> Item:
    missing = [name for name in keys if name not in item]
    if missing:
        raise RefusedError("MalformedKey", f"no key attribute {', '.join(missing)}")
    return {name: item[name] for name in keys}


def _route(table: Table[Any], key: Item) -> str | None:
    return routing_value(key, table.routing) if key else None


def _change(key: Item, item: Item) -> Change:
    return Change("MODIFY", key, _AT_MS, _POSITION.sequence, new=item)


def _note_lost(trial: Trial, table: Table[Any], item: Item, fields: Mapping[str, Any]) -> None:
    if table.model is None or table.undeclared == "refuse":
        return
    lost = find_lost(read_subject(table, item), fields)
    trial.lossy += bool(lost)
    trial.lost |= lost


def _add_write(trial: Trial, target: Target, fields: Mapping[str, Any]) -> None:
    stored = Stored(_POSITION, _AT_MS, None)
    item, key = target.change.new or {}, key_text(target.change.key)
    content = Content("live", fields, digest(item), key)
    size = len(serialize({**fields, META: write_meta(target.id, stored, content)}))
    trial.sizes.append(size)
    trial.writes.append(Write(Operation(target, Verdict.APPLY, stored, None), content))
