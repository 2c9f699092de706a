"""The way through a comparison: every item, every document, each unit step by step.

A unit is a segment of the table, a range of the index's digests, or the documents that no digest
leads to. The journal says how far each is, so that a killed comparison goes on there.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from console.checkpoint import Journal, Share
from console.errors import InterruptedByUserError
from console.parallel import MOST_THREADS, run_units
from console.progress import Advance, ignore
from console.verify.comparer import Comparer
from console.verify.documents import cut_digests, find_foreign, refresh, walk_digests
from console.verify.model import Finding

FOREIGN: Final = "foreign"


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

    def open(self) -> None:
        """Begin, or go on where the journal's checkpoint stands. Raises CheckpointError."""
        parts = range(self.segments)
        units = [f"table:{n}" for n in parts] + [f"index:{n}" for n in parts] + [FOREIGN]
        self.journal.open(self.share.take(units))
        before = self.journal.count("items") + self.journal.count("documents")
        self.advance(before, earlier=True)

    def run(self) -> None:
        """Go through what is left. Raises what the edges raise, InterruptedByUserError."""
        refresh(self.comparer.cluster, self.comparer.index)
        with self.journal.kept():
            run_units(self.journal.remaining(), self._work, self.stop, self.threads)

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
            found = self.comparer.compare_items(page.items)
            self.take(Step(unit, place, place is None, found, items=len(page.items)))
            self.advance(len(page.items))
            if place is None:
                return

    def _compare_range(self, unit: str, part: int, place: Any) -> None:
        first, end = cut_digests(self.segments)[part]
        after = first if place is None else place
        pages = walk_digests(self.comparer.cluster, self.comparer.index, after, end)
        for docs, after in pages:
            if self.stop.is_set():
                raise InterruptedByUserError("interrupted")
            found = self.comparer.compare_docs(docs)
            self.take(Step(unit, after, after is None, found, documents=len(docs)))
            self.advance(len(docs))
