"""`sluice repair`: mends what differs, through the queue, as reads of the table.

A read supersedes only changes that are older by the clock margin, so that a live change always wins
a close call. A document that was changed a moment ago is therefore not ripe yet: it is read again
once the margin has passed, and only then.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

import click

from console.deadletters.sweep import interruptible
from console.errors import InterruptedByUserError
from console.help import write_epilog
from console.lateness import wait_until_past
from console.scan import Meter, TableReader
from console.sending import make_read
from console.session import Session
from console.verify.command import (
    Request,
    note_proof,
    print_verified,
    verified,
    verify_options,
)
from console.verify.comparer import Comparer
from console.verify.documents import find_docs, refresh
from console.verify.model import Doc, Finding, read_findings
from console.verify.settle import batches
from console.verify.spool import Spool
from worker.clock import read_clock_ms
from worker.cluster import Cluster, path
from worker.errors import UnavailableError
from worker.tables import Table

_BATCH: Final = 100
_SHOWN: Final = 20


@dataclass
class Repaired:
    """What became of the findings. found = agreed + mended + left."""

    found: int = 0
    agreed: int = 0
    """They no longer differed."""
    sent: int = 0
    """Reads sent through the queue."""
    removed: int = 0
    """Documents that no key leads to, removed from the index itself."""
    mended: int = 0
    left: int = 0
    """They differ still: refused, changed again, or newer by the clock than now."""
    late: bool = False
    """Whether the queue was still at work, so that what is left may only be late."""
    examples: list[Finding] = field(default_factory=list)
    """The first few of what is left."""


def ripe_ms(doc: Doc | None, margin_ms: int) -> int:
    """The earliest R of a read that this document takes in (worker.order)."""
    if doc is None:
        return 0
    after_change = doc.time + margin_ms + 1 if doc.time is not None else 0
    after_read = doc.read + 1 if doc.read is not None else 0
    return max(after_change, after_read)


@dataclass
class Repair:
    """Mends findings of one table."""

    session: Session
    comparer: Comparer
    margin_ms: int
    patience_s: float
    done: Repaired = field(default_factory=Repaired)

    def run(self, findings: Iterable[Finding]) -> Repaired:
        """Mend each, wait for the workers, and look again. However many they are, memory is flat.

        Raises MisuseError, UnavailableError, InterruptedByUserError.
        """
        with ExitStack() as spools:
            differing, late, keyless, there = (self._spool(spools) for _ in range(4))
            for batch in batches(findings, _BATCH):
                self.done.found += len(batch)
                keyless.add(f for f in batch if f.place.key is None)
                now = self._differing([f for f in batch if f.place.key is not None])
                differing.add(now)
                late.add(self._send(now))
            self._send_when_ripe(late)
            self._wait_for_reads()
            for batch in batches(keyless.read(), _BATCH):
                still = self._differing(batch)
                there.add(still)
                for finding in still:
                    self.done.removed += _remove(self.session.cluster, self.comparer.index, finding)
            self.done.agreed = self.done.found - differing.count - there.count
            for batch in batches(chain(differing.read(), there.read()), _BATCH):
                self._count_left(self._differing(batch))
            self.done.mended = differing.count + there.count - self.done.left
        return self.done

    def _spool(self, spools: ExitStack) -> Spool:
        spool = Spool(self.comparer.table.name)
        spools.callback(spool.close)
        return spool

    def _differing(self, findings: list[Finding]) -> list[Finding]:
        return [now for now in self.comparer.look(findings) if now is not None]

    def _count_left(self, findings: list[Finding]) -> None:
        """What differs after the repair, or has come to differ anew since."""
        self.done.left += len(findings)
        self.done.examples += findings[: _SHOWN - len(self.done.examples)]

    def _send(self, findings: list[Finding], *, ripe_only: bool = True) -> list[Finding]:
        """Send reads; answer those whose documents are not ripe."""
        docs = find_docs(self.session.cluster, self.comparer.index, [f.place for f in findings])
        now = read_clock_ms()
        unripe = {
            f.place.id
            for f, doc in zip(findings, docs, strict=True)
            if ripe_only and ripe_ms(doc, self.margin_ms) > now
        }
        ready = [f for f in findings if f.place.id not in unripe]
        keys = [f.place.key for f in ready if f.place.key is not None]
        if keys:
            items, read_ms = self.comparer.reader.read(keys)
            reads = [make_read(k, i, read_ms) for k, i in zip(keys, items, strict=True)]
            self.done.sent += self.session.outlet.send(self.comparer.table.name, reads).changes
        return [f for f in findings if f.place.id in unripe]

    def _send_when_ripe(self, late: Spool) -> None:
        """Once the margin has passed: no later, for a time in the future never becomes ripe."""
        if not late.count:
            return
        latest = 0
        for batch in batches(late.read(), _BATCH):
            places = [finding.place for finding in batch]
            docs = find_docs(self.session.cluster, self.comparer.index, places)
            latest = max([latest, *(ripe_ms(doc, self.margin_ms) for doc in docs)])
        wait_ms = min(latest - read_clock_ms(), self.margin_ms + 1_000)
        if wait_ms > 0 and self.session.stop.wait(wait_ms / 1_000):
            raise InterruptedByUserError("interrupted")
        for batch in batches(late.read(), _BATCH):
            self._send(batch, ripe_only=False)

    def _wait_for_reads(self) -> None:
        """What comes after does no harm to a read that is still on its way."""
        self.done.late = not wait_until_past(
            self.session.depth,
            self.session.lateness,
            self.session.stop,
            since_ms=read_clock_ms(),
            settle_s=0,
            patience_s=self.patience_s,
        )


def _remove(cluster: Cluster, index: str, finding: Finding) -> int:
    """Delete a document that no worker would ever write, if it is still the one that was seen."""
    params = {"routing": finding.place.routing} if finding.place.routing else {}
    (doc,) = find_docs(cluster, index, [finding.place])
    if doc is None or doc.seq_no != finding.doc:
        return 0
    answer = cluster.request(
        "DELETE",
        path(index, "_doc", finding.place.id),
        params={
            **params,
            "if_seq_no": str(doc.seq_no),
            "if_primary_term": str(doc.primary_term),
        },
    )
    if answer.status not in (200, 404, 409):
        raise UnavailableError(f"cannot remove {finding.place.id!r}: {answer.reason:.300}")
    return int(answer.status == 200)


@click.command(
    epilog=write_epilog(
        "sluice repair posts",
        "sluice repair posts --keys found.keys",
        codes="0 everything is mended, 1 something is left, 2 misuse",
        more="docs/backfill.md has more.",
    )
)
@click.argument("table")
@click.option(
    "--keys",
    "keys_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="Mend what this file of `sluice verify --keys` names. Default: verify first.",
)
@verify_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, keys_file: Path | None, as_json: bool, **asked: Any) -> int:
    """Mend what differs between TABLE and its index, and nothing else.

    Each item is read from the table and sent through the queue as a read, which never undoes a
    newer change. It may run beside live traffic and be repeated.
    """
    request = Request(**asked)
    session = Session(os.environ)
    with interruptible() as stop:
        session.stop = stop
        session.producer  # noqa: B018 - a wrong setting is told before anything is read
        session.describe(session.table(request.table))  # with which clocks are compared
        _ = session.outlet  # nothing is compared, or read, for a queue that is not ours
        if keys_file is not None:
            done = mend_keys(session, request, keys_file)
        else:
            done = mend_all(session, request, quiet=as_json)
    _print(done, as_json)
    return 1 if done.left else 0


def mend_keys(session: Session, request: Request, keys_file: Path) -> Repaired:
    """Mend what a file of keys names, or this host's share of it."""
    table = session.table(request.table)
    index, declared = session.served(table)
    mine = read_findings(keys_file, table.name)
    share = request.share
    found = islice(mine, share.number - 1, None, share.of)
    return _mend(session, request, index, declared, found)


def mend_all(session: Session, request: Request, *, quiet: bool) -> Repaired:
    """Compare, mend what differs, and note that they agree, as of when the comparison began."""
    with verified(session, request) as (result, findings):
        if not quiet:
            print_verified(request, result, findings)
        done = _mend(session, request, result.index, result.declared, findings.read())
        told_apart = not (result.outcome.undecided or result.outcome.moving or result.alias)
        if not result.noted and told_apart and not done.left:
            note_proof(session, request, result.index, result.proof)
    return done


def _mend(
    session: Session,
    request: Request,
    index: str,
    declared: Table[Any],
    findings: Iterator[Finding],
) -> Repaired:
    facts = session.describe(declared)
    reader: TableReader = session.reader(declared, facts, Meter(request.rcu))
    refresh(session.cluster, index)
    comparer = Comparer(declared, reader, session.cluster, index, request.content)
    margin_ms = session.settings.clock_margin_s * 1_000
    return Repair(session, comparer, margin_ms, request.patience_s).run(findings)


def _print(done: Repaired, as_json: bool) -> None:
    if as_json:
        fields = {n: getattr(done, n) for n in ("found", "agreed", "sent", "removed", "mended")}
        left = [{"kind": f.kind, "id": f.place.id, "why": f.why} for f in done.examples]
        click.echo(json.dumps({**fields, "left": done.left, "late": done.late, "examples": left}))
        return
    click.echo(
        f"{done.found:,} differences: {done.agreed:,} agreed by then, {done.mended:,} mended,"
        f" {done.left:,} left; {done.sent:,} reads sent, {done.removed:,} documents removed."
    )
    for finding in done.examples:
        click.echo(f"  {finding.kind} {finding.place.id!r}: {finding.why or 'differs still'}")
    if done.left and done.late:
        click.echo("The queue was still at work: some may only be late. Ask again: sluice verify")
    if done.left:
        click.echo("What the workers refused is in the dead letters: sluice dead-letters groups")
