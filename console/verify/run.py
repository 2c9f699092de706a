"""The steps of verify: compare by segments, walk the index, and look again at what differs."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from console.checkpoint import Journal, Share
from console.errors import CheckpointError, InterruptedByUserError
from console.lateness import Lateness, wait_until_past
from console.parallel import run_units
from console.progress import Advance, ignore
from console.scan import TableReader
from console.sending import Depth
from console.verify.compare import compare, place_of, place_of_doc
from console.verify.documents import (
    Located,
    cut_digests,
    find_docs,
    find_foreign,
    refresh,
    walk_digests,
)
from console.verify.draw import draw_docs
from console.verify.model import Finding
from console.verify.sample import choose_segments
from console.verify.settle import Patience, Settling, batches
from console.verify.spool import Spool
from producer.contract import Item
from worker.cluster import Cluster
from worker.tables import Table

FOREIGN: Final = "foreign"
_DOCS: Final = 500


@dataclass(frozen=True, slots=True)
class Outcome:
    """What verify has found."""

    items: int
    documents: int
    differences: dict[str, int]
    moving: int
    """Both sides moved before every look: they change faster than one can look."""
    undecided: int
    """Differ, but the lag was not proven to be past, so they may only be late."""

    @property
    def agrees(self) -> bool:
        """Whether nothing is known to differ."""
        return not self.differences and not self.undecided

    @property
    def proves(self) -> bool:
        """Whether every item was seen to agree, so that it may be noted."""
        return self.agrees and not self.moving


@dataclass
class Comparer:
    """Table and index side by side."""

    table: Table[Any]
    reader: TableReader
    cluster: Cluster
    index: str
    content: bool = False

    def compare_items(self, items: Sequence[Item]) -> list[Finding]:
        """Items just read, against their documents."""
        found: list[Finding] = []
        for some in batches(items, _DOCS):
            places = [place_of(self.table, self.reader.key_of(item)) for item in some]
            docs = find_docs(self.cluster, self.index, places, content=self.content)
            for place, item, doc in zip(places, some, docs, strict=True):
                finding = compare(self.table, place, item, doc, content=self.content)
                found += [finding] if finding else []
        return found

    def compare_docs(self, located: Sequence[Located]) -> list[Finding]:
        """Documents of the index that no item stands behind."""
        found: list[Finding] = []
        keyed = []
        for name, routing, doc in located:
            place = place_of_doc(self.table, name, routing, doc)
            if place.key is None:
                found.append(Finding("left over", place, None, doc.seq_no, "no key leads to it"))
            else:
                keyed.append((place, place.key, doc))
        items, _ = self.reader.read([key for _, key, _ in keyed], keys_only=True)
        for (place, _, doc), item in zip(keyed, items, strict=True):
            if item is None:
                found.append(Finding("left over", place, None, doc.seq_no))
        return found

    def look(self, findings: Sequence[Finding]) -> list[Finding | None]:
        """The same places now, items read after their documents; None where both sides agree."""
        places = [finding.place for finding in findings]
        docs = find_docs(self.cluster, self.index, places, content=self.content)
        items, _ = self.reader.read([place.key for place in places if place.key is not None])
        items_in_order = iter(items)
        seen: list[Finding | None] = []
        for place, doc in zip(places, docs, strict=True):
            if place.key is not None:
                item = next(items_in_order)
                seen.append(compare(self.table, place, item, doc, content=self.content))
            elif doc is None or doc.state == "deleted":
                seen.append(None)
            else:
                still = place_of_doc(self.table, place.id, place.routing, doc).key is None
                why = "no key leads to it"
                left = Finding("left over", place, None, doc.seq_no, why)
                seen.append(left if still else None)
        return seen


@dataclass
class Verify:
    """One host's share of a comparison."""

    comparer: Comparer
    journal: Journal
    share: Share
    segments: int
    stop: threading.Event
    depth: Callable[[], Depth]
    lateness: Callable[[], Lateness | None]
    patience: Patience
    candidates: Spool
    """Differences at first sight."""
    confirmed: Spool
    """Those that were still there."""
    advance: Advance = ignore
    _tally: Counter[str] = field(default_factory=Counter)
    _known: set[str] = field(default_factory=set)

    def run(self) -> Outcome:
        """Compare everything.

        Raises what the edges raise, InterruptedByUserError, and CheckpointError where findings
        that the checkpoint counts are not there.
        """
        parts = range(self.segments)
        units = [f"table:{n}" for n in parts] + [f"index:{n}" for n in parts] + [FOREIGN]
        self.journal.open(self.share.take(units))
        self._check_found()
        before = self.journal.count("items") + self.journal.count("documents")
        self.advance(before, earlier=True)
        refresh(self.comparer.cluster, self.comparer.index)
        try:
            run_units(self.journal.remaining(), self._work, self.stop)
        finally:
            self.journal.save()
        return self._end(self.journal.count("items"), self.journal.count("documents"))

    def _check_found(self) -> None:
        """Without what was found before, the rest would seem to agree."""
        counted = self.journal.count("found")
        if self.candidates.count < counted:
            raise CheckpointError(
                f"the checkpoint counts {counted:,} differences, and {self.candidates.path} beside"
                f" it holds {self.candidates.count:,}",
                hint="remove the checkpoint to begin anew: repeating does no harm",
            )

    def sample(self, items: int, wanted: int, rng: random.Random) -> Outcome:
        """Compare about so many items and documents, taken at random."""
        refresh(self.comparer.cluster, self.comparer.index)
        return self._end(self._sample_items(items, wanted, rng), self._sample_docs(wanted, rng))

    def _work(self, unit: str) -> None:
        kind, _, number = unit.partition(":")
        place = self.journal.progress(unit).place
        if kind == "table":
            self._compare_segment(unit, int(number), place)
        elif kind == "index":
            self._walk(unit, int(number), place)
        else:
            docs = find_foreign(self.comparer.cluster, self.comparer.index)
            found = self._note(self.comparer.compare_docs(docs))
            self.journal.advance(unit, None, done=True, documents=len(docs), found=found)

    def _compare_segment(self, unit: str, segment: int, place: Any) -> None:
        while True:
            page = self.comparer.reader.scan(segment, self.segments, place)
            place = page.after
            found = self._note(self.comparer.compare_items(page.items))
            self.journal.advance(unit, place, place is None, items=len(page.items), found=found)
            self.advance(len(page.items))
            if place is None:
                return

    def _walk(self, unit: str, part: int, place: Any) -> None:
        first, end = cut_digests(self.segments)[part]
        after = first if place is None else place
        pages = walk_digests(self.comparer.cluster, self.comparer.index, after, end)
        for docs, after in pages:
            if self.stop.is_set():
                raise InterruptedByUserError("interrupted")
            found = self._note(self.comparer.compare_docs(docs))
            self.journal.advance(unit, after, after is None, documents=len(docs), found=found)
            self.advance(len(docs))

    def _note(self, findings: list[Finding]) -> int:
        """Keep what was found, and before the journal says that it is: answers how many."""
        self.candidates.add(findings)
        return len(findings)

    def _sample_items(self, items: int, wanted: int, rng: random.Random) -> int:
        segments = choose_segments(items, wanted)
        # A set of a million numbers is small; most samples look at a few dozen of them.
        order = rng.sample(range(segments), segments)
        checked = 0
        for segment in order:
            place = None
            while True:
                page = self.comparer.reader.scan(segment, segments, place, most=wanted)
                self._note(self.comparer.compare_items(page.items))
                checked += len(page.items)
                self.advance(len(page.items))
                place = page.after
                if place is None or checked >= wanted:
                    break
            if checked >= wanted:
                break
        return checked

    def _sample_docs(self, wanted: int, rng: random.Random) -> int:
        checked = 0
        for docs in draw_docs(self.comparer.cluster, self.comparer.index, wanted, rng):
            if self.stop.is_set():
                raise InterruptedByUserError("interrupted")
            self._note(self.comparer.compare_docs(docs))
            checked += len(docs)
            self.advance(len(docs))
        return checked

    def _end(self, items: int, documents: int) -> Outcome:
        settled = Settling(
            self.comparer,
            self.comparer.table.name,
            self.patience,
            self.stop,
            self._is_past,
            self.journal.clock_ms,
            self._report,
        ).run(self.candidates)
        return Outcome(
            items=items,
            documents=documents,
            differences={kind: n for kind, n in sorted(self._tally.items()) if n},
            moving=settled.moving,
            undecided=settled.undecided,
        )

    def _is_past(self, since_ms: int) -> bool:
        return wait_until_past(
            self.depth,
            self.lateness,
            self.stop,
            since_ms=since_ms,
            settle_s=self.patience.settle_s,
            patience_s=self.patience.past_s,
        )

    def _report(self, finding: Finding) -> None:
        name = finding.place.id
        if name in self._known:
            return
        if len(self._known) < _REMEMBERED:
            self._known.add(name)
        self.confirmed.add([finding])
        self._tally[finding.kind] += 1


_REMEMBERED: Final = 200_000
"""Differences of which a second finding is recognised: memory stays flat."""
