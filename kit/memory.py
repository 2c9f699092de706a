"""In-memory stand-ins for the worker's edges, kept honest by the suites of the real ones.

`tests/integration/test_index.py` runs over `MemoryDocuments`, the embedded engine and Elasticsearch
8 and 9 alike, `tests/integration/test_refusals.py` over what each of them refuses.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kit.mapped import Mapped
from producer.contract import Change, Chunk, Item
from worker.deadletters import Letter, Tried
from worker.errors import RefusedError
from worker.identity import key_text
from worker.index import Result, Write, serialize
from worker.mappings import META
from worker.order import Stored, Verdict
from worker.outcomes import Outcome
from worker.plan import Target, Version, read_meta, write_meta
from worker.tables import Table
from worker.view import Destination, View


@dataclass
class MemoryDocuments:
    """`worker.index.Documents` in a dictionary."""

    mapped: dict[str, Mapped] = field(default_factory=dict)
    """By alias, what the index's mapping is by now; without one, it takes everything."""
    aliases: dict[str, dict[str, tuple[int, dict[str, Any]]]] = field(default_factory=dict)
    poison: str | None = "poison"
    """A document with this field is refused."""
    clock: int = 0
    finds: int = 0
    bulks: int = 0

    def documents(self, alias: str) -> dict[str, dict[str, Any]]:
        return {name: body for name, (_, body) in self.aliases.get(alias, {}).items()}

    def live(self, alias: str) -> dict[str, dict[str, Any]]:
        documents = self.documents(alias)
        return {n: b for n, b in documents.items() if b[META]["state"] == "live"}

    def find(self, alias: str, targets: Sequence[Target]) -> Mapping[str, Version]:
        if not targets:
            return {}
        self.finds += 1
        there = self.aliases.get(alias, {})
        return {
            t.id: Version(read_meta(there[t.id][1][META]), there[t.id][0], 1)
            for t in targets
            if t.id in there
        }

    def write(self, alias: str, writes: Sequence[Write]) -> list[Result]:
        if writes:
            self.bulks += 1
        return [self._write(alias, write) for write in writes]

    def _judge(self, alias: str, write: Write) -> tuple[str, str] | None:
        """Error type and reason, if the index refuses the document."""
        if write.content is None:
            return None
        try:
            serialize(write.content.fields)
        except RefusedError as error:
            return error.error, error.reason
        if self.poison in write.content.fields:
            return "document_parsing_exception", "poison"
        index = self.mapped.get(alias)
        return index.take(write.content.fields) if index else None

    def _write(self, alias: str, write: Write) -> Result:
        operation, target = write.operation, write.operation.target
        # As Elasticsearch does: the document is judged before its version.
        refusal = self._judge(alias, write)
        if refusal:
            return Result(target, Outcome.REFUSED, *refusal)
        there = self.aliases.setdefault(alias, {})
        version = there.get(target.id, (None, {}))[0]
        expected = operation.found.seq_no if operation.found else None
        if version != expected:
            return Result(target, Outcome.CONFLICT, "version_conflict_engine_exception", "")
        self.clock += 1
        meta = write_meta(target.id, operation.stored, write.content, write.at_ms)
        if operation.verdict is Verdict.NOTE or write.content is None:
            body = there[target.id][1]
            there[target.id] = (self.clock, {**body, META: {**body[META], **meta}})
            return Result(target, Outcome.DONE)
        body = json.loads(json.dumps({**write.content.fields, META: meta}))
        there[target.id] = (self.clock, body)
        return Result(target, Outcome.DONE)


@dataclass
class MemoryViews:
    """`worker.view.Views`: what the test says, else one index of the declared version."""

    view: View | None = None
    looks: int = 0

    def resolve(self, table: Table[Any]) -> View:
        self.looks += 1
        alone = Destination(table.version, table.index_name(table.version), table.write_alias)
        return self.view or (alone,)


@dataclass
class MemoryDeadLetters:
    """`worker.deadletters.DeadLetters` in a list."""

    changes: list[tuple[Chunk, Change, Letter]] = field(default_factory=list)
    bodies: list[tuple[str, Letter]] = field(default_factory=list)
    tried: Tried = field(default_factory=Tried)

    def begin(self, tried: Tried) -> None:
        self.tried = tried

    def send_change(self, chunk: Chunk, change: Change, letter: Letter) -> None:
        self.changes.append((chunk, change, letter))

    def send_body(self, body: str, letter: Letter) -> None:
        self.bodies.append((body, letter))


@dataclass
class MemoryOverflow:
    """`worker.overflow.Overflow` in a dictionary of whole changes."""

    objects: dict[str, Change] = field(default_factory=dict)

    def fetch(self, change: Change) -> Change:
        if change.overflow is None:
            return change
        if change.overflow.key not in self.objects:
            raise RefusedError("OverflowMissing", change.overflow.key)
        return self.objects[change.overflow.key]


@dataclass
class MemorySource:
    """`worker.source.Source` in a dictionary."""

    items: dict[tuple[str, str], Item] = field(default_factory=dict)
    reads: int = 0

    def read(self, table: str, keys: Sequence[Item]) -> list[Item | None]:
        self.reads += 1
        return [self.items.get((table, key_text(key))) for key in keys]


def stored_of(document: Mapping[str, Any]) -> Stored:
    """What a document says it was made from."""
    return read_meta(document[META])
