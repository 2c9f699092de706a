"""From changes to operations on documents. Pure: no I/O, no clock.

`Target` is one document and the newest statement a chunk makes about it. `plan` compares targets
with what is stored and says which operations carry them out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from producer.contract import Change
from worker.order import Position, Statement, Stored, Verdict, absorb, decide

State: TypeAlias = Literal["live", "hidden", "deleted"]


@dataclass(frozen=True, slots=True)
class Target:
    """One document, and the newest statement about it."""

    id: str
    routing: str | None
    change: Change
    statement: Statement


@dataclass(frozen=True, slots=True)
class Version:
    """A document as found: what it was made from, and the cluster's own version of it."""

    stored: Stored
    seq_no: int
    primary_term: int


@dataclass(frozen=True, slots=True)
class Content:
    """What a document will hold: its fields (none unless live), and the digest of its item."""

    state: State
    fields: Mapping[str, Any]
    digest: str | None
    key: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One step of a bulk. `found` None: create; else only if the document is still that one."""

    target: Target
    verdict: Verdict
    stored: Stored
    """What the document is made from afterwards."""
    found: Version | None


def state_of(change: Change, label: str | None) -> Statement:
    """What a change says of its place: its position, or for a read only its time."""
    if change.sequence is None or label is None:
        return Statement(None, change.at)
    return Statement(Position.of(label, change.sequence), change.at)


def is_newer(one: Statement, other: Statement) -> bool:
    """Whether, of two statements of one chunk about one item, the first is the later one.

    A chunk holds changes of one stream or reads, never both (producer.contract).
    """
    if one.position is None or other.position is None:
        return one.at > other.at
    return one.position > other.position


def fold(targets: Iterable[Target]) -> list[Target]:
    """Keep the newest statement for each document, in order of first appearance."""
    newest: dict[str, Target] = {}
    for target in targets:
        there = newest.get(target.id)
        if there is None or is_newer(target.statement, there.statement):
            newest[target.id] = target
    return list(newest.values())


def is_insert(target: Target) -> bool:
    """Whether `create` is worth trying before anything is read: there is likely no document."""
    return target.change.kind == "INSERT"


def plan(
    targets: Iterable[Target], found: Mapping[str, Version], margin_ms: int
) -> tuple[list[Operation], list[Target]]:
    """The operations to carry out, and the targets that are obsolete.

    found: what the cluster holds, by id; a document that is not in it is to be created.
    """
    operations: list[Operation] = []
    obsolete: list[Target] = []
    for target in targets:
        version = found.get(target.id)
        stored = version.stored if version else None
        verdict = decide(stored, target.statement, margin_ms)
        if verdict is Verdict.OBSOLETE:
            obsolete.append(target)
        else:
            after = absorb(stored, target.statement, verdict)
            operations.append(Operation(target, verdict, after, version))
    return operations, obsolete


def is_beyond_horizon(change: Change, now_ms: int, horizon_ms: int) -> bool:
    """Whether a change or read is so old that its tombstone may be gone: the table decides."""
    return change.at < now_ms - horizon_ms


def write_meta(
    id: str, stored: Stored, content: Content | None, at_ms: int | None = None
) -> dict[str, Any]:
    """The `_sluice` object of a document; without content, only what a note changes.

    at_ms: when it is written, for people who follow a change; nothing is decided by it.
    """
    meta: dict[str, Any] = {
        "label": stored.position.label if stored.position else None,
        "sequence": stored.position.sequence if stored.position else None,
        "time": stored.time,
    }
    if content is not None:
        meta |= {
            "id": id,
            "read": stored.read,
            "state": content.state,
            "key": content.key,
            "digest": content.digest,
            "indexed": at_ms,
        }
    return meta


def read_meta(meta: Mapping[str, Any]) -> Stored:
    """The inverse of `write_meta`. Raises KeyError, TypeError for what it did not write."""
    label, sequence = meta.get("label"), meta.get("sequence")
    return Stored(
        Position(label, sequence) if label is not None and sequence is not None else None,
        meta.get("time"),
        meta.get("read"),
    )
