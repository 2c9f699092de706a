"""The steps of verify: walk through table and index, and look again at what differs."""

import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from console.checkpoint import Journal, Share
from console.errors import CheckpointError, InterruptedByUserError
from console.lateness import Lateness, wait_until_past
from console.progress import Advance, ignore
from console.sending import Depth
from console.verify.comparer import Comparer
from console.verify.documents import refresh
from console.verify.draw import draw_docs
from console.verify.model import Finding
from console.verify.sample import choose_segments
from console.verify.settle import Patience, Settling
from console.verify.spool import Spool
from console.verify.walk import Step, Walk


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
        walk = Walk(
            self.comparer,
            self.journal,
            self.segments,
            self.stop,
            self._take,
            self.advance,
            self.share,
        )
        walk.open()
        self._check_found()
        walk.run()
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

    def _take(self, step: Step) -> None:
        """Keep what was found, and before the journal says that it is."""
        self.candidates.add(step.findings)
        step.note(self.journal, found=len(step.findings))

    def _sample_items(self, items: int, wanted: int, rng: random.Random) -> int:
        segments = choose_segments(items, wanted)
        # A set of a million numbers is small; most samples look at a few dozen of them.
        order = rng.sample(range(segments), segments)
        checked = 0
        for segment in order:
            place = None
            while True:
                page = self.comparer.reader.scan(segment, segments, place, most=wanted)
                self.candidates.add(self.comparer.compare_items(page.items))
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
            self.candidates.add(self.comparer.compare_docs(docs))
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
