"""The way through a comparison: every item, every document, each unit step by step.

A unit is a segment of the table, a range of the index's digests, or the documents that no digest
leads to. The journal says how far each is, so that a killed comparison goes on there. The table
comes first: what was seen to agree on its side need not be looked up from the index's
(`console.verify.sums`), if one process has seen all of it.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from console.checkpoint import Journal, Share
from console.errors import InterruptedByUserError
from console.parallel import MOST_THREADS, run_units
from console.progress import Advance, ignore
from console.verify.comparer import Comparer
from console.verify.documents import (
    PAGE,
    Located,
    count_docs,
    cut_between,
    cut_digests,
    find_by_digest,
    find_foreign,
    list_digests,
    refresh,
    walk_digests,
)
from console.verify.model import Finding
from console.verify.settle import batches
from console.verify.sums import Sums, choose_bits
from worker.carry import split

_TABLE: Final = "table:"
FOREIGN: Final = "foreign"
_PIECE: Final = 2 * PAGE
"""Documents of a range that is looked at as one, about."""


@dataclass(frozen=True, slots=True)
class Step:
    """What was compared at once, and where its unit goes on."""

    unit: str
    place: Any
    done: bool
    findings: list[Finding]
    items: int = 0
    documents: int = 0

    def note(self, journal: Journal, **counts: int) -> None:
        """Tell the journal that this step is done."""
        journal.advance(
            self.unit, self.place, self.done, items=self.items, documents=self.documents, **counts
        )


@dataclass
class Walk:
    """One host's share of the way."""

    comparer: Comparer
    journal: Journal
    segments: int
    stop: threading.Event
    take: Callable[[Step], None]
    """Keeps what a step found, and only then lets it be noted. Called by several threads."""
    advance: Advance = ignore
    share: Share = Share()  # noqa: RUF009 - frozen
    threads: int = MOST_THREADS
    _pieces: int = field(default=1, init=False)
    _sums: Sums | None = field(default=None, init=False)

    def open(self) -> None:
        """Begin, or go on where the journal's checkpoint stands. Raises CheckpointError."""
        parts = range(self.segments)
        units = [f"{_TABLE}{n}" for n in parts] + [f"index:{n}" for n in parts] + [FOREIGN]
        self.journal.open(self.share.take(units))
        before = self.journal.count("items") + self.journal.count("documents")
        self.advance(before, earlier=True)

    def run(self) -> None:
        """Go through what is left. Raises what the edges raise, InterruptedByUserError."""
        cluster, index = self.comparer.cluster, self.comparer.index
        refresh(cluster, index)
        documents = count_docs(cluster, index)
        self._pieces = 1 + documents // _PIECE
        table, rest = split(self.journal.remaining(), lambda unit: unit.startswith(_TABLE))
        if self._sees_all(table):
            self._sums = Sums(choose_bits(documents))
        with self.journal.kept():
            run_units(table, self._work, self.stop, self.threads)
            # A search sees no younger documents than the table's side has seen, or they seem gone.
            refresh(cluster, index)
            run_units(rest, self._work, self.stop, self.threads)

    def _sees_all(self, table: Sequence[str]) -> bool:
        """Whether the whole table is still before us: nobody else's sums are at hand."""
        places = [self.journal.progress(unit).place for unit in table]
        return len(places) == self.segments and not any(places)

    def _work(self, unit: str) -> None:
        kind, _, number = unit.partition(":")
        place = self.journal.progress(unit).place
        if kind == "table":
            self._compare_segment(unit, int(number), place)
        elif kind == "index":
            self._compare_range(unit, int(number), place)
        else:
            docs = find_foreign(self.comparer.cluster, self.comparer.index)
            found = self.comparer.compare_docs(docs)
            self.take(Step(unit, None, True, found, documents=len(docs)))

    def _compare_segment(self, unit: str, segment: int, place: Any) -> None:
        while True:
            page = self.comparer.reader.scan(segment, self.segments, place)
            place = page.after
            found = self.comparer.compare_items(page.items, self._sums)
            self.take(Step(unit, place, place is None, found, items=len(page.items)))
            self.advance(len(page.items))
            if place is None:
                return

    def _compare_range(self, unit: str, part: int, place: Any) -> None:
        first, end = cut_digests(self.segments)[part]
        after = first if place is None else place
        for until in cut_between(after, end, self._pieces):
            for found, documents, reached in self._compare_piece(after, until):
                self.take(Step(unit, reached, reached == end, found, documents=documents))
                self.advance(documents)
            after = until

    def _compare_piece(
        self, after: str | None, until: str | None
    ) -> Iterator[tuple[list[Finding], int, str | None]]:
        """Findings, the documents that were looked at, and the place that this has come to."""
        self._check_stop()
        doubted = self._find_doubted(after, until)
        if doubted is not None:
            docs, documents = doubted
            yield self.comparer.compare_docs(docs), documents, until
            return
        for page, further in walk_digests(self.comparer.cluster, self.comparer.index, after, until):
            self._check_stop()
            reached = until if further is None else further
            yield self.comparer.compare_docs(page), len(page), reached

    def _find_doubted(
        self, after: str | None, until: str | None
    ) -> tuple[list[Located], int] | None:
        """The documents of a range that are in doubt, and how many it holds in all.

        None without sums, or with too many copies of some: then all of them are to be looked at.
        """
        cluster, index = self.comparer.cluster, self.comparer.index
        if self._sums is None:
            return None
        listed = list_digests(cluster, index, after, until)
        if listed is None:
            return None
        docs: list[Located] = []
        for some in batches(self._sums.doubt(listed), PAGE):
            found = find_by_digest(cluster, index, some)
            if found is None:
                return None
            docs += found
        return docs, len(listed)

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise InterruptedByUserError("interrupted")
