"""One chunk, from decoded to applied: fold, then carry it into each index of the table's view.

This is the order of steps and nothing else; what decides lies in `worker.order` and
`worker.plan`, what does I/O behind the protocols of the edges. A chunk is done when it is done in
every index that the table is written to.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from producer.contract import Change, Chunk, Item, parse_stream_arn
from worker.carry import Carried, Carrier, split
from worker.deadletters import DeadLetters, Letter
from worker.errors import MovedError, RefusedError, RejectedError, UnavailableError
from worker.identity import document_id, key_text, routing_value
from worker.index import Documents
from worker.overflow import Overflow
from worker.plan import Target, fold, is_beyond_horizon, is_insert, state_of
from worker.source import Source
from worker.tables import Table
from worker.view import Destination, View, Views

TOLD: Final = 50
"""Refusals that a report names; it counts them all."""

LOOKS: Final = 4
"""How many views one chunk may be decided under: a rebuild changes it a few times in its life."""


@dataclass(slots=True)
class Tally:
    """What became of a chunk's changes. Their sum is the number of changes in it.

    Where two indexes are written, a change that either took is applied; it may have its dead letter
    all the same, from the other.
    """

    applied: int = 0
    obsolete: int = 0
    folded: int = 0
    refused: int = 0
    settled: int = 0
    """Changes beyond the horizon, answered by a read of the table."""
    conflicts: int = 0
    """Writes decided again; not part of the sum."""
    bulk_ms: int = 0
    """Time that the writes took; not part of the sum."""
    taken: list[Change] = field(default_factory=list)
    """The changes that an index took, or noted."""
    letters: list[tuple[Chunk, Change, Letter]] = field(default_factory=list)
    """The refused changes, to be sent once all others are done: a chunk that must come again
    would send them each time."""

    guarded: dict[int, str] = field(default_factory=dict)
    """By the identity of a change that a handler of the valve's could not do: which, and why. Not
    part of the sum."""

    def refuse(self, chunk: Chunk, change: Change, letter: Letter) -> None:
        """Count one change as refused, and keep its letter."""
        self.letters.append((chunk, change, letter))
        self.refused += 1

    def report(self) -> dict[str, object]:
        """The numbers, and of each refused change what leads to it: no content of any."""
        names = ("applied", "obsolete", "folded", "refused", "settled", "conflicts", "bulk_ms")
        counts: dict[str, object] = {name: getattr(self, name) for name in names}
        told = self.letters[:TOLD]
        return counts | {
            "refusals": [
                {"error": letter.error, "id": letter.id, "sequence": change.sequence}
                for _, change, letter in told
            ]
        }


def find_table(tables: Mapping[str, Table[Any]], chunk: Chunk) -> Table[Any]:
    """The declaration of a chunk's table. Raises RejectedError if there is none."""
    table = tables.get(chunk.table)
    if table is None:
        raise RejectedError(
            "UnknownTable",
            f"no table {chunk.table!r} is declared in this worker",
            hint="add its module to SLUICE_TABLES, then redrive",
        )
    return table


@dataclass(frozen=True, slots=True)
class Applier:
    """Carries chunks out. One per process; safe to use again after any error."""

    tables: Mapping[str, Table[Any]]
    documents: Documents
    overflow: Overflow
    source: Source
    deadletters: DeadLetters
    clock_ms: Callable[[], int]
    margin_ms: int
    horizon_ms: int
    views: Views
    known: dict[str, View] = field(default_factory=dict)
    """The view of each table, as it was when last asked for."""

    def apply(self, chunk: Chunk) -> Tally:
        """Apply a chunk; when it returns, each change is applied, obsolete or a dead letter.

        Raises RejectedError for a table nobody declared; UnavailableError when the message must
        come again, which is always safe.
        """
        table = find_table(self.tables, chunk)
        tally = self._apply_somewhere(table, chunk)
        for letter in tally.letters:
            self.deadletters.send_change(*letter)
        return tally

    def _apply_somewhere(self, table: Table[Any], chunk: Chunk) -> Tally:
        """Apply a chunk by the view known; if that is gone, all of it again by the new one."""
        view = self.known.get(table.name) or self.views.resolve(table)
        for _ in range(LOOKS):
            self.known[table.name] = view
            try:
                return self._apply_by(table, view, chunk)
            except MovedError:
                del self.known[table.name]
                before, view = view, self.views.resolve(table)
                if view == before:
                    raise
        raise UnavailableError(f"the aliases of {table.name} keep changing")

    def _apply_by(self, table: Table[Any], view: View, chunk: Chunk) -> Tally:
        tally = Tally()
        now = self.clock_ms()
        old, current = split(
            chunk.changes, lambda change: is_beyond_horizon(change, now, self.horizon_ms)
        )
        if old:
            reads = self._settle(table, view, chunk, old, tally)
            self._apply_changes(table, view, reads, tally)
        if current:
            changes = Chunk(chunk.table, chunk.stream, tuple(current))
            self._apply_changes(table, view, changes, tally)
        return tally

    def _settle(
        self, table: Table[Any], view: View, chunk: Chunk, old: Sequence[Change], tally: Tally
    ) -> Chunk:
        """What the table says now of items whose changes are beyond the horizon."""
        of_key = {key_text(change.key): change for change in old}
        tally.settled += len(old) - len(of_key)
        read_at = self.clock_ms()
        reads = [
            Change("READ", change.key, read_at, new=item)
            for change, item in self._read(table, view, chunk, list(of_key.values()), tally)
        ]
        return Chunk(table.name, None, tuple(reads))

    def _read(
        self, table: Table[Any], view: View, chunk: Chunk, changes: Sequence[Change], tally: Tally
    ) -> list[tuple[Change, Item | None]]:
        """The items of changes with distinct keys; changes whose keys the table refuses are left
        out, and refused. One bad key fails a whole request: halve until it is alone."""
        try:
            items = self.source.read(table.name, [change.key for change in changes])
        except RefusedError as error:
            if len(changes) == 1:
                letter = Letter(error.error, error.reason, table.name, view[0].alias)
                tally.refuse(chunk, changes[0], letter)
                return []
            half = len(changes) // 2
            first = self._read(table, view, chunk, changes[:half], tally)
            return first + self._read(table, view, chunk, changes[half:], tally)
        return list(zip(changes, items, strict=True))

    def _apply_changes(self, table: Table[Any], view: View, chunk: Chunk, tally: Tally) -> None:
        label = parse_stream_arn(chunk.stream).label if chunk.stream else None
        targets = list(self._targets(table, view, chunk, label, tally))
        pending = fold(targets)
        tally.folded += len(targets) - len(pending)
        # An insert rarely meets a document: `create` finds out for the price of the write alone.
        carried = [
            (one, self._carrier(table, one).carry(pending, is_insert)) for one in view if pending
        ]
        tally.conflicts += sum(what.conflicts for _, what in carried)
        tally.bulk_ms += sum(what.bulk_ms for _, what in carried)
        for target in pending:
            self._count(table, chunk, target, carried, tally)

    def _carrier(self, table: Table[Any], destination: Destination) -> Carrier:
        declared = table.declaration(destination.version)
        if declared is None:
            raise UnavailableError(f"no version {destination.version} of {table.name} is declared")
        return Carrier(
            declared, destination, self.documents, self.overflow, self.margin_ms, self.clock_ms
        )

    def _count(
        self,
        table: Table[Any],
        chunk: Chunk,
        target: Target,
        carried: Sequence[tuple[Destination, Carried]],
        tally: Tally,
    ) -> None:
        """One change, whatever became of it in each index, is counted once."""
        refusals = [
            Letter(*what.refused[target.id], table.name, destination.alias, target.id)
            for destination, what in carried
            if target.id in what.refused
        ]
        if refusals:
            tally.letters.append((chunk, target.change, refusals[0]))
        if any(target.id in what.applied for _, what in carried):
            tally.applied += 1
            tally.taken.append(target.change)
        elif refusals:
            tally.refused += 1
        else:
            tally.obsolete += 1

    def _targets(
        self, table: Table[Any], view: View, chunk: Chunk, label: str | None, tally: Tally
    ) -> Iterable[Target]:
        for change in chunk.changes:
            try:
                yield Target(
                    document_id(change.key),
                    routing_value(change.key, table.routing),
                    change,
                    state_of(change, label),
                )
            except RefusedError as error:
                letter = Letter(error.error, error.reason, table.name, view[0].alias)
                tally.refuse(chunk, change, letter)
