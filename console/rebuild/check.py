"""The proof before the swap: table and new index agree, item by item and document by document.

What differs is looked at again, and written again as a read with the document's own position for
its floor; so no difference lasts but one that the new index refuses.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from console.errors import InterruptedByUserError
from console.parallel import run_units
from console.rebuild.writing import Known, Writer
from console.verify.comparer import Comparer
from console.verify.documents import cut_digests, find_foreign, refresh, walk_digests
from console.verify.model import Finding
from console.verify.settle import batches
from worker.errors import SluiceError
from worker.index import Documents

ROUNDS: Final = 10
PAUSE_S: Final = 1.0
MOST: Final = 100_000
"""More differences than this are no leftovers of a copy: something else is wrong."""

_LOOK: Final = 100


class TooManyDifferencesError(SluiceError):
    """A person must look before the index may be served. It is not marked as verified."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What still differs, and why, if the index said so."""

    finding: Finding
    why: str


@dataclass
class Check:
    """One comparison of a table with the index that is being built."""

    comparer: Comparer
    writer: Writer
    documents: Documents
    stop: threading.Event
    segments: int
    advance: Callable[[int], None]
    items: int = 0
    _found: list[Finding] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> list[Difference]:
        """Compare all, mend what can be mended; what is left.

        Raises UnavailableError, InterruptedByUserError.
        """
        refresh(self.comparer.cluster, self.comparer.index)
        parts = range(self.segments)
        units = [f"table:{n}" for n in parts] + [f"index:{n}" for n in parts]
        run_units(units, self._compare, self.stop)
        foreign = find_foreign(self.comparer.cluster, self.comparer.index)
        return self._mend([*self._found, *self.comparer.compare_docs(foreign)])

    def _compare(self, unit: str) -> None:
        kind, _, number = unit.partition(":")
        if kind == "index":
            first, end = cut_digests(self.segments)[int(number)]
            pages = walk_digests(self.comparer.cluster, self.comparer.index, first, end)
            for docs, _after in pages:
                self._note(self.comparer.compare_docs(docs), 0)
            return
        place = None
        while True:
            page = self.comparer.reader.scan(int(number), self.segments, place)
            self._note(self.comparer.compare_items(page.items), len(page.items))
            place = page.after
            if place is None:
                return

    def _note(self, findings: list[Finding], items: int) -> None:
        if self.stop.is_set():
            raise InterruptedByUserError("interrupted")
        with self._lock:
            self._found += findings
            self.items += items
            if len(self._found) > MOST:
                raise TooManyDifferencesError(
                    f"more than {MOST:,} documents differ: that is no leftover of a copy",
                    hint="see that the workers write both indexes, then run it again, or abort",
                )
        self.advance(items)

    def _mend(self, found: list[Finding]) -> list[Difference]:
        """Write what differs and look again, until nothing does or the index refuses the rest."""
        refused: dict[str, str] = {}
        for turn in range(ROUNDS):
            if not found:
                break
            if turn and self.stop.wait(PAUSE_S):
                raise InterruptedByUserError("interrupted")
            following: list[Finding] = []
            for some in batches(found, _LOOK):
                refused |= self._write(some)
                following += [one for one in self.comparer.look(some) if one is not None]
            found = following
        return [Difference(one, refused.get(one.place.id, one.why)) for one in found]

    def _write(self, findings: Sequence[Finding]) -> dict[str, str]:
        """Write what the table holds of these items; the reasons of refusals, by id."""
        keys = [one.place.key for one in findings if one.place.key is not None]
        if not keys:
            return {}
        targets = [self.writer.locate(key) for key in keys]
        there = self.documents.find(self.writer.carrier.destination.alias, targets)
        known = [
            Known(key, there[target.id].stored if target.id in there else None)
            for key, target in zip(keys, targets, strict=True)
        ]
        done = self.writer.write(known, is_new=False)
        return {name: f"{error}: {reason}" for name, (error, reason) in done.refusals.items()}
