"""`sluice verify`: whether index and table agree, and where they do not."""

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from console.backfill.command import close_journal, share_option
from console.checkpoint import FileStore, Journal, Share
from console.deadletters.sweep import interruptible
from console.errors import MisuseError
from console.help import write_epilog
from console.output import make_console
from console.progress import show_progress
from console.scan import Meter
from console.session import Session, TableFacts
from console.verify.agreement import Agreement, Part, note_agreement
from console.verify.comparer import Comparer
from console.verify.model import KINDS, Finding, write_finding
from console.verify.run import Outcome, Verify
from console.verify.sample import CONFIDENCE, upper_bound
from console.verify.serving import judge_alias, write_remedy
from console.verify.settle import Patience
from console.verify.spool import Spool
from worker.clock import read_clock_ms
from worker.errors import UnavailableError
from worker.schema import read_index
from worker.tables import Table

if TYPE_CHECKING:
    from rich.console import Console

SHOWN: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked of verify."""

    table: str
    segments: int = 8
    rcu: float | None = None
    share: Share = Share()  # noqa: RUF009 - frozen
    sample: int | None = None
    checkpoint: str | None = None
    settle_s: float = 60.0
    patience_s: float = 600.0
    content: bool = False


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of it."""

    outcome: Outcome
    index: str
    declared: Table[Any]
    """The declaration that the index is made from."""
    proof: Agreement
    """What may be noted once nothing differs: the stream and the time of the beginning."""
    units: float
    seconds: float
    noted: bool
    """Whether the index carries a note of its agreement now."""
    alias: str = ""
    """What is wrong with the alias that readers use; empty if nothing is."""
    remedy: str = ""

    @property
    def is_well(self) -> bool:
        """Whether searches see what the table holds."""
        return self.outcome.agrees and not self.alias


def verify_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that verify and repair share."""
    for option in reversed(
        (
            click.option(
                "--segments",
                type=click.IntRange(1, 1_000_000),
                default=8,
                show_default=True,
                help="Parts of table and index that are compared beside each other.",
            ),
            click.option(
                "--rcu",
                type=click.FloatRange(1),
                help="Most read units a second. Default: no limit.",
            ),
            share_option,
            click.option("--checkpoint", metavar="FILE", help="A file to resume from."),
            click.option(
                "--settle",
                "settle_s",
                type=click.FloatRange(0, 86_400),
                default=60.0,
                show_default=True,
                help="Seconds before a difference is looked at again: as long as a change may take"
                " from the table into the queue.",
            ),
            click.option(
                "--patience",
                "patience_s",
                type=click.FloatRange(0, 86_400),
                default=600.0,
                show_default=True,
                help="Seconds to wait then until the queue is empty, or the difference is older"
                " than the workers are late.",
            ),
            click.option(
                "--content",
                is_flag=True,
                help="Fetch the documents too, and compare every field: finds edits by hand.",
            ),
        )
    ):
        command = option(command)
    return command


@contextmanager
def verified(session: Session, request: Request) -> Iterator[tuple[Verified, Spool]]:
    """Compare; the findings are there as long as the context lasts.

    Raises MisuseError, UnavailableError, InterruptedByUserError.
    """
    table = session.table(request.table)
    facts = session.describe(table)
    session.check_clock()
    index, declared = session.served(table)
    session.depth()
    _ = session.cluster
    began = time.monotonic()
    meter = Meter(request.rcu, readers=min(request.segments, 32))
    store = _open_store(request)
    journal = Journal(describe_job(request, facts, index), store, read_clock_ms)
    with ExitStack() as stack:
        path = Path(f"{store.path}.found") if store else None
        if path is not None and store is not None and store.load() is None:
            path.unlink(missing_ok=True)
        candidates = Spool(table.name, path)
        stack.callback(candidates.release)
        confirmed = Spool(table.name)
        stack.callback(confirmed.close)
        advance = stack.enter_context(
            show_progress(f"verify {table.name}", 2 * facts.items // request.share.of)
        )
        verify = Verify(
            Comparer(
                declared,
                session.reader(table, facts, meter),
                session.cluster,
                index,
                request.content,
            ),
            journal,
            request.share,
            request.segments,
            session.stop,
            session.depth,
            session.lateness,
            Patience(request.settle_s, request.patience_s, session.settings.clock_margin_s * 1_000),
            candidates,
            confirmed,
            advance,
        )
        if request.sample is None:
            outcome = verify.run()
        else:
            outcome = verify.sample(facts.items, request.sample, random.Random())
        close_journal(journal)
        candidates.close()
        wrong = judge_alias(table, index, read_index(session.cluster, index)["aliases"])
        proof = Agreement(facts.label, journal.began_ms)
        noted = (
            outcome.proves
            and not wrong
            and request.sample is None
            and note_proof(session, request, index, proof)
        )
        yield (
            Verified(
                outcome,
                index,
                declared,
                proof,
                meter.units,
                time.monotonic() - began,
                noted,
                wrong,
                write_remedy(table, index) if wrong else "",
            ),
            confirmed,
        )


def describe_job(request: Request, facts: TableFacts, index: str) -> dict[str, Any]:
    """What must be the same for a comparison to be resumed. Pure.

    The stream's label is of it: what was compared under another stream proves nothing of this one.
    """
    return {
        "command": "verify",
        "source": facts.arn,
        "id": facts.id,
        "label": facts.label,
        "index": index,
        "segments": request.segments,
        "share": f"{request.share.number}/{request.share.of}",
        "content": request.content,
    }


def _open_store(request: Request) -> FileStore | None:
    if request.checkpoint is None:
        return None
    if request.checkpoint.startswith("s3://") or request.sample is not None:
        raise MisuseError("verify keeps its checkpoint in a file, and none for a sample")
    share = request.share
    suffix = "" if share.of == 1 else f".{share.number}-of-{share.of}"
    return FileStore(Path(request.checkpoint + suffix))


def note_proof(session: Session, request: Request, index: str, proof: Agreement) -> bool:
    """Note on the index that it agrees, as a whole or in this host's share; whether it was noted.

    A comparison stands without its note: then only `sluice status` does not know of it.
    """
    part = Part(request.share.number, request.share.of, request.segments)
    try:
        note_agreement(session.cluster, index, proof, part, session.stop.wait)
    except UnavailableError as error:
        click.echo(f"sluice: {error}", err=True)
        return False
    return True


@click.command(
    epilog=write_epilog(
        "sluice verify posts",
        "sluice verify posts --sample 10000",
        "sluice verify posts --keys found.keys --json",
        codes="0 they agree, 1 they differ or it could not be told, 2 misuse",
        more="docs/backfill.md has more.",
    )
)
@click.argument("table")
@verify_options
@click.option("--sample", type=click.IntRange(1), help="Look at about so many items only.")
@click.option(
    "--keys",
    "keys_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the keys of what differs here, for `sluice repair --keys`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, keys_file: Path | None, as_json: bool, **asked: Any) -> int:
    """Compare TABLE with its index, item by item and document by document.

    A difference counts only if it is still there when looked at again, past the lag of the
    pipeline. Items are read consistently and compared with their documents by digests; a document
    that none of them agreed with is looked up in the table.
    """
    request = Request(**asked)
    session = Session(os.environ)
    with interruptible() as stop:
        session.stop = stop
        with verified(session, request) as (result, findings):
            if keys_file is not None:
                write_keys(keys_file, session.table(request.table).name, findings)
            if as_json:
                click.echo(json.dumps(describe(request, result, findings), ensure_ascii=False))
            else:
                print_verified(request, result, findings)
    return 0 if result.is_well else 1


def write_keys(path: Path, table: str, findings: Spool) -> None:
    """A file of keys, one finding a line. Raises MisuseError."""
    try:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(write_finding(table, finding) + "\n" for finding in findings.read())
    except OSError as error:
        raise MisuseError(f"cannot write {path}: {error}") from error


def describe(request: Request, result: Verified, findings: Spool) -> dict[str, Any]:
    """For programs: the counts, the first findings, and what a sample says of the whole."""
    outcome = result.outcome
    return {
        "table": request.table,
        "index": result.index,
        "agrees": outcome.agrees,
        "alias": {"wrong": result.alias, "remedy": result.remedy} if result.alias else None,
        "items": outcome.items,
        "documents": outcome.documents,
        "differences": outcome.differences,
        "moving": outcome.moving,
        "undecided": outcome.undecided,
        "seconds": round(result.seconds, 3),
        "read_units": result.units,
        "noted": result.noted,
        "sample": _bounds(outcome) if request.sample is not None else None,
        "findings": [_describe_finding(f) for f in islice(findings.read(), SHOWN)],
    }


def _describe_finding(finding: Finding) -> dict[str, Any]:
    place = finding.place
    return {"kind": finding.kind, "id": place.id, "key": place.key, "why": finding.why}


def _bounds(outcome: Outcome) -> dict[str, float]:
    left = outcome.differences.get("left over", 0)
    wrong = sum(outcome.differences.values()) - left
    return {
        "confidence": CONFIDENCE,
        "items_wrong_at_most": upper_bound(outcome.items, min(wrong, outcome.items)),
        "documents_left_over_at_most": upper_bound(outcome.documents, min(left, outcome.documents)),
    }


def print_verified(request: Request, result: Verified, findings: Spool) -> None:
    """For people."""
    outcome = result.outcome
    console = make_console()
    console.print(
        f"{outcome.items:,} items and {outcome.documents:,} documents of {result.index} compared in"
        f" {result.seconds:,.1f} s, {result.units:,.0f} read units."
    )
    if outcome.differences:
        _print_differences(request, outcome, findings, console)
    if outcome.moving:
        console.print(
            f"{outcome.moving:,} change faster than one can look, so their agreement is not proven:"
            " ask again, or with a longer --settle."
        )
    if outcome.undecided:
        console.print(
            f"{outcome.undecided:,} differ, but the queue was never empty, nor did its workers"
            " prove that all was applied: they may only be late. Ask again, or with a longer"
            " --patience."
        )
    if result.alias:
        console.print(f"RED  {result.alias}\n     → {result.remedy}", markup=False, soft_wrap=True)
    _print_conclusion(request, outcome)


def _print_conclusion(request: Request, outcome: Outcome) -> None:
    console = make_console()
    if request.sample is not None:
        bounds = _bounds(outcome)
        console.print(
            f"A sample: with {bounds['confidence']:.0%} confidence at most"
            f" {bounds['items_wrong_at_most']:.3%} of the items are missing or stale, and at most"
            f" {bounds['documents_left_over_at_most']:.3%} of the documents are left over."
        )
    elif outcome.proves and request.share.of > 1:
        console.print(f"This share agrees; the index does once all {request.share.of} do.")
    elif outcome.proves:
        console.print("Index and table agree.")


def _print_differences(
    request: Request, outcome: Outcome, findings: Spool, console: "Console"
) -> None:
    from rich.table import Table as Grid

    for kind, count in outcome.differences.items():
        console.print(f"{count:,} {kind}: {KINDS[kind]}")  # type: ignore[index]
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    for heading in ("kind", "id", "why"):
        grid.add_column(heading, overflow="fold")
    for finding in islice(findings.read(), SHOWN):
        grid.add_row(finding.kind, _clean(finding.place.id), _clean(finding.why))
    console.print(grid)
    if findings.count > SHOWN:
        console.print(f"… and {findings.count - SHOWN:,} more: --keys FILE lists all.")
    console.print(f"To mend them: sluice repair {request.table}")


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
