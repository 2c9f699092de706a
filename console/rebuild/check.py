"""The proof before the swap: table and new index agree, item by item and document by document.

What differs is written again as a read with the document's own position for its floor, at once; so
no difference lasts but one that the new index refuses. How far it is lies in the new index's
mapping and never passes over a difference: a kill loses the steps in work, and whatever is behind a
difference that was still there is compared anew.
"""

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Final

from console.checkpoint import Journal, read_checkpoint
from console.errors import CheckpointError, InterruptedByUserError, MisuseError
from console.persistence import Persistence
from console.progress import Advance
from console.rebuild.stand import Progress, read_progress, write_progress
from console.rebuild.writing import Known, Writer
from console.verify.comparer import Comparer
from console.verify.model import Finding
from console.verify.settle import batches
from console.verify.spool import Spool
from console.verify.walk import Step, Walk
from worker.cluster import Cluster
from worker.errors import SluiceError
from worker.index import Documents
from worker.schema import read_index

PARTS: Final = 16
"""Of the table and of the index. Not to be chosen: a check goes on with the cut it began with."""

SAVE_EVERY_S: Final = 2.0
"""As for the copy: each is a change of the cluster's state."""

ROUNDS: Final = 10
PAUSE_S: Final = 1.0
MOST: Final = 100_000
"""More differences than this are no leftovers of a copy: something else is wrong."""

REMEMBERED: Final = 20
"""Differences that are told in full."""

_LOOK: Final = 100


class TooManyDifferencesError(SluiceError):
    """A person must look before the index may be served. It is not marked as verified."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What still differs, and why, if the index said so."""

    finding: Finding
    why: str


@dataclass(frozen=True, slots=True)
class MappingStore:
    """A checkpoint within the progress of a rebuild: whoever goes on with it finds it there."""

    cluster: Cluster
    index: str
    job: Mapping[str, Any]
    began: int
    """When the rebuild did."""
    persistence: Persistence = field(default_factory=Persistence)

    def load(self) -> bytes | None:
        """None also for a damaged one, or another stream's: the check begins anew."""
        content = str(self.persistence.ask(self._read).check).encode()
        try:
            read_checkpoint(content, self.job)
        except CheckpointError:
            return None
        return content

    def save(self, content: bytes) -> None:
        """Raises MisuseError if the rebuild is no longer the one that it was."""
        self.persistence.ask(lambda: self._save(content.decode()))

    def _save(self, check: str) -> None:
        told = self._read()
        if told.began != self.began:
            raise MisuseError(f"{self.index} is being rebuilt anew by somebody else")
        write_progress(self.cluster, self.index, replace(told, check=check))

    def remove(self) -> None:
        self.save(b"")

    def _read(self) -> Progress:
        return read_progress(read_index(self.cluster, self.index)["mappings"])


@dataclass
class Check:
    """One comparison of a table with the index that is being built."""

    comparer: Comparer
    writer: Writer
    documents: Documents
    journal: Journal
    stop: threading.Event
    threads: int
    advance: Advance
    first: list[Difference] = field(default_factory=list)
    """The first few of those that are left."""
    _behind: set[str] = field(default_factory=set)
    """Units with a difference: their places stay before it."""

    def run(self) -> int:
        """Compare what is not compared yet, mend what can be mended; how many are left.

        Raises UnavailableError, InterruptedByUserError; what was done until then is kept. Raises
        TooManyDifferencesError; the next check begins anew then.
        """
        with ExitStack() as spools:
            left = self._spool(spools)
            walk = Walk(
                self.comparer,
                self.journal,
                PARTS,
                self.stop,
                lambda step: self._take(step, left),
                self.advance,
                threads=self.threads,
            )
            walk.open()
            try:
                walk.run()
            except TooManyDifferencesError:
                self.journal.close()
                raise
            return self._settle(left, spools)

    def _take(self, step: Step, left: Spool) -> None:
        if self.stop.is_set():
            raise InterruptedByUserError("interrupted")
        still = [one.finding for some in batches(step.findings, _LOOK) for one in self._mend(some)]
        left.add(still)
        if left.count > MOST:
            raise TooManyDifferencesError(
                f"more than {MOST:,} documents differ: that is no leftover of a copy",
                hint="see that the workers write both indexes, then run it again, or abort",
            )
        if still:
            self._behind.add(step.unit)
        if step.unit not in self._behind:
            step.note(self.journal)

    def _settle(self, left: Spool, spools: ExitStack) -> int:
        """Write what differs and look again, until nothing does or the index refuses the rest."""
        for _ in range(ROUNDS):
            if not left.count:
                break
            if self.stop.wait(PAUSE_S):
                raise InterruptedByUserError("interrupted")
            following = self._spool(spools)
            self.first = []
            for some in batches(left.read(), _LOOK):
                still = self._mend(some)
                following.add(one.finding for one in still)
                self.first += still[: REMEMBERED - len(self.first)]
            left = following
        return left.count

    def _spool(self, spools: ExitStack) -> Spool:
        spool = Spool(self.comparer.table.name)
        spools.callback(spool.close)
        return spool

    def _mend(self, findings: Sequence[Finding]) -> list[Difference]:
        """Write what the table holds of these items; those that differ still."""
        refused = self._write(findings)
        looked = [one for one in self.comparer.look(findings) if one is not None]
        return [Difference(one, refused.get(one.place.id, one.why)) for one in looked]

    def _write(self, findings: Sequence[Finding]) -> dict[str, str]:
        """The reasons of refusals, by id."""
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
