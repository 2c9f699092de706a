"""Statements into one index: read what is there, decide, write, read each result, decide again."""

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from producer.contract import Change
from worker.documents import make_document
from worker.errors import ContentionError, RefusedError
from worker.identity import key_text
from worker.index import Documents, Result, Write, blame
from worker.order import Verdict
from worker.outcomes import Outcome
from worker.overflow import Overflow
from worker.plan import Content, Operation, Target, plan
from worker.tables import Table
from worker.values import digest
from worker.view import Destination

ROUNDS: Final = 8
"""How often a conflict is read and decided again before the message goes back to the queue."""

T = TypeVar("T")


@dataclass(slots=True)
class Carried:
    """What became of each target in one index, by document id."""

    applied: set[str] = field(default_factory=set)
    obsolete: set[str] = field(default_factory=set)
    refused: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Error class and reason of each refusal."""
    conflicts: int = 0
    """Writes decided again."""
    bulk_ms: int = 0
    """Time that the writes took, by the caller's clock."""


@dataclass(frozen=True, slots=True)
class Carrier:
    """Carries targets into one index, their documents made by that index's declaration."""

    table: Table[Any]
    """The declaration of the destination's version."""
    destination: Destination
    documents: Documents
    overflow: Overflow
    margin_ms: int
    clock_ms: Callable[[], int]

    def carry(self, targets: Sequence[Target], is_new: Callable[[Target], bool]) -> Carried:
        """Carry targets with distinct ids; when it returns, each is applied, obsolete or refused.

        is_new: whether there is likely no document, so that `create` is worth trying before
        anything is read. Raises UnavailableError; MovedError if the destination's alias is gone.
        """
        alias = self.destination.alias
        contents = _Contents(self)
        unread, unknown = split(targets, is_new)
        for _ in range(ROUNDS):
            found = self.documents.find(alias, unknown)
            operations, obsolete = plan([*unread, *unknown], found, self.margin_ms)
            contents.carried.obsolete.update(target.id for target in obsolete)
            doubted = set(contents.doubts)
            writes = contents.fill(operations)
            began = self.clock_ms()
            results = self.documents.write(alias, writes)
            contents.carried.bulk_ms += max(self.clock_ms() - began, 0)
            conflicts = contents.settle(results)
            contents.carried.conflicts += len(conflicts)
            unread, unknown = [], conflicts + contents.doubtful(operations, doubted)
            if not unknown:
                return contents.carried
        raise ContentionError(
            f"{len(unknown)} documents of {self.table.name} kept changing through {ROUNDS} rounds"
        )


@dataclass(slots=True)
class _Contents:
    """The documents of one call: made once each, whatever is decided again."""

    carrier: Carrier
    made: dict[str, Content] = field(default_factory=dict)
    carried: Carried = field(default_factory=Carried)
    doubts: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Refusals of documents that were not read again since. A cluster judges a document before
    its position, so a refused change may be obsolete, and then nobody needs to hear of it."""

    def fill(self, operations: Iterable[Operation]) -> list[Write]:
        """Operations with what they write; refusals that still matter are counted, and left out."""
        writes: list[Write] = []
        now = self.carrier.clock_ms()
        for operation in operations:
            target = operation.target
            doubt = self.doubts.get(target.id)
            if doubt is not None:
                self.carried.refused[target.id] = doubt
                continue
            note = operation.verdict is Verdict.NOTE
            try:
                content = None if note else self._content(target)
                writes.append(Write(operation, content, now))
            except RefusedError as error:
                self.doubts[target.id] = (error.error, error.reason)
        return writes

    def doubtful(self, operations: Iterable[Operation], before: Container[str]) -> list[Target]:
        """Those of these operations' targets whose refusal is newer than `before`."""
        targets = (operation.target for operation in operations)
        return [t for t in targets if t.id in self.doubts and t.id not in before]

    def settle(self, results: Iterable[Result]) -> list[Target]:
        """Count what is done, doubt what is refused, answer what must be decided again.

        Raises UnavailableError if the cluster could not take some of them.
        """
        again: list[Target] = []
        away: list[Result] = []
        for result in results:
            if result.outcome is Outcome.DONE:
                self.carried.applied.add(result.target.id)
            elif result.outcome is Outcome.CONFLICT:
                again.append(result.target)
            elif result.outcome is Outcome.REFUSED:
                self.doubts[result.target.id] = (result.error, result.reason)
            else:
                away.append(result)
        if away:
            raise blame(away[0].error)(
                f"the cluster could not take {len(away)} documents of"
                f" {self.carrier.table.name} now: {away[0].error}"
            )
        return again

    def _content(self, target: Target) -> Content:
        if target.id not in self.made:
            self.made[target.id] = self._make(target.change)
        return self.made[target.id]

    def _make(self, change: Change) -> Content:
        key = key_text(change.key)
        image = change.new
        if change.overflow is not None and change.kind != "REMOVE":
            image = self.carrier.overflow.fetch(change).new
        if image is None:
            return Content("deleted", {}, None, key)
        fields = make_document(self.carrier.table, image)
        if fields is None:
            return Content("hidden", {}, digest(image, checked=True), key)
        return Content("live", fields, digest(image, checked=True), key)


def split(values: Iterable[T], test: Callable[[T], bool]) -> tuple[list[T], list[T]]:
    """Those that pass the test, and those that do not, each in order."""
    passed: list[T] = []
    failed: list[T] = []
    for value in values:
        (passed if test(value) else failed).append(value)
    return passed, failed
