"""`sluice dead-letters redrive`, `purge`, `export`, `import`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from console.deadletters import archive
from console.deadletters.display import print_end, print_json, progress
from console.deadletters.filters import Filter
from console.deadletters.options import filter_options, json_option, wait_option
from console.deadletters.queue import Pair
from console.deadletters.redrive import Choice, Look, Moved, Purge, Redrive
from console.deadletters.scan import Pace
from console.deadletters.session import open_session
from console.deadletters.sweep import Outcome, Sweep, interruptible
from console.help import write_epilog
from worker.errors import UnavailableError

INTERRUPTED = 130
_CODES = "0 fine, 1 not all was done, 2 misuse"
_STAYED_SHOWN = 20


@click.command(
    epilog=write_epilog(
        "sluice dead-letters redrive --dry-run",
        "sluice dead-letters redrive --error ValidationError --rate 50",
        "sluice dead-letters redrive --newer-than 2h --json",
        codes=_CODES,
    )
)
@filter_options
@click.option("--dry-run", is_flag=True, help="Say what would be moved; move nothing.")
@click.option(
    "--rate",
    type=click.FloatRange(0.01, 10_000),
    help="Most messages a second. [default: no limit]",
)
@click.option("--limit", type=click.IntRange(1), help="Most messages to move.")
@wait_option
@json_option
def redrive(
    *,
    filter: Filter,
    dry_run: bool,
    rate: float | None,
    limit: int | None,
    patience_s: float,
    as_json: bool,
) -> int:
    """Put dead letters back into the main queue; without a filter, all of them.

    Each is sent before it is deleted, so nothing is lost whatever happens, and it does no harm to
    interrupt, to repeat, or to run it twice at once: what was applied already is found obsolete. A
    stream record that the producer could not read is read again, by this release. What is refused
    anew while this runs is left alone.
    """
    session = open_session()
    pair = session.pair
    with interruptible() as stop, progress("redriving", pair.count()) as advance:
        work = Redrive(
            pair=pair,
            choice=Choice(filter, pair.now_ms),
            reader=session.reader,
            send=session.send,
            pace=Pace(rate),
            limit=limit,
            stop=stop,
            dry_run=dry_run,
            advance=advance,
        )
        outcome = Sweep(pair, work, stop, pair.now_ms, patience_s).run()
    if as_json:
        print_json(_describe(work.result, outcome, dry_run))
    else:
        _print_moved(work.result, dry_run)
    print_end(outcome)
    return _exit_code(outcome, bad=bool(work.result.stayed))


@click.command(
    epilog=write_epilog(
        "sluice dead-letters purge --table old --older-than 14d",
        "sluice dead-letters purge --error UnknownTable --yes --archive gone.jsonl --json",
        codes=_CODES,
    )
)
@filter_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--archive",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="New file to keep them in. [default: dead-letters-TIME.jsonl, here]",
)
@wait_option
@json_option
def purge(*, filter: Filter, yes: bool, file: Path | None, patience_s: float, as_json: bool) -> int:
    """Delete dead letters; without a filter, all of them.

    Each is written to an archive file first, which `import` takes back.
    """
    pair = open_session().pair
    target = file or Path(f"dead-letters-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.jsonl")
    chosen = filter
    if not yes:
        chosen = _ask(pair, filter, patience_s, target, to_stderr=as_json)
    with archive.create(target) as writer, interruptible() as stop:
        work = Purge(pair, Choice(chosen, pair.now_ms), writer)
        with progress("purging", pair.count()) as work.advance:
            outcome = Sweep(pair, work, stop, pair.now_ms, patience_s).run()
    if as_json:
        kept_in = str(target) if work.purged or work.kept else None
        told = {"deleted": work.purged, "archived_only": work.kept, "archive": kept_in}
        print_json({"complete": _is_complete(outcome), **told})
    else:
        where = f" They are in {target}." if work.purged else ""
        click.echo(f"{work.purged:,} messages deleted.{where}")
    if work.kept:
        click.echo(f"sluice: SQS did not delete {work.kept:,} of the archive; try again", err=True)
    print_end(outcome)
    return _exit_code(outcome, bad=work.kept > 0)


def _ask(pair: Pair, filter: Filter, patience_s: float, target: Path, *, to_stderr: bool) -> Filter:
    """Count what is meant and ask; the filter that means just those. Aborts on a no."""
    ids: list[str] = []
    work = Look(Choice(filter, pair.now_ms), lambda received, letter: ids.append(received.id))
    with interruptible() as stop, progress("counting", pair.count()) as work.advance:
        outcome = Sweep(pair, work, stop, pair.now_ms, patience_s).run()
    print_end(outcome)
    if outcome.interrupted:
        raise click.Abort
    if ids:
        question = f"Delete {len(ids):,} of {outcome.seen:,} messages, keeping them in {target}?"
        click.confirm(question, abort=True, err=to_stderr)
    return Filter(messages=frozenset(ids or ["none"]))


@click.command(
    "export",
    epilog=write_epilog(
        "sluice dead-letters export letters.jsonl",
        "sluice dead-letters export posts.jsonl --table posts --json",
        codes="0 fine, 1 saw only a part, 2 misuse",
    ),
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@filter_options
@wait_option
@json_option
def export_command(file: Path, filter: Filter, patience_s: float, as_json: bool) -> int:
    """Write dead letters to a new FILE of JSON Lines, documents included; delete nothing."""
    pair = open_session().pair
    written = 0
    with archive.create(file) as writer, interruptible() as stop:

        def keep(received: Any, letter: Any) -> None:
            nonlocal written
            archive.write(writer, [received])
            written += 1

        work = Look(Choice(filter, pair.now_ms), keep)
        with progress("exporting", pair.count()) as work.advance:
            outcome = Sweep(pair, work, stop, pair.now_ms, patience_s).run()
    if as_json:
        kept_in = str(file) if written else None
        print_json({"complete": _is_complete(outcome), "exported": written, "file": kept_in})
    else:
        click.echo(f"{written:,} messages exported.")
    print_end(outcome)
    return _exit_code(outcome, bad=False)


@click.command(
    "import",
    epilog=write_epilog(
        "sluice dead-letters import letters.jsonl",
        codes="0 fine, 1 a message was refused, 2 misuse",
    ),
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@json_option
def import_command(file: Path, as_json: bool) -> int:
    """Send the messages of FILE, made by `export` or `purge`, to the dead-letter queue.

    The file is checked as a whole before anything is sent. Importing twice doubles the messages,
    which does no harm but noise.
    """
    pair = open_session().pair
    parcels = archive.read(file)
    sent = 0
    with interruptible() as stop, progress("importing", len(parcels)) as advance:
        for start in range(0, len(parcels), 10):
            if stop.is_set():
                break
            page = parcels[start : start + 10]
            refused = pair.put_back(page)
            sent += len(page) - len(refused)
            advance(len(page))
            if refused:
                place, why = min(refused.items())
                raise UnavailableError(
                    f"{sent:,} of {len(parcels):,} messages imported; message"
                    f" {start + place + 1} of the file was refused: {why}"
                )
    if as_json:
        print_json({"complete": not stop.is_set(), "imported": sent, "of": len(parcels)})
    else:
        click.echo(f"{sent:,} messages imported.")
    return INTERRUPTED if stop.is_set() else 0


def _is_complete(outcome: Outcome) -> bool:
    return not outcome.interrupted and not outcome.missed


def _exit_code(outcome: Outcome, *, bad: bool) -> int:
    if outcome.interrupted:
        return INTERRUPTED
    return 1 if bad or outcome.missed else 0


def _print_moved(result: Moved, dry_run: bool) -> None:
    verb = "would be moved" if dry_run else "moved"
    click.echo(f"{result.moved:,} messages {verb} to the main queue.")
    for error, count in result.by_error.most_common():
        click.echo(f"  {count:,} {error}")
    if result.converted:
        click.echo(f"{result.converted:,} of them were stream records, read anew.")
    if result.repeated:
        click.echo(
            f"{result.repeated:,} of them could not be deleted here: they are in both queues."
        )
    if result.stayed:
        click.echo(f"{len(result.stayed):,} stay:")
    for letter, why in result.stayed[:_STAYED_SHOWN]:
        click.echo(f"  {letter.message}: {why}")
    if len(result.stayed) > _STAYED_SHOWN:
        click.echo(f"  and {len(result.stayed) - _STAYED_SHOWN:,} more; --json has them all")


def _describe(result: Moved, outcome: Outcome, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "complete": _is_complete(outcome),
        "moved": result.moved,
        "converted": result.converted,
        "repeated": result.repeated,
        "by_error": dict(result.by_error),
        "stayed": [{"message": letter.message, "why": why} for letter, why in result.stayed],
    }
